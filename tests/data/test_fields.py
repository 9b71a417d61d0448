"""Declared fields as JSON: one text for one object, and a text read as strictly as it is written."""

import json
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinfit.data.fields import canonical, read_object, told
from clinfit.data.targets import known_targets, read_targets
from clinfit.errors import ClinfitError
from clinfit.study.fields import ExtractedField
from clinfit.study.tasks import Extraction, task_from

FIELDS = {
    "drug": ExtractedField(),
    "dose": ExtractedField(type="number", required=False),
    "days": ExtractedField(type="integer"),
    "oral": ExtractedField(type="boolean"),
    "signs": ExtractedField(type="list", values=["fever", "cough"]),
    "side": ExtractedField(values=["left", "right"]),
}
GOOD: dict[str, Any] = {"drug": "ß-blocker", "dose": 2.5, "days": 3, "oral": True, "signs": ["cough"], "side": "left"}


def test_a_valid_object_is_read_whatever_its_order_and_white_space() -> None:
    text = " \n" + json.dumps(dict(reversed(GOOD.items())), indent=2) + "\n"
    assert read_object(text, FIELDS).values == GOOD
    assert list(read_object(text, FIELDS).values or {}) == list(FIELDS)
    assert read_object(json.dumps(GOOD | {"days": 3.0}), FIELDS).values == GOOD, "as JSON Schema has it"
    without = {name: value for name, value in GOOD.items() if name != "dose"}
    assert read_object(json.dumps(without), FIELDS).values == GOOD | {"dose": None}


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("", ("not_json",)),
        ("The drug is a beta blocker.", ("not_json",)),
        (f"```json\n{json.dumps(GOOD)}\n```", ("not_json",)),
        (f"Sure: {json.dumps(GOOD)}", ("not_json",)),
        (json.dumps(GOOD)[:-1], ("not_json",)),
        (json.dumps([GOOD]), ("not_json",)),
        (json.dumps(GOOD | {"dose": float("nan")}), ("not_json",)),
        ("[" * 100_000, ("not_json",)),
        (json.dumps(GOOD).replace("2.5", "9" * 5000), ("not_json",)),
        (json.dumps(GOOD).replace("2.5", "1e999"), ("wrong_type",)),
        (json.dumps(GOOD).replace("2.5", "9" * 310), ("wrong_type",)),
        (json.dumps(GOOD).replace("3,", "9" * 310 + ","), ("wrong_type",)),
        (json.dumps(GOOD | {"Drug": "x"}), ("extra_field",)),
        (json.dumps(GOOD)[:-1] + ', "drug": "other"}', ("extra_field",)),
        (json.dumps(GOOD | {"drug": None}), ("missing_field",)),
        (json.dumps({"drug": "x"}), ("missing_field",)),
        (json.dumps(GOOD | {"dose": "2.5"}), ("wrong_type",)),
        (json.dumps(GOOD | {"dose": True}), ("wrong_type",)),
        (json.dumps(GOOD | {"days": 3.5}), ("wrong_type",)),
        (json.dumps(GOOD | {"oral": "yes"}), ("wrong_type",)),
        (json.dumps(GOOD | {"signs": "cough"}), ("wrong_type",)),
        (json.dumps(GOOD | {"signs": {"cough": 1}}), ("wrong_type",)),
        (json.dumps(GOOD | {"signs": ["sneeze"]}), ("outside_list",)),
        (json.dumps(GOOD | {"side": "Left"}), ("outside_list",)),
        (json.dumps({"drug": 1, "dose": 1, "days": 1, "oral": True, "side": "up", "x": 1}),
         ("missing_field", "extra_field", "wrong_type", "outside_list")),
    ],
)  # fmt: skip
def test_nothing_is_put_right(text: str, faults: tuple[str, ...]) -> None:
    assert (found := read_object(text, FIELDS)).values is None and found.faults == faults


@given(
    drug=st.text(), dose=st.none() | st.floats(allow_nan=False, allow_infinity=False), days=st.integers(-(2**60), 2**60)
)
def test_what_is_written_is_read(drug: str, dose: float | None, days: int) -> None:
    text = canonical(GOOD | {"drug": drug, "dose": dose, "days": days})
    found = read_object(text, FIELDS).values
    assert found is not None and canonical(found) == canonical(read_object(canonical(found), FIELDS).values or {})
    assert (found["days"], found["dose"]) == (days, dose)


# ---------------------------------------------------------------- references


def extraction(label: Any = "answer", **changes: Any) -> Extraction:
    fields = {name: field.model_dump() for name, field in FIELDS.items()}
    data = {"path": "t.csv", "inputs": {"text": "text"}, "label": label}
    task = task_from({"kind": "extraction", "fields": fields, "data": data} | changes)
    assert isinstance(task, Extraction)
    return task


IDS = ["r1", "r2"]
SECOND = GOOD | {"dose": None, "signs": [], "days": 4, "oral": False}


def test_a_column_of_objects_and_one_column_a_field_are_the_same_references() -> None:
    expected = [canonical(GOOD), canonical(SECOND)]
    texts = pd.DataFrame({"answer": [json.dumps(GOOD, indent=1), json.dumps(SECOND)]})
    objects = pd.DataFrame({"answer": [GOOD, SECOND]})
    assert read_targets(extraction(), texts, IDS) == read_targets(extraction(), objects, IDS) == expected
    columns = {name: f"c_{name}" for name in FIELDS}
    cells = pd.DataFrame(
        {
            "c_drug": ["ß-blocker"] * 2, "c_dose": ["2.50", ""], "c_days": [3, 4], "c_oral": ["yes", "no"],
            "c_signs": ["cough", ""], "c_side": ["left", "left"],
        }
    )  # fmt: skip
    task = extraction({"columns": columns})
    assert read_targets(task, cells, IDS) == expected
    assert known_targets(task, cells.assign(c_days=[3, "many"])) == [expected[0], None]
    assert known_targets(task, cells.drop(columns="c_side")) == [None, None]


def numbers_of(cells: list[Any], kind: str, decimal: str = ".") -> list[Any]:
    """What the cells are as references of one field; None where they are none."""
    data = {"path": "t.csv", "inputs": {"text": "text"}, "label": {"columns": {"x": "c"}}, "decimal": decimal}
    task = task_from({"kind": "extraction", "fields": {"x": kind}, "data": data})
    read = known_targets(task, pd.DataFrame({"c": pd.Series(cells, dtype=object)}))
    return [None if target is None else json.loads(str(target))["x"] for target in read]


@pytest.mark.parametrize("kind", ["integer", "number"])
def test_a_reference_keeps_every_digit_and_a_boolean_is_no_number(kind: str) -> None:
    cells = ["12345678901234567", 12345678901234567, "-0012", " +7 ", "5.0"]
    assert numbers_of(cells, kind) == [12345678901234567, 12345678901234567, -12, 7, 5]
    assert numbers_of(["true", "FALSE", True, "9" * 400, "1_2"], kind) == [None] * 5
    assert numbers_of(["12345678901234567", "1.234"], kind, ",") == [12345678901234567, None]
    assert numbers_of(["2.5"], kind) == ([2.5] if kind == "number" else [None])


def test_a_reference_that_is_no_object_is_counted_and_named_by_id_alone() -> None:
    rows = pd.DataFrame({"answer": [json.dumps(GOOD), json.dumps(GOOD | {"drug": None, "days": "secret"})]})
    with pytest.raises(ClinfitError) as raised:
        read_targets(extraction(), rows, IDS)
    told_all = "\n".join(raised.value.lines())
    assert "1 of 2 records" in told_all and "r2" in told_all and "secret" not in told_all
    assert "a field is missing (1 x); a value is of another type (1 x)" in told_all
    assert 'side: one of "left", "right"' in told_all


def test_fields_in_words() -> None:
    assert [told(field) for field in FIELDS.values()] == [
        "a string", "a number, or null", "a whole number", "true or false", 'a list of any of "fever", "cough"',
        'one of "left", "right"',
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fields": {}}, "at least 1"),
        ({"fields": {"a": "text"}}, "'string', 'number'"),
        ({"fields": {"a": {"type": "number", "values": ["1"]}}}, "goes with type string or list"),
        ({"fields": {"a": {"values": ["x", "x"]}}}, "differ"),
        ({"fields": {"a": {"kind": "number"}}}, "kind"),
        ({"fields": {"a b": "string"}}, "pattern"),
        ({"data": {"path": "t.csv", "label": {"columns": {"drug": "d"}}}}, "a column for each field"),
        ({"data": {"path": "t.csv", "label": {"column": "a", "map": {"x": "y"}}}}, "column of JSON objects"),
        ({"data": {"path": "t.csv", "clean": {"deidentify": True}}}, "true fields would keep them"),
        ({"source": ["nothing"]}, "not among the inputs"),
    ],
)
def test_what_a_study_may_not_declare(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        extraction(**changes)
