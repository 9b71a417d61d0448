"""A study's first table: what its records are like, all of them, by outcome and by split.

Numbers and lengths of texts: median and quartiles, mean and standard deviation. Categories: counts. Outcomes are set
against each other by standardised differences (see shift.py), not by p-values, which say more of the number of records
than of the difference (Austin, 2009); with more than two outcomes it is the largest of all pairs.

A count below SMALL_CELL, of a category or of missing values, is not told, nor another one by which it could be worked
out from the sums of a row or a column: the smallest other one is hidden, again and again until no sum has a single gap
(complementary suppression). In a column the counts of an input's categories and its missing values sum to the records.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinfit.data.declared import declared_categories
from clinfit.data.records import SPLITS, Record, Value, in_split
from clinfit.data.shift import category_difference, mean_difference
from clinfit.data.values import SMALL_CELL
from clinfit.study.data import InputColumn
from clinfit.study.tasks import Task

#: A category with more distinct values than this is likely to be free text, and its values are not listed.
LISTED_CATEGORIES = 20
#: With more outcomes than this a table of them has no room on a page.
MOST_OUTCOMES = 6
#: What values of fewer than SMALL_CELL records are called together.
OTHER = "(other values)"


@dataclass(frozen=True)
class Column:
    """A column of the table. of: `all`, `outcome` or `split`; name: the outcome or split, empty for all."""

    of: str
    name: str
    records: Sequence[Record]


def characteristics(task: Task, records: Sequence[Record], *, divided: bool = True) -> dict[str, Any]:
    """The table, ready for JSON (evaluation/results.py, `Characteristics`). divided: with a column a split."""
    columns = [Column("all", "", records), *OUTCOMES[task.kind](task, records)]
    if divided:
        columns += [Column("split", split, part) for split in SPLITS if (part := in_split(records, split))]
    return {
        "columns": [{"of": column.of, "name": column.name, "n": len(column.records)} for column in columns],
        "rows": [_row(name, column, columns) for name, column in task.data.columns.items()],
    }


def _by_label(task: Task, records: Sequence[Record]) -> list[Column]:
    if len(task.labels) > MOST_OUTCOMES:
        return []
    return [Column("outcome", label, [record for record in records if record.target == label]) for label in task.labels]


def _none(task: Task, records: Sequence[Record]) -> list[Column]:
    """Several labels of a record overlap, the letter of an option says nothing of it, and texts are no groups."""
    return []


#: The records of each outcome, by kind of task.
OUTCOMES: dict[str, Callable[[Task, Sequence[Record]], list[Column]]] = {
    "classification": _by_label,
    "multilabel": _none,
    "multiple-choice": _none,
    "generation": _none,
    "extraction": _none,
}


def _row(name: str, column: InputColumn, columns: Sequence[Column]) -> dict[str, Any]:
    every = [[record.inputs[name] for record in part.records] for part in columns]
    known = [[value for value in values if value is not None] for values in every]
    missing = [len(values) - len(present) for values, present in zip(every, known, strict=True)]
    outcomes = [at for at, part in enumerate(columns) if part.of == "outcome"]
    row: dict[str, Any] = {"input": name, "type": column.type, "unit": column.unit}
    if column.type == "category":
        texts, declared = [[str(value) for value in part] for part in known], declared_categories(column)
        row |= _categories(texts, missing, columns, outcomes, declared)
    else:
        numbers = [np.array([_number(value) for value in part], dtype=np.float64) for part in known]
        row |= {"missing": _told([], missing, columns)[1], "values": [_summary(part) for part in numbers]}
        row["difference"] = _largest([numbers[at] for at in outcomes], mean_difference)
    lacking = [np.array([value is None for value in every[at]], dtype=np.float64) for at in outcomes]
    told = missing[0] and all(row["missing"][at] is not None for at in outcomes)  # else it would tell the counts
    return row | {"missing_difference": _largest(lacking, mean_difference) if told else None}


def _number(value: Value) -> float:
    """A number, or the words of a text."""
    return value if isinstance(value, float) else float(len(str(value).split()))


def _summary(numbers: NDArray[np.float64]) -> dict[str, float] | None:
    """None for so few that a number of the summary may be that of a person."""
    if len(numbers) < SMALL_CELL:
        return None
    low, middle, high = np.quantile(numbers, [0.25, 0.5, 0.75]).tolist()
    return {
        "mean": float(numbers.mean()),
        "sd": float(numbers.std(ddof=1)),
        "lower_quartile": low,
        "median": middle,
        "upper_quartile": high,
    }


def _categories(
    known: Sequence[Sequence[str]],
    missing: Sequence[int],
    columns: Sequence[Column],
    outcomes: Sequence[int],
    declared: Sequence[str],
) -> dict[str, Any]:
    """The counts, in the declared order where there is one, else the commonest first, and those of missing values."""
    counted = [Counter(values) for values in known]
    every = sorted(counted[0])
    shares = [np.array([counted[at][value] for value in every]) / counted[at].total() for at in outcomes if counted[at]]
    complete = len(shares) == len(outcomes)
    row: dict[str, Any] = {"difference": _largest(shares, category_difference) if complete else None}
    if len(every) > LISTED_CATEGORIES:
        return row | {"missing": _told([], missing, columns)[1], "distinct": len(every), "counts": None}
    common = [value for value, count in counted[0].most_common() if count >= SMALL_CELL]
    if declared:
        common.sort(key=declared.index)
    rows = {value: [counts[value] for counts in counted] for value in common}
    if len(common) < len(every):
        rows[OTHER] = [counts.total() - sum(counts[value] for value in common) for counts in counted]
    counts, lacking = _told(list(rows.values()), missing, columns)
    return row | {"missing": lacking, "distinct": len(every), "counts": dict(zip(rows, counts, strict=True))}


def _told(
    rows: Sequence[Sequence[int]], missing: Sequence[int], columns: Sequence[Column]
) -> tuple[list[list[int | None]], list[int | None]]:
    """The counts of categories, and those of missing values, by column; None for what is not told. Where no value is
    missing that is told, so that nothing can be hidden by it."""
    every = [*rows, missing] if missing[0] else list(rows)
    parts = [[at for at, part in enumerate(columns) if part.of == of] for of in ("outcome", "split")]
    table = np.array(every, dtype=np.int64).reshape(len(every), len(columns))
    hidden = hidden_counts(table, [part for part in parts if part], spared=[len(rows)] if missing[0] else [])
    shown = [
        [None if hide else int(count) for count, hide in zip(*line, strict=True)]
        for line in zip(table, hidden, strict=True)
    ]
    return (shown[:-1], shown[-1]) if missing[0] else (shown, [0] * len(columns))


def _largest(
    parts: Sequence[NDArray[np.float64]],
    difference: Callable[[NDArray[np.float64], NDArray[np.float64]], float | None],
) -> float | None:
    """The largest absolute difference of two outcomes; None for fewer of them, and where one is without limit."""
    if len(parts) < 2 or not all(len(part) for part in parts):
        return None
    found = [0.0 if np.array_equal(a, b) else difference(a, b) for a, b in combinations(parts, 2)]
    sizes = [abs(value) for value in found if value is not None]
    return max(sizes) if len(sizes) == len(found) else None


# ---------------------------------------------------------------- small counts


def hidden_counts(
    counts: NDArray[np.int64], parts: Sequence[Sequence[int]], spared: Sequence[int] = ()
) -> NDArray[np.bool_]:
    """(values, columns) which counts are not told. The first column is the sum of each of `parts`, lists of columns;
    the sum of every column is known. spared: values whose counts hide others only where nothing else but noughts can,
    since they stand elsewhere too."""
    hidden = (counts > 0) & (counts < SMALL_CELL)
    lines = list(_lines(counts.shape, parts))
    loss = np.where(counts == 0, 1e18, counts)  # a nought hides little
    loss[list(spared)] += 1e12
    while line := next((line for line in lines if hidden[line].sum() == 1 and not hidden[line].all()), None):
        told = np.where(hidden[line], np.inf, loss[line])
        place = int(told.argmin())
        hidden[line[0][place], line[1][place]] = True
    return hidden


def _lines(
    shape: tuple[int, ...], parts: Sequence[Sequence[int]]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Places of the counts whose sum is known: a value's in one of the parts with their sum, and after these, so that
    no more is hidden than must be, a column's."""
    values, columns = shape
    for part in parts:
        line = np.array([*part, 0])
        for value in range(values):
            yield np.full(len(line), value), line
    for column in range(columns):
        yield np.arange(values), np.full(values, column)
