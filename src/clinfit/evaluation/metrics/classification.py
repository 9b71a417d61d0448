"""The metric engine of tasks with one label an item."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from clinfit.evaluation.answers import Bools, LabelAnswers, read_label_answers
from clinfit.evaluation.metrics.classification_table import label_table, overall_metrics
from clinfit.evaluation.metrics.definitions import primary_name
from clinfit.evaluation.metrics.engine import Engine
from clinfit.evaluation.metrics.fold_scorer import with_folds
from clinfit.evaluation.metrics.scorer import LabelScorer, item_losses

Floats = NDArray[np.float64]

#: Rows of a comparison after the primary metric, and before those of each label.
COMPARED_BINARY = ("accuracy", "balanced_accuracy", "sensitivity", "specificity", "balance_gap", "ppv", "npv", "f1")
COMPARED_BINARY += ("macro_f1", "mcc", "auroc", "auprc", "brier", "log_loss")
COMPARED = ("accuracy", "balanced_accuracy", "macro_f1", "mcc", "macro_auroc", "brier_sum", "log_loss")
#: A constant answer is no fair opponent in sensitivity (always-positive has 1), nor in macro F1, in which even random
#: answers beat it.
FAIR = frozenset(
    {"accuracy", "balanced_accuracy", "f1", "mcc", "kappa", "auroc", "macro_auroc", "auprc"}
    | {"brier", "brier_sum", "log_loss"}
)


def most_probable(
    labels: Sequence[str], positive: str | None, gold: NDArray[np.int64], probabilities: Floats
) -> LabelAnswers:
    """gold: (n,) label indices. probabilities: (n, K)."""
    return LabelAnswers(
        labels=tuple(labels),
        positive=None if positive is None else list(labels).index(positive),
        gold=gold,
        predicted=probabilities.argmax(axis=1),
        probabilities=probabilities,
        label_mass=np.full(len(gold), np.nan),
    )


def compared_metrics(answers: LabelAnswers, primary: str) -> list[str]:
    """Rows of a comparison: the primary metric first, then the rest in the order of the table, then each label.

    Of two labels precision and recall are PPV, NPV, sensitivity and specificity, and stand there once.
    """
    names = COMPARED if answers.positive is None else COMPARED_BINARY
    names = [primary, *(name for name in names if name != primary)]
    of_label = ("precision", "recall", "f1") if answers.positive is None else ("f1",)
    return names + [f"{name}:{label}" for label in answers.labels for name in of_label]


def subgroup_metrics(answers: LabelAnswers, primary: str) -> list[str]:
    binary = ("accuracy", "sensitivity", "specificity", "ppv", "auroc", "calibration_intercept")
    names = ("accuracy", "balanced_accuracy", "macro_f1") if answers.positive is None else binary
    return list(dict.fromkeys([primary, *names]))


def headline(answers: LabelAnswers, primary: str) -> list[str]:
    names = ["accuracy", primary, "balanced_accuracy", "macro_f1", "mcc"]
    if answers.positive is not None:
        names += ["sensitivity", "specificity", "f1", "auroc", "auprc", "brier"]
    return list(dict.fromkeys(names))


def proportion(answers: LabelAnswers, metric: str) -> tuple[Bools, Bools] | None:
    """(right, inside): accuracy over all items, recall, sensitivity and specificity over those of a label."""
    name, _, label = metric.partition(":")
    right = answers.right
    if name == "accuracy":
        return right, np.ones(len(answers), dtype=bool)
    if name == "recall":
        return right, answers.gold == answers.labels.index(label)
    if name == "sensitivity":
        return right, answers.gold == answers.positive
    if name == "specificity":
        return right, answers.gold != answers.positive
    return None


def ranked_label(answers: LabelAnswers, metric: str) -> int | None:
    return answers.positive if metric == "auroc" else None


def constant_answers(answers: LabelAnswers, proportions: Floats) -> dict[str, LabelAnswers]:
    """Always the same label, for each label, the most frequent in training first.

    The latter has the proportions of training, (K,), as its probabilities; the others are certain of their label.
    """
    majority, n = int(proportions.argmax()), len(answers)
    order = [majority, *(k for k in range(len(proportions)) if k != majority)]
    certain = np.eye(len(proportions))
    return {
        f"always answering {answers.labels[k]!r}": replace(
            answers,
            predicted=np.full(n, k),
            probabilities=np.tile(proportions if k == majority else certain[k], (n, 1)),
            label_mass=np.full(n, np.nan),
        )
        for k in order
    }


def mix(answers: LabelAnswers) -> str:
    return ", ".join(f"{count} {label!r}" for label, count in zip(answers.labels, answers.support, strict=True))


def scarcest(answers: LabelAnswers) -> tuple[str, int]:
    return "smallest class", int(answers.support.min())


CLASSIFICATION = Engine(
    read=read_label_answers,
    most_probable=most_probable,
    scorer=with_folds(LabelScorer),
    metrics=overall_metrics,
    by_label=label_table,
    compared=compared_metrics,
    subgroup_metrics=subgroup_metrics,
    headline=headline,
    primary=primary_name,
    proportion=proportion,
    ranked_label=ranked_label,
    constant=constant_answers,
    fair=FAIR,
    stand_in="balanced_accuracy",
    exact="accuracy",
    mix=mix,
    scarcest=scarcest,
    item_losses=item_losses,
)
