"""Files to rows: one function a format, each giving a table of raw cells.

A table keeps the types that its format knows: text for csv, tsv and text files; numbers and booleans as well for
xlsx, parquet and jsonl. What a cell means is decided later (`values`, `labels`), in one place for all formats.
"""

import codecs
import csv
import json
import re
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import TextIO

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from clinfit.data.archives import ARCHIVES, archive_files
from clinfit.data.binary import is_binary
from clinfit.data.catalog.entry import CATALOG_PREFIX
from clinfit.data.values import cells_of, is_missing
from clinfit.data.workbooks import formula_without_value, opened_book, sheet_rows
from clinfit.errors import ClinfitError, nearest
from clinfit.study.data import Data

FORMATS = ".csv, .tsv, .xlsx, .parquet, .jsonl, .json, a folder or a .tar.gz of text files, or catalog:NAME"

#: Encodings tried when the declared one fails, the strictest first; latin-1 reads anything.
ENCODINGS = ("utf-8", "cp1252", "latin-1")

#: Tables that are text.
TEXT_TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json")
ABSTRACT_FILE = re.compile(
    r"\A\s*(?:<ID:\s*(?P<id>[^>\s]+)\s*>)?\s*(?:^Title:(?P<title>.*?)$)?\s*(?:^Abstract:(?P<abstract>.*))?\Z",
    re.DOTALL | re.MULTILINE,
)


class TableFault(ClinfitError):
    """A table that cannot be read. place: what is wrong and where, in numbers alone, without a word of the file."""

    def __init__(self, found: str, *, expected: str = "", fix: str = "", place: str = "") -> None:
        super().__init__(found, expected=expected, fix=fix)
        self.place = place


class WrongEncoding(TableFault):
    """A table that is text in another encoding than was said."""


def read_rows(source: str, folder: Path, data: Data) -> pd.DataFrame:
    """The table behind a `path` (relative to `folder`) or a `catalog:NAME`; raises ClinfitError when it cannot."""
    if source.startswith(CATALOG_PREFIX):
        from clinfit.data.catalog.sets import read_catalog  # every set with its reader

        return read_catalog(source)
    path = folder / Path(source).expanduser()
    _must_exist(path)
    try:
        table = _read(path, data)
    except OSError as error:
        raise ClinfitError(f"{path} cannot be read ({error.strerror})", expected="a file that you may read") from error
    if table.empty:
        raise TableFault(
            f"{path.name} holds no records", expected="a header and at least one row, or text files", place="no rows"
        )
    return table


def read_new_rows(path: Path, data: Data) -> pd.DataFrame:
    """The table of a file to be predicted, which may come from elsewhere than the file of the study.

    Text that is UTF-8 throughout is read as such whatever the study's encoding, since latin-1 would read it too, but
    wrongly. Where an xlsx file has no sheet of the study's name, its first one is read.
    """
    changes: dict[str, str | None] = {}
    if path.exists():
        if _codec(data.encoding) != "utf-8-sig" and _is_utf8(path):
            changes["encoding"] = "utf-8"
        if data.sheet is not None and not _has_sheet(path, data.sheet):
            changes["sheet"] = None
    return read_rows(path.name, path.parent, data.model_copy(update=changes))


def _is_utf8(path: Path) -> bool:
    """Whether every text is UTF-8; UTF-16 without a byte-order mark decodes as well, and is told by its zero bytes."""
    name = path.name.lower()
    if path.is_dir() or name.endswith(ARCHIVES):
        texts = _folder_texts(path) if path.is_dir() else archive_files(path)
        contents = (content for file, content in texts if _is_text_file(file))
    elif name.endswith((".xlsx", ".parquet")):
        return False
    else:
        contents = iter([path.read_bytes()])
    return all(b"\0" not in content and _decodes(content, "utf-8") for content in contents)


def _has_sheet(path: Path, sheet: str) -> bool:
    """False for an xlsx file without this sheet; one that cannot be read is an error later."""
    try:
        with opened_book(path) as book:
            return sheet in book.sheetnames
    except (zipfile.BadZipFile, KeyError, OSError, ValueError):
        return True


def _read(path: Path, data: Data) -> pd.DataFrame:
    name = path.name.lower()
    if path.is_dir() or name.endswith(ARCHIVES):
        texts = _folder_texts(path) if path.is_dir() else archive_files(path)
        return _text_files(texts, data, path.name)
    if path.stat().st_size == 0:
        raise TableFault(f"{path.name} is empty", expected="a header and at least one row", place="no rows")
    if name.endswith(TEXT_TABLES) and is_binary(path, _codec(data.encoding)):
        raise _no_text(path.name)
    if name.endswith((".csv", ".tsv")):
        return _delimited(path, data.encoding)
    if name.endswith((".jsonl", ".ndjson")):
        return _json_lines(path, data.encoding)
    if name.endswith(".json"):
        return _json(path, data.encoding)
    if name.endswith(".xlsx"):
        return _excel(path, data.sheet)
    if name.endswith(".parquet"):
        return _parquet(path)
    raise ClinfitError(f"{path.name}: unknown format {path.suffix!r}", expected=FORMATS)


def _must_exist(path: Path) -> None:
    if path.exists():
        return
    here = path.parent
    if not here.is_dir():
        raise ClinfitError(f"{path} does not exist: there is no folder {here}", fix="correct data.path in the study")
    near = nearest(path.name, (item.name for item in here.iterdir()))
    raise ClinfitError(
        f"{path} does not exist",
        expected=f"one of {FORMATS}; paths are relative to the study file",
        fix=f"path: {near}" if near else "correct data.path in the study",
    )


# ---------------------------------------------------------------- text


def decode(content: bytes, encoding: str, name: str) -> str:
    """Bytes to text; a byte-order mark is dropped. A wrong encoding is an error that names one which works."""
    try:
        return content.decode(_codec(encoding))
    except UnicodeError as error:
        raise _wrong_encoding(content, encoding, name) from error


@contextmanager
def _opened(path: Path, encoding: str) -> Iterator[TextIO]:
    """The file, read line by line, so that a large one is in memory once; errors as in `decode`."""
    try:
        with path.open(encoding=_codec(encoding), newline="") as file:
            yield file
    except UnicodeError as error:
        raise _wrong_encoding(path.read_bytes(), encoding, path.name) from error


def _codec(encoding: str) -> str:
    """The codec's name, for utf-8 the one that drops a byte-order mark."""
    try:
        name = codecs.lookup(encoding).name
    except LookupError as error:
        raise ClinfitError(f"encoding {encoding!r} is not known", fix="encoding: utf-8 (or cp1252, latin-1)") from error
    return "utf-8-sig" if name == "utf-8" else name


def _wrong_encoding(content: bytes, encoding: str, name: str) -> TableFault:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        working = "utf-16"
    elif b"\0" in content:
        return _no_text(name)
    else:
        working = next(other for other in ENCODINGS if other != encoding and _decodes(content, other))
    saved = "" if working == "utf-8" else ", or save the file as UTF-8"
    return WrongEncoding(
        f"{name} is not in {encoding}",
        expected=f"{working}, which reads the whole file",
        fix=f"encoding: {working}{saved}",
        place=f"not text in {encoding.upper()}",
    )


def _no_text(name: str) -> TableFault:
    return TableFault(
        f"{name} is not a text file",
        expected=f"a file that is what its name says: {FORMATS}",
        fix="give the file the name of its format, or export it again",
        place="no text",
    )


def _decodes(content: bytes, encoding: str) -> bool:
    try:
        content.decode(encoding)
    except UnicodeError:
        return False
    return True


def _delimited(path: Path, encoding: str) -> pd.DataFrame:
    """csv and tsv. Empty lines, and empty columns without a name, which spreadsheets leave behind, are no data."""
    csv.field_size_limit(sys.maxsize)  # the module's limit of 131,072 characters would refuse long reports
    rows: list[list[str]] = []
    with _opened(path, encoding) as file:
        separator = "\t" if path.suffix.lower() == ".tsv" else _separator(file)
        reader = csv.reader(file, delimiter=separator, strict=True)
        header: list[str] = []
        try:
            for row in reader:
                if not header:
                    header = [name.strip() for name in row] if any(cell.strip() for cell in row) else []
                elif row and (len(row) < len(header) or any(cell.strip() for cell in row[len(header) :])):
                    raise TableFault(
                        f"{path.name}, line {reader.line_num}: {len(row)} values under {len(header)} column names",
                        expected="as many values as columns",
                        fix="put a value that holds a comma, a quote or a line break in double quotes",
                        place=f"row {len(rows) + 1} has {len(row)} cells, the head has {len(header)}",
                    )
                elif row:
                    rows.append(row[: len(header)])
        except csv.Error as error:
            raise TableFault(
                f"{path.name}, line {reader.line_num}: the quotes do not match ({error})",
                expected='values in double quotes, with "" for a quote inside',
                fix="save the file again as csv from the program it came from",
                place=f"line {reader.line_num}: the quotes do not match",
            ) from error
    return _table(rows, header, path.name)


def _separator(file: TextIO) -> str:
    """What stands between the cells of a csv file, which is then read from its header on.

    The line `sep=;` of a spreadsheet program says it; else it is the one of comma, semicolon (much of Europe) and tab
    that cuts the header into most names and the first row into as many cells.
    """
    start = file.tell()
    for line in iter(file.readline, ""):
        if line.strip():
            break
        start = file.tell()
    else:
        line = ""
    if declared := re.fullmatch(r'"?sep=(.)"?', line.strip("\r\n")):
        return declared[1]
    best, widest = ",", (False, 0)
    for separator in ",;\t":
        file.seek(start)
        filled = (row for row in csv.reader(file, delimiter=separator, strict=True) if row)
        header: list[str] = []
        cells = 0
        with suppress(csv.Error):
            header = next(filled, [])
            cells = len(next(filled, header))
        width = (cells == len(header) > 1, len(header))
        if width > widest:
            best, widest = separator, width
    file.seek(start)
    return best


def _json_lines(path: Path, encoding: str) -> pd.DataFrame:
    rows: list[dict[str, object]] = []
    with _opened(path, encoding) as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                rows.append(_json_object(line, path.name, number))
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return _table([[row.get(column) for column in columns] for row in rows], columns, path.name)


def _json(path: Path, encoding: str) -> pd.DataFrame:
    """A list of objects, an object of objects by id (whose keys become the column `id`), or JSON lines."""
    with _opened(path, encoding) as file:
        try:
            content = json.load(file)
        except (json.JSONDecodeError, RecursionError):  # of a line alone it is told in which
            return _json_lines(path, encoding)
    if isinstance(content, dict) and content and all(isinstance(row, dict) for row in content.values()):
        rows = [{"id": key} | row for key, row in content.items()]
    elif isinstance(content, list) and all(isinstance(row, dict) for row in content):
        rows = content
    else:
        return _json_lines(path, encoding)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return _table([[row.get(column) for column in columns] for row in rows], columns, path.name)


def _json_object(line: str, name: str, number: int) -> dict[str, object]:
    where, place = f"{name}, line {number}", f"line {number} is no JSON object"
    try:
        row = json.loads(line)
    except RecursionError:
        raise TableFault(
            f"{where}: lists or objects within each other, more than can be read",
            expected="one JSON object a line, with a text, a number or a list of texts for each column",
            place=f"line {number} is nested too deep",
        ) from None
    except json.JSONDecodeError as error:
        raise TableFault(
            f"{where}, column {error.colno}: not valid JSON ({error.msg})",
            expected="one JSON object a line",
            fix="correct this line, or save the records as one object a line",
            place=place,
        ) from error
    if not isinstance(row, dict):
        raise TableFault(
            f"{where}: a JSON {type(row).__name__}, not an object", expected="one JSON object a line", place=place
        )
    return row


def _table(rows: list, header: list[str], name: str) -> pd.DataFrame:
    """Raises ClinfitError for repeated names, and for cells in several columns without one."""
    unnamed = [at for at, column in enumerate(header) if not column]
    empty = {at for at in unnamed if all(is_missing(row[at]) for row in rows)}
    if len(unnamed) - len(empty) > 1:
        places = ", ".join(str(at + 1) for at in unnamed if at not in empty)
        raise TableFault(
            f"{name}: columns {places} hold values and have no name",
            expected="a name at the top of every column",
            fix="write the names into the first row",
            place=f"columns {places} hold values and have no name",
        )
    if empty:
        kept = [at for at in range(len(header)) if at not in empty]
        header, rows = [header[at] for at in kept], [[row[at] for at in kept] for row in rows]
    repeated = sorted(column for column, times in Counter(header).items() if times > 1)
    if repeated:
        raise TableFault(
            f"{name}: several columns are called {', '.join(repeated)}",
            expected="one name a column",
            place="several columns have one name",
        )
    return pd.DataFrame(rows, columns=pd.Index(header, dtype=object), dtype=object)


# ---------------------------------------------------------------- xlsx and parquet


def _excel(path: Path, sheet: str | None) -> pd.DataFrame:
    """One sheet; without a name the first that holds cells (a chart may have a sheet of its own)."""
    try:
        with opened_book(path) as book:
            names = [cells.title for cells in book.worksheets]
            if not names or (sheet is not None and sheet not in names):
                raise ClinfitError(
                    f"{path.name} has no sheet {sheet!r}" if names else f"{path.name} holds charts and no cells",
                    expected=f"one of {', '.join(names)}" if names else "a sheet with a header and rows",
                    fix=f"sheet: {nearest(sheet or '', names) or names[0]}" if names else "",
                )
            rows = sheet_rows(book, sheet or names[0])
        if any(None in row for row in rows) and (place := formula_without_value(path, sheet or names[0])):
            raise ClinfitError(
                f"{path.name}, cell {place}: a formula without its result",
                expected="results beside the formulas, as spreadsheet programs save them",
                fix="open the file in a spreadsheet program and save it, or save the sheet as csv",
            )
    except (zipfile.BadZipFile, KeyError, OSError, ValueError) as error:
        raise ClinfitError(f"{path.name} cannot be read as xlsx ({type(error).__name__})", expected=FORMATS) from error
    rows = [row for row in rows if any(cell is not None for cell in row)]
    if not rows:
        return pd.DataFrame()
    header = ["" if name is None else str(name).strip() for name in rows[0]]
    # Rows end at their last filled cell: shorter ones than the header are filled up.
    table = [[row[at] if at < len(row) else None for at in range(len(header))] for row in rows[1:]]
    found = _table(table, header, path.name)
    found.attrs["other sheets"] = names[1:] if sheet is None else []
    return found


def other_sheets(table: pd.DataFrame) -> list[str]:
    """The sheets of a table's file that were not read, since the study names none."""
    return table.attrs.get("other sheets", [])


def _parquet(path: Path) -> pd.DataFrame:
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise ClinfitError(
            f"{path.name} cannot be read as parquet ({type(error).__name__})", expected=FORMATS
        ) from error
    columns = {name: _arrow_cells(column) for name, column in zip(table.column_names, table.columns, strict=True)}
    return pd.DataFrame({name: pd.Series(cells, dtype=object) for name, cells in columns.items()})


def _arrow_cells(column: pa.ChunkedArray) -> list[object]:
    """Python's values; of floats of fewer bits, what they mean (see `cells_of`)."""
    narrow = pa.types.is_float32(column.type) or pa.types.is_float16(column.type)
    return cells_of(column.to_pandas()) if narrow else column.to_pylist()


# ---------------------------------------------------------------- folders of text files


def _folder_texts(folder: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield PurePosixPath(path.relative_to(folder).as_posix()), path.read_bytes()


def _is_text_file(name: PurePosixPath) -> bool:
    return name.suffix.lower() in {".txt", ""} and not any(part.startswith((".", "__MACOSX")) for part in name.parts)


def _text_files(texts: Iterator[tuple[PurePosixPath, bytes]], data: Data, source: str) -> pd.DataFrame:
    """Columns id (file name), label (folder that holds the file) and text; or id, label, title and abstract."""
    rows: list[dict[str, str | None]] = []
    unparsed: list[str] = []
    for name, content in texts:
        if not _is_text_file(name):
            continue
        row: dict[str, str | None] = {"id": name.stem, "label": name.parent.name or None}
        text = decode(content, data.encoding, f"{source}/{name}").replace("\r\n", "\n")
        if not data.parse_abstracts:
            rows.append(row | {"text": text})
            continue
        parts = ABSTRACT_FILE.match(text)
        if parts is None or (parts["title"] is None and parts["abstract"] is None):
            unparsed.append(str(name))
            continue
        rows.append(row | {"id": parts["id"] or name.stem, "title": parts["title"], "abstract": parts["abstract"]})
    if unparsed:
        raise ClinfitError(
            f"{source}: {len(unparsed)} files do not hold `Title:` and `Abstract:` lines, such as {unparsed[0]}",
            expected="the lines <ID:n>, `Title: ...` and `Abstract: ...`",
            fix="parse_abstracts: false, with inputs: {text: text}",
        )
    return pd.DataFrame(rows, dtype=object)
