"""What a request holds as records of a task. What is wrong is told by position and by the task's own words.

A message of reading may quote columns, ids and values, which here are somebody's data: none of it is passed on.
"""

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clinfit.data.load import canonical_records, read_inputs
from clinfit.data.mentions import MASK
from clinfit.data.records import Record, Value
from clinfit.data.values import as_category, as_comma_number, as_number, as_paragraphs
from clinfit.errors import ClinfitError
from clinfit.serve.problems import Problem
from clinfit.serve.settings import Settings
from clinfit.study.tasks import Task, lexicon_of

#: Types of content that are read as a table, and the file name's end that says so.
TABLES = {
    "text/csv": ".csv",
    "text/tab-separated-values": ".tsv",
    "application/x-ndjson": ".jsonl",
    "application/jsonl": ".jsonl",
}
#: Inputs that a lone text is put into where a task reads several.
MAIN_TEXTS = ("abstract", "text", "note", "question")
#: Characters of an id, as `RecordIn` has them.
LONGEST_ID = 200
#: What reading raises.
UNREADABLE = (ClinfitError, ValueError, TypeError, ArithmeticError)

Item = str | Mapping[str, Any]


def main_text(task: Task) -> str | None:
    """The input that a lone text is put into; None where that is not clear."""
    texts = task.text_inputs
    if len(texts) == 1:
        return texts[0]
    return next((name for name in MAIN_TEXTS if name in texts), None)


def record_of(task_name: str, task: Task, item: Item, position: int, settings: Settings) -> Record:
    """The record that an item of a request is: a text, or `{"id": ..., "inputs": {...}}`. Raises Problem.

    A text is put into the task's text input, and every other input is missing. It is cleaned here, but of a task with a
    lexicon, where the pack counts places in the text as it was sent, and cleans it then.
    """
    if isinstance(item, str):
        name = main_text(task)
        if name is None:
            raise Problem("invalid-record", f"the task reads several inputs: send inputs with {_names(task)}")
        inputs: dict[str, Any] = {**dict.fromkeys(task.data.columns), name: item}
        record_id = str(position + 1)
    else:
        inputs = dict(item["inputs"])
        record_id = item.get("id") or str(position + 1)
    _check_inputs(task, inputs, settings)
    record = Record(record_id, record_id, inputs, task=task_name)
    try:
        (read,) = canonical_records(task, [record])
    except UNREADABLE:
        raise Problem("invalid-record", _unreadable(task, inputs)) from None
    return read if lexicon_of(task) is None else record


def _check_inputs(task: Task, inputs: Mapping[str, Any], settings: Settings) -> None:
    columns = task.data.columns
    if absent := [name for name in columns if name not in inputs]:
        raise Problem("invalid-record", f"inputs lack {', '.join(absent)}; null stands for a missing value")
    if len(inputs) > len(columns):
        raise Problem("invalid-record", f"there are inputs that the task does not read; it reads {_names(task)}")
    for name in columns:
        value = inputs[name]
        texts = value if isinstance(value, list) else [value]
        if sum(len(text) for text in texts if isinstance(text, str)) > settings.characters:
            raise Problem("invalid-record", f"input {name} has more than {settings.characters} characters")
        if any(isinstance(text, str) and not _is_unicode(text) for text in texts):
            raise Problem("invalid-record", f"input {name} holds half a character (a lone surrogate)")
    if all(inputs[name] in (None, "") for name in columns):
        raise Problem("invalid-record", "every input is missing")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _unreadable(task: Task, inputs: Mapping[str, Any]) -> str:
    """Which inputs are not of their type."""
    number = as_number if task.data.decimal == "." else as_comma_number
    readers = {"number": number, "category": as_category, "text": as_paragraphs}
    wrong = []
    for name, column in task.data.columns.items():
        try:
            readers[column.type](inputs[name])
        except UNREADABLE:
            wrong.append(f"input {name} is not a {column.type}")
    return "; ".join(wrong) or "the record cannot be read"


def _names(task: Task) -> str:
    return ", ".join(task.data.columns)


def table_records(task_name: str, task: Task, content: bytes, suffix: str, settings: Settings) -> list[Record]:
    """The records of a table, read as `clinfit predict` reads the file. Raises Problem.

    The table is in a temporary file while it is read, since tables are read from files.
    """
    with tempfile.NamedTemporaryFile(suffix=suffix, prefix="clinfit-job-") as file:
        file.write(content)
        file.flush()
        try:
            records = read_inputs(task_name, task, Path(file.name))
        except UNREADABLE:
            raise Problem("invalid-record", _table_fault(task, Path(file.name))) from None
    if len(records) > settings.job_items:
        raise Problem("invalid", f"a job has 1 to {settings.job_items} records")
    for row, record in enumerate(records, start=1):
        _check_row(task, record, row, settings)
    return records


def _check_row(task: Task, record: Record, row: int, settings: Settings) -> None:
    """What a request may not send a table may not either. Raises Problem."""
    if len(record.id) > LONGEST_ID:
        raise Problem("invalid-record", f"the id in row {row} has more than {LONGEST_ID} characters")
    for name, value in record.inputs.items():
        if not isinstance(value, str):
            continue
        column = task.data.columns[name].column
        if len(value) > settings.characters:
            raise Problem("invalid-record", f"column {column}, row {row}: more than {settings.characters} characters")


def _table_fault(task: Task, path: Path) -> str:
    """What is wrong with a table, in words that the pack brings: columns that are absent, inputs and rows that are not
    of their type."""
    from clinfit.data.read import read_new_rows

    columns = task.data.columns
    try:
        rows = read_new_rows(path, task.data)
    except UNREADABLE:
        return "the file is no table of the type that was named"
    present = {str(name).strip() for name in rows.columns}
    if absent := [column.column for column in columns.values() if column.column not in present]:
        return f"the table has no column {', '.join(absent)}"
    number = as_number if task.data.decimal == "." else as_comma_number
    wrong = []
    for column in columns.values():
        if column.type != "number":
            continue
        cells = rows[column.column].tolist()
        at = [row for row, cell in enumerate(cells, start=1) if not _reads(number, cell)]
        if at:
            wrong.append(f"column {column.column}: no number in {len(at)} rows, first in row {at[0]}")
    return "; ".join(wrong) or "the table cannot be read: ids must stand in every row once, and columns have one name"


def _reads(read: Any, cell: Any) -> bool:
    try:
        read(cell)
    except UNREADABLE:
        return False
    return True


def as_item(record: Record) -> dict[str, Any]:
    """A record as it waits in a job; JSON keeps every digit of a number."""
    return {"id": record.id, "inputs": record.inputs}


def from_item(task_name: str, item: Mapping[str, Any]) -> Record:
    inputs: dict[str, Value] = dict(item["inputs"])
    return Record(item["id"], item["id"], inputs, task=task_name)


def submitted_texts(task: Task, item: Item) -> dict[str, str]:
    """The texts of an item as they were sent, by input: what offsets count in."""
    if isinstance(item, str):
        name = main_text(task)
        return {} if name is None else {name: item}
    return {name: value for name, value in item["inputs"].items() if isinstance(value, str)}


def positions(read: str, sent: str, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int] | None]:
    """Where spans of a text as it is read stand in the text as it was sent; None where cleaning has changed them.
    Behind a mask something else stood, which is found by what stands around it within the span."""
    shift = sent.find(read)
    if shift >= 0:
        return [(start + shift, end + shift) for start, end in spans]
    found: list[tuple[int, int] | None] = []
    at = 0
    for start, end in spans:
        match = _as_sent(read[start:end]).search(sent, at)
        found.append(match and match.span())
        at = at if match is None else match.end()
    return found


def _as_sent(piece: str) -> re.Pattern[str]:
    """A piece of a cleaned text as it may have stood there, whole words alone; one of masks only is nowhere."""
    parts = piece.split(MASK)
    if len(parts) > 1 and not any(part.strip() for part in parts):
        return re.compile(r"(?!)")
    begins, ends = (r"(?<!\w)" if piece[:1].isalnum() else ""), (r"(?!\w)" if piece[-1:].isalnum() else "")
    return re.compile(begins + ".{1,200}?".join(map(re.escape, parts)) + ends, re.DOTALL)
