"""Rules that write: what `majority` may tell of its training records."""

import json

import pytest

from clinfit.data.records import Record
from clinfit.data.values import SMALL_CELL
from clinfit.models.texts.writing_rules import usual_object
from clinfit.study.tasks import Extraction, task_from


@pytest.mark.parametrize(("people", "told"), [(SMALL_CELL - 1, ""), (SMALL_CELL, "rare")])
def test_a_value_of_fewer_people_than_a_small_cell_is_not_told(people: int, told: str) -> None:
    """Twenty records, of these people."""
    data = {"path": "t.csv", "inputs": {"text": "text"}, "label": "answer"}
    task = task_from({"kind": "extraction", "fields": {"drug": "string"}, "data": data})
    assert isinstance(task, Extraction)
    records = [Record(f"r{k}", f"p{k % people}", {"text": "x"}, json.dumps({"drug": "rare"})) for k in range(20)]
    (text,) = usual_object(task, records).references
    assert json.loads(text) == {"drug": told}
