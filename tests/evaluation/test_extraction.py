"""Declared fields measured: counts of items by hand, invalid answers in every denominator."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from clinfit.evaluation.analyses.field_canaries import run_field_canaries
from clinfit.evaluation.metrics.extraction import EXTRACTION
from clinfit.evaluation.metrics.fields import columns_of, field_scores
from clinfit.evaluation.statistics.bootstrap import Resamples
from clinfit.predictions import NATS, SCORE
from clinfit.study.fields import ExtractedField

FIELDS = {
    "drug": ExtractedField(required=False),
    "dose": ExtractedField(type="number"),
    "signs": ExtractedField(type="list"),
}
GOLD = '{"drug": "Warfarin", "dose": 5, "signs": ["fever", "cough"]}'
NONE = '{"drug": null, "dose": 0.5, "signs": []}'


def scores(output: str, reference: str = GOLD) -> dict[str, float | None]:
    return field_scores(output, reference, FIELDS, "stop")


def test_strings_by_the_normaliser_numbers_by_value_lists_as_sets() -> None:
    found = scores('{"drug": "the warfarin.", "dose": 5.0, "signs": ["Cough", "fever", "fever"]}')
    assert found["all_fields"] == found["valid_output"] == 1
    assert (found["correct:signs"], found["given:signs"], found["true:signs"]) == (2, 2, 2)
    assert scores(GOLD.replace("Warfarin", "not warfarin"))["right:drug"] == 0
    assert scores(GOLD.replace("5", "50"))["right:dose"] == 0
    partly = scores(GOLD.replace('"cough"', '"rash", "pain"'))
    assert (partly["right:signs"], partly["correct:signs"], partly["given:signs"]) == (0, 1, 3)


def test_values_of_a_declared_list_are_compared_as_they_are() -> None:
    fields = {
        "size": ExtractedField(values=["<5", "<=5", "the 5"]),
        "marks": ExtractedField(type="list", values=["<5", "<=5"]),
    }
    found = field_scores('{"size": "<=5", "marks": ["<5", "<=5"]}', '{"size": "<5", "marks": ["<5"]}', fields, "stop")
    assert (found["right:size"], found["correct:size"], found["right:marks"], found["given:marks"]) == (0, 0, 0, 2)


def test_no_value_is_right_where_there_is_none_and_counts_as_no_value() -> None:
    found = scores(NONE, NONE)
    assert found["all_fields"] == 1 and found["true:drug"] == found["given:drug"] == 0
    assert scores(NONE.replace("null", '"aspirin"'), NONE)["right:drug"] == 0
    assert scores(GOLD.replace('"Warfarin"', "null"))["given:drug"] == 0


def test_an_invalid_answer_is_wrong_in_every_denominator() -> None:
    found = scores(f"Here it is: {GOLD}")
    assert found["valid_output"] == found["all_fields"] == 0 and found["not_json"] == 1
    assert [found[f"{count}:signs"] for count in ("right", "correct", "given", "true")] == [0, 0, 2, 2]


def test_an_invalid_answer_costs_where_the_reference_has_no_value() -> None:
    """Two of three answers are garbage to records without a value: 1 right of 3 given, 1 true."""
    fields = {"drug": ExtractedField(required=False)}
    found = [
        field_scores(output, reference, fields, "stop")
        for output, reference in [
            ('{"drug": "aspirin"}', '{"drug": "aspirin"}'), ("garbage", '{"drug": null}'), ("garbage", '{"drug": null}')
        ]
    ]  # fmt: skip
    assert [[row[f"{count}:drug"] for count in ("correct", "given", "true")] for row in found] == [
        [1, 1, 1], [0, 1, 0], [0, 1, 0]
    ]  # fmt: skip
    assert [row["right:drug"] for row in found] == [1, 0, 0]
    empty = scores("no", '{"drug": null, "dose": 1, "signs": []}')
    assert [empty[f"given:{name}"] for name in FIELDS] == [1, 1, 1]


def answers_of(outputs: list[str], references: list[str]) -> Any:
    rows = [scores(output, reference) for output, reference in zip(outputs, references, strict=True)]
    table = pd.DataFrame({SCORE + name: [row[name] for row in rows] for name in columns_of(FIELDS)}, dtype=np.float64)
    table = table.assign(gold=references, status="ok", **dict.fromkeys(NATS, np.nan))
    return EXTRACTION.read(table, [], None)[0]


def test_ratios_are_of_sums_over_items_with_intervals() -> None:
    """Values: true 4 + 1 + 4 = 9; given 4 + 2 + 4 (invalid) = 10; right 4 + 1 + 0 = 5."""
    outputs = [GOLD, NONE.replace("null", '"aspirin"'), "no"]
    answers = answers_of(outputs * 20, [GOLD, NONE, GOLD] * 20)
    (scored,) = EXTRACTION.score([answers], Resamples(answers.strata, None, 200), 0.95)
    table, by_field = EXTRACTION.metrics(scored), EXTRACTION.by_label(scored)
    values = {name: table[name].value for name in ("field_precision", "field_recall", "field_f1", "valid_output")}
    assert values == pytest.approx(
        {"field_precision": 0.5, "field_recall": 5 / 9, "field_f1": 10 / 19, "valid_output": 2 / 3}
    )
    assert table["all_fields"].value == pytest.approx(1 / 3) and table["all_fields"].method == "Wilson"
    for metric in (table["field_f1"], by_field["signs"]["f1"], by_field["drug"]["precision"]):
        assert metric.low is not None and metric.value is not None and metric.high is not None
        assert metric.low < metric.value < metric.high
    assert by_field["drug"]["accuracy"].value == pytest.approx(1 / 3)
    assert by_field["drug"]["precision"].value == pytest.approx(1 / 3)
    assert by_field["dose"]["recall"].value == pytest.approx(2 / 3)
    (empty,) = EXTRACTION.constant(answers, np.zeros(0)).values()
    assert EXTRACTION.estimates(empty)["field_f1"] == 0 and EXTRACTION.estimates(empty)["not_json"] == 1


def test_what_the_verdict_says_of_invalid_answers() -> None:
    answers = answers_of([GOLD, "no", '{"dose": "5", "signs": []}'], [GOLD] * 3)
    (scored,) = EXTRACTION.score([answers], Resamples(answers.strata, None, 50), 0.95)
    assert EXTRACTION.remarks(scored) == [
        "Of its answers, 2 of 3 are no valid object and count as wrong in everything: no JSON object in 1; a value is "
        "of another type in 1."
    ]


def test_the_canaries_pass_and_one_holds_a_reference_without_a_value() -> None:
    found = {each["name"]: each for each in run_field_canaries()}
    assert all(each["passed"] for each in found.values()) and "half of it no object" in found
