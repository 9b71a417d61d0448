"""The first pages: what stands on them and in which order, of which model; the rest folded, and within reach."""

import re
from copy import deepcopy
from dataclasses import replace
from typing import Any, cast

import pytest
from markupsafe import Markup

from clinfit.evaluation.results import TaskResult
from clinfit.findings import FindingDict
from clinfit.report.build import render, subjects_of
from clinfit.report.gloss import glossed
from clinfit.report.inputs import ReportInputs
from clinfit.report.sections.first.front import FIGURES, MOST_ROWS, MOST_WARNINGS, front, main_table, warnings
from clinfit.report.sections.first.next_steps import next_steps
from clinfit.report.sections.subject import Subject
from clinfit.report.tables import the_model

from .conftest import CASES, SEVERAL
from .test_build import Page, words

every_case = pytest.mark.parametrize("name", [*CASES, *SEVERAL])


@pytest.fixture(scope="module")
def binary(cases: dict[str, ReportInputs]) -> Subject:
    return subjects_of(cases["binary"])[0]


def with_task(subject: Subject, **changes: Any) -> Subject:
    return replace(subject, task=cast(TaskResult, {**deepcopy(subject.task), **changes}))


# ---------------------------------------------------------------- what stands where


@every_case
def test_first_pages_come_first_and_everything_else_is_folded(
    cases: dict[str, ReportInputs], pages: dict[str, str], name: str
) -> None:
    page = Page(pages[name])
    heads = [(e.attributes.get("id", ""), e.inside) for e in page.all("h2", "h3")]
    end = [anchor for anchor, _ in heads].index("appendix")
    tasks = cases[name].results["tasks"]
    expected = ["summary", *(f"task{k}-brief" for k in range(1, len(tasks) + 1))] if len(tasks) > 1 else []
    for number, task in enumerate(tasks.values(), 1):
        drawn = [] if task["withheld"] or task["chosen"] is None else ["figures"]
        shown = ["verdict", "warnings", "next", "table", *drawn]
        expected += [f"task{number}", *(f"task{number}-{part}" for part in shown)]
    assert [anchor for anchor, _ in heads[:end] if anchor] == [part for part in expected if not part.endswith("brief")]
    assert not any("details" in inside for _, inside in heads[:end])
    assert all("details" in inside for _, inside in heads[end + 1 :])
    chapters = [e for e in page.all("details") if e.attributes.get("class") == "chapter"]
    assert len(chapters) > 4 and not any("open" in e.attributes for e in chapters)
    assert all(e.inside.count("details") == 0 for e in chapters)


def test_one_model_is_meant_throughout(cases: dict[str, ReportInputs], pages: dict[str, str]) -> None:
    (task,) = cases["binary"].results["tasks"].values()
    page, model = Page(pages["binary"]), cast(dict[str, Any], the_model(task))["name"]
    assert model == "random-forest" and task["chosen"] is not None and task["chosen"]["split"] == "validation"
    first = page.all("section")[0]
    assert f"The model is {model}, chosen on validation" in words(first.text)
    assert f"Of 100 records like these, 41 are truly malignant. {model} flags" in words(first.text)
    heads = [words(e.text) for e in page.all("h3")]
    assert f"{model} in figures" in heads and f"Clinical panel: {model}" in heads
    assert any(e.text.startswith(f"Model facts: {model}") for e in page.all("caption"))
    assert f"{model} is wrong on" in words(page.all("main")[0].text)
    marked = [e for e in page.all("tr") if "model" in e.attributes.get("class", "").split()]
    assert marked and all(e.text.strip().startswith(model) for e in marked)


def test_three_figures_of_the_model_by_kind(cases: dict[str, ReportInputs]) -> None:
    drawn = {}
    for name in ("binary", "three labels", "several labels", "options", "one class", "hostile words"):
        view = front(subjects_of(cases[name])[0])
        assert len(view.figures) <= FIGURES
        drawn[name] = [re.findall(r"<title[^>]*>(.*?)</title>", shown.figure)[0] for shown in view.figures]
    assert drawn["binary"] == ["ROC curves", "Calibration of random-forest", "Decision curve"]
    assert drawn["three labels"][:2] == ["Answers of random-forest by truth", "Risk-coverage curves"]
    assert drawn["several labels"][0] == "F1 of each label with its interval"
    assert drawn["options"][0] == "Answers of tiny (after) by truth"
    assert "Accuracy of every system with its interval" in drawn["options"]
    assert drawn["one class"] == drawn["hostile words"] == [], "withheld, and no model to speak of"


def test_calibration_is_in_the_box_with_its_interval(binary: Subject, pages: dict[str, str]) -> None:
    box = next(e for e in Page(pages["binary"]).all("section") if "verdict" in e.attributes["class"])
    model = cast(dict[str, Any], the_model(binary.task))
    for name in ("calibration_intercept", "calibration_slope"):
        metric = model["metrics"][name]
        shown = f"{metric['value']:.3f} [{metric['low']:.3f}, {metric['high']:.3f}]".replace("-", "\N{MINUS SIGN}")
        assert shown in words(box.text)


# ---------------------------------------------------------------- warnings and what to do


def finding(level: str, system: str | None, title: str) -> FindingDict:
    about: dict[str, Any] = {"level": level, "code": title, "title": title, "system": system}
    return cast(FindingDict, {**about, "evidence": "", "advice": "look"})


def test_errors_first_then_data_then_the_model_and_others_are_counted(binary: Subject) -> None:
    found = [finding("warn", "tiny (after)", "other"), finding("warn", "random-forest", "model")]
    found += [finding("info", None, "note"), finding("error", "tiny (after)", "fault"), finding("warn", None, "data")]
    told = warnings(with_task(binary, findings=found).task)
    assert [f["title"] for f in told.shown] == ["fault", "data", "model"] and told.others == 1
    many = [finding("error", None, f"e{k}") for k in range(9)] + [finding("warn", None, f"w{k}") for k in range(9)]
    told = warnings(with_task(binary, findings=many).task)
    assert [f["title"] for f in told.shown] == [f"e{k}" for k in range(9)] and told.others == 9
    told = warnings(with_task(binary, findings=many[9:]).task)
    assert len(told.shown) == MOST_WARNINGS


def steps(subject: Subject) -> str:
    return " ".join(step.text for step in next_steps(subject))


def test_what_to_do_next_follows_from_the_numbers(binary: Subject) -> None:
    assert "Do not read the probabilities of random-forest as risks" in steps(binary), "its slope is 3"
    right = deepcopy(binary.task)
    for name, ideal in (("calibration_intercept", 0.0), ("calibration_slope", 1.0)):
        cast(Any, the_model(right))["metrics"][name] |= {"low": ideal - 0.2, "high": ideal + 0.2}
    assert "as risks" not in steps(replace(binary, task=right))
    done = deepcopy(binary.task)
    cast(Any, the_model(done))["sections"]["recalibration"] = {"kind": "platt", "note": None}
    assert "Recalibrate" not in steps(replace(binary, task=done)), "no advice to do what was done"
    assert "Choose the model on validation" not in steps(binary)
    picked = with_task(binary, chosen={**cast(Any, binary.task["chosen"]), "split": "test"})
    assert "Choose the model on validation answers" in steps(picked)
    assert steps(with_task(binary, withheld=True)).startswith("Settle the errors first")
    sections = {step.section for step in next_steps(binary)} - {""}
    assert sections == {"clinical", "uses", "facts"}


def with_uses(cases: dict[str, ReportInputs], name: str, task: str, *advice: str) -> str:
    """The steps of a task of that case with this advice."""
    (subject,) = (subject for subject in subjects_of(cases[name]) if subject.name == task)
    return steps(with_task(subject, advice=list(advice)))


def test_advice_on_uses_fits_the_kind_of_task(cases: dict[str, ReportInputs]) -> None:
    """Sentences on what systems cost are no thresholds, whatever is asked."""
    cost = "Cost: tiny (after) takes about 100 times the time an item of lead, and is better than it in ROUGE-L."
    for name, task in (("texts", "letter"), ("fields", "drugs"), ("three labels", "finding"), ("options", "exam")):
        said = with_uses(cases, name, task, cost, cost)
        assert "threshold" not in said and "screening" not in said, task
    assert "clinfit reading page RUN --out" in with_uses(cases, "texts", "letter")
    (letter,) = (subject for subject in subjects_of(cases["texts"]) if subject.name == "letter")
    assert letter.study is not None
    two = letter.study.model_copy(update={"tasks": {"other": letter.study.tasks["letter"], **letter.study.tasks}})
    assert "clinfit reading page RUN --task letter --out" in steps(replace(letter, study=two))
    sections = cast(Any, {**letter.task["sections"], "external": {"pack": "p"}})
    assert "clinfit reading" not in steps(with_task(letter, sections=sections)), "its folder is no run"
    assert "clinfit reading" not in with_uses(cases, "fields", "drugs"), "which that command does not show"
    assert "against their source" in with_uses(cases, "fields", "drugs")
    none = "No system can be advised for any use: none is shown to be better than always benign."
    assert "take the threshold" not in with_uses(cases, "binary", "finding", none, cost)
    (use,) = (line for line in cases["binary"].results["tasks"]["finding"]["advice"] if line.startswith("Balanced"))
    assert "take the threshold" in with_uses(cases, "binary", "finding", use)


# ---------------------------------------------------------------- the main table


def test_the_main_table_has_room_for_few_and_never_drops_the_model(binary: Subject) -> None:
    table = main_table(binary)
    assert [row.model for row in table.rows].count(True) == 1 and len(table.columns) <= 8
    assert {column.key for column in table.columns} >= {"auroc", "calibration_slope", "ppv"}
    assert all(cell.interval == "" for row in table.rows for cell in row.cells if cell.empty), (
        "reasons are in the notes"
    )
    systems = [{**binary.task["systems"][0], "name": f"other {k}"} for k in range(20)]
    task = {
        "systems": [*systems, *binary.task["systems"]],
        "ranking": [*(s["name"] for s in systems), *binary.task["ranking"]],
    }
    many = main_table(with_task(binary, **task))
    assert len(many.rows) == MOST_ROWS and many.left_out == len(systems) + len(binary.task["systems"]) - MOST_ROWS
    assert any(row.model for row in many.rows)


# ---------------------------------------------------------------- terms


def test_a_term_is_explained_once_where_it_first_stands() -> None:
    page = Markup(
        "<h3>DeLong</h3><svg><text>DeLong</text></svg><td>DeLong</td><p>by delong, and DeLong</p><p>DeLong</p>"
    )
    made = glossed(page, {"DeLong": "a test of two <areas>"})
    told = '<abbr title="a test of two &lt;areas&gt;">'
    expected = str(page).replace("<td>DeLong", f"<td>{told}DeLong</abbr>")
    assert made == expected.replace("by delong", f"by {told}delong</abbr>")
    assert glossed(page, {"McNemar": "another"}) == page


@pytest.mark.parametrize("term", ["DeLong", "Holm", "fine-tuning"])
def test_terms_of_the_verdict_are_explained_on_the_first_page(pages: dict[str, str], term: str) -> None:
    page = Page(pages["binary"])
    first = page.all("section")[0]
    assert term.lower() in words(first.text).lower()
    explained = [e for e in page.all("abbr") if e.text.lower() == term.lower() and "ul" in e.inside]
    assert explained and all(e.attributes["title"] for e in explained)


# ---------------------------------------------------------------- folds and print


def test_every_link_of_the_first_pages_leads_into_a_chapter(pages: dict[str, str]) -> None:
    text = pages["binary"]
    page, start = Page(text), text.index('id="everything"')
    front_links = {e.attributes["href"][1:] for e in page.all("a") if "section" in e.inside and "nav" not in e.inside}
    targets = {anchor for anchor in front_links if text.index(f'id="{anchor}"') > start}
    assert {"task1-findings", "task1-systems", "task1-facts", "task1-uses", "task1-clinical"} <= targets
    assert all(len(re.findall(rf'<h[23] id="{anchor}"', text)) == 1 for anchor in targets - {"everything"})


def test_print_rules(pages: dict[str, str]) -> None:
    rules = pages["binary"].partition("@media print {")[2].partition("</style>")[0]
    assert ".second { break-before: page; }" in rules and ".appendix { break-before: page; }" in rules
    assert ".chapter:not([open])" in rules and "display: none" in rules
    assert "details::details-content { content-visibility: visible" not in rules, "what is folded stays folded"
    without_script = "html:not(.scripted) details:has(:target)::details-content"
    assert without_script in pages["binary"]


def test_a_report_of_old_results_without_a_model_still_renders(cases: dict[str, ReportInputs]) -> None:
    inputs = deepcopy(cases["binary"])
    (task,) = inputs.results["tasks"].values()
    task["chosen"] = None
    page = Page(render(inputs))
    assert "in figures" not in " ".join(e.text for e in page.all("h3"))
