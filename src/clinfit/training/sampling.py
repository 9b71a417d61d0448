"""Class weights and the order of training records: the two usual answers to unequal classes.

Both look at the training split only; validation and test are never passed in. Everything is a function of the
seed and the epoch, so that a resumed training sees the records in the order of an undisturbed one.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from clinfit.errors import ClinfitError, nearest
from clinfit.study import LabelWeights

Sampling = Literal["none", "balanced", "oversample"]


def label_weights(setting: LabelWeights, labels: Sequence[str], targets: NDArray[np.int64]) -> NDArray[np.float64]:
    """The loss weight of each label, (K,) in label order.

    targets: (n,) label indices of the training records.
    none: ones. balanced: n / (K' n_k) as in scikit-learn, where K' counts the labels that occur in `targets`
    (the weights of all records then sum to n); a label that does not occur weighs 1. A dict gives weights by
    name, 1 for labels that it leaves out; they are used as they are, not normalised.
    """
    weights = np.ones(len(labels))
    if isinstance(setting, dict):
        for label, weight in setting.items():
            weights[_position(label, labels)] = _checked(label, weight)
    elif setting == "balanced":
        counts = np.bincount(targets, minlength=len(labels))
        present = counts > 0
        weights[present] = len(targets) / (present.sum() * counts[present])
    return weights


def record_weights(
    setting: LabelWeights, sampling: Sampling, labels: Sequence[str], targets: NDArray[np.int64], seed: int
) -> NDArray[np.float64]:
    """The loss weight of each training record, (n,).

    `balanced` weights are those of the records as an epoch shows them: where sampling already evens the labels out,
    nothing is left to weigh, and the correction is not made twice.
    """
    shown = targets
    if setting == "balanced":
        if sampling == "balanced":
            return np.ones(len(targets))
        shown = targets[epoch_indices(sampling, targets, 0, seed)]
    return label_weights(setting, labels, shown)[targets]


def _position(label: str, labels: Sequence[str]) -> int:
    if label not in labels:
        guess = nearest(label, labels)
        raise ClinfitError(
            f"class_weights names {label!r}, which is not a label of the task",
            expected=f"labels among {', '.join(labels)}",
            fix=f"write {guess}" if guess else "write the labels as the task declares them",
        )
    return list(labels).index(label)


def _checked(label: str, weight: float) -> float:
    if not (np.isfinite(weight) and weight >= 0):
        raise ClinfitError(f"class_weights gives {label!r} the weight {weight}", expected="a finite number, 0 or more")
    return weight


def epoch_indices(sampling: Sampling, targets: NDArray[np.int64], epoch: int, seed: int) -> NDArray[np.int64]:
    """Which training records an epoch uses, in which order: indices into `targets`.

    none: each record once, shuffled. balanced: n draws with replacement, each label that occurs equally likely.
    oversample: whole copies of the smaller classes, and a random part of one more copy, until all classes are
    as large as the largest; shuffled. The result depends on the arguments alone.
    """
    rng = np.random.default_rng([seed, epoch])
    n = len(targets)
    if sampling == "none":
        return rng.permutation(n)
    classes, class_of, counts = np.unique(targets, return_inverse=True, return_counts=True)
    if sampling == "balanced":
        return rng.choice(n, size=n, replace=True, p=1 / (len(classes) * counts[class_of]))
    parts = [_filled_up(np.flatnonzero(class_of == k), counts.max(), rng) for k in range(len(classes))]
    return rng.permutation(np.concatenate(parts))


def _filled_up(members: NDArray[np.int64], size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    copies, rest = divmod(size, len(members))
    return np.concatenate([np.tile(members, copies), rng.choice(members, size=rest, replace=False)])
