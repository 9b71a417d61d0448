"""The first table of the study: its records by outcome and by split."""

from collections.abc import Sequence
from dataclasses import dataclass

from clinfit.evaluation.results import Characteristics, CharacteristicsColumn, CharacteristicsRow
from clinfit.report.format import count, decimal, per_cent
from clinfit.report.section import section
from clinfit.report.sections.subject import Subject
from clinfit.report.tables import Plain

HIDDEN, NONE = "not told", "\N{EM DASH}"

HINT = (
    "Median [lower quartile, upper quartile] of numbers and of lengths of texts; number (share of the known) of "
    "categories. Counts below 10, those of missing values too, and counts by which one could be worked out, are not "
    "told; where it is not told how many values are missing, categories have no share. "
)
DIFFERENCE = (
    "Difference: between the outcomes, standardised, without sign, the largest where there are several; about 0.1 is "
    "small. P-values are not given: they say more of the number of records than of the difference."
)


@dataclass(frozen=True)
class CharacteristicsView:
    """outcomes: all records, and by outcome where there are such. splits: the same by split."""

    outcomes: Plain
    splits: Plain | None


def characteristics_view(subject: Subject) -> CharacteristicsView | None:
    found: Characteristics | None = section(subject.task, "characteristics")
    if found is None:
        return None
    columns = list(enumerate(found["columns"]))
    outcomes = [at for at, column in columns if column["of"] != "split"]
    splits = [at for at, column in columns if column["of"] == "split"]
    compared = len(outcomes) > 1
    title = "Characteristics of the records by outcome" if compared else "Characteristics of the records"
    return CharacteristicsView(
        _table(title, HINT + (DIFFERENCE if compared else ""), found, outcomes, compared),
        _table("Characteristics of the records by split", HINT, found, splits, compared=False) if splits else None,
    )


def _table(caption: str, hint: str, found: Characteristics, places: Sequence[int], compared: bool) -> Plain:
    columns = [found["columns"][at] for at in places]
    rows = [["Records", *(count(column["n"]) for column in columns), *([""] if compared else [])]]
    for row in found["rows"]:
        rows += _rows(row, columns, places, compared)
    heads = ["Characteristic", *(column["name"] or "All" for column in columns)]
    return Plain(caption, hint, heads + (["Difference"] if compared else []), rows)


def _rows(
    row: CharacteristicsRow, columns: Sequence[CharacteristicsColumn], places: Sequence[int], compared: bool
) -> list[list[str]]:
    """An input: one line, or one a category; then one on missing values where any record lacks it."""
    missing = [row["missing"][at] for at in places]
    # Where the missing are not told, a share of the known would tell them.
    known = [None if n is None else column["n"] - n for column, n in zip(columns, missing, strict=True)]
    unit = row["unit"] or ("words" if row["type"] == "text" else "")
    name = row["input"] + (f", {unit}" if unit else "")
    counts = row.get("counts")
    if "values" in row:
        lines = [[name, *(_quartiles(row, at) for at in places)]]
    elif counts is None:
        lines = [[f"{name}, {row.get('distinct', 0)} different values", *(NONE for _ in places)]]
    else:
        lines = [
            [f"{name}: {value}", *(_share(told[at], n) for at, n in zip(places, known, strict=True))]
            for value, told in counts.items()
        ]
    differences = [row["difference"], *(None for _ in lines[1:])]
    shown = [line + [_decimal(value)] * compared for line, value in zip(lines, differences, strict=True)]
    if row["missing"][0] != 0:
        shares = [_share(lacking, column["n"]) for lacking, column in zip(missing, columns, strict=True)]
        shown.append([f"{row['input']}: missing", *shares, *[_decimal(row["missing_difference"])] * compared])
    return shown


def _quartiles(row: CharacteristicsRow, at: int) -> str:
    summary = row.get("values", [])[at]
    if summary is None:
        return NONE
    low, middle, high = (f"{summary[name]:.4g}" for name in ("lower_quartile", "median", "upper_quartile"))
    return f"{middle} [{low}, {high}]"


def _share(n: int | None, of: int | None) -> str:
    """12 (13.3 %), or 12 of an unknown number."""
    if n is None:
        return HIDDEN
    if of is None:
        return count(n)
    return f"{count(n)} ({per_cent(n / of)})" if of else "0"


def _decimal(value: float | None) -> str:
    return "" if value is None else decimal(value, 2)
