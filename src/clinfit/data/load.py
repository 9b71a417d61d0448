"""A task's `data` block to its records: read, label, clean, divide, and count what happened on the way.

data = load_task("cancer", task, study.folder)      # TaskData: records with targets and splits
new = read_inputs("cancer", task, Path("new.csv"))  # records to predict; labels are optional, nothing is dropped
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import pandas as pd

from clinfit.data.catalog.entry import note_of
from clinfit.data.clean import clean_inputs, records_to_drop
from clinfit.data.declared import check_categories, impossible_words, is_impossible
from clinfit.data.describe import describe_records, fold_sizes
from clinfit.data.divide import divide, first_rows
from clinfit.data.notes import DataNotes, drift, repeated_columns, same_numbers
from clinfit.data.read import other_sheets, read_new_rows, read_rows
from clinfit.data.records import SPLITS, Record, Split, Target, Value, in_split
from clinfit.data.seen import as_seen, seen_values
from clinfit.data.subgroups import read_subgroups
from clinfit.data.targets import known_targets, read_targets, reference_texts
from clinfit.data.values import (
    as_category,
    as_comma_number,
    as_number,
    as_paragraphs,
    as_text,
    cells_of,
    in_several_rows,
    read_cells,
    shown_ids,
)
from clinfit.errors import ClinfitError, nearest
from clinfit.study.data import Data, Fold, InputColumn
from clinfit.study.evaluation import Subgroup
from clinfit.study.tasks import Task, lexicon_of

#: What reference texts are called among the inputs while all are cleaned; an input's name is never of brackets.
REFERENCE = "(reference)"
COMMA_NUMBER = re.compile(r"[+-]?[0-9]+,[0-9]+")


@dataclass(frozen=True)
class TaskData:
    """A task's records and their fingerprint (SHA-256 over ids, groups, inputs, targets and splits).

    subgroups: `id` and the groups that each record belongs to, one column a subgroup; not part of the fingerprint.
    folds: of a cross-validation, the records as each fold divides them. `records` are then all test records, since each
    is tested once a repeat, and the fingerprint is that of all folds. undivided: of a cross-validation, all records as
    training and validation, for a model that is refitted.
    """

    task: Task
    records: list[Record]
    fingerprint: str
    source: str
    notes: DataNotes
    subgroups: pd.DataFrame = field(default_factory=pd.DataFrame, compare=False)
    folds: Mapping[Fold, list[Record]] = field(default_factory=dict)
    undivided: list[Record] = field(default_factory=list)

    def with_folds(self, folds: Sequence[Fold], divided: Sequence[list[Record]], undivided: list[Record]) -> "TaskData":
        """With the records as each of the folds divides them, and as training and validation alone."""
        digest = hashlib.sha256("".join(fingerprint(records) for records in divided).encode()).hexdigest()
        return replace(self, fingerprint=digest, folds=dict(zip(folds, divided, strict=True)), undivided=undivided)

    def of(self, fold: Fold | None) -> "TaskData":
        """What a run of this fold learns from and is asked; None, of a study that divides once, is all."""
        return self if fold is None else self._alone(self.folds[fold])

    def refitted(self, chooses: bool) -> "TaskData":
        """What a model that is refitted after a cross-validation learns from; without validation records where its
        training makes no choice on them."""
        if chooses:
            return self._alone(self.undivided)
        return self._alone([replace(record, split="train") for record in self.undivided])

    def _alone(self, records: list[Record]) -> "TaskData":
        return replace(self, records=records, fingerprint=fingerprint(records), folds={}, undivided=[])

    def describe(self) -> dict[str, Any]:
        """What `data/<task>.json` of a run holds: counts, ids and summaries of numbers; no text of a patient."""
        return {
            "source": self.source,
            "sets": [asdict(note) for note in self.notes.sets],
            "fingerprint": self.fingerprint,
            "rows": self.notes.rows,
            "dropped": self.notes.dropped,
            "cleaned": self.notes.changed,
            **describe_records(self.task, self.records, self.undivided),
            **({"folds": fold_sizes(self.task, self.folds)} if self.folds else {}),
        }


def load_task(name: str, task: Task, folder: Path, subgroups: Sequence[Subgroup] = ()) -> TaskData:
    """All records of a task, with targets and splits. `folder` is what relative paths start from.

    subgroups: columns by which the study wants the task's results (`TaskEvaluation.subgroup_columns`).
    Raises ClinfitError for everything a user can put right, with the name of the task: files, columns, values, labels,
    ids and splits.
    """
    try:
        return _task_data(name, task, folder, subgroups)
    except ClinfitError as error:
        raise ClinfitError(f"task {name}: {error.found}", expected=error.expected, fix=error.fix) from error


def _task_data(name: str, task: Task, folder: Path, subgroups: Sequence[Subgroup]) -> TaskData:
    data = task.data
    _inputs_declared(data)
    sources = _sources(data)
    tables = [read_rows(source, folder, data) for _, source in sources]
    for table, (_, source) in zip(tables, sources, strict=True):
        _columns_present(table, [*_columns(data), *(subgroup.column for subgroup in subgroups)], source)
    if data.limit is not None:
        tables = [first_rows(table, data.limit, data.split.column) for table in tables]
    sheets = {
        source: other for table, (_, source) in zip(tables, sources, strict=True) if (other := other_sheets(table))
    }
    sets = [note for table in tables if (note := note_of(table))]
    rows = pd.concat(tables, ignore_index=True)
    files: list[Split | None] = [
        split for table, (split, _) in zip(tables, sources, strict=True) for _ in range(len(table))
    ]
    ids = _ids(rows, data.id, files)
    several = f"if {data.id} names a patient or a document with several rows, write group: {data.id} and take `id` out"
    _unique(ids, data.id, fix=several)
    groups = _groups(rows, data, ids)
    inputs, answers, changed = _inputs(rows, task, ids)
    targets = read_targets(task, answers, ids)

    dropped = records_to_drop(inputs, targets, data.clean)
    kept = [at for at in range(len(ids)) if at not in dropped]
    if not kept:
        raise ClinfitError(f"cleaning drops all {len(ids)} records", fix="check data.clean.drop_missing")
    divisions = divide(task, rows, files, groups, targets, kept)
    folds = data.split.divisions
    every = [_in_known_spellings(task, _records(name, ids, groups, inputs, targets, splits)) for splits in divisions]
    divided = every[: len(folds)] if folds else every
    if respelt := max(respelt for _, respelt in divided):
        changed |= {"case of a category": respelt}
    records = divided[0][0] if not folds else _records(name, ids, groups, inputs, targets, dict.fromkeys(kept, "test"))
    notes = DataNotes(
        len(rows),
        dict(Counter(dropped.values())),
        changed,
        repeated_columns(rows, data),
        same_numbers(rows, data),
        sheets,
        drift(rows, task, targets),
        sets,
    )
    named = read_subgroups(rows, subgroups, ids, kept, data.id)
    source = " + ".join(source for _, source in sources)
    data = TaskData(task, records, fingerprint(divided[0][0]), source, notes, named)
    return data.with_folds(folds, [records for records, _ in divided], every[-1][0]) if folds else data


def read_inputs(name: str, task: Task, path: Path) -> list[Record]:
    """Records of a new file, in its order, to be predicted: the task's columns and types, no splits; cleaned,
    but of a task with a lexicon, whose packs look at texts as they were given and clean them then.

    The id column may be absent (then row numbers) and so may the label columns; a label that is missing or unknown
    gives no target.
    """
    return inputs_from_rows(name, task, read_new_rows(path, task.data), path.name)


def inputs_from_rows(name: str, task: Task, rows: pd.DataFrame, source: str = "the table") -> list[Record]:
    """As `read_inputs`, from a table in memory; `source` is its name in messages."""
    data = task.data
    _inputs_declared(data)
    rows = _named_columns(rows, source)
    _columns_present(rows, [column.column for column in data.columns.values()], source, new=True)
    ids = _ids(rows, data.id if data.id in rows.columns else None, [None] * len(rows), new=True)
    _unique(ids, data.id, fix=f"give every row of {source} an id of its own, or leave the column out")
    groups = _groups(rows, data, ids) if data.group is not None and data.group in rows.columns else ids
    inputs, answers, _ = _inputs(rows, task, ids, new=True)
    return _records(name, ids, groups, inputs, known_targets(task, answers), dict.fromkeys(range(len(ids))))


def canonical_records(task: Task, records: Sequence[Record]) -> list[Record]:
    """Records in the form that reading gives them: values as declared, cleaned; those that were read stay as they are.

    Raises ClinfitError for a record that lacks an input, and for values that are not what the task declares.
    """
    columns = task.data.columns
    for record in records:
        if absent := [name for name in columns if name not in record.inputs]:
            raise ClinfitError(
                f"record {record.id} has no input {', '.join(absent)}",
                expected=f"the inputs {', '.join(columns)}; None where a value is missing",
                fix="name inputs as the study does, not as the columns of a file",
            )
    ids = [record.id for record in records]
    values = {
        name: _values([record.inputs[name] for record in records], column, ids, task.data.decimal, new=True)
        for name, column in columns.items()
    }
    texts = [name for name, column in columns.items() if column.type == "text"]
    inputs, _ = clean_inputs(values, texts, task.data.clean, lexicon_of(task))
    return [
        replace(record, inputs={name: column[at] for name, column in inputs.items()})
        for at, record in enumerate(records)
    ]


def fingerprint(records: Sequence[Record]) -> str:
    """SHA-256 over the content and order of the records."""
    digest = hashlib.sha256()
    for record in records:
        line = [record.id, record.group, record.inputs, record.target, record.split]
        digest.update(json.dumps(line).encode() + b"\n")
    return digest.hexdigest()


def input_fingerprints(records: Sequence[Record]) -> dict[str, str]:
    """Input -> SHA-256 over its values in the test records, in the order of their ids: whether two studies read the
    same, whatever else they read and however they divide the rest."""
    tests = sorted(in_split(records, "test"), key=lambda record: record.id)
    names = list(tests[0].inputs) if tests else []
    values = {name: [[record.id, as_text(record.inputs[name])] for record in tests] for name in names}
    return {name: hashlib.sha256(json.dumps(column).encode()).hexdigest() for name, column in values.items()}


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
    for name, column in data.columns.items():
        if column.column in data.label_columns:
            raise ClinfitError(
                f"input {name!r} reads the label column {column.column!r}: the answer would be part of the question",
                fix=f"take {name} out of data.inputs",
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
    named = [data.id, data.group, *data.label_columns, data.split.column, data.split.by]
    return [name for name in [*named, *(column.column for column in data.columns.values())] if name is not None]


def _named_columns(rows: pd.DataFrame, source: str) -> pd.DataFrame:
    """The table with its column names as text, as a file would have them."""
    names = [str(name).strip() for name in rows.columns]
    if repeated := sorted(name for name, times in Counter(names).items() if times > 1):
        raise ClinfitError(f"{source}: several columns are called {', '.join(repeated)}", expected="one name a column")
    return rows.set_axis(names, axis=1)


def _columns_present(rows: pd.DataFrame, names: Sequence[str], source: str, *, new: bool = False) -> None:
    """new: records to be predicted, where the table is to be put right and not the study."""
    present = [str(name) for name in rows.columns]
    absent = [name for name in dict.fromkeys(names) if name not in present]
    if absent:
        near = {name: nearest(name, present) for name in absent}
        other = other_sheets(rows)
        way = "move the right one to the front" if new else "`sheet` names one"
        sheets = f" in its first sheet; other sheets are {', '.join(map(repr, other))} ({way})" if other else ""
        renamed = "rename {1} to {0}" if new else "write {1} for {0}"
        otherwise = f"give {source} these columns" if new else "correct the column names in the study's data block"
        raise ClinfitError(
            f"{source} has no column {', '.join(map(repr, absent))}{sheets}",
            expected=f"one of {', '.join(present[:40])}{' ...' if len(present) > 40 else ''}",
            fix="; ".join(renamed.format(name, other) for name, other in near.items() if other) or otherwise,
        )


def _ids(rows: pd.DataFrame, column: str | None, files: Sequence[Split | None], *, new: bool = False) -> list[str]:
    """The id column as text; without one, the row number, counted from 1 in each file: `7`, or `test-7`."""
    if column is None:
        counters = {split: count(1) for split in {*files}}
        return [f"{split}-{next(counters[split])}" if split else str(next(counters[split])) for split in files]
    numbers = [f"row {at}" for at in range(1, len(rows) + 1)]
    ids = read_cells(
        cells_of(rows[column]), as_text, column, numbers, expected="one value a row", fix="correct the id column"
    )
    missing = [number for number, value in zip(numbers, ids, strict=True) if value is None]
    otherwise = "leave the column out" if new else "take `id` out of the study"
    if missing:
        raise ClinfitError(
            f"id column {column!r}: {len(missing)} of {len(ids)} rows have no id, {shown_ids(missing)}",
            expected="an id in every row",
            fix=f"fill the ids in, or {otherwise} to use row numbers",
        )
    return ids


def _unique(ids: Sequence[str], column: str | None, *, fix: str) -> None:
    repeated = [name for name, times in Counter(ids).items() if times > 1]
    if repeated:
        raise ClinfitError(
            f"id column {column!r}: {in_several_rows(repeated)}, {shown_ids(repeated)}",
            expected="one row an id",
            fix=fix,
        )


def _groups(rows: pd.DataFrame, data: Data, ids: Sequence[str]) -> list[str]:
    if data.group is None:
        return list(ids)
    groups = read_cells(
        cells_of(rows[data.group]), as_text, data.group, ids, expected="one value a row", fix="correct the group column"
    )
    missing = [record for record, group in zip(ids, groups, strict=True) if group is None]
    if missing:
        raise ClinfitError(
            f"group column {data.group!r} is empty in {len(missing)} rows, {shown_ids(missing)}",
            expected="a group in every row, so that none straddles the splits",
            fix="fill the groups in, or take these rows out",
        )
    return groups


def _inputs(
    rows: pd.DataFrame, task: Task, ids: Sequence[str], *, new: bool = False
) -> tuple[dict[str, list[Value]], pd.DataFrame, dict[str, int]]:
    """Input name -> cleaned values, the rows with their reference texts cleaned, and the counts of the cleaning.

    References are cleaned with the inputs, so that a name is the same placeholder in both, but change nothing in them:
    new data have none.
    """
    columns = task.data.columns
    values = {
        name: _values(cells_of(rows[column.column]), column, ids, task.data.decimal, new=new)
        for name, column in columns.items()
    }
    impossible = {} if new else _declared(values, columns, ids)
    if new and lexicon_of(task) is not None:
        return values, rows, {}  # mentions are places in the text as it was given; a pack cleans what it is asked
    texts = [name for name, column in columns.items() if column.type == "text"]
    references = reference_texts(task, rows, ids)
    if references is None:
        cleaned, changed = clean_inputs(values, texts, task.data.clean, lexicon_of(task))
        return cleaned, rows, impossible | changed
    cleaned, changed = clean_inputs(values | {REFERENCE: references}, texts, task.data.clean, reference=REFERENCE)
    answers = pd.Series(cleaned.pop(REFERENCE), index=rows.index, dtype=object)
    return cleaned, rows.assign(**{task.data.label_column.column: answers}), impossible | changed


def _declared(values: dict[str, list[Value]], columns: Mapping[str, InputColumn], ids: Sequence[str]) -> dict[str, int]:
    """Take impossible values out, and count them by input; raises ClinfitError for those that are no category."""
    found = {}
    for name, column in columns.items():
        check_categories(name, values[name], column, ids)
        if column.range is not None and (lost := sum(is_impossible(value, column) for value in values[name])):
            values[name] = [None if is_impossible(value, column) else value for value in values[name]]
            found[impossible_words(name, column)] = lost
    return found


def _values(
    cells: Sequence[Any], column: InputColumn, ids: Sequence[str], decimal: str, *, new: bool = False
) -> list[Value]:
    if column.type == "number":
        values = read_cells(
            cells,
            as_number if decimal == "." else as_comma_number,
            column.column,
            ids,
            expected=f"numbers with a decimal {'point' if decimal == '.' else 'comma'}, or one of '', NA, NaN, ? for "
            "missing",
            fix=_new_number_fix(cells, decimal) if new else _number_fix(cells, column.column, decimal),
        )
        coded: set[Value] = {as_number(value) for value in column.missing}
    else:
        read = as_category if column.type == "category" else as_paragraphs
        expected = "one value a cell, or a list of texts for an input of type text"
        values = read_cells(cells, read, column.column, ids, expected=expected, fix="flatten the column before")
        coded = {read(value) for value in column.missing}
    return [None if value in coded else value for value in values]


def _commas(cells: Sequence[Any]) -> int:
    return sum(isinstance(cell, str) and COMMA_NUMBER.fullmatch(cell.strip()) is not None for cell in cells)


def _new_number_fix(cells: Sequence[Any], decimal: str) -> str:
    """Of records to be predicted: what was learnt from is not to be changed."""
    if (commas := _commas(cells)) and decimal == ".":
        return f"{commas} of them have a decimal comma: write a decimal point, as in the data that were learnt from"
    return "correct these cells, or leave them empty where the value is not known"


def _number_fix(cells: Sequence[Any], column: str, decimal: str) -> str:
    if (commas := _commas(cells)) and decimal == ".":
        return f"{commas} of them have a decimal comma: write `decimal: ','` in the data block"
    return f"correct these cells, or declare {column} as type: category or text"


def _in_known_spellings(task: Task, records: Sequence[Record]) -> tuple[list[Record], int]:
    """The records as a pack would answer them (see `seen.as_seen`), and how many of them that changes."""
    seen = seen_values(task.data.columns, in_split(records, "train"))
    columns = task.data.columns
    read = [record if record.split == "train" else as_seen(record, seen, columns)[0] for record in records]
    return read, sum(one is not other for one, other in zip(records, read, strict=True))


# ---------------------------------------------------------------- records


def _records(
    task: str,
    ids: Sequence[str],
    groups: Sequence[str],
    inputs: dict[str, list[Value]],
    targets: Sequence[Target | None],
    splits: Mapping[int, Split | None],
) -> list[Record]:
    """The records at the positions that `splits` holds."""
    names = list(inputs)
    rows = list(zip(*inputs.values(), strict=True))
    return [
        Record(ids[at], groups[at], dict(zip(names, rows[at], strict=True)), targets[at], split, task)
        for at, split in splits.items()
    ]
