"""Shift that was put in is measured; formulas against their definitions; no words of a text."""

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2_contingency

from clinfit.data.records import Record
from clinfit.data.shift import Shift, by_chance, category_difference, mean_difference, shift_rows
from clinfit.evaluation.analyses.shift import check_shift
from clinfit.evaluation.results import ShiftRow
from clinfit.study.tasks import Task, task_from

MakeRecord = Callable[..., Record]


@pytest.fixture
def task() -> Task:
    inputs = {"text": "text", "age": {"column": "age", "type": "number"}, "ward": {"column": "w", "type": "category"}}
    return task_from({"labels": ["well", "ill"], "data": {"path": "x.csv", "inputs": inputs}})


def sample(make_record: MakeRecord, split: str, n: int, seed: int, **shift: float) -> list[Record]:
    rng = np.random.default_rng(seed)
    return [
        make_record(
            f"{split}{at}",
            " ".join(["zebra" if shift.get("words") else "note"] * (10 + at % 5)),
            split,
            "ill" if rng.random() < 0.3 + shift.get("events", 0) else "well",
            age=float(rng.normal(60 + shift.get("age", 0), 10)),
            ward="north" if rng.random() < 0.5 + shift.get("ward", 0) else "south",
        )
        for at in range(n)
    ]


def by_name(rows: list[Shift]) -> dict[str, Shift]:
    return {row.name: row for row in rows}


def test_no_alarm_where_nothing_shifted(task: Task, make_record: MakeRecord) -> None:
    rows = shift_rows(task, [*sample(make_record, "train", 800, 1), *sample(make_record, "test", 800, 2)])
    assert not [row.name for row in rows if row.alert]
    kinds = {"label", "text length", "vocabulary", "number", "category"}
    assert {row.kind for row in rows} == kinds


def test_injected_shift_is_found_where_it_is(task: Task, make_record: MakeRecord) -> None:
    test = sample(make_record, "test", 800, 2, age=8, ward=0.3, events=0.3, words=1)
    found = by_name(shift_rows(task, [*sample(make_record, "train", 800, 1), *test]))
    assert {name for name, row in found.items() if row.alert} == {"age", "ward", "share of 'ill'"}
    assert found["age"].difference == pytest.approx(0.8, abs=0.12)
    assert found["text: words"].difference == pytest.approx(0, abs=0.01)
    assert found["text: vocabulary"].test == "100.0% of all words, 100.0% of the different ones unseen"
    assert "zebra" not in json.dumps([asdict(row) for row in found.values()])


def test_missing_values_that_only_test_has(task: Task, make_record: MakeRecord) -> None:
    test = [make_record(f"t{at}", "a note", "test", age=None if at % 2 else 60.0, ward="north") for at in range(40)]
    found = by_name(shift_rows(task, [*sample(make_record, "train", 40, 1), *test]))
    assert found["age: missing"].alert and found["age: missing"].test == "50.0%"
    assert found["age: missing"].train == "0.0%"


def test_a_few_missing_values_are_not_counted(task: Task, make_record: MakeRecord) -> None:
    test = [make_record(f"t{at}", "a note", "test", age=60.0 if at > 8 else None, ward="north") for at in range(40)]
    found = by_name(shift_rows(task, [*sample(make_record, "train", 40, 1), *test]))
    assert (found["age: missing"].train, found["age: missing"].test) == ("0.0%", "<10 records")


@pytest.mark.parametrize("old", [0, 3, 9, 40])
@pytest.mark.parametrize("size", [40, 200])
def test_a_count_that_is_not_told_cannot_be_worked_out(
    task: Task, make_record: MakeRecord, old: int, size: int
) -> None:
    """Whatever it is, the row is the same."""
    train = [make_record(f"r{at}", "a note", "train", age=60.0 if at >= old else None, ward="a") for at in range(200)]
    rows = set()
    for few in range(1, 10):
        test = [
            make_record(f"t{at}", "a note", "test", age=60.0 if at >= few else None, ward="a") for at in range(size)
        ]
        found = by_name(shift_rows(task, [*train, *test]))
        rows.add((found["age: missing"], found["age"].p))
    assert len(rows) == 1


def test_many_missing_against_few_are_a_large_difference(task: Task, make_record: MakeRecord) -> None:
    test = [make_record(f"t{at}", "a note", "test", age=None if at % 2 else 60.0, ward="a") for at in range(40)]
    train = [make_record(f"r{at}", "a note", "train", age=60.0 if at >= 3 else None, ward="a") for at in range(200)]
    found = by_name(shift_rows(task, [*train, *test]))["age: missing"]
    assert found.alert and found.train == "<10 records" and found.test == "50.0%"


def test_a_constant_that_changed_has_no_limit(task: Task, make_record: MakeRecord) -> None:
    records = [
        make_record(f"{split}{at}", "a note", split, age=age, ward="north")
        for split, age in (("train", 1.0), ("test", 2.0))
        for at in range(20)
    ]
    row = by_name(shift_rows(task, records))["age"]
    assert row.difference is None and row.alert
    json.dumps(asdict(row), allow_nan=False)


def rows_of(train: np.ndarray, test: np.ndarray) -> list[ShiftRow]:
    """A row for each column of the two splits."""
    sizes = (len(train), len(test))
    found = [mean_difference(train[:, k], test[:, k]) or 0.0 for k in range(train.shape[1])]
    return [
        ShiftRow(
            name=f"x{k}", kind="number", train="", test="", difference=d, alert=abs(d) >= 0.25, p=by_chance(d, sizes)
        )
        for k, d in enumerate(found)
    ]


def test_a_random_split_of_many_inputs_is_no_warning(make_record: MakeRecord) -> None:
    """30 inputs of 120 and 40 records: chance gives most such studies a large difference somewhere."""
    draws = [np.random.default_rng(seed).normal(size=(160, 30)) for seed in range(60)]
    studies = [rows_of(values[:120], values[120:]) for values in draws]
    assert sum(any(row["alert"] for row in rows) for rows in studies) > 45
    assert sum(bool(check_shift(rows)) for rows in studies) <= 6
    moved = [rows_of(values[:120], np.add(values[120:], np.eye(30)[0] * 0.8)) for values in draws]
    warned = [finding for rows in moved for finding in check_shift(rows)]
    assert len(warned) > 50 and all("x0 (+" in finding.evidence for finding in warned)
    assert all("among 30 properties" in finding.evidence for finding in warned)


def test_chance_of_a_difference_between_categories(task: Task, make_record: MakeRecord) -> None:
    """The p value of a category is that of Pearson's test, nearly."""
    train, test = [40, 35, 25], [10, 14, 16]
    records = [
        make_record(f"{split}{ward}{at}", "a note", split, age=1.0, ward=f"w{ward}")
        for split, counts in (("train", train), ("test", test))
        for ward, n in enumerate(counts)
        for at in range(n)
    ]
    row = by_name(shift_rows(task, records))["ward"]
    assert row.p == pytest.approx(float(chi2_contingency([train, test]).pvalue), rel=0.2)


def test_nothing_to_compare_without_training(task: Task, make_record: MakeRecord) -> None:
    assert shift_rows(task, sample(make_record, "test", 20, 1)) == []


def test_rare_categories_are_not_counted(task: Task, make_record: MakeRecord) -> None:
    wards = ["north"] * 30 + ["south"] * 14 + ["rare"] * 3
    records = [make_record(f"r{at}", "a note", "train", age=1.0, ward=ward) for at, ward in enumerate(wards)]
    test = [make_record(f"t{at}", "a note", "test", age=1.0, ward="rare") for at in range(12)]
    assert by_name(shift_rows(task, [*records, *test]))["ward"].train == "rare: <10 records"


@given(st.integers(2, 200), st.integers(2, 200), st.floats(0.02, 0.98), st.floats(0.02, 0.98))
def test_two_categories_are_a_share(n: int, m: int, p: float, q: float) -> None:
    expected = abs(q - p) / np.sqrt((p * (1 - p) + q * (1 - q)) / 2)
    found = category_difference(np.array([p, 1 - p]), np.array([q, 1 - q]))
    assert found == pytest.approx(expected, abs=1e-9)


def test_the_left_out_category_does_not_matter() -> None:
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5])
    orders: list[Any] = [[0, 1, 2], [2, 0, 1], [1, 2, 0]]
    values = [category_difference(p[order], q[order]) for order in orders]
    assert values == pytest.approx([values[0]] * 3)
    assert category_difference(np.array([1.0, 0.0]), np.array([1.0, 0.0])) == 0


def test_difference_of_means() -> None:
    rng = np.random.default_rng(0)
    train, test = rng.normal(0, 2, 50), rng.normal(1, 3, 70)
    spread = np.sqrt((np.var(train, ddof=1) + np.var(test, ddof=1)) / 2)
    assert mean_difference(train, test) == pytest.approx((test.mean() - train.mean()) / spread)
