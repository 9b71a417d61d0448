"""A small table of patients and a task on it, for the tests of the data package."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from clinfit.data.records import Record, Split
from clinfit.study.tasks import Task, task_from

Rows = list[dict[str, Any]]


@pytest.fixture
def rows() -> Rows:
    """Twelve patients, half of them ill, with one age and one note missing."""
    return [
        {
            "patient": f"p{at}",
            "age": "" if at == 3 else str(40 + at),
            "note": "NA" if at == 5 else f"note number {at} of a visit, with findings {at * 7}",
            "outcome": "ill" if at % 2 else "well",
        }
        for at in range(12)
    ]


@pytest.fixture
def make_task() -> Callable[..., Task]:
    """A task on a file; keyword arguments replace or add to the data block."""

    def make(path: str | None, labels: Sequence[str] = ("well", "ill"), **data: Any) -> Task:
        block = {
            "path": path,
            "id": "patient",
            "inputs": {"age": {"column": "age", "type": "number"}, "note": "note"},
            "label": "outcome",
        }
        return task_from({"labels": list(labels), "data": block | data})

    return make


@pytest.fixture
def write_csv(tmp_path: Path) -> Callable[..., Path]:
    def write(rows: Rows, name: str = "data.csv") -> Path:
        path = tmp_path / name
        pd.DataFrame(rows).to_csv(path, index=False)
        return path

    return write


@pytest.fixture
def make_record() -> Callable[..., Record]:
    def make(
        id: str,
        text: str | None = None,
        split: Split = "train",
        target: str = "well",
        group: str | None = None,
        **inputs: Any,
    ) -> Record:
        return Record(id, group or id, inputs if text is None else {"text": text, **inputs}, target, split)

    return make
