"""xlsx files, opened for reading: the usual ones, and those that a program saved as "strict" Open XML.

openpyxl is imported where a workbook is read: every command would wait for it, and few read one.
"""

import io
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openpyxl import Workbook

#: Namespaces of ISO/IEC 29500 strict, which openpyxl does not know -> those of the usual ("transitional") form.
STRICT = {
    b"http://purl.oclc.org/ooxml/spreadsheetml/": b"http://schemas.openxmlformats.org/spreadsheetml/2006/",
    b"http://purl.oclc.org/ooxml/officeDocument/": b"http://schemas.openxmlformats.org/officeDocument/2006/",
    b"http://purl.oclc.org/ooxml/drawingml/": b"http://schemas.openxmlformats.org/drawingml/2006/",
}


@contextmanager
def opened_book(path: Path, *, data_only: bool = True) -> "Iterator[Workbook]":
    """The workbook, read only. data_only: results of formulas instead of the formulas.

    Raises BadZipFile, KeyError, OSError or ValueError for files that are no workbook.
    """
    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    with zipfile.ZipFile(path) as archive:
        strict = any(name in archive.read("xl/workbook.xml") for name in STRICT)
        source = _transitional(archive) if strict else path
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about print areas and styles, which are no data
        try:
            book = load_workbook(source, read_only=True, data_only=data_only)
        except InvalidFileException as error:
            raise ValueError(str(error)) from error
    with closing(book):
        yield book


def sheet_rows(book: "Workbook", sheet: str) -> list[list[object]]:
    """The cells of a sheet, row by row."""
    from openpyxl.worksheet._read_only import ReadOnlyWorksheet

    cells = book[sheet]
    if isinstance(cells, ReadOnlyWorksheet):
        cells.reset_dimensions()  # the size that some programs write into the file is wrong
    return [list(row) for row in cells.iter_rows(values_only=True)]


def _transitional(strict: zipfile.ZipFile) -> io.BytesIO:
    """The same workbook with the usual namespaces, in memory."""
    copy = io.BytesIO()
    with zipfile.ZipFile(copy, "w") as archive:
        for name in strict.namelist():
            content = strict.read(name)
            for old, new in STRICT.items():
                content = content.replace(old, new)
            archive.writestr(name, content)
    copy.seek(0)
    return copy


def formula_without_value(path: Path, sheet: str) -> str | None:
    """The first cell that a program wrote as a formula and nobody calculated; it would read as missing."""
    from openpyxl.utils import get_column_letter

    tables = []
    for data_only in (False, True):
        with opened_book(path, data_only=data_only) as book:
            tables.append(sheet_rows(book, sheet))
    for number, (written, held) in enumerate(zip(*tables, strict=True), start=1):
        for column, (cell, value) in enumerate(zip(written, held, strict=True), start=1):
            if value is None and cell is not None:
                return f"{get_column_letter(column)}{number}"
    return None
