"""From a model's probabilities to decisions, by kind of task: recalibration, threshold, referral of the evaluation."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from clinfit.data.records import Record, Target
from clinfit.data.seen import Seen
from clinfit.evaluation.answers import UNPARSED, LabelAnswers, label_codes
from clinfit.evaluation.decisions.label_weights import shares
from clinfit.evaluation.decisions.recalibration import Recalibration
from clinfit.evaluation.decisions.referral_rule import Referral
from clinfit.evaluation.decisions.thresholds import ThresholdChoice, apply_threshold
from clinfit.models.base import Answerer, FinishReason, Heard, LabelOutputs, Outputs, TextOutputs, Writer
from clinfit.packs.content import TaskEntry
from clinfit.predictions import check_probabilities
from clinfit.study.tasks import HOLDS, Task, Writing, task_from

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Served:
    """A task that a pack answers, and what becomes of the model's probabilities.

    thresholds: of a multilabel task by label, otherwise one under the empty name, or none. referral: None when nothing
    is handed to a person. seen: what training has seen of each input. updates: recalibrations behind that of the study,
    in order.
    """

    task: Task
    recalibration: Recalibration
    thresholds: Mapping[str, ThresholdChoice]
    referral: Referral | None
    seen: Seen
    updates: tuple[Recalibration, ...] = ()

    @classmethod
    def from_entry(cls, entry: TaskEntry) -> "Served":
        """From the task's part of pack.json."""
        return cls(
            task_from(entry.task),
            Recalibration.from_dict(entry.recalibration),
            thresholds_of(entry.task["kind"], entry.threshold),
            None if entry.referral is None else Referral.from_dict(entry.referral),
            entry.seen,
            tuple(Recalibration.from_dict(update.recalibration) for update in entry.updates),
        )

    def recalibrated(self, probabilities: Floats) -> Floats:
        """(n, K) the model's own probabilities to those that are answered."""
        for recalibration in (self.recalibration, *self.updates):
            probabilities = recalibration.apply(probabilities)
        return probabilities

    @property
    def used_thresholds(self) -> dict[str, float]:
        """Label -> the probability from which it is decided for; empty where the most probable label is
        taken, or label weights decide."""
        named = {label or self.task.positive_label: choice.value for label, choice in self.thresholds.items()}
        return {label: value for label, value in named.items() if label is not None and value is not None}

    @property
    def label_weights(self) -> dict[str, float]:
        """Label -> what its probability is multiplied by before the largest is taken; empty where nothing is."""
        choice = self.thresholds.get("")
        return {} if choice is None or choice.weights is None else choice.weights

    @property
    def has_sets(self) -> bool:
        """Whether answers come with a set of labels."""
        return self.referral is not None and self.referral.has_sets


@dataclass(frozen=True)
class Decisions:
    """What is said of n records.

    probabilities: (n, K), recalibrated. predicted: n most probable labels, sets of labels of 0.5 or more, or letters.
    decided: the same under the thresholds.

    referred: (n,) whether a person decides. sets: (n, K) labels in the set of each record, None where there are none.
    finish_reasons: why n texts ended; None for kinds with labels, and predicted and decided are then the texts.
    """

    probabilities: Floats
    predicted: list[Target]
    decided: list[Target]
    referred: NDArray[np.bool_]
    sets: NDArray[np.bool_] | None = None
    finish_reasons: list[FinishReason] | None = None


def ask(
    model: Answerer, task: str, records: Sequence[Record], limit: int | None = None, heard: Heard | None = None
) -> Outputs:
    """What the model says of the records. limit: of the tokens of a text, where fewer than the task's are wanted.
    heard: see `Writer.generate`."""
    asked = model.tasks[task]
    if not isinstance(asked, Writing):
        return model.predict(task, records)
    most = min(limit or asked.max_new_tokens, asked.max_new_tokens)
    return cast(Writer, model).generate(task, records, most, heard=heard)


def said(served: Served, outputs: Outputs, n: int) -> Decisions:
    """Decisions from what the model said of n records."""
    if isinstance(outputs, TextOutputs):
        texts: list[Target] = [*outputs.answers]
        nothing = np.zeros((n, 0))
        return Decisions(nothing, texts, texts, _nobody(nothing), finish_reasons=outputs.finish_reasons)
    assert isinstance(outputs, LabelOutputs)
    check_probabilities(outputs.probabilities, n, served.task)
    return decide(served, outputs.probabilities)


def decide(served: Served, probabilities: Floats) -> Decisions:
    """Decisions from the model's own (n, K) probabilities; a record's do not depend on the others."""
    return DECIDE[served.task.kind](served, served.recalibrated(probabilities))


def _one_label(served: Served, probabilities: Floats) -> Decisions:
    labels = served.task.labels
    predicted = _most_probable(labels, probabilities)
    decided = apply_threshold(probabilities, labels, served.task.positive_label, served.thresholds[""])
    if served.referral is None:
        return Decisions(probabilities, predicted, [*decided], _nobody(probabilities))
    answers = LabelAnswers(
        tuple(labels),
        None,
        np.full(len(decided), UNPARSED),
        label_codes(decided, labels),
        probabilities,
        np.full(len(decided), np.nan),
        sureness=shares(probabilities, [served.label_weights[label] for label in labels])
        if served.label_weights
        else None,
    )
    referred = ~served.referral.decided(answers)
    return Decisions(probabilities, predicted, [*decided], referred, served.referral.sets(probabilities))


def _label_set(served: Served, probabilities: Floats) -> Decisions:
    """Every label whose probability reaches its threshold, in the task's order; none of them too."""
    labels = served.task.labels
    values = np.array([served.thresholds[label].value for label in labels], dtype=np.float64)
    predicted, decided = (
        [_inside(labels, row) for row in probabilities >= at] for at in (np.full(len(labels), HOLDS), values)
    )
    return Decisions(probabilities, [*predicted], [*decided], _nobody(probabilities))


def _option(served: Served, probabilities: Floats) -> Decisions:
    """The most probable option; of equally probable ones the first."""
    predicted = _most_probable(served.task.labels, probabilities)
    return Decisions(probabilities, predicted, predicted, _nobody(probabilities))


#: What is decided, by kind of task with labels.
DECIDE: dict[str, Callable[[Served, Floats], Decisions]] = {
    "classification": _one_label,
    "multilabel": _label_set,
    "multiple-choice": _option,
}


def _most_probable(labels: list[str], probabilities: Floats) -> list[Target]:
    """Of equally probable ones the first."""
    likely: list[Target] = [str(labels[k]) for k in probabilities.argmax(axis=1)]
    return likely


def label_sets(labels: Sequence[str], sets: NDArray[np.bool_]) -> list[tuple[str, ...]]:
    """(n, K) which labels are inside as n tuples of labels, in the task's order."""
    return [_inside(labels, row) for row in sets]


def _inside(labels: Sequence[str], row: NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(label for label, inside in zip(labels, row, strict=True) if inside)


def _nobody(probabilities: Floats) -> NDArray[np.bool_]:
    return np.zeros(len(probabilities), dtype=bool)


def thresholds_of(kind: str, threshold: dict[str, Any] | None) -> dict[str, ThresholdChoice]:
    if threshold is None:
        return {}
    by_label: Mapping[str, dict[str, Any]] = threshold if kind == "multilabel" else {"": threshold}
    return {label: ThresholdChoice.from_dict(values) for label, values in by_label.items()}
