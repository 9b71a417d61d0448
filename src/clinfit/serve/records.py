"""What a request holds as records of a task. What is wrong is told by position and by the task's own words.

A message of reading may quote columns, ids and values, which here are somebody's data: none of it is passed on.
"""

import csv
import io
import json
import re
import sys
import tempfile
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from encodings import normalize_encoding
from encodings.aliases import aliases
from itertools import chain, count
from pathlib import Path
from typing import Any

from clinfit.data.fields import object_pairs
from clinfit.data.load import canonical_records, read_inputs
from clinfit.data.mentions import MASK
from clinfit.data.read import TableFault, WrongEncoding, decode, read_new_rows
from clinfit.data.records import NOTHING, Record, Value, holds_nothing
from clinfit.data.values import as_category, as_comma_number, as_number, as_paragraphs, as_text, cells_of
from clinfit.errors import ClinfitError
from clinfit.serve.problems import Problem
from clinfit.serve.schemas import RecordIn
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
#: Columns of a table, those that the task does not read among them.
MOST_COLUMNS = 1000
#: Codecs of text that a Content-Type may name, by their modules: looking up any name that is sent would keep it.
CHARSETS = frozenset(
    "ascii utf_8 utf_8_sig utf_16 utf_16_le utf_16_be utf_32 latin_1 iso8859_2 iso8859_3 iso8859_4 iso8859_5 iso8859_6 "
    "iso8859_7 iso8859_8 iso8859_9 iso8859_10 iso8859_11 iso8859_13 iso8859_14 iso8859_15 iso8859_16 cp1250 cp1251 "
    "cp1252 cp1253 cp1254 cp1255 cp1256 cp1257 cp1258 mac_roman koi8_r gb18030 gbk big5 shift_jis euc_jp euc_kr".split()
)
ENCODED = "; name its charset in the Content-Type, or save it as UTF-8"
#: Places that are tried for a span with masks.
TRIED = 100
#: Characters that a mask may stand for.
MASKED = 200
#: What reading raises.
UNREADABLE = (ClinfitError, ValueError, TypeError, ArithmeticError)

Item = str | Mapping[str, Any]


def main_text(task: Task) -> str | None:
    """The input that a lone text is put into; None where that is not clear."""
    texts = task.text_inputs
    if len(texts) == 1:
        return texts[0]
    return next((name for name in MAIN_TEXTS if name in texts), None)


def item_ids(items: Sequence[Item]) -> list[str]:
    """The id of each item of a request: the one that it was given, else its position, from 1, and a number behind that
    where another item was given this id."""
    given = [_given_id(item) for item in items]
    taken = {as_text(name) for name in given if name}
    found = []
    for position, own in enumerate(given, start=1):
        names = chain([str(position)], (f"{position}-{k}" for k in count(2)))
        found.append(own or next(name for name in names if name not in taken))
    return found


def check_ids(items: Sequence[Item]) -> None:
    """Raise Problem where an id is none, or was given to two items, as a table is refused: who asks by ids would take
    the answer to one for that to the other. They are compared as those of a table, which are read."""
    given = [_given_id(item) for item in items]
    ids = [None if name is None else as_text(name) for name in given]
    blank = next((at for at, name in enumerate(given) if name is not None and ids[at] is None), None)
    if blank is not None:
        errors = [{"pointer": f"#/input/{blank}/id", "code": "blank"}]
        raise Problem("invalid", "an id is blank, or NA or the like, as no value is: leave it out", errors=errors)
    if places := repeated(ids):
        errors = [{"pointer": f"#/input/{at}/id", "code": "repeated"} for at in places]
        raise Problem("invalid", "give each record an id of its own, or none", errors=errors)


def _given_id(item: Item) -> str | None:
    return None if isinstance(item, str) else item.get("id")


def repeated(ids: Iterable[str | None]) -> tuple[int, int] | None:
    """Where an id stands, and where it stands again; None where each stands once."""
    first: dict[str, int] = {}
    for at, name in enumerate(ids):
        if name is not None and first.setdefault(name, at) != at:
            return first[name], at
    return None


def record_of(task_name: str, task: Task, item: Item, record_id: str, settings: Settings) -> Record:
    """The record that an item of a request is: a text, or `{"id": ..., "inputs": {...}}`. Raises Problem.

    record_id: of `item_ids`. A text is put into the task's text input, and every other input is missing. It is cleaned
    here, but of a task with a lexicon, where the pack counts places in the text as it was sent, and cleans it then.
    """
    if isinstance(item, str):
        name = main_text(task)
        if name is None:
            raise Problem("invalid-record", f"the task reads several inputs: send inputs with {_names(task)}")
        inputs: dict[str, Any] = {**dict.fromkeys(task.data.columns), name: item}
    else:
        inputs = dict(item["inputs"])
    _check_inputs(task, inputs, settings)
    record = Record(record_id, record_id, inputs, task=task_name)
    try:
        (read,) = canonical_records(task, [record])
    except UNREADABLE:
        raise Problem("invalid-record", _unreadable(task, inputs)) from None
    check_holds(read)
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


def check_holds(record: Record) -> None:
    """Raise Problem for a record without any value."""
    if holds_nothing(record):
        raise Problem("invalid-record", NOTHING)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _unreadable(task: Task, inputs: Mapping[str, Any]) -> str:
    """Which inputs are not of their type."""
    readers = _readers(task)
    wrong = []
    for name, column in task.data.columns.items():
        try:
            readers[column.type](inputs[name])
        except UNREADABLE:
            wrong.append(f"input {name} is not a {column.type}")
    return "; ".join(wrong) or "the record cannot be read"


def _readers(task: Task) -> dict[str, Callable[[Any], Any]]:
    """What reads a value, by the type of its input."""
    number = as_number if task.data.decimal == "." else as_comma_number
    return {"number": number, "category": as_category, "text": as_paragraphs}


def _names(task: Task) -> str:
    return ", ".join(task.data.columns)


def charset_of(content_type: str) -> str | None:
    """The codec of the charset that a Content-Type names; None where it names none. Raises Problem for one that is not
    read."""
    for part in content_type.split(";")[1:]:
        name, _, value = part.partition("=")
        if name.strip().lower() == "charset":
            label = normalize_encoding(value.strip().strip('"').lower())
            codec = aliases.get(label, label)
            if codec not in CHARSETS:
                raise Problem("media-type", f"the charset is none of {', '.join(sorted(CHARSETS))}: send UTF-8")
            return codec
    return None


def in_utf8(task: Task, content: bytes, codec: str) -> tuple[Task, bytes]:
    """A table in UTF-8, and the task as one that reads it so. Raises Problem for bytes that are not of the codec."""
    try:
        text = content.decode(codec)
    except UnicodeError:
        raise Problem("invalid-record", f"the table is not text in {codec}, which the Content-Type names") from None
    data = task.data.model_copy(update={"encoding": "utf-8"})
    return task.model_copy(update={"data": data}), text.encode()


def table_records(task_name: str, task: Task, content: bytes, suffix: str, settings: Settings) -> list[Record]:
    """The records of a table, read as `clinfit predict` reads the file, rows without any value among them. Raises
    Problem.

    The table is in a temporary file while it is read, since tables are read from files. Its rows and columns are
    counted before: a small file may hold many of both, and all cells together stand in memory.
    """
    _check_size(task, content, suffix, settings)
    with tempfile.NamedTemporaryFile(suffix=suffix, prefix="clinfit-job-") as file:
        file.write(content)
        file.flush()
        try:
            records = read_inputs(task_name, task, Path(file.name))
        except UNREADABLE:
            raise Problem("invalid-record", _table_fault(task, Path(file.name))) from None
    for row, record in enumerate(records, start=1):
        _check_row(task, record, row, settings)
    return records


def _check_size(task: Task, content: bytes, suffix: str, settings: Settings) -> None:
    """Raise Problem for too many rows or columns, or for a line that no record needs."""
    longest = 6 * settings.characters * (len(task.data.columns) + 1)  # JSON may write a character with six
    rows, names = 0, set[str]()
    try:
        lines = io.StringIO(decode(content, task.data.encoding, "the table"), newline="")
        for found in _json_keys(lines, longest) if suffix == ".jsonl" else _cells(lines, suffix):
            rows += 1
            if suffix == ".jsonl" or rows == 1:
                names.update(found)
            if rows > settings.job_items + (suffix != ".jsonl"):
                raise Problem("invalid", f"a job has 1 to {settings.job_items} records")
            if len(names) > MOST_COLUMNS:
                raise Problem("invalid-record", f"the table has more than {MOST_COLUMNS} columns")
    except (*UNREADABLE, csv.Error, RecursionError):
        return  # what cannot be read is told by whoever reads it


def _json_keys(lines: Iterable[str], longest: int) -> Iterator[Iterable[str]]:
    for line in lines:
        if len(line) > longest:
            raise Problem("invalid-record", "a line is longer than any record may be")
        if line.strip():
            row = json.loads(line)
            yield row if isinstance(row, dict) else ()


def _cells(lines: Iterable[str], suffix: str) -> Iterator[list[str]]:
    """Rows that hold anything, divided wherever a cell could end."""
    csv.field_size_limit(sys.maxsize)
    for row in csv.reader(lines, delimiter="\t" if suffix == ".tsv" else ","):
        if any(row):
            yield [name for cell in row for name in re.split("[;\t]", cell)] if suffix == ".csv" else row


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
    columns = task.data.columns
    try:
        rows = read_new_rows(path, task.data)
    except TableFault as fault:
        return f"the table cannot be read: {fault.place}" + (ENCODED if isinstance(fault, WrongEncoding) else "")
    except UNREADABLE:
        return "the file is no table of the type that was named"
    rows.columns = present = [str(name).strip() for name in rows.columns]
    if absent := [column.column for column in columns.values() if column.column not in present]:
        return f"the table has no column {', '.join(absent)}"
    if len(set(present)) < len(present):
        return "the table cannot be read: several columns have one name"
    readers = _readers(task)
    wrong = []
    for column in columns.values():
        read = readers[column.type]
        at = [row for row, cell in enumerate(cells_of(rows[column.column]), start=1) if not _reads(read, cell)]
        if at:
            wrong.append(f"column {column.column}: no {column.type} in {len(at)} rows, first in row {at[0]}")
    if wrong:
        return "; ".join(wrong)
    named = [(name, what) for name, what in ((task.data.id, "id"), (task.data.group, "group")) if name in present]
    faults = [fault for name, what in named for fault in _name_faults(cells_of(rows[name]), what)]
    return f"the table cannot be read: {'; '.join(faults) or 'a cell is not what its column holds'}"


def _name_faults(cells: Sequence[Any], what: str) -> Iterator[str]:
    """What is wrong with the ids or groups of a table. what: which of the two; of groups several rows may have one."""
    names = [as_text(cell) if _reads(as_text, cell) else None for cell in cells]
    if missing := [row for row, name in enumerate(names, start=1) if name is None]:
        yield f"no {what} in {len(missing)} rows, first in row {missing[0]}"
    if what == "id" and (twice := repeated(names)):
        yield f"rows {twice[0] + 1} and {twice[1] + 1} have one id"


def _reads(read: Callable[[Any], Any], cell: Any) -> bool:
    try:
        read(cell)
    except UNREADABLE:
        return False
    return True


def inputs_of(text: str) -> dict[str, Any] | None:
    """The inputs of a record that was sent as the text of a JSON object; None of other texts, and of an object with a
    name twice or with what no input takes."""
    pairs = object_pairs(text) or []
    try:
        if len(inputs := dict(pairs)) == len(pairs) > 0:
            return RecordIn(inputs=inputs).inputs
    except ValueError:
        pass
    return None


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
    letters, sent_letters = _letters(read), _letters(sent)
    if [read[k] for k in letters] == [sent[k] for k in sent_letters]:  # white space alone is other
        return [_over_letters(letters, sent_letters, span) for span in spans]
    found: list[tuple[int, int] | None] = []
    at = 0
    for start, end in spans:
        span = _as_sent(read[start:end], sent, at)
        found.append(span)
        at = at if span is None else span[1]
    return found


def _letters(text: str) -> list[int]:
    """The places of all characters but white space."""
    return [at for at, character in enumerate(text) if not character.isspace()]


def _over_letters(letters: Sequence[int], sent: Sequence[int], span: tuple[int, int]) -> tuple[int, int] | None:
    """A span of the one text in the other, from its first to its last character that is no white space."""
    first, end = bisect_left(letters, span[0]), bisect_left(letters, span[1])
    return None if first == end else (sent[first], sent[end - 1] + 1)


def _as_sent(piece: str, sent: str, at: int) -> tuple[int, int] | None:
    """Where a piece of a cleaned text stands in the text as it was sent, whole words alone; one of masks only is
    nowhere. Parts between masks follow each other at the nearest place: no search goes back, since texts and masks are
    whatever somebody sends."""
    parts = piece.split(MASK)
    first = next((number for number, part in enumerate(parts) if part), None)
    if first is None or not any(part.strip() for part in parts):
        return None
    before = MASKED if first else 0
    place = sent.find(parts[first], at + bool(first))
    for _ in range(TRIED):
        if place < 0:
            return None
        start, end = max(at, place - before), _end_of(parts[first + 1 :], sent, place + len(parts[first]))
        if end is not None and _whole_words(piece, sent, start, end):
            return start, end
        place = sent.find(parts[first], place + 1)
    return None


def _end_of(parts: Sequence[str], sent: str, end: int) -> int | None:
    """Where the last of the parts ends that stand behind a mask each; None where one of them is not near enough."""
    for part in parts:
        place = sent.find(part, end + 1, end + MASKED + len(part))
        if place < 0:
            return None
        end = place + len(part)
    return end


def _whole_words(piece: str, sent: str, start: int, end: int) -> bool:
    begins = not (piece[:1].isalnum() and start > 0 and _is_word(sent[start - 1]))
    return begins and not (piece[-1:].isalnum() and end < len(sent) and _is_word(sent[end]))


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"
