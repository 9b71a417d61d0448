"""From the log-likelihoods of answers to what a causal model says of a record, by kind of task."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clinfit.data.records import Record
from clinfit.models.targets import Targets
from clinfit.prompts.template import NO_YES, option_texts
from clinfit.scoring.label_likelihood import AnswerScores
from clinfit.scoring.probabilities import softmax
from clinfit.study.tasks import MultipleChoice, Task

#: Scores of n records, branch by branch (see prompts/forms.py).
Scores = Sequence[AnswerScores]


@dataclass(frozen=True)
class Said:
    """Of n records: (n, K) probabilities; and (n,) label mass, (n, K) probabilities by scoring, where there are any."""

    probabilities: NDArray[np.float64]
    label_mass: NDArray[np.float64] | None = None
    scorings: dict[str, NDArray[np.float64]] | None = None


def said(task: Task, records: Sequence[Record], scores: Scores) -> Said:
    """What the scores say of the records."""
    return SAID[task.kind](task, records, scores)


def in_order(parts: Sequence[Said], batches: Sequence[Sequence[int]]) -> Said:
    """What was said batch by batch as one, in the order of the records that the batches name."""
    places = np.argsort(np.concatenate([np.asarray(batch) for batch in batches]))

    def joined(values: Sequence[NDArray[np.float64] | None]) -> NDArray[np.float64] | None:
        known = [value for value in values if value is not None]
        return np.concatenate(known)[places] if known else None

    probabilities = joined([part.probabilities for part in parts])
    assert probabilities is not None
    scorings = {
        name: np.concatenate([part.scorings[name] for part in parts if part.scorings])[places]
        for name in parts[0].scorings or {}
    }
    return Said(probabilities, joined([part.label_mass for part in parts]), scorings or None)


def gold_losses(task: Task, gold: Targets, scores: Scores) -> NDArray[np.float64]:
    """(n,) loss of each record as training counts it, from scores in which every end of turn is counted."""
    return LOSSES[task.kind](task, gold, scores)


# ---------------------------------------------------------------- what is said


def _say_label(task: Task, records: Sequence[Record], scores: Scores) -> Said:
    (labels,) = scores
    return Said(labels.probabilities, labels.mass)


def _say_labels(task: Task, records: Sequence[Record], scores: Scores) -> Said:
    yes = NO_YES.index("yes")
    return Said(np.stack([question.probabilities[:, yes] for question in scores], axis=1))


def _say_option(task: Task, records: Sequence[Record], scores: Scores) -> Said:
    assert isinstance(task, MultipleChoice)
    letters, texts = scores
    sizes = np.array([[len(text.encode()) for text in option_texts(task, record.inputs)] for record in records])
    scorings = {
        "letters": letters.probabilities,
        "texts": texts.probabilities,
        "texts-normalised": softmax(texts.total / sizes),
    }
    return Said(scorings[task.answer], _answered(task, scores).mass, scorings)


SAID: dict[str, Callable[[Task, Sequence[Record], Scores], Said]] = {
    "classification": _say_label,
    "multilabel": _say_labels,
    "multiple-choice": _say_option,
}


# ---------------------------------------------------------------- one of them, to be differentiated


def probability_of(task: Task, record: Record, label: str, totals: Sequence[Tensor]) -> Tensor:
    """The probability of one label of one record, as `said` has it. totals: of each branch (K,) log-likelihoods."""
    return ONE[task.kind](task, record, task.labels.index(label), totals)


def _one_label(task: Task, record: Record, at: int, totals: Sequence[Tensor]) -> Tensor:
    return totals[0].softmax(0)[at]


def _one_of_labels(task: Task, record: Record, at: int, totals: Sequence[Tensor]) -> Tensor:
    return totals[at].softmax(0)[NO_YES.index("yes")]


def _one_option(task: Task, record: Record, at: int, totals: Sequence[Tensor]) -> Tensor:
    assert isinstance(task, MultipleChoice)
    letters, texts = totals
    sizes = torch.tensor([len(text.encode()) for text in option_texts(task, record.inputs)], device=texts.device)
    return {"letters": letters, "texts": texts, "texts-normalised": texts / sizes}[task.answer].softmax(0)[at]


ONE: dict[str, Callable[[Task, Record, int, Sequence[Tensor]], Tensor]] = {
    "classification": _one_label,
    "multilabel": _one_of_labels,
    "multiple-choice": _one_option,
}


# ---------------------------------------------------------------- losses


def _label_loss(task: Task, gold: Targets, scores: Scores) -> NDArray[np.float64]:
    return -_picked(_answered(task, scores), gold)


def _labels_loss(task: Task, gold: Targets, scores: Scores) -> NDArray[np.float64]:
    each = [_picked(question, gold[:, k].astype(np.int64)) for k, question in enumerate(scores)]
    return -np.mean(each, axis=0)


LOSSES: dict[str, Callable[[Task, Targets, Scores], NDArray[np.float64]]] = {
    "classification": _label_loss,
    "multilabel": _labels_loss,
    "multiple-choice": _label_loss,
}


def _answered(task: Task, scores: Scores) -> AnswerScores:
    """The branch that is trained."""
    return scores[1] if isinstance(task, MultipleChoice) and task.answer != "letters" else scores[0]


def _picked(scores: AnswerScores, gold: Targets) -> NDArray[np.float64]:
    return scores.written[np.arange(len(gold)), gold]
