"""The first table of a study, and that no small count can be worked out from it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinfit.data.characteristics import OTHER, characteristics, hidden_counts
from clinfit.data.records import Record
from clinfit.data.values import SMALL_CELL
from clinfit.study.tasks import Task, task_from

MakeRecord = Callable[..., Record]
INPUTS = {
    "age": {"column": "age", "type": "number", "unit": "years"},
    "ward": {"column": "ward", "type": "category"},
    "text": "text",
}


def task_of(**more: Any) -> Task:
    block = {"path": "data.csv", "inputs": INPUTS, "label": "outcome"}
    return task_from({"labels": ["well", "ill"], "data": block} | more)


def patients(make_record: MakeRecord, wards: Sequence[str] = ("north", "south")) -> list[Record]:
    """240 records: the ill are ten years older; every fourth has no age."""
    return [
        make_record(
            f"r{at}",
            "two words" if at % 3 else "three short words",
            ("train", "validation", "test")[at % 3],
            "ill" if at % 2 else "well",
            age=None if at % 4 == 3 else 40.0 + 10 * (at % 2) + at % 5,
            ward=wards[at // 7 % len(wards)],
        )
        for at in range(240)
    ]


def test_records_are_described_by_outcome_and_by_split(make_record: MakeRecord) -> None:
    table = characteristics(task_of(), patients(make_record))
    assert [(column["of"], column["name"], column["n"]) for column in table["columns"]] == [
        ("all", "", 240), ("outcome", "well", 120), ("outcome", "ill", 120),
        ("split", "train", 80), ("split", "validation", 80), ("split", "test", 80),
    ]  # fmt: skip
    age, ward, text = table["rows"]
    assert (age["unit"], age["missing"]) == ("years", [60, 0, 60, 20, 20, 20])
    assert age["values"][1]["median"] == 42.0 and age["values"][2]["median"] == 52.0
    assert age["difference"] > 5 and age["missing_difference"] == pytest.approx(1.4, abs=0.1)
    assert ward["counts"]["north"][0] + ward["counts"]["south"][0] == 240 and ward["missing_difference"] is None
    assert text["values"][3]["median"] == 3.0 and text["type"] == "text"


def test_kinds_without_outcomes_of_their_own_have_one_column(make_record: MakeRecord) -> None:
    table = characteristics(task_of(kind="multilabel"), patients(make_record))
    assert [column["of"] for column in table["columns"]] == ["all", "split", "split", "split"]
    assert all(row["difference"] is None for row in table["rows"])


def test_rare_values_have_no_name_and_free_text_none_at_all(make_record: MakeRecord) -> None:
    records = [make_record(f"r{at}", "a", age=1.0, ward="rare" if at < 4 else "north") for at in range(60)]
    (_, ward, _) = characteristics(task_of(), records)["rows"]
    assert list(ward["counts"]) == ["north", OTHER] and ward["counts"][OTHER][0] is None
    assert ward["counts"]["north"][0] is None, "it would give the other one away"
    named = characteristics(task_of(), patients(make_record, [f"ward {at}" for at in range(30)]))["rows"][1]
    assert named["counts"] is None and named["distinct"] == 30


def test_few_values_have_no_quartiles(make_record: MakeRecord) -> None:
    records = [make_record(f"r{at}", "a", "train", "ill" if at < 9 else "well", age=1.0 * at) for at in range(40)]
    age = characteristics(task_of(data={"path": "d", "inputs": {"age": INPUTS["age"]}, "label": "outcome"}), records)
    assert [value is None for value in age["rows"][0]["values"]] == [False, False, True, False]


def few_missing(make_record: MakeRecord) -> list[Record]:
    """240 records, of which six have no ward and as many no age: one of the well, five of the ill."""
    return [
        make_record(
            f"r{at}",
            "two words",
            ("train", "validation", "test")[at % 3],
            "ill" if at % 2 else "well",
            age=None if at in (0, 1, 3, 5, 7, 9) else 40.0 + at % 5,
            ward=None if at in (0, 1, 3, 5, 7, 9) else ("north", "south", "east")[at // 7 % 3],
        )
        for at in range(240)
    ]


def test_a_small_count_of_missing_values_cannot_be_worked_out(make_record: MakeRecord) -> None:
    """From the records and the categories of a column neither; one difference of two outcomes would tell both."""
    age, ward, text = characteristics(task_of(), few_missing(make_record))["rows"]
    assert age["missing"] == ward["missing"] == [None] * 6 and text["missing"] == [0] * 6
    assert age["missing_difference"] is None and ward["missing_difference"] is None
    columns = list(zip(*ward["counts"].values(), strict=True))
    assert all(None in column for column in columns), "what all categories and the records leave is missing"
    assert all(any(count is not None for count in column) for column in columns), "and no more than must be"


def test_missing_values_of_many_are_told_and_hide_no_category(make_record: MakeRecord) -> None:
    lacking = [make_record(f"m{at}", "a", "train", ("well", "ill")[at % 2], age=1.0, ward=None) for at in range(60)]
    (_, ward, _) = characteristics(task_of(), [*patients(make_record), *lacking])["rows"]
    assert ward["missing"] == [60, 30, 30, 60, 0, 0] and ward["missing_difference"] == pytest.approx(0)
    assert all(None not in counts for counts in ward["counts"].values())


def test_free_text_has_small_counts_of_missing_values_neither(make_record: MakeRecord) -> None:
    named = [f"ward {at}" for at in range(30)]
    records = [
        replace(r, inputs={**r.inputs, "ward": None}) if at < 4 else r
        for at, r in enumerate(patients(make_record, named))
    ]
    assert characteristics(task_of(), records)["rows"][1]["missing"][0] is None


def test_missing_values_hide_others_only_where_no_category_can() -> None:
    """Their counts stand elsewhere too."""
    assert hidden_counts(np.array([[200], [5], [30]]), [], spared=[2])[:, 0].tolist() == [True, True, False]
    assert hidden_counts(np.array([[200], [5], [30]]), [])[:, 0].tolist() == [False, True, True]
    assert hidden_counts(np.array([[0], [5], [30]]), [], spared=[2])[:, 0].tolist() == [False, True, True]


@given(
    st.integers(1, 5).flatmap(
        lambda values: st.lists(st.lists(st.integers(0, 60), min_size=6, max_size=6), min_size=values, max_size=values)
    ),
    st.booleans(),
)
def test_no_sum_has_a_single_gap(cube: list[list[int]], with_missing: bool) -> None:
    """Two outcomes in three splits: whatever sum is known, two or more of its counts are not told, or all are."""
    cells = np.array(cube).reshape(-1, 2, 3)
    table = np.column_stack([cells.sum((1, 2)), cells.sum(2), cells.sum(1)])
    parts = [[1, 2], [3, 4, 5]]
    hidden = hidden_counts(table, parts, spared=[len(table) - 1] if with_missing else [])
    assert hidden[(table > 0) & (table < SMALL_CELL)].all()
    lines = [hidden[value, [0, *part]] for value, part in product(range(len(table)), parts)]
    lines += [hidden[:, column] for column in range(6)]
    assert all(line.sum() != 1 or line.all() for line in lines)


def test_no_more_is_hidden_than_must_be() -> None:
    """One small count: two values by two outcomes go, and the other values stay."""
    table = np.array([[304, 165, 139], [293, 187, 106], [200, 51, 149], [123, 8, 115]])
    assert hidden_counts(table, [[1, 2]])[:, 1:].tolist() == [[False] * 2, [False] * 2, [True] * 2, [True] * 2]
    assert not hidden_counts(table, [[1, 2]])[:, 0].any()
