"""A task's `data` block to its records: read, label, clean, divide, and count what happened on the way.

data = load_task(task, study.folder)      # TaskData: records with targets and splits
new = read_inputs(task, Path("new.csv"))  # records to predict; labels are optional, nothing is dropped
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pandas as pd

from clinfit.data.clean import clean_inputs, records_to_drop
from clinfit.data.describe import describe_records
from clinfit.data.labels import LabelMap
from clinfit.data.read import read_new_rows, read_rows
from clinfit.data.records import SPLITS, Record, Split, Value
from clinfit.data.splits import assign_splits, check_splits, splits_from_column
from clinfit.data.subgroups import read_subgroups
from clinfit.data.values import as_number, as_text, read_cells, shown_ids
from clinfit.errors import ClinfitError, nearest
from clinfit.study import Data, InputColumn, Task
from clinfit.study_evaluation import Subgroup

#: Columns called so are likely to name what a record is about; see `DataNotes.repeated_columns`.
SUBJECT_COLUMN = re.compile(
    r"patient|subject|person|participant|\bmrn\b|pmid|document|_?doc_?id|hadm|case_?(id|no)", re.I
)


@dataclass(frozen=True)
class DataNotes:
    """What reading did, in counts.

    rows: rows read (after `limit`). dropped: reason -> records. changed: cleaning step -> records.
    repeated_columns: columns named like a patient or document that were not declared as `group`, and in which values
    repeat: column -> number of distinct values.
    """

    rows: int
    dropped: dict[str, int] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)
    repeated_columns: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class TaskData:
    """A task's records and their fingerprint (SHA-256 over ids, groups, inputs, targets and splits).

    subgroups: `id` and the groups that each record belongs to, one column a subgroup; not part of the fingerprint.
    """

    task: Task
    records: list[Record]
    fingerprint: str
    source: str
    notes: DataNotes
    subgroups: pd.DataFrame = field(default_factory=pd.DataFrame, compare=False)

    def describe(self) -> dict[str, Any]:
        """What `data/<task>.json` of a run holds: counts, ids and summaries of numbers; no text of a patient."""
        return {
            "source": self.source,
            "fingerprint": self.fingerprint,
            "rows": self.notes.rows,
            "dropped": self.notes.dropped,
            "cleaned": self.notes.changed,
            **describe_records(self.task, self.records),
        }


def load_task(task: Task, folder: Path, subgroups: Sequence[Subgroup] = ()) -> TaskData:
    """All records of a task, with targets and splits. `folder` is what relative paths start from.

    subgroups: columns by which the study wants its results (`Evaluation.subgroup_columns`).
    Raises ClinfitError for everything a user can put right: files, columns, values, labels, ids and splits.
    """
    data = task.data
    _inputs_declared(data)
    sources = _sources(data)
    tables = [read_rows(source, folder, data) for _, source in sources]
    if data.limit is not None:
        tables = [table.head(data.limit) for table in tables]
    for table, (_, source) in zip(tables, sources, strict=True):
        _columns_present(table, [*_columns(data), *(subgroup.column for subgroup in subgroups)], source)
    rows = pd.concat(tables, ignore_index=True)
    files: list[Split | None] = [
        split for table, (split, _) in zip(tables, sources, strict=True) for _ in range(len(table))
    ]
    ids = _ids(rows, data.id, files)
    several = f"if {data.id} names a patient or a document with several rows, write group: {data.id} and take `id` out"
    _unique(ids, data.id, fix=several)
    groups = _groups(rows, data, ids)
    targets = _label_map(task).apply(rows[data.label_column.column].tolist(), ids)
    inputs, changed = _inputs(rows, task, ids)

    dropped = records_to_drop(inputs, targets, data.clean)
    kept = [at for at in range(len(ids)) if at not in dropped]
    if not kept:
        raise ClinfitError(f"cleaning drops all {len(ids)} records", fix="check data.clean.drop_missing")
    splits = _splits(task, rows, files, groups, targets, kept)
    records = _records(ids, groups, inputs, targets, splits, kept)
    notes = DataNotes(len(rows), dict(Counter(dropped.values())), changed, _repeated_columns(rows, data))
    named = read_subgroups(rows, subgroups, ids, kept, data.id)
    return TaskData(task, records, fingerprint(records), " + ".join(source for _, source in sources), notes, named)


def read_inputs(task: Task, path: Path) -> list[Record]:
    """Records of a new file, in its order, to be predicted: the task's columns, types and cleaning, no splits.

    The id column may be absent (then row numbers) and so may the label column; a label that is missing or unknown
    gives no target.
    """
    return inputs_from_rows(task, read_new_rows(path, task.data), path.name)


def inputs_from_rows(task: Task, rows: pd.DataFrame, source: str = "the table") -> list[Record]:
    """As `read_inputs`, from a table in memory; `source` is its name in messages."""
    data = task.data
    _inputs_declared(data)
    _columns_present(rows, [column.column for column in data.columns.values()], source)
    ids = _ids(rows, data.id if data.id in rows.columns else None, [None] * len(rows))
    _unique(ids, data.id, fix=f"give every row of {source} an id of its own, or leave the column out")
    groups = _groups(rows, data, ids) if data.group is not None and data.group in rows.columns else ids
    inputs, _ = _inputs(rows, task, ids)
    label = data.label_column.column
    targets = _label_map(task).lookup_all(rows[label].tolist()) if label in rows.columns else [None] * len(ids)
    return _records(ids, groups, inputs, targets, {}, range(len(ids)))


def fingerprint(records: Sequence[Record]) -> str:
    """SHA-256 over the content and order of the records."""
    digest = hashlib.sha256()
    for record in records:
        line = [record.id, record.group, record.inputs, record.target, record.split]
        digest.update(json.dumps(line).encode() + b"\n")
    return digest.hexdigest()


# ---------------------------------------------------------------- columns


def _sources(data: Data) -> list[tuple[Split | None, str]]:
    """The files of the study, each with the split that it is, if it is one."""
    if data.path is not None:
        return [(None, data.path)]
    files = data.files or {}
    return [(split, files[split]) for split in SPLITS if split in files]


def _inputs_declared(data: Data) -> None:
    if not data.inputs:
        raise ClinfitError(
            "data.inputs is empty, so a model would see nothing",
            expected="at least one input",
            fix="inputs: {text: text}",
        )
    label = data.label_column.column
    leaking = [name for name, column in data.columns.items() if column.column == label]
    if leaking:
        raise ClinfitError(
            f"input {leaking[0]!r} reads the label column {label!r}: the answer would be part of the question",
            fix=f"take {leaking[0]} out of data.inputs",
        )
    absent = [name for name in data.clean.drop_missing if name not in data.inputs]
    if absent:
        near = nearest(absent[0], data.inputs)
        raise ClinfitError(
            f"clean.drop_missing names {', '.join(absent)}, which is not among the inputs",
            expected=f"one of {', '.join(data.inputs)}",
            fix=f"drop_missing: [{near or next(iter(data.inputs))}]",
        )


def _columns(data: Data) -> list[str]:
    """The columns that the study names."""
    named = [data.id, data.group, data.label_column.column, data.split.column if data.files is None else None]
    return [name for name in [*named, *(column.column for column in data.columns.values())] if name is not None]


def _columns_present(rows: pd.DataFrame, names: Sequence[str], source: str) -> None:
    present = [str(name) for name in rows.columns]
    absent = [name for name in dict.fromkeys(names) if name not in present]
    if absent:
        near = {name: nearest(name, present) for name in absent}
        raise ClinfitError(
            f"{source} has no column {', '.join(map(repr, absent))}",
            expected=f"one of {', '.join(present[:40])}{' ...' if len(present) > 40 else ''}",
            fix="; ".join(f"write {other} for {name}" for name, other in near.items() if other)
            or "correct the column names in the study's data block",
        )


def _ids(rows: pd.DataFrame, column: str | None, files: Sequence[Split | None]) -> list[str]:
    """The id column as text; without one, the row number, counted from 1 in each file: `7`, or `test-7`."""
    if column is None:
        counters = {split: count(1) for split in {*files}}
        return [f"{split}-{next(counters[split])}" if split else str(next(counters[split])) for split in files]
    numbers = [f"row {at}" for at in range(1, len(rows) + 1)]
    ids = read_cells(
        rows[column].tolist(), as_text, column, numbers, expected="one value a row", fix="correct the id column"
    )
    missing = [number for number, value in zip(numbers, ids, strict=True) if value is None]
    if missing:
        raise ClinfitError(
            f"id column {column!r}: {len(missing)} of {len(ids)} rows have no id, {shown_ids(missing)}",
            expected="an id in every row",
            fix="fill the ids in, or take `id` out of the study to use row numbers",
        )
    return ids


def _unique(ids: Sequence[str], column: str | None, *, fix: str) -> None:
    repeated = [name for name, times in Counter(ids).items() if times > 1]
    if repeated:
        raise ClinfitError(
            f"id column {column!r}: {len(repeated)} ids stand in more than one row, {shown_ids(repeated)}",
            expected="one row an id",
            fix=fix,
        )


def _groups(rows: pd.DataFrame, data: Data, ids: Sequence[str]) -> list[str]:
    if data.group is None:
        return list(ids)
    groups = read_cells(
        rows[data.group].tolist(), as_text, data.group, ids, expected="one value a row", fix="correct the group column"
    )
    missing = [record for record, group in zip(ids, groups, strict=True) if group is None]
    if missing:
        raise ClinfitError(
            f"group column {data.group!r} is empty in {len(missing)} rows, {shown_ids(missing)}",
            expected="a group in every row, so that none straddles the splits",
            fix="fill the groups in, or take these rows out",
        )
    return groups


def _label_map(task: Task) -> LabelMap:
    label = task.data.label_column
    return LabelMap(task.labels, label.map, label.column)


def _inputs(rows: pd.DataFrame, task: Task, ids: Sequence[str]) -> tuple[dict[str, list[Value]], dict[str, int]]:
    """Input name -> cleaned values, and the counts of the cleaning."""
    columns = task.data.columns
    values = {name: _values(rows[column.column].tolist(), column, ids) for name, column in columns.items()}
    texts = [name for name, column in columns.items() if column.type == "text"]
    return clean_inputs(values, texts, task.data.clean)


def _values(cells: Sequence[Any], column: InputColumn, ids: Sequence[str]) -> list[Value]:
    if column.type == "number":
        return read_cells(
            cells,
            as_number,
            column.column,
            ids,
            expected="numbers with a decimal point, or one of '', NA, NaN, ? for missing",
            fix=f"correct these cells, or declare {column.column} as type: category or text",
        )
    return read_cells(
        cells,
        as_text,
        column.column,
        ids,
        expected="one value a cell, not a list or an object",
        fix="flatten the column before",
    )


def _repeated_columns(rows: pd.DataFrame, data: Data) -> dict[str, int]:
    if data.group is not None:
        return {}
    used = {column.column for column in data.columns.values()}
    found = {}
    for name in (str(name) for name in rows.columns):
        if SUBJECT_COLUMN.search(name) and name not in used:
            distinct = len(set(rows[name].astype(str)))
            if 1 < distinct < len(rows):
                found[name] = distinct
    return found


# ---------------------------------------------------------------- records


def _splits(
    task: Task,
    rows: pd.DataFrame,
    files: Sequence[Split | None],
    groups: Sequence[str],
    targets: Sequence[str],
    kept: Sequence[int],
) -> dict[int, Split]:
    """Position -> split of each record that is kept."""
    rule = task.data.split
    kept_targets = [targets[at] for at in kept]
    needed: list[Split]
    if task.data.files is not None:
        splits: list[Split] = [split for at in kept if (split := files[at])]
        needed = [split for split in SPLITS if split in task.data.files]
    elif rule.column is not None:
        named = splits_from_column(rows[rule.column].tolist(), rule)
        splits = [named[at] for at in kept]
        needed = ["train", "test"]
    else:
        splits = assign_splits(kept_targets, [groups[at] for at in kept], task.labels, rule)
        needed = [split for split in SPLITS if getattr(rule, split) > 0]
    check_splits(splits, kept_targets, task.labels, needed)
    return dict(zip(kept, splits, strict=True))


def _records(
    ids: Sequence[str],
    groups: Sequence[str],
    inputs: dict[str, list[Value]],
    targets: Sequence[str | None],
    splits: Mapping[int, Split],
    kept: Sequence[int],
) -> list[Record]:
    """The records at the kept positions; `splits` is empty for new data."""
    names = list(inputs)
    rows = list(zip(*inputs.values(), strict=True))
    return [
        Record(ids[at], groups[at], dict(zip(names, rows[at], strict=True)), targets[at], splits.get(at)) for at in kept
    ]
