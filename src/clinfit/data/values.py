"""Cells of a file to values of a record: missing, text, number. The one place where a value gets its form.

Files differ in what they know of types: csv holds text only, parquet and jsonl hold numbers and booleans, xlsx holds
whatever was typed, and a program that reads a table guesses types and writes them back. One reading serves all:

    true, True, TRUE and a boolean                     true
    1, 1.0, +1, "1.00" and numpy's 1                   1
    2.50, 2.5, 2.5e+0 and a float of 32 bits           2.5 (15 significant digits, as spreadsheets keep)
    2026-01-05 00:00:00 and a date                     2026-01-05
    spaces at the ends                                 none; within a category one space for any run of them
    line ends of other systems, composed characters    line feed, Unicode's NFC
    half characters, as of a text cut inside an emoji  U+FFFD

Case is kept, since AA, Aa and aa may be three genotypes; `seen` says what becomes of a category that only case tells
from a known one. Leading zeros are kept, since 0389 and 389 are two codes, and so is an exponent without a sign, since
1E30 is one too; programs write it with a sign.
"""

import math
import re
import unicodedata
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd

from clinfit.errors import ClinfitError

#: Spellings of "no value", compared without case and surrounding spaces.
MISSING_MARKERS = frozenset(
    {"", "na", "n/a", "nan", "null", "<na>", "#n/a", "?", "#na", "#n/a n/a", "-nan"}
    | {f"{sign}1.#{kind}" for sign in ("", "-") for kind in ("ind", "qnan")}
)
LONGEST_MARKER = max(map(len, MISSING_MARKERS))

#: Fewer records than this may point to a person: neither their values nor their number are told.
SMALL_CELL = 10

#: A number as people and programs write it; longer texts than LONGEST_SHORT are none, and no boolean or date either.
NUMBER = re.compile(r"[+-]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-][0-9]+)?")
MIDNIGHT = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})[ T]00:00(?::00(?:\.0+)?)?")
LONGEST_SHORT = 40
BOOLEANS = {"true": 1.0, "false": 0.0}
#: Floats of fewer bits, whose shortest decimal is what was meant: 0.1 and not 0.10000000149.
NARROW_FLOATS: dict[str, type[np.floating]] = {
    "float16": np.float16,
    "float32": np.float32,
    "halffloat[pyarrow]": np.float16,
    "float[pyarrow]": np.float32,
}

#: More distinct unknown values than this, or one of more words, and the column is likely to hold free text, whose
#: values no message may show.
LISTED_VALUES, VALUE_WORDS = 20, 3

#: How many offending ids or values a message shows.
EXAMPLES = 5


def is_missing(cell: Any) -> bool:
    """True for None, NaN, NaT, pandas.NA and texts that are one of MISSING_MARKERS."""
    if isinstance(cell, str):
        text = cell.strip()
        return len(text) <= LONGEST_MARKER and text.casefold() in MISSING_MARKERS
    return bool(pd.api.types.is_scalar(cell) and pd.isna(cell))


def as_bool(cell: Any) -> bool | None:
    """The cell when it is a boolean of Python or numpy, else None."""
    return bool(cell) if isinstance(cell, bool | np.bool_) else None


def as_text(cell: Any) -> str | None:
    """The cell as text in its one form, None when missing.

    Raises TypeError for nested cells (lists, objects): they have no one reading as text.
    """
    if is_missing(cell):
        return None
    if isinstance(cell, str):
        return _one_form(cell)
    if as_bool(cell) is not None:
        return "true" if cell else "false"
    if isinstance(cell, float | np.floating):
        return _float_text(_wide(cell))
    if not pd.api.types.is_scalar(cell) or isinstance(cell, bytes):
        raise TypeError(f"a {type(cell).__name__} is not one value")
    return _one_form(str(cell))


def as_category(cell: Any) -> str | None:
    """As `as_text`, with one space for any run of spaces."""
    text = as_text(cell)
    return None if text is None else " ".join(text.split())


def as_paragraphs(cell: Any) -> str | None:
    """As `as_text`; a list of texts is one text, with a line for each that is not missing."""
    if isinstance(cell, list | tuple | np.ndarray) and all(isinstance(part, str) for part in cell):
        return "\n".join(text for part in cell if (text := as_text(part)) is not None) or None
    return as_text(cell)


def plain_text(cell: Any) -> str | None:
    """As `as_text`, but text only loses the spaces at its ends, and booleans are True and False: names as typed."""
    if as_bool(cell) is not None:
        return str(bool(cell))
    return cell.strip() if isinstance(cell, str) and not is_missing(cell) else as_text(cell)


def as_number(cell: Any) -> float | None:
    """The cell as a finite number of 15 significant digits, None when missing; booleans are 0 and 1.

    Else ValueError or TypeError.
    """
    if is_missing(cell):
        return None
    if isinstance(cell, str):
        if (flag := BOOLEANS.get(cell.strip().casefold())) is not None:
            return flag
        if "_" in cell:
            raise ValueError("not a number")  # Python reads 12_5 as 125
    try:
        number = _wide(cell)
    except OverflowError as error:
        raise ValueError("not a finite number") from error
    if not math.isfinite(number):
        raise ValueError("not a finite number")
    return float(f"{number:.15g}")


def as_comma_number(cell: Any) -> float | None:
    """As `as_number`, of text with a decimal comma. `1.234` may then be a thousand or one, and is a ValueError."""
    if isinstance(cell, str):
        if re.fullmatch(r"\s*[+-]?[0-9]{1,3}(\.[0-9]{3})+\s*", cell):
            raise ValueError("a point between thousands, or a decimal point")
        cell = cell.replace(",", ".", 1)
    return as_number(cell)


def cells_of(column: Any) -> list[Any]:
    """The cells of a column of a table (a pandas Series) as Python's own values."""
    if narrow := NARROW_FLOATS.get(str(column.dtype).casefold()):
        return [None if pd.isna(cell) else _wide(narrow(cell)) for cell in column.tolist()]
    return column.tolist()


def whole_characters(text: str) -> str:
    """The text with U+FFFD for half characters: JSON can hold a text cut inside an emoji, which no tokenizer reads and
    no file of UTF-8 holds."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _one_form(text: str) -> str:
    """Text that holds one value in the form that the module describes."""
    text = unicodedata.normalize("NFC", whole_characters(text)).replace("\r\n", "\n").replace("\r", "\n").strip()
    if len(text) > LONGEST_SHORT:
        return text
    if text.casefold() in BOOLEANS:
        return text.casefold()
    if NUMBER.fullmatch(text):
        whole, _, rest = text.partition(".")
        if not rest.strip("0") and whole.lstrip("+-").isdigit():
            digits = whole.lstrip("+")
            return "0" if digits == "-0" else digits
        return _float_text(float(text))
    midnight = MIDNIGHT.fullmatch(text)
    return midnight[1] if midnight else text


def _float_text(number: float) -> str:
    if number.is_integer() and abs(number) < 1e21:
        return str(int(number))
    return repr(float(f"{number:.15g}"))


def _wide(cell: Any) -> float:
    """A number as Python's float; of one with fewer bits, the shortest decimal that means it."""
    narrow = isinstance(cell, np.floating) and not isinstance(cell, float)
    return float(str(cell)) if narrow else float(cell)


def read_cells(
    cells: Sequence[Any], parse: Callable[[Any], Any], column: str, ids: Sequence[str], *, expected: str, fix: str
) -> list[Any]:
    """`parse` of each cell; one ClinfitError names the column and the first records in which it failed.

    The cells themselves are not shown: they are patient data.
    """
    values: list[Any] = []
    failed: list[str] = []
    for cell, record in zip(cells, ids, strict=True):
        try:
            values.append(parse(cell))
        except (TypeError, ValueError):
            failed.append(record)
    if failed:
        raise ClinfitError(
            f"column {column!r}: {len(failed)} of {len(cells)} values cannot be read, in {shown_ids(failed)}",
            expected=expected,
            fix=fix,
        )
    return values


def may_be_text(values: Collection[str]) -> bool:
    """Whether distinct values look like free text rather than like names of labels or splits."""
    return len(values) > LISTED_VALUES or any(len(value.split()) > VALUE_WORDS for value in values)


def in_several_rows(ids: Sequence[str]) -> str:
    """How many ids stand in more rows than one, for a message."""
    return "1 id stands in more than one row" if len(ids) == 1 else f"{len(ids)} ids stand in more than one row"


def shown_ids(ids: Sequence[str]) -> str:
    """The first few record ids, for a message."""
    more = f" and {len(ids) - EXAMPLES} more" if len(ids) > EXAMPLES else ""
    return f"{'record' if len(ids) == 1 else 'records'} {', '.join(ids[:EXAMPLES])}{more}"
