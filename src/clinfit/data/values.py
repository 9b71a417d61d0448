"""Cells of a file to values of a record: missing, text, number.

Files differ in what they know of types: csv holds text only, parquet and jsonl hold numbers and booleans, xlsx holds
whatever was typed. One reading serves all of them: `1`, `1.0` and numpy's 1 are the same id, category and label.
"""

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd

from clinfit.errors import ClinfitError

#: Spellings of "no value", compared without case and surrounding spaces.
MISSING_MARKERS = frozenset({"", "na", "n/a", "nan", "null", "<na>", "#n/a", "?"})
LONGEST_MARKER = max(map(len, MISSING_MARKERS))

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
    """The cell as text without surrounding spaces, None when missing; whole numbers lose their `.0`.

    Raises TypeError for nested cells (lists, objects): they have no one reading as text.
    """
    if is_missing(cell):
        return None
    if isinstance(cell, str):
        return cell.strip()
    if as_bool(cell) is None and isinstance(cell, int | np.integer):
        return str(int(cell))
    if isinstance(cell, float | np.floating):
        return str(int(cell)) if float(cell).is_integer() else str(float(cell))
    if not pd.api.types.is_scalar(cell) or isinstance(cell, bytes):
        raise TypeError(f"a {type(cell).__name__} is not one value")
    return str(cell)


def as_number(cell: Any) -> float | None:
    """The cell as a finite number, None when missing; booleans are 0 and 1. Else ValueError or TypeError."""
    if is_missing(cell):
        return None
    if isinstance(cell, str) and "_" in cell:
        raise ValueError("not a number")  # Python reads 12_5 as 125
    try:
        number = float(cell)
    except OverflowError as error:
        raise ValueError("not a finite number") from error
    if not math.isfinite(number):
        raise ValueError("not a finite number")
    return number


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


def shown_ids(ids: Sequence[str]) -> str:
    """The first few record ids, for a message."""
    more = f" and {len(ids) - EXAMPLES} more" if len(ids) > EXAMPLES else ""
    return f"{'record' if len(ids) == 1 else 'records'} {', '.join(ids[:EXAMPLES])}{more}"
