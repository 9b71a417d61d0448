"""Class weights and the order of training records: the two usual answers to unequal classes.

Both look at the training split only; validation and test are never passed in. Everything is a function of the
seed and the epoch, so that a resumed training sees the records in the order of an undisturbed one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from clinfit.errors import ClinfitError, nearest
from clinfit.study.models import LabelWeights
from clinfit.study.stages import Mix

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


@dataclass(frozen=True)
class Part:
    """The training records of one task in a mixture.

    members: (n,) their positions among all training records. labels: the task's labels. targets: (n,) label indices;
    None where a record has any number of labels, so that nothing can be evened out.
    """

    members: NDArray[np.int64]
    labels: Sequence[str]
    targets: NDArray[np.int64] | None

    def epoch(self, sampling: Sampling, epoch: int, seed: int) -> NDArray[np.int64]:
        """Positions that an epoch uses, in order."""
        if self.targets is None:
            sampling, targets = "none", np.zeros(len(self.members), dtype=np.int64)
        else:
            targets = self.targets
        return self.members[epoch_indices(sampling, targets, epoch, seed)]

    def weights(self, setting: LabelWeights, sampling: Sampling, seed: int) -> NDArray[np.float64]:
        """Class weight of each record; names in the setting that are labels of other tasks are left to these."""
        if self.targets is None:
            return np.ones(len(self.members))
        if isinstance(setting, dict):
            setting = {label: weight for label, weight in setting.items() if label in self.labels}
        return record_weights(setting, sampling, self.labels, self.targets, seed)


def mixed_epoch(
    parts: Sequence[Part], sampling: Sampling, epoch: int, seed: int, sizes: Sequence[int] | None = None
) -> NDArray[np.int64]:
    """Which training records an epoch uses, in which order: sampling acts within each task, then all are mixed.

    sizes: records of each task in an epoch; default: as many as there are.
    """
    if sizes is None:
        drawn = [part.epoch(sampling, epoch, seed) for part in parts]
    else:
        drawn = [_window(part, sampling, epoch, seed, size) for part, size in zip(parts, sizes, strict=True)]
    if len(drawn) == 1:
        return drawn[0]
    return np.random.default_rng([seed, epoch, len(drawn)]).permutation(np.concatenate(drawn))


def _window(part: Part, sampling: Sampling, epoch: int, seed: int, size: int) -> NDArray[np.int64]:
    """The next `size` positions of a task's passes one behind the other, so that its records take even turns."""
    length = len(part.epoch(sampling, 0, seed))
    first, last = divmod(epoch * size, length), divmod((epoch + 1) * size, length)
    passes = [part.epoch(sampling, number, seed) for number in range(first[0], last[0] + (last[1] > 0))]
    start = first[1]
    return np.concatenate(passes)[start : start + size]


def epoch_sizes(parts: Mapping[str, Part], sampling: Sampling, seed: int, mix: Mix) -> list[int]:
    """Records of each task in an epoch. With a temperature T a task of n records gets a share proportional to n^(1/T)
    of as many records as before (as in Raffel et al., 2020), each at least one."""
    lengths = {name: len(part.epoch(sampling, 0, seed)) for name, part in parts.items()}
    if mix.records is not None:
        return [mix.records.get(name, length) for name, length in lengths.items()]
    assert mix.temperature is not None
    weights = np.array(list(lengths.values()), dtype=np.float64) ** (1 / mix.temperature)
    return [max(1, int(size)) for size in np.round(weights / weights.sum() * sum(lengths.values()))]


def mixed_weights(
    parts: Sequence[Part], of_tasks: Sequence[float], setting: LabelWeights, sampling: Sampling, seed: int
) -> NDArray[np.float64]:
    """(n,) loss weight of each training record: that of its task times that of its label."""
    weights = np.ones(sum(len(part.members) for part in parts))
    for part, weight in zip(parts, of_tasks, strict=True):
        weights[part.members] = weight * part.weights(setting, sampling, seed)
    return weights


def check_names(setting: LabelWeights, labels: Sequence[str]) -> None:
    """Raise ClinfitError when a weight is for none of these labels."""
    for label in setting if isinstance(setting, dict) else ():
        _position(label, labels)


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
