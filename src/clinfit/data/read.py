"""Files to rows: one function a format, each giving a table of raw cells.

A table keeps the types that its format knows: text for csv, tsv and text files; numbers and booleans as well for
xlsx, parquet and jsonl. What a cell means is decided later (`values`, `labels`), in one place for all formats.
"""

import codecs
import csv
import json
import re
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path, PurePosixPath
from typing import TextIO

import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from openpyxl.utils.exceptions import InvalidFileException
from openpyxl.worksheet._read_only import ReadOnlyWorksheet

from clinfit.data.catalog import read_catalog
from clinfit.errors import ClinfitError, nearest
from clinfit.study import Data

CATALOG_PREFIX = "catalog:"
FORMATS = ".csv, .tsv, .xlsx, .parquet, .jsonl, a folder or a .tar.gz of text files, or catalog:NAME"

ARCHIVES = (".tar.gz", ".tgz", ".tar")

#: Encodings tried when the declared one fails, the strictest first; latin-1 reads anything.
ENCODINGS = ("utf-8", "cp1252", "latin-1")

ABSTRACT_FILE = re.compile(
    r"\A\s*(?:<ID:\s*(?P<id>[^>\s]+)\s*>)?\s*(?:^Title:(?P<title>.*?)$)?\s*(?:^Abstract:(?P<abstract>.*))?\Z",
    re.DOTALL | re.MULTILINE,
)


def read_rows(source: str, folder: Path, data: Data) -> pd.DataFrame:
    """The table behind a `path` (relative to `folder`) or a `catalog:NAME`; raises ClinfitError when it cannot."""
    if source.startswith(CATALOG_PREFIX):
        return read_catalog(source.removeprefix(CATALOG_PREFIX))
    path = folder / Path(source).expanduser()
    _must_exist(path)
    try:
        table = _read(path, data)
    except OSError as error:
        raise ClinfitError(f"{path} cannot be read ({error.strerror})", expected="a file that you may read") from error
    if table.empty:
        raise ClinfitError(f"{path.name} holds no records", expected="a header and at least one row, or text files")
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
        texts = _folder_texts(path) if path.is_dir() else _archive_texts(path)
        contents = (content for file, content in texts if _is_text_file(file))
    elif name.endswith((".xlsx", ".parquet")):
        return False
    else:
        contents = iter([path.read_bytes()])
    return all(b"\0" not in content and _decodes(content, "utf-8") for content in contents)


def _has_sheet(path: Path, sheet: str) -> bool:
    """False for an xlsx file without this sheet; one that cannot be read is an error later."""
    try:
        with closing(openpyxl.load_workbook(path, read_only=True)) as book:
            return sheet in book.sheetnames
    except (zipfile.BadZipFile, InvalidFileException, KeyError, OSError, ValueError):
        return True


def _read(path: Path, data: Data) -> pd.DataFrame:
    name = path.name.lower()
    if path.is_dir() or name.endswith(ARCHIVES):
        texts = _folder_texts(path) if path.is_dir() else _archive_texts(path)
        return _text_files(texts, data, path.name)
    if path.stat().st_size == 0:
        raise ClinfitError(f"{path.name} is empty", expected="a header and at least one row")
    if name.endswith((".csv", ".tsv")):
        return _delimited(path, data.encoding)
    if name.endswith((".jsonl", ".ndjson")):
        return _json_lines(path, data.encoding)
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


def _wrong_encoding(content: bytes, encoding: str, name: str) -> ClinfitError:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        working = "utf-16"
    elif b"\0" in content:
        return ClinfitError(f"{name} is not a text file (it holds zero bytes)", expected=FORMATS)
    else:
        working = next(other for other in ENCODINGS if other != encoding and _decodes(content, other))
    saved = "" if working == "utf-8" else ", or save the file as UTF-8"
    return ClinfitError(
        f"{name} is not in {encoding}",
        expected=f"{working}, which reads the whole file",
        fix=f"encoding: {working}{saved}",
    )


def _decodes(content: bytes, encoding: str) -> bool:
    try:
        content.decode(encoding)
    except UnicodeError:
        return False
    return True


def _delimited(path: Path, encoding: str) -> pd.DataFrame:
    """csv and tsv. A csv whose header has semicolons and no comma is read as such (spreadsheets in much of Europe)."""
    csv.field_size_limit(sys.maxsize)  # the module's limit of 131,072 characters would refuse long reports
    rows: list[list[str]] = []
    with _opened(path, encoding) as file:
        header_line = file.readline()
        file.seek(0)
        comma = ";" if ";" in header_line and "," not in header_line else ","
        reader = csv.reader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else comma, strict=True)
        try:
            header = [name.strip() for name in next(reader, [])]
            for row in reader:
                if row and len(row) != len(header):
                    raise ClinfitError(
                        f"{path.name}, line {reader.line_num}: {len(row)} values under {len(header)} column names",
                        expected="as many values as columns",
                        fix="put a value that holds a comma, a quote or a line break in double quotes",
                    )
                if row:
                    rows.append(row)
        except csv.Error as error:
            raise ClinfitError(
                f"{path.name}, line {reader.line_num}: the quotes do not match ({error})",
                expected='values in double quotes, with "" for a quote inside',
                fix="save the file again as csv from the program it came from",
            ) from error
    return _table(rows, header, path.name)


def _json_lines(path: Path, encoding: str) -> pd.DataFrame:
    rows: list[dict[str, object]] = []
    with _opened(path, encoding) as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                rows.append(_json_object(line, f"{path.name}, line {number}"))
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return _table([[row.get(column) for column in columns] for row in rows], columns, path.name)


def _json_object(line: str, where: str) -> dict[str, object]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ClinfitError(
            f"{where}, column {error.colno}: not valid JSON ({error.msg})",
            expected="one JSON object a line",
            fix="correct this line, or save the records as one object a line",
        ) from error
    if not isinstance(row, dict):
        raise ClinfitError(f"{where}: a JSON {type(row).__name__}, not an object", expected="one JSON object a line")
    return row


def _table(rows: list, header: list[str], name: str) -> pd.DataFrame:
    repeated = sorted({column for column in header if header.count(column) > 1})
    if repeated:
        raise ClinfitError(f"{name}: several columns are called {', '.join(repeated)}", expected="one name a column")
    return pd.DataFrame(rows, columns=pd.Index(header, dtype=object), dtype=object)


# ---------------------------------------------------------------- xlsx and parquet


def _excel(path: Path, sheet: str | None) -> pd.DataFrame:
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        with closing(book):
            names = book.sheetnames
            if sheet is not None and sheet not in names:
                raise ClinfitError(
                    f"{path.name} has no sheet {sheet!r}",
                    expected=f"one of {', '.join(names)}",
                    fix=f"sheet: {nearest(sheet, names) or names[0]}",
                )
            cells = book[sheet or names[0]]
            if isinstance(cells, ReadOnlyWorksheet):
                cells.reset_dimensions()  # the size that some programs write into the file is wrong
            rows = [list(row) for row in cells.iter_rows(values_only=True)]
    except (zipfile.BadZipFile, InvalidFileException, KeyError, OSError, ValueError) as error:
        raise ClinfitError(f"{path.name} cannot be read as xlsx ({type(error).__name__})", expected=FORMATS) from error
    rows = [row for row in rows if any(cell is not None for cell in row)]
    if not rows:
        return pd.DataFrame()
    named = [at for at, name in enumerate(rows[0]) if name is not None]
    header = [str(rows[0][at]).strip() for at in named]
    # Rows end at their last filled cell: shorter ones than the header are filled up.
    table = [[row[at] if at < len(row) else None for at in named] for row in rows[1:]]
    return _table(table, header, path.name)


def _parquet(path: Path) -> pd.DataFrame:
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise ClinfitError(
            f"{path.name} cannot be read as parquet ({type(error).__name__})", expected=FORMATS
        ) from error
    columns = {name: column.to_pylist() for name, column in zip(table.column_names, table.columns, strict=True)}
    return pd.DataFrame({name: pd.Series(cells, dtype=object) for name, cells in columns.items()})


# ---------------------------------------------------------------- folders of text files


def _folder_texts(folder: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield PurePosixPath(path.relative_to(folder).as_posix()), path.read_bytes()


def _archive_texts(path: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    """The regular files of an archive, by name; nothing is written to disk, links and devices are passed over."""
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isfile() else None
                if file is None:
                    continue
                name = PurePosixPath(member.name)
                if name.is_absolute() or ".." in name.parts:
                    raise ClinfitError(
                        f"{path.name} holds a file outside its own folder ({member.name[:80]})",
                        expected="relative names",
                        fix="pack the folder again, from inside it",
                    )
                yield name, file.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ClinfitError(
            f"{path.name} cannot be read as an archive ({type(error).__name__})", expected="a whole .tar.gz file"
        ) from error


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
