"""What a run keeps of a task's records: counts, ids, what training has seen, and the study's first table."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from clinfit.data.characteristics import characteristics
from clinfit.data.records import SPLITS, Record, in_split, label_counts, labels_in
from clinfit.data.seen import seen_values
from clinfit.study.data import Fold
from clinfit.study.tasks import Task


def describe_records(task: Task, records: Sequence[Record], undivided: Sequence[Record] = ()) -> dict[str, Any]:
    """Counts and ids for each split, the inputs, and the first table; ready for JSON.

    `labels` counts the records that have each label (of a multiple-choice task: each letter). Those of a multilabel
    task need not sum to the records; `labels_per_record` then says how many have none, one, two labels and so on.
    `seen` is what a pack knows of the training values (see seen.py), null for nothing. undivided: of a
    cross-validation, whose splits are not those of all models, what a model that is refitted learns from. No text of a
    record appears.
    """
    parts = {split: in_split(records, split) for split in SPLITS}
    seen = seen_values(task.data.columns, undivided or parts["train"])
    return {
        "kind": task.kind,
        "records": len(records),
        "groups": len({record.group for record in records}),
        "labels": list(task.labels),
        "splits": {
            split: {
                "records": len(part),
                "groups": len({record.group for record in part}),
                "labels": label_counts(task.labels, part),
                **{name: count(part) for name, count in COUNTS.get(task.kind, {}).items()},
            }
            for split, part in parts.items()
        },
        "inputs": {
            name: {
                "type": column.type,
                "unit": column.unit,
                "seen": asdict(seen[name]) if name in seen else None,
            }
            for name, column in task.data.columns.items()
        },
        "characteristics": characteristics(task, records, divided=not undivided),
        "split_ids": {split: [record.id for record in part] for split, part in parts.items()},
    }


def fold_sizes(task: Task, folds: Mapping[Fold, Sequence[Record]]) -> list[dict[str, Any]]:
    """Records and labels of each split of each fold of a cross-validation."""
    return [
        {
            "repeat": fold.repeat,
            "fold": fold.fold,
            **{
                split: {"records": len(part), "labels": label_counts(task.labels, part)}
                for split in SPLITS
                for part in [in_split(records, split)]
            },
        }
        for fold, records in folds.items()
    ]


def _labels_per_record(records: Sequence[Record]) -> dict[str, int]:
    """Number of labels -> records with so many, from the fewest."""
    counts = Counter(len(labels_in(record.target)) for record in records)
    return {str(number): counts[number] for number in sorted(counts)}


#: Further counts of each split, by kind of task.
COUNTS: dict[str, dict[str, Callable[[Sequence[Record]], Any]]] = {
    "multilabel": {"labels_per_record": _labels_per_record}
}
