"""The report of every kind of task, and of several tasks: every section is shown, and none is asked for."""

import io
import re
from copy import deepcopy
from dataclasses import replace
from functools import cache
from typing import Any, cast

import pytest
from rich.console import Console

from clinfit.evaluation.kinds import KINDS as EVALUATED
from clinfit.evaluation.results import SetErrors, TaskResult, TaskSections
from clinfit.evaluation.system_results import ClassResult, PositionsDict, SystemSections
from clinfit.report.build import render, subjects_of
from clinfit.report.export import report_metrics, summary_markdown
from clinfit.report.figures.labels import short
from clinfit.report.inputs import ReportInputs
from clinfit.report.kinds import KINDS, asked, asked_briefly, counted
from clinfit.report.section import section
from clinfit.report.sections.answers.options import preference_sentence
from clinfit.report.sections.answers.set_errors import sentence
from clinfit.report.sections.first.verdict import verdict_view
from clinfit.report.sections.subject import Subject
from clinfit.report.sections.task import VIEWS
from clinfit.report.summary import print_summary
from clinfit.report.tables import by_rank, cell_of, the_model

from .conftest import SEVERAL, model_record
from .several import CHAPTERS, PATIENT_TEXT, TASKS
from .test_build import Page, parsed, words

#: Sections of the results that the report leaves out on purpose.
#: The chapter on stages is made over all tasks.
LEFT_OUT: set[str] = {"stages"}
every_several = pytest.mark.parametrize("name", SEVERAL)


@pytest.fixture(scope="module")
def three(cases: dict[str, ReportInputs]) -> dict[str, Subject]:
    """The tasks of all kinds by name."""
    return {subject.name: subject for case in ("four kinds", "fields") for subject in subjects_of(cases[case])}


# ---------------------------------------------------------------- every section has a view


def test_every_section_of_the_results_has_a_view_and_no_view_has_another() -> None:
    known = TaskSections.__annotations__.keys() | SystemSections.__annotations__.keys()
    named = {name for view in VIEWS for name in view.sections}
    assert known == named | LEFT_OUT and not named & LEFT_OUT


def test_every_kind_that_is_evaluated_has_its_words() -> None:
    assert KINDS.keys() == EVALUATED.keys()


def sections_in(task: TaskResult) -> set[str]:
    return {*task["sections"], *(name for system in task["systems"] for name in system["sections"])}


def without(subject: Subject, name: str) -> Subject:
    """The task as it would be had this analysis not been made."""
    task = deepcopy(subject.task)
    for holder in (task, *task["systems"]):
        cast(dict[str, Any], holder["sections"]).pop(name, None)
    return replace(subject, task=task)


@pytest.mark.parametrize("task", TASKS)
def test_what_a_section_holds_is_shown_and_its_absence_is_no_fault(three: dict[str, Subject], task: str) -> None:
    subject = three[task]
    held = sections_in(subject.task) - {"threshold"}  # curves are of no use without the threshold in force
    assert len(held) > 8
    shown = cache(lambda make: make(subject))
    for name in held:
        makers = [view.make for view in VIEWS if name in view.sections]
        assert any(shown(make) != make(without(subject, name)) for make in makers), name


@pytest.mark.parametrize("name", ["options", "three kinds withheld", "four kinds", "fields"])
def test_a_task_without_any_section_still_renders(cases: dict[str, ReportInputs], name: str) -> None:
    inputs = deepcopy(cases[name])
    for task in inputs.results["tasks"].values():
        for holder in (task, *task["systems"]):
            cast(dict[str, Any], holder)["sections"] = {}
    page = Page(render(inputs))
    assert [heading.text for heading in page.all("h2") if heading.text.startswith("Result: ")]


# ---------------------------------------------------------------- several tasks


@pytest.mark.parametrize("name", ["three kinds", "three kinds withheld", "four kinds"])
def test_the_summary_comes_first_and_says_how_every_task_stands(
    cases: dict[str, ReportInputs], pages: dict[str, str], name: str
) -> None:
    page, tasks = parsed(pages[name]), cases[name].results["tasks"]
    heads = [e.text for e in page.all("h2")]
    assert heads[0] == f"Summary of all {len(tasks)} tasks"
    assert heads[1 : len(tasks) + 1] == [f"Result: {task}" for task in tasks]
    boxes = [e for e in page.all("section") if "brief" in e.attributes.get("class", "")]
    for (task, result), box in zip(tasks.items(), boxes, strict=True):
        text = words(box.text)
        assert task in text and words(KINDS[result["kind"]].title) in text
        assert f"{result['counts']['test']['n']} records" in text
        assert all(words(told) in text for told in result["verdict"][:2])
        warnings = sum(finding["level"] == "warn" for finding in result["findings"])
        assert f"{warnings} warning" in text
        if result["withheld"]:
            assert "1 error" in text and "error" in box.attributes["class"] and "withheld" in text
            assert not any(system["name"] in text for system in result["systems"]), "no system is best"
            continue
        model = the_model(result)
        assert model is not None
        cell = cell_of(model, result["primary"])
        assert model["name"] in text and words(cell.text) in text and cell.interval in text
        assert result["baseline"] is not None and result["baseline"] in text


@every_several
def test_the_contents_hold_every_chapter_and_every_section(pages: dict[str, str], name: str) -> None:
    page = parsed(pages[name])
    listed = [(e.attributes["href"][1:], words(e.text)) for e in page.all("a") if "nav" in e.inside]
    there = [(e.attributes["id"], words(e.text)) for e in page.all("h2", "h3") if "id" in e.attributes]
    assert listed == there
    anchors = [f"task{number}" for number in range(1, len(SEVERAL[name]) + 1)]
    assert [anchor for anchor, _ in listed if re.fullmatch(r"task\d+", anchor)] == anchors


def test_one_task_has_no_summary(pages: dict[str, str]) -> None:
    assert all('id="summary"' not in pages[name] for name in ("binary", "several labels", "options"))


@every_several
def test_no_text_of_a_patient_in_anything(cases: dict[str, ReportInputs], pages: dict[str, str], name: str) -> None:
    inputs, console = cases[name], Console(file=io.StringIO(), width=160)
    print_summary(inputs.results, console)
    export = report_metrics(inputs.results, inputs.models, inputs.logs)
    made = [pages[name], summary_markdown(inputs.results, inputs.command), str(export), console.file.getvalue()]  # type: ignore[attr-defined]
    assert not any(PATIENT_TEXT in text for text in made)
    assert all(task in text for task in SEVERAL[name] for text in made)


def test_summary_md_begins_with_all_tasks(cases: dict[str, ReportInputs]) -> None:
    inputs = cases["three kinds"]
    text = summary_markdown(inputs.results, inputs.command)
    lines = [line for line in text.partition("## finding")[0].splitlines() if line.startswith("| ")]
    assert len(lines) == 1 + len(inputs.results["tasks"]) and len({line.count("|") for line in lines}) == 1
    for (name, task), line in zip(inputs.results["tasks"].items(), lines[1:], strict=True):
        top = by_rank(task)[0]
        assert line.startswith(f"| {name} | ") and f"{top['name']} {cell_of(top, task['primary']).plain}" in line
    assert "| an even guess | 25.0" in text
    assert "## All tasks" not in summary_markdown(cases["binary"].results, "")


def test_summary_md_calls_a_baseline_what_is_one(cases: dict[str, ReportInputs]) -> None:
    """Where the baseline is the model, what stands beside it is the best language model, and is called so."""
    results = deepcopy(cases["three kinds"].results)
    finding = results["tasks"]["finding"]
    assert finding["chosen"] is not None and finding["baseline"] == "words"
    finding["chosen"]["system"] = "words"
    text = summary_markdown(results, "")
    first, other, *_ = (line for line in text.splitlines() if line.startswith(("| finding |", "| chapters |")))
    assert "| the model, and the baseline: words " in first and "| best language model: tiny (after) " in first
    assert "| the model: tiny (after) " in other and "| baseline: words " in other
    (head,) = (line for line in text.splitlines() if line.startswith("| task |"))
    assert "baseline" not in head, "a column holds one thing"


def test_a_model_that_did_not_finish_stands_with_its_own_tasks_only(cases: dict[str, ReportInputs]) -> None:
    inputs = cases["three kinds"]
    spec = inputs.study.models[1].model_copy(update={"tasks": ["exam"]})
    study = inputs.study.model_copy(update={"models": [inputs.study.models[0], spec, *inputs.study.models[2:]]})
    failed = [model_record("words", "classical", "out of memory")]
    subjects = subjects_of(replace(inputs, study=study, models=failed))
    shown = {subject.name: dict(subject.failures) for subject in subjects}
    assert shown == {"finding": {}, "chapters": {}, "exam": {"words-seed42": "out of memory"}}


# ---------------------------------------------------------------- any number of labels


def test_each_label_has_its_line_the_commonest_first(three: dict[str, Subject], pages: dict[str, str]) -> None:
    task = three["chapters"].task
    page = parsed(pages["three kinds"])
    table = next(e for e in page.all("table") if e.attributes.get("class") == "labels")
    system = the_model(task)
    assert system is not None
    assert words(table.text).strip().startswith(system["name"])
    entries = sorted(section(system, "classes"), key=lambda entry: -entry["support"])
    heads = re.findall("|".join(map(re.escape, CHAPTERS)), table.text)
    assert heads == [entry["label"] for entry in entries] and len(heads) == 23
    values = {e.attributes["data-value"] for e in page.elements if "data-value" in e.attributes}
    for choice in section(system, "label_thresholds").values():
        assert repr(choice["value"]) in values
    # The first pages show the commonest labels, the appendix all.
    figure = [e.text for e in page.all("desc") if e.text.startswith(entries[0]["label"])][-1]
    f1 = entries[0]["metrics"]["f1"]
    assert f"{entries[0]['support']} records): {system['name']} {f1['value']:.3f} [{f1['low']:.3f}," in figure
    assert "not estimable" in figure, "a label that no test record has"
    assert f"{task['baseline']} 0." in figure


@pytest.mark.parametrize("label", [*CHAPTERS, "E11", "x" * 60])
def test_names_in_the_figure_take_two_lines_and_keep_the_number(label: str) -> None:
    lines = short(f"{label} (120)").split("\n")
    assert len(lines) <= 2 and max(map(len, lines)) <= 22 and lines[-1].endswith("(120)")
    assert lines[0].startswith(label[:3])


def test_sets_are_told_in_words(three: dict[str, Subject], pages: dict[str, str]) -> None:
    errors = section(three["chapters"].task, "set_errors")
    text = words(parsed(pages["three kinds"]).all("main")[0].text)
    assert words(sentence(errors, "test records")) in text
    assert f"exactly the right labels to {errors['n'] - errors['wrong']} of {errors['n']}" in text
    for mistake in errors["worst"]:
        assert mistake["id"] in text


def test_a_kind_of_wrong_set_that_did_not_occur_is_not_told() -> None:
    errors = SetErrors(system="s", n=10, wrong=3, missing=3, extra=0, both=0, unparsed=0, labels=[], worst=[])
    told = sentence(errors, "test records")
    assert told.endswith("Of the others 3 lack one or more labels and have none too many.")
    exact = sentence({**errors, "wrong": 0, "missing": 0}, "test records")
    assert exact.endswith("10 of 10 test records (100.0\u202f%).")


def test_withheld_labels_have_counts_and_no_numbers(cases: dict[str, ReportInputs], pages: dict[str, str]) -> None:
    page = parsed(pages["three kinds withheld"])
    tables = [e for e in page.all("table") if e.attributes.get("class") == "labels"]
    assert len(tables) == 3 and all("Precision" not in table.text for table in tables)
    titles = [e.text for e in page.all("title")]
    assert not any("F1" in title or "calibration" in title.lower() for title in titles)


def test_what_is_said_of_yes_or_no_stays_with_yes_or_no(pages: dict[str, str]) -> None:
    for name in ("several labels", "options", "texts"):
        page = parsed(pages[name])
        main = words(page.all("main")[0].text.partition("Reporting checklists")[0])
        for phrase in ("natural frequencies", "Net benefit", "Decision curve", "rarer or commoner", "Screening"):
            assert phrase not in main, (name, phrase)
        assert not any(e.attributes.get("class") == "explorer" for e in page.all("section"))


# ---------------------------------------------------------------- options


def test_every_way_of_scoring_stands_beside_the_chance_level(three: dict[str, Subject], pages: dict[str, str]) -> None:
    page = parsed(pages["three kinds"])
    table = next(e for e in page.all("table") if "scored in several ways" in e.text)
    text = words(table.text)
    systems = [system for system in three["exam"].task["systems"] if section(system, "scorings")]
    assert len(systems) == 2
    for system in systems:
        for way in ("by the letter", "by the text", "by the text, for its length"):
            assert f"{system['name']}, {way}" in text
    assert text.count("the task's way") == len(systems)
    assert "an even guess (chance level) 25.0 % 1.386" in text.replace("\u202f", " ")
    overall = next(e for e in page.all("table") if "systems" in e.attributes.get("class", "") and "Log loss" in e.text)
    assert "an even guess" in overall.text
    assert any("An even guess: 0.250" in e.text for e in page.all("desc"))


def letters(*shares: tuple[float, float]) -> list[ClassResult]:
    return [
        ClassResult(
            label="ABCD"[k],
            support=round(100 * right),
            predicted=round(100 * answered),
            prevalence=right,
            predicted_proportion=answered,
            metrics={},
        )
        for k, (right, answered) in enumerate(shares)
    ]


@pytest.mark.parametrize(
    ("distance", "p", "reason", "expected"),
    [
        (0.25, 0.0001, None, "more than chance would explain: it prefers some letters, whatever they say"),
        (0.25, 0.2, None, "no more than chance would explain"),
        (0.25, None, "items share groups", "cannot be tested (items share groups)"),
        (0.0, 1.0, None, "answers every letter as often as it is right"),
        (None, None, "nothing was answered", "cannot be said (nothing was answered)"),
    ],
)
def test_a_taste_for_letters_in_words(
    distance: float | None, p: float | None, reason: str | None, expected: str
) -> None:
    positions = PositionsDict(distance=distance, p=p, reason=reason)
    told = preference_sentence("tiny", letters((0.5, 0.75), (0.5, 0.25)), positions, 0.95)
    assert told.startswith("tiny") and expected in told
    if distance:
        assert "answers A in 75.0 % of the records, where it is right in 50.0 %" in told.replace("\u202f", " ")
        assert "25.0 in 100 answers would have to be another letter" in told


# ---------------------------------------------------------------- texts


def test_texts_have_their_chapter_and_proxies_are_called_so(three: dict[str, Subject], pages: dict[str, str]) -> None:
    page = parsed(pages["texts"])
    main = words(page.all("main")[0].text)
    titles = ["Agreement with the reference", "Faithfulness to the source", "Form", "Likelihood of the references"]
    for title in [*titles, "References on validation and test"]:
        assert any(title in words(e.text) for e in page.all("caption")), title
    assert "Token F1 (proxy)" in main and "Cut off (proxy)" not in main
    assert "No person has judged whether the texts are right" in main
    assert "natural frequencies" not in main and "most probable label" not in main.partition("Glossary")[0]
    listed = section(three["letter"].task, "doubtful_texts")["listed"]
    assert listed and all(text["id"] in main for text in listed)
    assert "the model answers" not in main


def test_a_text_is_asked_for_and_no_label(three: dict[str, Subject]) -> None:
    subject = three["letter"]
    assert asked(subject.task) == "a text in the model's own words" and counted(subject.task) == ""
    assert asked_briefly(subject.task) == "Generation, a text in the model's own words"
    headline = dict(verdict_view(subject).headline)
    assert "Texts" not in headline and headline["The model"].text == "tiny (after)"
