"""What training has seen, told without telling of anybody, and what new records hold beyond it."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinfit.data.records import Record, Value
from clinfit.data.seen import Seen, SeenCategories, SeenNumbers, as_seen, seen_values
from clinfit.data.values import SMALL_CELL
from clinfit.study.data import InputColumn

SEX = InputColumn(column="sex", type="category")
AGE = InputColumn(column="age", type="number", unit="years")
COLUMNS = {"sex": SEX, "age": AGE, "note": InputColumn(column="note")}


def record(sex: Value, age: Value) -> Record:
    return Record("r", "r", {"sex": sex, "age": age, "note": "text of a patient"})


def seen_of(sexes: Sequence[Value], ages: Sequence[Value]) -> dict[str, SeenCategories | SeenNumbers]:
    return seen_values(COLUMNS, [record(sex, age) for sex, age in zip(sexes, ages, strict=True)])


AGES: list[Value] = [float(age) for age in range(29, 78)]
SEEN: Seen = {
    "sex": SeenCategories(("female", "male"), rare=False, typical="male"),
    "age": SeenNumbers(20.0, 90.0, typical=53.0),
}


def test_what_training_holds() -> None:
    seen = seen_of(["female"] * 24 + ["male"] * 25, AGES)
    assert seen == {
        "sex": SeenCategories(("female", "male"), rare=False, typical="male"),
        "age": SeenNumbers(20.0, 80.0, typical=53.0),
    }


def test_rare_categories_are_not_named() -> None:
    seen = seen_of(["female"] * 24 + ["male"] * 16 + ["intersex"] * 9, AGES)
    assert seen["sex"] == SeenCategories(("female", "male"), rare=True, typical="female")
    assert "sex" not in seen_of([f"s{at}" for at in range(49)], AGES)
    assert "age" not in seen_of(["male"] * 9, AGES[:9])


@given(st.lists(st.floats(-1e6, 1e6).map(lambda x: float(f"{x:.6g}")), min_size=SMALL_CELL, max_size=60))
def test_a_range_holds_all_of_training_and_ends_at_nobody(numbers: list[float]) -> None:
    seen = seen_of(["male"] * len(numbers), list(numbers))["age"]
    assert isinstance(seen, SeenNumbers) and seen.low <= min(numbers) and max(numbers) <= seen.high
    for end, ordered in ((seen.high, sorted(numbers, reverse=True)), (seen.low, sorted(numbers))):
        shared = ordered[SMALL_CELL - 1]
        assert end == shared == ordered[0] or end != shared


def test_the_most_extreme_person_moves_an_end_by_steps_only() -> None:
    rng = random.Random(0)
    ages = [round(rng.gauss(60, 10), 1) for _ in range(200)]
    ends = {seen_of(["male"] * 201, [*ages, 101 + at / 10])["age"] for at in range(80)}
    assert len(ends) == 1


def test_notes_name_the_value_and_what_training_held() -> None:
    assert as_seen(record("männlich", 630.0), SEEN, {})[1] == [
        "sex: 'männlich' was not in training",
        "age: 630 is outside 20 to 90",
    ]
    same = record("male", 90.0)
    assert as_seen(same, SEEN, {}) == (same, []) and as_seen(record(None, None), SEEN, {})[1] == []


@pytest.mark.parametrize("value", ["MALE", "Male"])
def test_a_category_that_only_case_tells_from_a_known_one_is_read_as_it(value: str) -> None:
    read, notes = as_seen(record(value, 50.0), SEEN, {})
    assert read.inputs["sex"] == "male" and notes == [f"sex: {value!r} was not in training and is read as 'male'"]


def test_case_is_kept_where_it_may_mean_something() -> None:
    """Two known ones differ by case (genotypes), or training may hold this very spelling in a few records."""
    for seen in (SeenCategories(("AA", "Aa"), False, "AA"), SeenCategories(("AA", "BB"), True, "AA")):
        read, (note,) = as_seen(record("aa", 50.0), {"sex": seen}, {})
        assert read.inputs["sex"] == "aa" and "read as" not in note
    assert note == "sex: 'aa' was in fewer than 10 training records, or in none"


def test_lost_zeros_are_named_and_long_values_are_cut() -> None:
    codes = {"sex": SeenCategories(("0389", "250"), False, "250")}
    assert as_seen(record("389", None), codes, {})[1] == [
        "sex: '389' was not in training ('0389' was: leading zeros may be lost)"
    ]
    (note,) = as_seen(record("word " * 30, None), codes, {})[1]
    assert len(note) < 80
