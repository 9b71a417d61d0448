"""Which recalibration a number of records with answers can carry, and the command that makes it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import join
from typing import Literal

from clinfit.data.records import Record, Target, labels_in
from clinfit.evaluation.decisions.recalibration import Kind
from clinfit.evaluation.metrics.probabilities import CALIBRATION_EVENTS
from clinfit.packs.decide import Served
from clinfit.study.tasks import Task

Name = Literal["intercept", "intercept-slope", "temperature"]


@dataclass(frozen=True)
class Method:
    """A way to recalibrate. kind: of the map. numbers: that are fitted."""

    kind: Kind
    numbers: int

    @property
    def events(self) -> int:
        """Fewest records of the rarer answer: CALIBRATION_EVENTS for each number that is fitted."""
        return CALIBRATION_EVENTS * self.numbers


#: The terms are those of Steyerberg et al. (2004) and Van Calster et al. (2019): recalibration in the large updates the
#: intercept, logistic recalibration intercept and slope.
METHODS: Mapping[Name, Method] = {
    "intercept-slope": Method("platt", 2),
    "intercept": Method("intercept", 1),
    "temperature": Method("temperature", 1),
}
#: By kind of task, the one that is taken by default first; a task with two labels has them all.
BY_KIND: Mapping[str, list[Name]] = {
    "classification": ["temperature"],
    "multilabel": ["intercept-slope", "intercept"],
    "multiple-choice": ["temperature"],
}


def methods_for(task: Task) -> list[Name]:
    """The methods for a task, the one that is taken by default first; none where it has no probabilities."""
    if task.kind == "classification" and len(task.labels) == 2:
        return list(METHODS)
    return BY_KIND.get(task.kind, [])


def rarer(task: Task, targets: Sequence[Target | None]) -> int:
    """How many records have another answer than the most frequent one; of a multilabel task the most that any label
    has with it, or without it where these are fewer; of multiple choice, whose letters are no classes, all."""
    if task.kind == "multiple-choice":
        return len(targets)
    if task.kind != "multilabel":
        return len(targets) - max(Counter(targets).values())
    with_label = Counter(label for target in targets if target is not None for label in labels_in(target))
    return max(min(with_label[label], len(targets) - with_label[label]) for label in task.labels)


def offered(served: Served, family: str, labelled: Sequence[Record]) -> Name | None:
    """The method that these records can carry; None where there is none."""
    if family == "baseline":
        return None
    known = methods_for(served.task)
    there = rarer(served.task, [record.target for record in labelled]) if known else 0
    return next((name for name in known if there >= METHODS[name].events), None)


def recalibrate_command(folder: Path, source: Path, task: str | None, method: Name) -> str:
    """What to type."""
    words = ["clinfit", "recalibrate", str(folder), "--data", str(source), *([] if task is None else ["--task", task])]
    words += ["--method", method] if method == "intercept" else []
    return join([*words, "--output", f"{source.stem}-pack"])
