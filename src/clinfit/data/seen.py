"""What training has seen of each input, and what of a new record it has not: unknown categories, numbers out of range.

A pack carries this, and nobody should be recognised by it. So it names only categories that SMALL_CELL or more training
records hold, and says of the others no more than that there are some. The range of a number ends at round numbers, 1, 2
or 5 times a power of ten apart: the second one beyond the tenth most extreme value. The nine records beyond that value
decide no more than how coarse the steps are, so that all of training is inside. What is typical, the median or the
commonest category, is what explanations put in the place of a value (packs/explain.py).
"""

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from clinfit.data.declared import as_declared, cut
from clinfit.data.records import Record, Value
from clinfit.data.values import SMALL_CELL
from clinfit.study.data import InputColumn


@dataclass(frozen=True)
class SeenCategories:
    """values: those of SMALL_CELL or more training records, sorted. rare: whether training holds others as well.
    typical: the commonest."""

    values: tuple[str, ...]
    rare: bool
    typical: str


@dataclass(frozen=True)
class SeenNumbers:
    """A range that holds all numbers of training, and their median, in the unit of the file."""

    low: float
    high: float
    typical: float


#: By input; an input of which nothing may be told is left out.
Seen = Mapping[str, SeenCategories | SeenNumbers]


def seen_values(columns: Mapping[str, InputColumn], train: Sequence[Record]) -> dict[str, SeenCategories | SeenNumbers]:
    """What the training records hold of each input of numbers or categories."""
    found: dict[str, SeenCategories | SeenNumbers] = {}
    for name, column in columns.items():
        values = [value for record in train if (value := record.inputs[name]) is not None]
        seen: SeenCategories | SeenNumbers | None = None
        if column.type == "category":
            seen = _categories([str(value) for value in values])
        elif column.type == "number":
            seen = _range([float(value) for value in values])
        if seen is not None:
            found[name] = seen
    return found


def seen_from(described: Mapping[str, Any]) -> dict[str, SeenCategories | SeenNumbers]:
    """From what data/<task>.json says of the inputs."""
    blocks = {name: entry["seen"] for name, entry in described["inputs"].items() if entry["seen"] is not None}
    return {
        name: SeenNumbers(**block)
        if "low" in block
        else SeenCategories(tuple(block["values"]), block["rare"], block["typical"])
        for name, block in blocks.items()
    }


def as_seen(record: Record, seen: Seen, columns: Mapping[str, InputColumn]) -> tuple[Record, list[str]]:
    """The record as it is answered, and a note on each of its values that cannot be (declared.py), or that training has
    not seen. columns: what is declared of the inputs.

    A category that certainly no training record holds, and that differs from exactly one known category in case alone,
    is read as that one, which the note says.
    """
    record, notes = as_declared(record, columns)
    inputs = dict(record.inputs)
    for name, known in seen.items():
        value = inputs[name]
        if isinstance(known, SeenNumbers) and isinstance(value, float):
            if not known.low <= value <= known.high:
                notes.append(f"{name}: {value:.15g} is outside {known.low:.15g} to {known.high:.15g}")
        elif isinstance(known, SeenCategories) and isinstance(value, str) and value not in known.values:
            inputs[name], note = _unknown(value, known)
            notes.append(f"{name}: {note}")
    return (replace(record, inputs=inputs) if inputs != record.inputs else record), notes


def _unknown(value: str, known: SeenCategories) -> tuple[Value, str]:
    shown = cut(value)
    if known.rare:
        return value, f"{shown!r} was in fewer than {SMALL_CELL} training records, or in none"
    alike = [other for other in known.values if other.casefold() == value.casefold()]
    if len(alike) == 1:
        return alike[0], f"{shown!r} was not in training and is read as {alike[0]!r}"
    padded = [other for other in known.values if other.lstrip("0") == value.lstrip("0")]
    hint = f" ({padded[0]!r} was: leading zeros may be lost)" if padded else ""
    return value, f"{shown!r} was not in training{hint}"


def _categories(values: Sequence[str]) -> SeenCategories | None:
    counts = Counter(values)
    common = sorted(value for value, count in counts.items() if count >= SMALL_CELL)
    if not common:
        return None
    typical = max(common, key=lambda value: counts[value])
    return SeenCategories(tuple(common), len(common) < len(counts), typical)


def _range(values: Sequence[float]) -> SeenNumbers | None:
    """Round numbers around all values; None for fewer than SMALL_CELL of them."""
    if len(values) < SMALL_CELL:
        return None
    low, high = 0.0 - _upper_end([-value for value in values]), 0.0 + _upper_end(values)  # no -0
    return SeenNumbers(low, high, statistics.median(values))


def _upper_end(values: Sequence[float]) -> float:
    """The second round number above the SMALL_CELL-th largest value, of the finest steps with which it tops them all.

    A value that so many records share is an end itself.
    """
    ordered = sorted(values)
    highest, tenth = ordered[-1], ordered[-SMALL_CELL]
    if highest == tenth:
        return highest
    power = math.floor(math.log10(highest - tenth)) - 1
    while True:
        for factor in (1, 2, 5):
            step = factor * 10.0**power
            end = _rounded((math.floor(_rounded(tenth / step)) + 2) * step)
            if end >= highest:
                return end
        power += 1


def _rounded(number: float) -> float:
    """Without the last digits, in which 3 * 0.1 is not 0.3."""
    return float(f"{number:.12g}")
