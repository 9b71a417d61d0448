"""What may be said of the differences between training and test records, which `data/shift.py` has measured."""

from collections.abc import Mapping, Sequence
from math import sqrt

from clinfit.evaluation.intervals import z_value
from clinfit.evaluation.results import ShiftRow, SplitCounts
from clinfit.findings import Finding

#: Properties that the finding names; the table has them all.
NAMED = 5


def check_shift(rows: Sequence[ShiftRow], counts: Mapping[str, SplitCounts]) -> list[Finding]:
    """A warning that names the properties with a large difference, the largest first."""
    large = sorted((row for row in rows if row["alert"]), key=lambda row: -_size(row))
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
            f"standardised difference of 0.25 or more: {named}{more}",
            f"0.25 is a rule of thumb, not a test{_by_chance(counts)}; find out whether the test records came from "
            "elsewhere or later, and read the figures as those of the test population",
        )
    ]


def _by_chance(counts: Mapping[str, SplitCounts]) -> str:
    """How large a difference of means is by chance alone, at these sizes."""
    sizes = [counts[split]["n"] for split in ("train", "test") if split in counts]
    if len(sizes) < 2 or not all(sizes):
        return ""
    return f": at these sizes chance alone gives up to {z_value(0.95) * sqrt(sum(1 / n for n in sizes)):.2f}"


def _size(row: ShiftRow) -> float:
    return float("inf") if row["difference"] is None else abs(row["difference"])


def _shown(row: ShiftRow) -> str:
    return "without limit" if row["difference"] is None else f"{row['difference']:+.2f}"
