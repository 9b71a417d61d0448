"""The first table of a study, and that no small count can be worked out from it."""

from collections.abc import Callable, Sequence
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


@given(
    st.integers(1, 5).flatmap(
        lambda values: st.lists(st.lists(st.integers(0, 60), min_size=6, max_size=6), min_size=values, max_size=values)
    )
)
def test_no_sum_has_a_single_gap(cube: list[list[int]]) -> None:
    """Two outcomes in three splits: whatever sum is known, two or more of its counts are not told, or all are."""
    cells = np.array(cube).reshape(-1, 2, 3)
    table = np.column_stack([cells.sum((1, 2)), cells.sum(2), cells.sum(1)])
    parts = [[1, 2], [3, 4, 5]]
    hidden = hidden_counts(table, parts)
    assert hidden[(table > 0) & (table < SMALL_CELL)].all()
    lines = [hidden[value, [0, *part]] for value, part in product(range(len(table)), parts)]
    lines += [hidden[:, column] for column in range(6)]
    assert all(line.sum() != 1 or line.all() for line in lines)


def test_no_more_is_hidden_than_must_be() -> None:
    """One small count: two values by two outcomes go, and the other values stay."""
    table = np.array([[304, 165, 139], [293, 187, 106], [200, 51, 149], [123, 8, 115]])
    assert hidden_counts(table, [[1, 2]])[:, 1:].tolist() == [[False] * 2, [False] * 2, [True] * 2, [True] * 2]
    assert not hidden_counts(table, [[1, 2]])[:, 0].any()
