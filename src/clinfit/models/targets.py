"""The answers of records as arrays, by kind of task."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinfit.data.records import Record
from clinfit.study.tasks import Task

#: (n,) label indices, (n, K) whether each label holds, or (n,) reference texts.
Targets = NDArray[Any]


def _indices(task: Task, records: Sequence[Record]) -> Targets:
    return np.array([task.labels.index(str(record.target)) for record in records], dtype=np.int64)


def _memberships(task: Task, records: Sequence[Record]) -> Targets:
    rows = [[label in (record.target or ()) for label in task.labels] for record in records]
    return np.array(rows, dtype=bool).reshape(len(records), len(task.labels))


def _texts(task: Task, records: Sequence[Record]) -> Targets:
    return np.array([str(record.target) for record in records], dtype=object)


#: By kind; a letter of a multiple-choice task is a label like others.
TARGETS: dict[str, Callable[[Task, Sequence[Record]], Targets]] = {
    "classification": _indices,
    "multilabel": _memberships,
    "multiple-choice": _indices,
    "generation": _texts,
    "extraction": _texts,
}


def targets_of(task: Task, records: Sequence[Record]) -> Targets:
    """The records' answers: (n,) label indices; of a multilabel task (n, K) whether each label holds."""
    return TARGETS[task.kind](task, records)


def shares_of(task: Task, targets: Targets) -> NDArray[np.float64]:
    """(K,) share of the records that have each label; without records, of labels that are equally likely."""
    if targets.ndim == 2:
        return targets.mean(axis=0) if len(targets) else np.full(len(task.labels), 0.5)
    if not len(targets):
        return np.full(len(task.labels), 1 / len(task.labels))
    return np.bincount(targets, minlength=len(task.labels)) / len(targets)


def predicted_shares(task: Task, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """(K,) share of the records that are predicted to have each label, from (n, K) probabilities."""
    if task.kind == "multilabel":
        return (probabilities >= 0.5).mean(axis=0)
    return np.bincount(probabilities.argmax(axis=1), minlength=len(task.labels)) / len(probabilities)
