"""What the records of a task are like, split by split: the counts and summaries of a study's first table."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from clinfit.data.records import SPLITS, Record, Value, in_split
from clinfit.study import InputColumn, Task

#: A category with more distinct values than this is likely to be free text, and its values are not listed.
LISTED_CATEGORIES = 20

#: Categories of fewer records than this are not counted: run folders are shared, a rare value may point to a person.
SMALL_CELL = 10


def describe_records(task: Task, records: Sequence[Record]) -> dict[str, Any]:
    """Counts for each split, the inputs in each split, and the ids of each split; ready for JSON.

    Texts are summarised by their length in words, numbers by quartiles, categories by counts (null for small ones); the
    texts themselves never appear.
    """
    parts = {split: in_split(records, split) for split in SPLITS}
    return {
        "records": len(records),
        "groups": len({record.group for record in records}),
        "labels": list(task.labels),
        "splits": {
            split: {
                "records": len(part),
                "groups": len({record.group for record in part}),
                "labels": _counts(task.labels, part),
            }
            for split, part in parts.items()
        },
        "inputs": {
            name: {
                "type": column.type,
                "unit": column.unit,
                "splits": {split: _summary([r.inputs[name] for r in part], column) for split, part in parts.items()},
            }
            for name, column in task.data.columns.items()
        },
        "split_ids": {split: [record.id for record in part] for split, part in parts.items()},
    }


def _counts(labels: Sequence[str], records: Sequence[Record]) -> dict[str, int]:
    counts = Counter(record.target for record in records)
    return {label: counts[label] for label in labels}


def _summary(values: Sequence[Value], column: InputColumn) -> dict[str, Any]:
    present = [value for value in values if value is not None]
    summary: dict[str, Any] = {"n": len(values), "missing": len(values) - len(present)}
    if column.type == "category":
        counts = Counter(str(value) for value in present)
        listed = len(counts) <= LISTED_CATEGORIES
        return summary | {"distinct": len(counts), "counts": _without_small(counts) if listed else None}
    numbers = [value if isinstance(value, float) else float(len(str(value).split())) for value in present]
    name = "words" if column.type == "text" else "values"
    return summary | {name: _quartiles(numbers)}


def _without_small(counts: Counter[str]) -> dict[str, int | None]:
    """Counts, largest first, null below SMALL_CELL; the next larger one too where it would give a single one away."""
    small = [value for value, count in counts.items() if count < SMALL_CELL]
    if len(small) == 1 and len(counts) > 1:
        small.append(counts.most_common()[-2][0])
    return {value: None if value in small else count for value, count in counts.most_common()}


def _quartiles(numbers: Sequence[float]) -> dict[str, float] | None:
    """Minimum, quartiles and maximum; None without numbers."""
    if not numbers:
        return None
    names = ("minimum", "lower_quartile", "median", "upper_quartile", "maximum")
    return {
        name: float(value) for name, value in zip(names, np.quantile(numbers, [0, 0.25, 0.5, 0.75, 1]), strict=True)
    }
