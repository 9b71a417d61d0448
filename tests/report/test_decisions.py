"""The section on what becomes of a probability: every number from the results, every rule in words."""

import re
from typing import Any

import pytest

from clinfit.evaluation.claims.wording import threshold_words
from clinfit.report.build import render, subjects_of
from clinfit.report.inputs import ReportInputs
from clinfit.report.sections.performance.decisions import decisions_view

from .conftest import BINARY, FOREST, MAJORITY, THREE, report_inputs
from .test_build import Page, words

SYSTEMS = [("majority", 1, None), ("random-forest", 1, 2.0)]


def inputs(labels: Any = BINARY, **evaluation: Any) -> ReportInputs:
    return report_inputs(labels, SYSTEMS, [MAJORITY, FOREST], **evaluation)


def forest(made: ReportInputs) -> Any:
    (task,) = made.results["tasks"].values()
    return next(system for system in task["systems"] if system["model"] == "random-forest")


def section(page: str) -> str:
    """The words of the section alone, without its figure."""
    start = page.index('id="task1-decisions"')
    text = re.sub(r"<svg.*?</svg>", "", page[start : page.index('id="task1-systems"', start)], flags=re.DOTALL)
    return words(re.sub(r"<[^>]+>", " ", text))


@pytest.fixture(scope="module")
def binary() -> ReportInputs:
    return inputs(
        calibration="platt",
        threshold={"rule": "guarantee", "value": 0.7},
        refer={"rule": "confidence", "value": 0.8},
    )


def test_everything_is_told_in_words_and_numbers(binary: ReportInputs) -> None:
    system, page = forest(binary), render(binary)
    text = section(page)
    assert "Platt, slope" in text and "fitted on 90 validation items" in text
    assert words(threshold_words(system)) in text
    assert "chosen on 90 validation items for sensitivity of at least 70 % with probability 90 %" in text
    referral = system["sections"]["referral"]
    right = referral["metrics"]["accuracy"]["events"]
    assert f"{referral['referred']} of 90 test records are handed to a person" in text
    assert f"of the {referral['decided']} that are decided, {right} are right" in text
    assert "Sets of labels, random-forest: sets of labels need 100 validation items and there are 90." in text
    values = {e.attributes["data-value"] for e in Page(page).elements if "data-value" in e.attributes}
    parts = (
        system["sections"]["recalibration"]["before"],
        referral["metrics"],
        system["sections"]["selective"]["accuracy_at"],
    )
    numbers = [metric["value"] for part in parts for metric in part.values()] + [
        system["sections"]["selective"]["aurc"]
    ]
    assert {repr(number) for number in numbers if number is not None} <= values
    assert "Risk-coverage curves" in [e.text for e in Page(page).all("title")]


def test_three_labels_have_no_threshold_and_still_a_section() -> None:
    made = inputs(THREE, calibration="temperature", primary="macro_f1")
    text = section(render(made))
    assert "temperature" in text and "Thresholds" not in text and "Referral" not in text
    assert "Surest 90 %" in text


def test_nothing_where_numbers_are_withheld_or_only_rules_answer(cases: dict[str, ReportInputs]) -> None:
    for name in ("one class", "hostile words"):
        assert decisions_view(subjects_of(cases[name])[0]) is None


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({}, "the most probable label"),
        ({"rule": "fixed", "value": 0.3}, "positive from a probability of 0.3, fixed in the study"),
        (
            {"rule": "guarantee", "value": 0.99, "certainty": 0.99},
            "the most probable label (no threshold on validation items gives sensitivity of at least 99 % with "
            "probability 99 %)",
        ),
    ],
)
def test_threshold_words(rule: dict[str, Any], expected: str) -> None:
    assert threshold_words(forest(inputs(threshold=rule) if rule else inputs())) == expected
