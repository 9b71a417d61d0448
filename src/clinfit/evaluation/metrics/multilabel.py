"""The metric engine of tasks with any number of labels an item."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from clinfit.evaluation.answers import Bools, Floats, items_of
from clinfit.evaluation.label_sets import LabelSets, read_label_sets
from clinfit.evaluation.metrics.engine import Engine
from clinfit.evaluation.metrics.fold_scorer import SetFoldScorer, with_folds
from clinfit.evaluation.metrics.multilabel_scorer import LabelSetScorer
from clinfit.evaluation.metrics.multilabel_table import OVERALL, label_table, overall_metrics
from clinfit.study.tasks import HOLDS


def most_probable(
    labels: Sequence[str], positive: str | None, gold: NDArray[np.bool_], probabilities: Floats
) -> LabelSets:
    """gold: (n, K) whether each label holds. probabilities: (n, K)."""
    return LabelSets(tuple(labels), gold, probabilities >= HOLDS, np.ones(len(gold), dtype=bool), probabilities)


def compared_metrics(answers: LabelSets, primary: str) -> list[str]:
    """Rows of a comparison: the primary metric first, the rest in the order of the table, then F1 of each label."""
    names = [primary, *(name for name in OVERALL if name not in (primary, "unparsed"))]
    return names + [f"f1:{label}" for label in answers.labels]


def subgroup_metrics(answers: LabelSets, primary: str) -> list[str]:
    return list(dict.fromkeys([primary, "micro_f1", "macro_f1", "subset_accuracy", "hamming_loss"]))


def headline(answers: LabelSets, primary: str) -> list[str]:
    return list(dict.fromkeys([primary, *OVERALL]))


def proportion(answers: LabelSets, metric: str) -> tuple[Bools, Bools] | None:
    """(right, inside): exact sets over all items, recall over those that have the label."""
    name, _, label = metric.partition(":")
    if name == "subset_accuracy":
        return answers.right, np.ones(len(answers), dtype=bool)
    if name == "recall":
        k = answers.labels.index(label)
        return answers.predicted[:, k], answers.gold[:, k]
    return None


def ranked_label(answers: LabelSets, metric: str) -> int | None:
    name, _, label = metric.partition(":")
    return answers.labels.index(label) if name == "auroc" else None


def constant_answers(answers: LabelSets, proportions: Floats) -> dict[str, LabelSets]:
    """Always the same set: the labels that most training items have, with the shares of training as probabilities;
    every label; and the most frequent label alone."""
    n, k = len(answers), len(answers.labels)
    often = proportions >= HOLDS
    top = np.arange(k) == proportions.argmax()
    chosen: dict[str, Bools] = {}
    for row in (often, np.ones(k, dtype=bool), top):
        chosen.setdefault(_name(answers.labels, row), row)
    return {
        name: replace(
            answers,
            predicted=np.tile(row, (n, 1)),
            parsed=np.ones(n, dtype=bool),
            probabilities=np.tile(proportions if row is often else row.astype(np.float64), (n, 1)),
        )
        for name, row in chosen.items()
    }


def _name(labels: Sequence[str], row: Bools) -> str:
    if row.all():
        return "always answering every label"
    named = ", ".join(repr(label) for label, holds in zip(labels, row, strict=True) if holds)
    return f"always answering {named or 'no label'}"


def mix(answers: LabelSets) -> str:
    least, most = int(answers.support.min()), int(answers.support.max())
    return f"{len(answers.labels)} labels, each of {least}{'' if least == most else f' to {most}'} items"


def scarcest(answers: LabelSets) -> tuple[str, int]:
    """Of the label with fewest items, or fewest without it."""
    return "rarest label", int(np.minimum(answers.support, items_of(answers) - answers.support).min())


MULTILABEL = Engine(
    read=read_label_sets,
    most_probable=most_probable,
    scorer=with_folds(LabelSetScorer, SetFoldScorer),
    metrics=overall_metrics,
    by_label=label_table,
    compared=compared_metrics,
    subgroup_metrics=subgroup_metrics,
    headline=headline,
    primary=lambda metric, labels: metric,
    proportion=proportion,
    ranked_label=ranked_label,
    constant=constant_answers,
    fair=frozenset({"micro_f1", "macro_f1", "macro_auroc", "subset_accuracy", "hamming_loss", "jaccard", "example_f1"}),
    stand_in="micro_f1",
    exact="subset_accuracy",
    mix=mix,
    scarcest=scarcest,
)
