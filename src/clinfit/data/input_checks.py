"""What is suspicious about the values of single inputs. No evidence names a value of fewer records than SMALL_CELL."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from statistics import median, quantiles

from clinfit.data.records import Record
from clinfit.data.values import SMALL_CELL
from clinfit.findings import Finding
from clinfit.study.tasks import Task

#: Fewer records than this, and fewer different values, show no pattern.
LEAST, LEAST_DISTINCT = 40, 10

#: Numbers that stand for a missing value in many files.
CODES = (0.0, -1.0, -9.0, -99.0, -999.0, -9999.0, 99.0, 999.0, 9999.0, 99999.0)
#: A gap between two clusters, as a logarithm: the upper one begins 1.3 times as high as the lower one ends.
CLUSTER_GAP = math.log(1.3)
#: Pairs of units, the larger number first, and how it is turned into the other.
UNITS: tuple[tuple[str, Callable[[float], float]], ...] = (
    ("Fahrenheit and Celsius", lambda x: (x - 32) / 1.8),
    ("mg/dL and mmol/L of glucose (18.02)", lambda x: x / 18.02),
    ("mg/dL and mmol/L of cholesterol (38.67)", lambda x: x / 38.67),
    ("umol/L and mg/dL of creatinine (88.4)", lambda x: x / 88.4),
    ("umol/L and mg/dL of bilirubin (17.1)", lambda x: x / 17.1),
    ("cm and inches (2.54)", lambda x: x / 2.54),
    ("pounds and kg (2.205)", lambda x: x * 0.4536),
    ("units that are 10 times apart, such as g/L and g/dL", lambda x: x / 10),
    ("units that are 100 times apart, such as cm and m", lambda x: x / 100),
    ("units that are 1,000 times apart, such as g and kg", lambda x: x / 1000),
)


def input_findings(task: Task, records: Sequence[Record]) -> Iterator[Finding]:
    """All findings about single inputs."""
    yield from _ids_as_inputs(task)
    for name, numbers in _numbers(task, records):
        yield from _row_numbers(name, numbers)
        known = [number for number in numbers if number is not None]
        yield from _coded_missing(name, known)
        yield from _two_units(name, known)
    yield from _category_spellings(task, records)


def _ids_as_inputs(task: Task) -> Iterator[Finding]:
    for name, column in task.data.columns.items():
        if column.column in (task.data.id, task.data.group):
            what = "id" if column.column == task.data.id else "group"
            yield Finding(
                "warn",
                "id-as-input",
                f"the input {name} reads the {what} column {column.column!r}",
                "an id says nothing of a new patient",
                f"take {name} out of data.inputs",
            )


def _row_numbers(name: str, numbers: Sequence[float | None]) -> Iterator[Finding]:
    """A number that grows by one from record to record."""
    known = [number for number in numbers if number is not None]
    if len(known) == len(numbers) >= LEAST and known == [known[0] + at for at in range(len(known))]:
        yield Finding(
            "warn",
            "row-number-as-input",
            f"the input {name} numbers the records in the order of the file",
            f"{len(known)} records",
            "a model may learn the order of the file: take it out of data.inputs",
        )


def _coded_missing(name: str, numbers: Sequence[float]) -> Iterator[Finding]:
    """A number by which people write that there is none, further from all others than the middle half of them spans."""
    for code in CODES:
        count = sum(number == code for number in numbers)
        rest = sorted(number for number in numbers if number != code)
        distinct = sorted(set(rest))
        if not 2 <= count <= len(numbers) / 2 or len(distinct) < LEAST_DISTINCT or rest[0] < code < rest[-1]:
            continue
        gap = rest[0] - code if code < rest[0] else code - rest[-1]
        if gap > _spread(rest):
            yield Finding(
                "warn",
                "coded-missing",
                f"{count} records have {code:g} in {name}, which may stand for a missing value",
                f"{count / len(numbers):.1%} of the records; all other values are far from it",
                f"if so, say it: {name}: {{column: ..., type: number, missing: [{code:g}]}}",
            )


def _two_units(name: str, numbers: Sequence[float]) -> Iterator[Finding]:
    """Two clusters, one of which, divided by the factor between two units, lies upon the other."""
    ordered = sorted(numbers)
    if len(ordered) < LEAST or ordered[0] <= 0:
        return
    logs = [math.log(number) for number in ordered]
    edge = max(SMALL_CELL, len(ordered) // 20)
    cut = max(range(edge, len(logs) - edge), key=lambda at: logs[at] - logs[at - 1])
    low, high = ordered[:cut], ordered[cut:]
    apart = max(CLUSTER_GAP, 2 * _spread(logs[:cut]), 2 * _spread(logs[cut:]))
    if logs[cut] - logs[cut - 1] < apart or min(len(set(low)), len(set(high))) < LEAST_DISTINCT:
        return
    for what, turned in UNITS:
        moved = [turned(number) for number in high]
        spread = max(_spread(low), _spread(moved), 1e-9)
        if (
            abs(median(moved) - median(low)) <= spread / 2
            and _spread(moved) <= 3 * spread
            and _spread(low) <= 3 * spread
        ):
            yield Finding(
                "warn",
                "two-units",
                f"{name} may hold two units: {what}",
                f"{len(low)} and {len(high)} records in two clusters; converted, one lies upon the other",
                "convert one part in the file; nothing else tells a model which is which",
            )
            return


def _spread(numbers: Sequence[float]) -> float:
    lower, _, upper = quantiles(numbers)
    return upper - lower


def _numbers(task: Task, records: Sequence[Record]) -> Iterator[tuple[str, list[float | None]]]:
    """The inputs that are numbers, each with the value of every record."""
    for name, column in task.data.columns.items():
        if column.type == "number":
            values = [record.inputs[name] for record in records]
            yield name, [value if isinstance(value, float) else None for value in values]


def _category_spellings(task: Task, records: Sequence[Record]) -> Iterator[Finding]:
    """Categories that differ in case alone. Of one or two letters (M and m, AA and Aa) they may be meant."""
    for name, counts in _categories(task, records):
        alike: dict[str, list[str]] = {}
        for value in counts:
            alike.setdefault(value.casefold(), []).append(value)
        several = [spellings for spellings in alike.values() if len(spellings) > 1]
        if several:
            common = [value for spellings in several for value in spellings if counts[value] >= SMALL_CELL]
            affected = sum(counts[value] for spellings in several for value in spellings)
            yield Finding(
                "warn" if any(len(spellings[0]) > 2 for spellings in several) else "info",
                "category-spellings",
                f"{len(several)} categories of {name} stand there in spellings that differ in case alone",
                f"{affected} records" + (f"; {', '.join(map(repr, common))}" if common else ""),
                "models take them for different categories: write them alike in the file, unless that is meant",
            )


def _categories(task: Task, records: Sequence[Record]) -> Iterator[tuple[str, Counter[str]]]:
    """The inputs that are categories, each with the records of every value."""
    for name, column in task.data.columns.items():
        if column.type == "category":
            yield name, Counter(str(value) for r in records if (value := r.inputs[name]) is not None)
