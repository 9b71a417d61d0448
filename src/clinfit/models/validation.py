"""A look at the validation records during training, in the unit in which training counts its loss.

    loss_per: record    sum of w l / sum of w        nats a record
    loss_per: token     sum of w l / sum of w t      nats a token

l is the loss of a record, t its answer tokens, w the weight of its task. Of one task w falls out: the sum of losses by
the number of records, or by that of their answer tokens, as in a step of training (training/losses.py).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinfit.data.records import Record
from clinfit.models.targets import Targets, predicted_shares
from clinfit.study.tasks import Task
from clinfit.training.loop import TaskValidation, Validation


@dataclass(frozen=True)
class Looked:
    """The n validation records of one task. counts: (n,) what each adds to the divisor of the loss: 1, or its answer
    tokens. weight: of the task."""

    records: Sequence[Record]
    items: Sequence[Any]
    gold: Targets
    counts: NDArray[np.float64]
    weight: float


@dataclass(frozen=True)
class Judged:
    """What a model says of n validation records: (n,) losses as training counts them, and (n, K) probabilities; None
    where texts are asked for, of which writing them all would cost more than the training."""

    losses: NDArray[np.float64]
    probabilities: NDArray[np.float64] | None


def validation(
    tasks: Mapping[str, Task],
    looked: Mapping[str, Looked],
    judge: Callable[[str, Looked], Judged],
    primary: Callable[[str, NDArray[Any], NDArray[np.float64]], float | None],
) -> Validation:
    """The loss over all records, each with the weight of its task; the mean of the tasks' primary metrics with the same
    weights, None where one of them cannot be had, so that validations are compared on the same tasks."""
    found: dict[str, TaskValidation] = {}
    loss = counts = 0.0
    for name, part in looked.items():
        judged = judge(name, part)
        value, shares = None, list[float]()
        if judged.probabilities is not None:
            value = primary(name, part.gold, judged.probabilities)
            shares = predicted_shares(tasks[name], judged.probabilities).tolist()
        lost, counted = float(judged.losses.sum(dtype=np.float64)), float(part.counts.sum())
        found[name] = TaskValidation(lost / counted, value, shares)
        loss, counts = loss + part.weight * lost, counts + part.weight * counted
    known = {name: each.primary for name, each in found.items() if each.primary is not None}
    mean = None
    if len(known) == len(found):
        mean = float(np.average(list(known.values()), weights=[looked[name].weight for name in known]))
    return Validation(loss / counts, mean, found)
