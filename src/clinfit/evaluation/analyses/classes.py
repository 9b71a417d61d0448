"""Each label of a system: precision, recall, F1, AUROC; and the confusion matrix behind them, where there is one."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from clinfit.evaluation.answers import UNPARSED, Ints, LabelAnswers, confusion, items_of, repeats_of
from clinfit.evaluation.context import Context, Measured, MeasuredContext, Outcome
from clinfit.evaluation.label_sets import LabelSets
from clinfit.evaluation.metrics.metric import Metric
from clinfit.evaluation.metrics.multilabel_table import BY_LABEL as MULTILABEL_METRICS
from clinfit.evaluation.system_results import ClassResult, Confusion
from clinfit.evaluation.systems import System

#: Metrics of each label that are withheld where there is an error.
BY_LABEL: tuple[str, ...] = ("precision", "recall", "f1", "auroc")


def classes(context: MeasuredContext, item: Measured) -> Outcome:
    """Every declared label against the rest."""
    return class_table(item.answers, context.engine.by_label(item.scored)), []


def confusion_matrix(context: MeasuredContext, item: Measured) -> Outcome:
    return _matrix(item.answers), []


def withheld_counts(context: Context, system: System, reason: str) -> dict[str, Any]:
    """The same two sections without metrics: they show what went wrong. Rows of undeclared gold labels are left out."""
    answers: LabelAnswers = system.test.answers
    answers = answers.take(answers.gold != UNPARSED)
    answers = replace(answers, probabilities=np.full(answers.probabilities.shape, np.nan))
    metric = Metric(None, n=items_of(answers)).withheld(reason)
    nothing: dict[str, Metric] = dict.fromkeys(BY_LABEL, metric)
    return {
        "classes": class_table(answers, dict.fromkeys(answers.labels, nothing)),
        "confusion": _matrix(answers),
    }


def label_sets(context: MeasuredContext, item: Measured) -> Outcome:
    """Every label of a multilabel task against its absence."""
    return _set_table(item.answers, context.engine.by_label(item.scored)), []


def withheld_label_sets(context: Context, system: System, reason: str) -> dict[str, Any]:
    """The counts of each label without metrics."""
    answers: LabelSets = system.test.answers
    metric = Metric(None, n=items_of(answers)).withheld(reason)
    nothing: dict[str, Metric] = dict.fromkeys(MULTILABEL_METRICS, metric)
    return {"classes": _set_table(answers, dict.fromkeys(answers.labels, nothing))}


def class_table(answers: LabelAnswers, metrics: Mapping[str, Mapping[str, Metric]]) -> list[ClassResult]:
    """metrics: label -> name -> metric."""
    given = confusion(answers)[:, :-1].sum(axis=0)
    return _table(answers.labels, len(answers), answers.support, given, metrics, repeats_of(answers))


def _set_table(answers: LabelSets, metrics: Mapping[str, Mapping[str, Metric]]) -> list[ClassResult]:
    given = answers.predicted.sum(axis=0)
    return _table(answers.labels, len(answers), answers.support, given, metrics, repeats_of(answers))


def _table(
    labels: Sequence[str],
    n: int,
    support: Ints,
    given: Ints,
    metrics: Mapping[str, Mapping[str, Metric]],
    repeats: int = 1,
) -> list[ClassResult]:
    """support: (K,) items of each label. given: (K,) of the n answers those that give it. repeats: answers to an item,
    whose mean is shown in whole items."""
    return [
        ClassResult(
            label=label,
            support=int(support[k]),
            predicted=round(int(given[k]) / repeats),
            prevalence=int(support[k]) * repeats / n if n else None,
            predicted_proportion=int(given[k]) / n if n else None,
            metrics={name: metric.as_dict() for name, metric in metrics[label].items()},
        )
        for k, label in enumerate(labels)
    ]


def _matrix(answers: LabelAnswers) -> Confusion:
    labels = list(answers.labels)
    return Confusion(rows=labels, columns=[*labels, "unparsed"], counts=confusion(answers).tolist())
