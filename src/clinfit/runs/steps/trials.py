"""One trial of a search: a fit with one point of the space, and its value on validation. Nothing is kept but numbers.

What a point is worth is larger is better here. Trials read training and validation records, never those of test: they
get a lesson, which holds no others.

The standard error of a primary metric is that of resampled validation groups (Efron, 1979), for one model as it is:
what the records happen to be, not what another training would give.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clinfit.data.records import Record
from clinfit.errors import ClinfitError
from clinfit.models.base import LabelOutputs, Lesson, Model, Progress, Workspace
from clinfit.models.families import create_model
from clinfit.models.targets import targets_of
from clinfit.study.models import ModelSpec
from clinfit.study.search import Search, with_point
from clinfit.study.tasks import Task

if TYPE_CHECKING:
    from clinfit.models.bases.pretrained import Bases

#: Resamples of the standard error.
RESAMPLES = 100

Primary = Callable[[str, NDArray[Any], NDArray[np.float64]], float | None]


@dataclass(frozen=True)
class Subject:
    """What is searched. spec: the block as it stands. seed: of the fits and of the sampler. primary: as of `Workspace`.
    seeded: sets every generator that the family draws from."""

    spec: ModelSpec
    tasks: Mapping[str, Task]
    seed: int
    lesson: Lesson
    bases: "Bases | None"
    primary: Primary
    seeded: Callable[[], None]

    @property
    def search(self) -> Search:
        assert self.spec.searched is not None
        return self.spec.searched

    def validation(self, task: str) -> list[Record]:
        return [record for record in self.lesson.validation if record.task == task]


@dataclass(frozen=True)
class Worth:
    """What a point is worth. error: standard error of the value, None where the family does not tell the losses of its
    records."""

    value: float
    error: float | None


@dataclass
class Watcher:
    """Hears the validations of a fit. report: told (number of the validation from 1, share of the training that is
    done, value); what it raises ends the fit."""

    subject: Subject
    report: Callable[[int, float, float], None]
    values: dict[int, float] = field(default_factory=dict)
    answers: dict[int, tuple[NDArray[Any], NDArray[np.float64]]] = field(default_factory=dict)
    _last: tuple[NDArray[Any], NDArray[np.float64]] | None = None

    def primary(self, task: str, gold: NDArray[Any], probabilities: NDArray[np.float64]) -> float | None:
        self._last = gold, probabilities
        return self.subject.primary(task, gold, probabilities)

    def validated(self, step: int, share: float, loss: float, primary: float | None) -> None:
        value = primary if self.subject.search.by == "primary" else -loss
        if self._last is not None:
            self.answers[step] = self._last
        if value is not None and np.isfinite(value):
            self.values[step] = value
            self.report(len(self.values), share, value)


def try_point(
    subject: Subject,
    point: Mapping[str, Any],
    scratch: Path,
    progress: Progress,
    report: Callable[[int, float, float], None],
) -> Worth:
    """Fit with a point and say what it is worth; scratch: a folder that is gone afterwards, as it is before.

    Raises ClinfitError where validation gives no value, and what the fit or `report` raises.
    """
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        subject.seeded()
        model = create_model(with_point(subject.spec, point), subject.tasks, subject.seed, subject.bases)
        watcher = Watcher(subject, report)
        workspace = Workspace(scratch, progress, watcher.primary, validated=watcher.validated)
        best = model.fit(subject.lesson, workspace).details.get("best_step")
        found = _of_answers(subject, model) if best is None else _of_best(subject, watcher, best)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if found is None:
        raise ClinfitError(
            "validation gives no value of what is searched by",
            expected="validation records of every label",
            fix="use search: {by: loss}, or a larger validation split",
        )
    return found


def _of_best(subject: Subject, watcher: Watcher, best: int) -> Worth | None:
    """The value at the checkpoint that the fit kept."""
    if best not in watcher.values:
        return None
    if subject.search.by == "loss" or best not in watcher.answers:
        return Worth(watcher.values[best], None)
    (task,) = subject.tasks
    return Worth(watcher.values[best], _error_of(subject, task, *watcher.answers[best]))


def _of_answers(subject: Subject, model: Model) -> Worth | None:
    """The value of what the fitted model answers on validation."""
    tasks = [name for name in subject.lesson.taught.weights if subject.validation(name)]
    answers = {name: _answers(subject, model, name) for name in tasks}
    if subject.search.by == "primary":
        (task,) = tasks
        value = subject.primary(task, *answers[task])
        return None if value is None else Worth(value, _error_of(subject, task, *answers[task]))
    losses = np.concatenate([record_losses(*answers[name]) for name in tasks])
    groups = [record.group for name in tasks for record in subject.validation(name)]
    return Worth(-float(losses.mean()), standard_error(groups, lambda rows: -float(losses[rows].mean()), subject.seed))


def _answers(subject: Subject, model: Model, task: str) -> tuple[NDArray[Any], NDArray[np.float64]]:
    records = subject.validation(task)
    outputs: LabelOutputs = model.predict(task, records)
    return targets_of(subject.tasks[task], records), outputs.probabilities


def _error_of(subject: Subject, task: str, gold: NDArray[Any], probabilities: NDArray[np.float64]) -> float | None:
    groups = [record.group for record in subject.validation(task)]
    return standard_error(groups, lambda rows: subject.primary(task, gold[rows], probabilities[rows]), subject.seed)


def record_losses(gold: NDArray[Any], probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) negative log-likelihood of each record in nats; with several labels a record the mean over them."""
    if gold.ndim == 1:
        from clinfit.evaluation.metrics.probabilities import log_loss_terms

        return log_loss_terms(gold, probabilities)
    clipped = np.clip(probabilities, 1e-15, 1 - 1e-15)
    return -np.where(gold, np.log(clipped), np.log1p(-clipped)).mean(axis=1)


def standard_error(
    groups: Sequence[str], estimate: Callable[[NDArray[np.int64]], float | None], seed: int
) -> float | None:
    """Standard deviation of an estimate over resampled groups of records; None where it mostly cannot be had."""
    of_group: dict[str, list[int]] = {}
    for row, group in enumerate(groups):
        of_group.setdefault(group, []).append(row)
    members = [np.array(rows, dtype=np.int64) for rows in of_group.values()]
    draws = np.random.default_rng(seed).integers(len(members), size=(RESAMPLES, len(members)))
    found = [estimate(np.concatenate([members[k] for k in drawn])) for drawn in draws]
    known = [value for value in found if value is not None]
    return float(np.std(known, ddof=1)) if len(known) >= RESAMPLES // 2 else None
