"""What may be said of the differences between training and test records, which `data/shift.py` has measured."""

from collections.abc import Sequence

from clinfit.evaluation.context import Context, Outcome
from clinfit.evaluation.results import ShiftRow
from clinfit.evaluation.statistics.holm import holm
from clinfit.findings import Finding

#: Properties that the finding names; the table has them all.
NAMED = 5
#: Level of the tests, after Holm's correction for the number of properties.
LEVEL = 0.05


def shift(context: Context) -> Outcome:
    """Properties of the records in training against test."""
    rows = [ShiftRow(**row) for row in context.facts.shift]
    return rows or None, check_shift(rows)


def check_shift(rows: Sequence[ShiftRow]) -> list[Finding]:
    """A warning that names the properties with a large difference, the largest first; not those of which chance alone
    would give one, among so many properties."""
    beyond = beyond_chance(rows)
    large = sorted((row for row, beyond in zip(rows, beyond, strict=True) if beyond), key=lambda row: -_size(row))
    if not large:
        return []
    named = ", ".join(f"{row['name']} ({_shown(row)})" for row in large[:NAMED])
    more = f" and {len(large) - NAMED} more" if len(large) > NAMED else ""
    several = (
        f"{len(large)} properties of the records differ" if len(large) > 1 else "1 property of the records differs"
    )
    return [
        Finding(
            "warn",
            "train-test-shift",
            f"{several} between training and test",
            f"standardised difference of 0.25 or more, and more than chance gives among {len(rows)} properties: "
            f"{named}{more}",
            "find out whether the test records came from elsewhere or later, and read the figures as those of the test "
            "population",
        )
    ]


def beyond_chance(rows: Sequence[ShiftRow]) -> list[bool]:
    """Of each property whether its difference is large, and more than chance gives (Holm over all properties)."""
    known = [row["p"] for row in rows if row["p"] is not None]
    corrected = iter(holm(known))
    return [row["p"] is not None and next(corrected) < LEVEL and row["alert"] for row in rows]


def _size(row: ShiftRow) -> float:
    return float("inf") if row["difference"] is None else abs(row["difference"])


def _shown(row: ShiftRow) -> str:
    return "without limit" if row["difference"] is None else f"{row['difference']:+.2f}"
