"""Ranges and categories that a study declares: what training data and new records make of values beyond them."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from clinfit.data.audit import audit
from clinfit.data.characteristics import characteristics
from clinfit.data.load import TaskData, inputs_from_rows, load_task
from clinfit.data.seen import as_seen
from clinfit.errors import ClinfitError
from clinfit.prompts.template import document
from clinfit.study.data import Data, InputColumn
from clinfit.study.tasks import Classification, Task

PAIN = InputColumn(column="pain", type="category", categories=["none", "mild", "severe"])
PULSE = InputColumn(column="pulse", type="number", unit="/min", range=[20, 250], missing=[-1])


def task_of(**changes: InputColumn) -> Task:
    inputs: dict[str, InputColumn | str] = {"pulse": PULSE, "pain": PAIN, **changes}
    return Classification(labels=["no", "yes"], data=Data(path="data.csv", inputs=inputs, label="label"))


def table(pulses: list[Any], pains: list[Any]) -> pd.DataFrame:
    return pd.DataFrame({"pulse": pulses, "pain": pains, "label": ["no", "yes"] * (len(pulses) // 2)})


def loaded(folder: Path, pulses: list[Any], pains: list[Any], **changes: InputColumn) -> TaskData:
    table(pulses, pains).to_csv(folder / "data.csv", index=False)
    return load_task("t", task_of(**changes), folder)


PULSES = [70, 20, 250, 19.9, 700, -1] * 10
PAINS = ["severe", "mild", "severe", "none", None, "mild"] * 10


def test_impossible_numbers_are_missing_and_counted(tmp_path: Path) -> None:
    data = loaded(tmp_path, PULSES, PAINS)
    assert [record.inputs["pulse"] for record in data.records[:6]] == [70.0, 20.0, 250.0, None, None, None]
    assert data.notes.changed == {"pulse outside 20 to 250, read as missing": 20}, "coded ones are not impossible"
    row, _ = characteristics(data.task, data.records)["rows"]
    assert row["missing"][0] == 30 and row["values"][0]["upper_quartile"] == 250


def test_a_range_that_takes_much_away_is_doubted(tmp_path: Path) -> None:
    """As of ages in months under a range in years."""
    found = {finding.code: finding for finding in audit(task_of(), loaded(tmp_path, PULSES, PAINS))}
    assert "20 values of pulse lie outside its declared range" in found["out-of-range"].title
    assert "40 %" in found["out-of-range"].evidence and "20 to 250" in found["out-of-range"].evidence
    few = [70, 20, 250] * 19 + [70, 20, 700]
    assert "out-of-range" not in {finding.code for finding in audit(task_of(), loaded(tmp_path, few, PAINS))}


def test_categories_stand_in_their_order(tmp_path: Path) -> None:
    data = loaded(tmp_path, PULSES, PAINS)
    _, row = characteristics(data.task, data.records)["rows"]
    assert list(row["counts"]) == ["none", "mild", "severe"] and row["missing"][0] == 10
    assert "severe" in document(data.task, data.records[0].inputs), "prompts show the value itself"


def test_a_value_that_is_no_category_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(ClinfitError, match="'pain': 2 of 60 values are none of its categories: 'Mild'") as raised:
        loaded(tmp_path, PULSES, [*PAINS[:56], "Mild", "sever", None, None])
    assert raised.value.expected == "one of none, mild, severe, or nothing" and "did you mean mild?" in raised.value.fix
    with pytest.raises(ClinfitError, match=r"not shown, as they look like free text") as raised:
        loaded(tmp_path, PULSES, [*PAINS[:59], "pain since the fall of last May"])
    assert "fall" not in " ".join(raised.value.lines())


def test_numbers_may_be_categories(tmp_path: Path) -> None:
    order = InputColumn(column="pain", type="category", categories=[1, 2, 3], missing=[9])
    data = loaded(tmp_path, PULSES, [1, 2.0, 3, 9, None, 1] * 10, pain=order)
    assert [record.inputs["pain"] for record in data.records[:5]] == ["1", "2", "3", None, None]


def test_a_new_record_is_answered_without_what_cannot_be_and_says_so() -> None:
    columns = task_of().data.columns
    new = inputs_from_rows("t", task_of(), table([700, 70.5, 20, None], ["Severe", "bad", "mild", None]))
    read = [as_seen(record, {}, columns) for record in new]
    assert [tuple(record.inputs.values()) for record, _ in read] == [
        (None, "severe"), (70.5, None), (20.0, "mild"), (None, None)
    ]  # fmt: skip
    assert [notes for _, notes in read] == [
        [
            "pulse: 700 is impossible (20 to 250) and is read as missing",
            "pain: 'Severe' is none of none, mild, severe and is read as 'severe'",
        ],
        ["pain: 'bad' is none of none, mild, severe and is read as missing"],
        [],
        [],
    ]
