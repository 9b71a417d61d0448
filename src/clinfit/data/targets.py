"""The answers of a task's records, read from the columns that hold them: one way a kind of task.

classification, multiple-choice  one column, each value mapped to a label or an option's letter (see `labels`)
generation                       one column of texts, which `load` cleans with the inputs before; no space at the ends
extraction                       one column of JSON objects, or one column a field: an empty cell is no value, of a list
                                 none of its strings, which stand joined by `|`; both become one canonical text
multilabel                       one column of labels joined by a separator (or of lists, where the format knows them),
                                 each mapped as above: an empty cell holds no label, a label that stands twice is one;
                                 or one column a label with 1 or 0, true or false, yes or no

An empty cell of a column that stands for one label is an error and not a no: what was not recorded need not be absent.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd

from clinfit.data.fields import FAULTS, Extracted, Fault, canonical, read_object, told
from clinfit.data.labels import LabelMap
from clinfit.data.records import Target
from clinfit.data.values import (
    BOOLEANS,
    as_bool,
    as_comma_number,
    as_number,
    as_paragraphs,
    as_text,
    cells_of,
    is_missing,
    read_cells,
    shown_ids,
)
from clinfit.errors import ClinfitError
from clinfit.study.data import AnswerColumns, LabelColumn
from clinfit.study.fields import ExtractedField
from clinfit.study.tasks import Extraction, Task


@dataclass(frozen=True)
class Targets:
    """How the answers of one kind of task are read.

    read: the answer of each row, by the rows' ids; raises ClinfitError that counts what is missing or unknown.
    known: the answer of each row of new data, None where it is missing or unknown.
    learned: whether training must hold every label; an option's letter means nothing by itself.
    """

    read: Callable[[Task, pd.DataFrame, Sequence[str]], list[Target]]
    known: Callable[[Task, pd.DataFrame], list[Target | None]]
    learned: bool


def read_targets(task: Task, rows: pd.DataFrame, ids: Sequence[str]) -> list[Target]:
    """The answer of each row; raises ClinfitError that counts what is missing or unknown."""
    return TARGETS[task.kind].read(task, rows, ids)


def known_targets(task: Task, rows: pd.DataFrame) -> list[Target | None]:
    """The answer of each row of new data, None where it is missing or unknown, or where a column of answers is."""
    if any(column not in rows.columns for column in task.data.label_columns):
        return [None] * len(rows)
    return TARGETS[task.kind].known(task, rows)


def labels_to_learn(task: Task) -> list[str]:
    """The labels that training must hold, and a stratified split puts into every part."""
    return list(task.labels) if TARGETS[task.kind].learned else []


# ---------------------------------------------------------------- one label a record


def _read_one(task: Task, rows: pd.DataFrame, ids: Sequence[str]) -> list[Target]:
    return [*_label_map(task).apply(_cells(task, rows), ids)]


def _known_one(task: Task, rows: pd.DataFrame) -> list[Target | None]:
    return [*_label_map(task).lookup_all(_cells(task, rows))]


def _label_map(task: Task) -> LabelMap:
    column = task.data.label_column
    return LabelMap(task.labels, column.map, column.column)


def _cells(task: Task, rows: pd.DataFrame) -> list[Any]:
    return cells_of(rows[task.data.label_column.column])


# ---------------------------------------------------------------- any number of labels a record


def _read_several(task: Task, rows: pd.DataFrame, ids: Sequence[str]) -> list[Target]:
    if isinstance(task.data.label, AnswerColumns):
        return _sets(task, _read_indicators(task.data.label, rows, ids))
    cells = _divided(task, rows)
    owners = [record for record, parts in zip(ids, cells, strict=True) for _ in parts]
    labels = iter(_label_map(task).apply(list(chain.from_iterable(cells)), owners, what="labels"))
    return _sets(task, [{next(labels) for _ in parts} for parts in cells])


def _known_several(task: Task, rows: pd.DataFrame) -> list[Target | None]:
    """A column without any value says nothing of its records, rather than that none has a label."""
    if isinstance(task.data.label, AnswerColumns):
        columns = {label: _indicators(cells_of(rows[name])) for label, name in task.data.label.columns.items()}
        known = [None not in values for values in zip(*columns.values(), strict=True)]
        held = [{label for label, values in columns.items() if values[at]} for at in range(len(rows))]
    else:
        mapped = [_label_map(task).lookup_all(parts) for parts in _divided(task, rows)]
        known = [None not in labels and any(mapped) for labels in mapped]
        held = [{label for label in labels if label is not None} for labels in mapped]
    return [target if is_known else None for target, is_known in zip(_sets(task, held), known, strict=True)]


def _sets(task: Task, held: Sequence[set[str]]) -> list[Target]:
    """Sets of labels as tuples in the task's order."""
    return [tuple(label for label in task.labels if label in labels) for labels in held]


def _divided(task: Task, rows: pd.DataFrame) -> list[list[Any]]:
    """The values in each cell."""
    column = task.data.label_column
    if unreadable := [value for value in (task.labels if column.map is None else column.map) if is_missing(value)]:
        raise ClinfitError(
            f"column {column.column!r}: the label {unreadable[0]!r} is how files write that there is none",
            expected="labels that are not spelt like a missing value",
            fix="write these cells otherwise, and map them: label: {column: ..., map: {...}}",
        )
    return [_values_in(cell, column) for cell in _cells(task, rows)]


def _values_in(cell: Any, column: LabelColumn) -> list[Any]:
    if isinstance(cell, list | tuple | np.ndarray):
        return list(cell)
    if is_missing(cell):
        return []
    if isinstance(cell, str):
        return [part.strip() for part in cell.split(column.separator) if part.strip()]
    return [cell]


def _read_indicators(label: AnswerColumns, rows: pd.DataFrame, ids: Sequence[str]) -> list[set[str]]:
    held: list[set[str]] = [set() for _ in ids]
    for name, column in label.columns.items():
        values = _indicators(cells_of(rows[column]))
        if unread := [record for record, value in zip(ids, values, strict=True) if value is None]:
            raise ClinfitError(
                f"column {column!r}: {len(unread)} of {len(ids)} cells say neither yes nor no, in {shown_ids(unread)}",
                expected="1 or 0, true or false, yes or no in every cell: what is missing need not be absent",
                fix=f"write 0 where {name!r} does not hold, or take these rows out",
            )
        for labels, value in zip(held, values, strict=True):
            if value:
                labels.add(name)
    return held


def _indicators(cells: Sequence[Any]) -> list[bool | None]:
    """1, true, yes and 0, false, no, of whatever type; None for everything else."""
    labels = LabelMap(["no", "yes"], {False: "no", True: "yes"}).lookup_all(cells)
    return [None if label is None else label == "yes" for label in labels]


# ---------------------------------------------------------------- a text a record


def _read_text(task: Task, rows: pd.DataFrame, ids: Sequence[str]) -> list[Target]:
    column = task.data.label_column.column
    found = _known_text(task, rows)
    texts = [text for text in found if text is not None]
    if len(texts) < len(found):
        missing = [record for record, text in zip(ids, found, strict=True) if text is None]
        raise ClinfitError(
            f"column {column!r}: {len(missing)} of {len(ids)} records have no reference text, {shown_ids(missing)}",
            expected="a text in every row: what a good answer to this record is",
            fix="take these rows out",
        )
    return texts


def _known_text(task: Task, rows: pd.DataFrame) -> list[Target | None]:
    numbers = [f"row {at}" for at in range(1, len(rows) + 1)]
    return [text.strip() or None if text else None for text in reference_texts(task, rows, numbers) or []]


# ---------------------------------------------------------------- fields of a record


def _read_fields(task: Task, rows: pd.DataFrame, ids: Sequence[str]) -> list[Target]:
    assert isinstance(task, Extraction)
    found = _objects(task, rows)
    wrong = {record: each.faults for record, each in zip(ids, found, strict=True) if each.values is None}
    if wrong:
        counts: Counter[Fault] = Counter(fault for faults in wrong.values() for fault in faults)
        raise ClinfitError(
            f"{len(wrong)} of {len(ids)} records do not hold the declared fields, {shown_ids([*wrong])}: "
            + "; ".join(f"{FAULTS[fault]} ({count} x)" for fault, count in counts.items()),
            expected="; ".join(f"{name}: {told(field)}" for name, field in task.declared.items()),
            fix="correct these records, or the fields of the task (required: false, where a value may be missing)",
        )
    return [canonical(each.values) for each in found if each.values is not None]


def _known_fields(task: Task, rows: pd.DataFrame) -> list[Target | None]:
    assert isinstance(task, Extraction)
    return [None if each.values is None else canonical(each.values) for each in _objects(task, rows)]


def _objects(task: Extraction, rows: pd.DataFrame) -> list[Extracted]:
    """What each row says of the fields."""
    fields, label = task.declared, task.data.label
    if not isinstance(label, AnswerColumns):
        return [read_object(_json_of(cell), fields) for cell in _cells(task, rows)]
    columns = {
        name: _field_values(cells_of(rows[label.columns[name]]), field, task.data.decimal)
        for name, field in fields.items()
    }
    return [
        read_object(json.dumps({name: values[at] for name, values in columns.items()}), fields)
        for at in range(len(rows))
    ]


def _json_of(cell: Any) -> str:
    """A cell as JSON: text as it is, an object of a file that knows objects, nothing of an empty one."""
    if isinstance(cell, str):
        return cell
    return "" if is_missing(cell) else json.dumps(cell, default=str)


def _field_values(cells: Sequence[Any], field: ExtractedField, decimal: str) -> list[Any]:
    """Cells as the type of their field has them; one that cannot be read so is of no type that a field has."""
    if field.type == "list":
        return [[str(part) for part in _values_in(cell, LabelColumn(column="any"))] for cell in cells]
    if field.type == "boolean":
        flags = zip(cells, _indicators(cells), strict=True)
        return [None if is_missing(cell) else {} if flag is None else flag for cell, flag in flags]
    number = as_number if decimal == "." else as_comma_number
    read = as_text if field.type == "string" else partial(_reference_number, number)
    return [_or_no_type(read, cell) for cell in cells]


def _reference_number(number: Callable[[Any], float | None], cell: Any) -> float | None:
    """Every digit of a whole number, where an input keeps 15; true and false are no numbers. Else ValueError."""
    text = str(cell).strip()
    if as_bool(cell) is not None or text.casefold() in BOOLEANS:
        raise ValueError("a boolean")
    return int(text) if re.fullmatch(r"[+-]?[0-9]+", text) else number(cell)


def _or_no_type(read: Callable[[Any], Any], cell: Any) -> Any:
    try:
        return read(cell)
    except (TypeError, ValueError):
        return {}


def reference_texts(task: Task, rows: pd.DataFrame, ids: Sequence[str]) -> list[str | None] | None:
    """The reference of each row as it stands there; None of tasks that have none, and of new data without them."""
    if task.kind != "generation" or task.data.label_column.column not in rows.columns:
        return None
    column = task.data.label_column.column
    return read_cells(
        cells_of(rows[column]), as_paragraphs, column, ids, expected="one text a cell", fix="flatten the column"
    )


TARGETS: dict[str, Targets] = {
    "classification": Targets(_read_one, _known_one, learned=True),
    "multilabel": Targets(_read_several, _known_several, learned=True),
    "multiple-choice": Targets(_read_one, _known_one, learned=False),
    "generation": Targets(_read_text, _known_text, learned=False),
    "extraction": Targets(_read_fields, _known_fields, learned=False),
}
