"""TRIPOD tables: complete, honest about what only a person knows, and pointing to what the page has."""

import re
from collections import Counter
from copy import deepcopy
from dataclasses import replace
from typing import Literal

import pytest

from clinfit.evaluation.results import FreezeResult
from clinfit.report.checklists.answer import Answer
from clinfit.report.checklists.build import ANSWERS, TO_COMPLETE, answer, checklists, links, read_checklist, score
from clinfit.report.inputs import ReportInputs
from clinfit.report.sections.systems.models import run_name
from clinfit.study.models import Neural, Train

from .conftest import CASES, SEVERAL

NAMES: tuple[Literal["tripod_ai", "tripod_llm"], ...] = ("tripod_ai", "tripod_llm")
every_list = pytest.mark.parametrize("name", NAMES)

#: Only a person can know these, whatever the study says.
PERSONAL = {
    "tripod_ai": {"3a", "3b", "3c", "6a", "6b", "6c", "8b", "8c", "9c", "17", "18a", "18b", "18c", "18d", "19", "27b"},
    "tripod_llm": {"3a", "3b", "7b", "8a", "8b", "8c", "13", "14a", "14b", "14c", "14d", "15", "19d", "19f", "19g"},
}


@every_list
def test_items_are_complete_and_each_once(name: Literal["tripod_ai", "tripod_llm"]) -> None:
    ids = [item.id for item in read_checklist(name).items]
    assert len(ids) == len(set(ids)) == {"tripod_ai": 52, "tripod_llm": 60}[name]
    mains = [int(re.sub(r"\D", "", identifier)) for identifier in ids]
    assert mains == sorted(mains) and set(mains) == set(range(1, {"tripod_ai": 27, "tripod_llm": 19}[name] + 1))
    letters = Counter(mains)
    for item, n in letters.items():
        if n > 1:
            assert [i for i in ids if re.sub(r"\D", "", i) == str(item)] == [
                f"{item}{'abcdefghijkl'[k]}" for k in range(n)
            ]


@every_list
def test_resolvers_exist_and_personal_items_have_none(name: Literal["tripod_ai", "tripod_llm"]) -> None:
    items = read_checklist(name).items
    assert all((item.resolver is None) == (item.fill == "H") for item in items)
    assert {item.resolver for item in items if item.resolver} <= set(ANSWERS)
    assert {item.id for item in items if item.fill == "H"} >= PERSONAL[name]


def test_every_answer_is_asked_for() -> None:
    asked = {item.resolver for name in NAMES for item in read_checklist(name).items}
    assert set(ANSWERS) <= asked


@pytest.mark.parametrize("case", [*CASES, *SEVERAL])
@every_list
def test_no_personal_item_is_ever_filled_in(
    cases: dict[str, ReportInputs], case: str, name: Literal["tripod_ai", "tripod_llm"]
) -> None:
    for item in read_checklist(name).items:
        given = answer(item, cases[case])
        if item.fill == "H":
            assert given == Answer("missing")
        elif item.fill == "S":
            assert given.status in ("draft", "missing"), "the study's words are never called reported"
        else:
            assert given.status != "draft"
        assert (given.text == "") == (given.status == "missing")


def test_facts_are_those_of_the_run(cases: dict[str, ReportInputs]) -> None:
    inputs = cases["binary"]
    said = {item.id: answer(item, inputs) for item in read_checklist("tripod_ai").items}
    assert said["4"] == Answer("draft", inputs.study.description)
    assert "272 rows read; 2 dropped (missing note), 31 changed (strip_citations)" in said["7"].text
    (task,) = inputs.results["tasks"].values()
    events = task["counts"]["test"]["labels"]["malignant"]
    assert f"test 90 (malignant {events})" in said["21"].text
    assert "missing values: note 26" in said["11"].text
    assert said["12d"].status == "not applicable" and "no column of sites" in said["12d"].text
    llm = {item.id: answer(item, inputs) for item in read_checklist("tripod_llm").items}
    assert "clinfit/tiny" in llm["6a"].text and "rank 16" in llm["6c"].text
    trained = {"train": Train(epochs=600, max_steps=600)}
    models = [spec.model_copy(update=trained if isinstance(spec, Neural) else {}) for spec in inputs.study.models]
    steps = inputs.study.model_copy(update={"models": models})
    assert "tiny: 600 steps, learning rate" in given_by("llm_settings", replace(inputs, study=steps)).text
    assert llm["17"].status == "partly", "no freeze: nothing shows that the metrics were fixed beforehand"


def test_few_missing_values_are_told_without_their_number(cases: dict[str, ReportInputs]) -> None:
    results = deepcopy(cases["binary"].results)
    (task,) = results["tasks"].values()
    task["sections"]["characteristics"]["rows"][0]["missing"][0] = None
    few = given_by("missing_data", replace(cases["binary"], results=results))
    assert few.text.endswith("missing values: note (not told how many)")


def test_several_kinds_are_told_as_they_are(cases: dict[str, ReportInputs], pages: dict[str, str]) -> None:
    inputs = cases["three kinds"]
    output = given_by("output", inputs).text
    assert "finding: " in output and "tiny (after): each label from its own probability on (" in output
    assert output.count("the most probable") == 2, "the same words for all systems of a task are said once"
    assert "23 labels, each of 0 to 65 records" in given_by("events", inputs).text
    assert given_by("fairness", inputs).text == "chapters: performance by sex; exam: performance by sex"
    assert '<a href="#task2-labels">Each label (chapters)</a>' in pages["three kinds"]
    assert '<a href="#task3-confusion">Confusion matrices (exam)</a>' in pages["three kinds"]


def test_nothing_is_claimed_of_bare_predictions(cases: dict[str, ReportInputs]) -> None:
    """A predictions file tells nothing of training, prompts and preparation."""
    results = deepcopy(cases["binary"].results)
    del results["tasks"]["finding"]["sections"]["characteristics"]
    bare = replace(cases["binary"], results=results, models=[], data={}, logs={})
    for name, unknown in (
        ("tripod_ai", ("7", "11", "12a", "12b", "12c", "12g", "13", "22")),
        ("tripod_llm", ("6b", "6c", "9a", "12")),
    ):
        said = {item.id: answer(item, bare) for item in read_checklist(name).items}
        assert {said[item].status for item in unknown} == {"missing"}


def test_which_lists_and_where_they_point(cases: dict[str, ReportInputs], pages: dict[str, str]) -> None:
    simple = checklists(cases["no neural model"], {}, {"finding": "task1"})
    assert [view.name for view in simple] == ["TRIPOD+AI"]
    assert not any(row.links for row in simple[0].rows), "no heading, no link"
    views = checklists(cases["binary"], {"task1-data": "Data", "models": "Models"}, {"finding": "task1"})
    assert [view.name for view in views] == ["TRIPOD+AI", "TRIPOD-LLM"]
    rows = {row.id: row for row in views[0].rows}
    assert rows["20a"].links == [("task1-data", "Data")] and rows["12c"].links == [("models", "Models")]
    assert rows["17"].words == TO_COMPLETE and rows["23a"].links == []
    assert f"<td>{TO_COMPLETE}</td>" in pages["binary"]
    assert re.search(r'<td>reported in <a href="#task1-data">Data</a></td>', pages["binary"])


def test_an_answer_points_to_every_task_that_shows_it() -> None:
    headings = {"task1-data": "Data", "task2-data": "Data", "task1-confusion": "Confusion matrices"}
    headings |= {"task2-labels": "Each label", "models": "Models"}
    anchors = {"cancer": "task1", "organs": "task2"}
    assert links("data", headings, anchors) == [("task1-data", "Data (cancer)"), ("task2-data", "Data (organs)")]
    shown = [("task1-confusion", "Confusion matrices (cancer)"), ("task2-labels", "Each label (organs)")]
    assert links("confusion", headings, anchors) == shown, "a task without a confusion matrix shows its labels"
    assert links("models", headings, anchors) == [("models", "Models")]
    assert links("subgroups", headings, anchors) == [] == links("", headings, anchors)


def test_score_counts_reported_of_applicable() -> None:
    statuses = ["reported", "reported", "partly", "draft", "missing", "not applicable"]
    answers = [Answer(status, "x") for status in statuses]  # type: ignore[arg-type]
    assert score(answers).startswith("2 of 5 applicable items are reported, 1 partly, 1 drafted")


def test_model_facts_name_the_packed_model(cases: dict[str, ReportInputs], pages: dict[str, str]) -> None:
    page = pages["binary"]
    label = page[page.index('id="task1-facts"') : page.index('id="task1-clinical"')]
    (task,) = cases["binary"].results["tasks"].values()
    model = next(system for system in task["systems"] if system["name"] == task["chosen"]["system"])
    assert (
        f"Model facts: {model['name']}" in label and run_name(cases["binary"].models[1]) == f"{model['model']}-seed42"
    )
    assert f"AUROC {model['metrics']['auroc']['value']:.3f}" in label and "Chosen on validation: " in label
    assert f"who they are, where and when: {TO_COMPLETE}" in label
    assert "fewer than 100 records" in label and "tiny (before): 10.0" not in label, "warnings about others stay out"
    assert 'id="task1-facts"' not in pages["one class"], "no model was chosen where the numbers are withheld"


def test_each_system_is_said_to_decide_and_recalibrate_as_it_does(cases: dict[str, ReportInputs]) -> None:
    """One rule asked for is not one rule done: where validation could not serve a system, its own words stand."""
    inputs = deepcopy(cases["binary"])
    (task,) = inputs.results["tasks"].values()
    fitted, other, *_ = task["systems"]
    fitted["sections"]["threshold"] |= {
        "rule": "youden",
        "value": 0.3,
        "split": "validation",
        "n": 90,
        "words": "Youden's index",
    }
    fitted["sections"]["recalibration"] = {
        "kind": "platt",
        "parameters": {"slope": [1.5]},
        "split": "validation",
        "n": 90,
        "note": None,
        "before": {},
    }
    other["sections"]["recalibration"] = {
        "kind": "none",
        "parameters": {},
        "split": None,
        "n": 0,
        "note": "one class only",
        "before": {},
    }
    said = {item.resolver: answer(item, inputs).text for item in read_checklist("tripod_ai").items if item.resolver}
    assert f"{fitted['name']}: positive from a probability of 0.3, chosen on 90 validation items" in said["output"]
    assert f"{other['name']}: the most probable label" in said["output"]
    assert f"recalibration: {fitted['name']}: Platt, slope 1.5" in said["imbalance"]
    assert f"{other['name']}: none (one class only)" in said["imbalance"]


@pytest.mark.parametrize(("scored", "status"), [(1, "reported"), (3, "partly")])
def test_a_test_split_that_was_scored_again_is_not_called_held_out(
    cases: dict[str, ReportInputs], scored: int, status: str
) -> None:
    inputs = deepcopy(cases["binary"])
    inputs = replace(inputs, data={name: {**entry, "splits": {}} for name, entry in inputs.data.items()})
    assert given_by("held_out", inputs).status == "partly", "nothing tells how often it was scored"
    (task,) = inputs.results["tasks"].values()
    task["sections"]["freeze"] = FreezeResult(
        state="frozen",
        sha256="0" * 64,
        frozen_at="t0",
        first_scored_at="t1",
        scored=scored,
        changed=[],
        sentence="",
    )
    given = given_by("held_out", inputs)
    assert (given.status, given.section) == (status, "freeze")
    assert given_by("prespecified", inputs).section == "freeze"


def test_a_report_of_free_answers_speaks_of_no_likelihood(cases: dict[str, ReportInputs]) -> None:
    inputs = deepcopy(cases["binary"])
    (task,) = inputs.results["tasks"].values()
    assert given_by("generated", inputs).status == "not applicable"
    assert "likelihood" in given_by("calculation", inputs).text
    assert given_by("output", inputs).text.startswith("a probability for each label")
    task["findings"].append({"level": "info", "code": "free-answers-scored"})
    for system in task["systems"]:
        system["sections"]["selective"] = None
    assert given_by("generated", inputs) == Answer("reported", "free answers against the labels", "confusion")
    assert "likelihood" not in given_by("calculation", inputs).text
    assert given_by("output", inputs).text.startswith("one label")
    assert given_by("llm_output", inputs).text.startswith("free answers")
    assert given_by("generated", replace(inputs, models=[])).status == "missing", "nothing is known of another tool"


def test_nothing_is_said_to_come_from_a_validation_split_that_is_not_there(cases: dict[str, ReportInputs]) -> None:
    inputs = deepcopy(cases["binary"])
    inputs = replace(inputs, data={name: {**entry, "splits": {}} for name, entry in inputs.data.items()})
    assert "chosen on validation" in given_by("held_out", inputs).text
    (task,) = inputs.results["tasks"].values()
    task["counts"].pop("validation", None)
    assert "validation" not in given_by("held_out", inputs).text


def given_by(name: str, inputs: ReportInputs) -> Answer:
    return ANSWERS[name](inputs)


@pytest.mark.parametrize("case", ["texts", "fields"])
def test_a_task_without_labels_has_no_most_probable_answer(cases: dict[str, ReportInputs], case: str) -> None:
    said = given_by("output", cases[case]).text
    assert "written" in said and "probab" not in said and "label" not in said
    assert "()" not in given_by("events", cases[case]).text
