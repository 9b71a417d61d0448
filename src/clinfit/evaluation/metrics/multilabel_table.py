"""The metrics table of a system that answers with sets of labels: each value with its interval, or why it has none.

Intervals: Wilson for shares and DeLong on the logit scale for AUROC where items are independent, else the bootstrap.
"""

from dataclasses import replace

import numpy as np

from clinfit.evaluation.answers import counted
from clinfit.evaluation.label_sets import LabelSets
from clinfit.evaluation.metrics.classification_table import NO_PROBABILITIES, known_folds, unseen
from clinfit.evaluation.metrics.engine import Scored
from clinfit.evaluation.metrics.fold_scorer import of_a_repeat
from clinfit.evaluation.metrics.metric import Metric, resampled, undefined
from clinfit.evaluation.statistics.delong import delong_interval
from clinfit.evaluation.statistics.intervals import wilson

#: Metrics of a system as a whole, in the order of the table.
OVERALL = (
    "micro_f1",
    "macro_f1",
    "macro_auroc",
    "subset_accuracy",
    "hamming_loss",
    "jaccard",
    "example_f1",
    "unparsed",
)
BY_LABEL = ("precision", "recall", "f1", "auroc", "auprc", "brier")


def overall_metrics(scored: Scored) -> dict[str, Metric]:
    """Every metric of the system as a whole, in the order of the table."""
    return {name: of_a_repeat(scored.answers, _overall(scored, name)) for name in OVERALL}


def label_table(scored: Scored) -> dict[str, dict[str, Metric]]:
    """Every metric of each label against its absence."""
    return {
        label: {name: of_a_repeat(scored.answers, _of_label(scored, name, k)) for name in BY_LABEL}
        for k, label in enumerate(scored.answers.labels)
    }


def _overall(scored: Scored, name: str) -> Metric:
    answers: LabelSets = scored.answers
    n, value = len(answers), scored.estimates.get(name, float("nan"))
    if np.isnan(value):
        return undefined(_why_no_value(answers, name), n)
    base = Metric(value, n=n)
    if name in ("subset_accuracy", "unparsed"):
        base = replace(base, events=round(value * n))
        if not scored.grouped:
            return _with_wilson(base, scored.confidence)
    if name in ("macro_f1", "macro_auroc"):
        absent = [label for label, count in zip(answers.labels, answers.support, strict=True) if not count]
        base = replace(base, reason=f"without {', '.join(absent)}: no such items in the test set" if absent else None)
    if name == "macro_auroc" and base.reason is None:
        base = replace(base, reason=_partly_ranked(scored))
    return resampled(base, scored.replicates[name], scored.resamples, scored.confidence, unseen(scored, name))


def _partly_ranked(scored: Scored) -> str | None:
    """Labels that some folds of a cross-validation cannot rank."""
    partly = [label for label in scored.answers.labels if known_folds(scored, f"auroc:{label}") is not None]
    return f"{', '.join(partly)}: over some folds only; in the others all records have it, or none" if partly else None


def _why_no_value(answers: LabelSets, name: str) -> str:
    if not len(answers):
        return "no items"
    if name == "macro_auroc":
        return "no label has both kinds of items" if answers.has_probabilities.any() else NO_PROBABILITIES
    return "no item has a label" if name == "macro_f1" else "no labels, given or true"


def _of_label(scored: Scored, name: str, k: int) -> Metric:
    answers: LabelSets = scored.answers
    n, support, given = len(answers), int(answers.gold[:, k].sum()), int(answers.predicted[:, k].sum())
    right = int((answers.gold[:, k] & answers.predicted[:, k]).sum())
    value = scored.estimates.get(f"{name}:{answers.labels[k]}", float("nan"))
    base = Metric(value, n=n, events=support)
    if name in ("precision", "recall"):
        base = Metric(value, n=given if name == "precision" else support, events=right)
    if np.isnan(value):
        return undefined(_why_undefined(answers, name, k), base.n, base.events)
    if name in ("precision", "recall") and not scored.grouped:
        return _with_wilson(base, scored.confidence)
    missing = n - int(answers.has_probabilities.sum())
    if missing and name in ("auroc", "auprc", "brier"):
        base = replace(
            base, reason=f"{missing} {counted(answers)} without probabilities are counted as wrong with certainty"
        )
    elif name in ("auroc", "auprc"):
        base = replace(base, reason=known_folds(scored, f"{name}:{answers.labels[k]}"))
    if name == "auroc" and not scored.grouped:
        low, high = delong_interval(scored.delong(k), scored.confidence)
        if low is None or low == high:
            why = "no interval: AUROC of 0 or 1, or a single item of one class"
            return replace(base, reason=base.reason or why)
        return replace(base, low=low, high=high, method="DeLong, logit scale")
    return resampled(base, scored.replicates[f"{name}:{answers.labels[k]}"], scored.resamples, scored.confidence)


def _with_wilson(base: Metric, confidence: float) -> Metric:
    low, high = wilson(base.events or 0, base.n, confidence)
    if low is None:
        return replace(base, reason="one item: no interval")
    return replace(base, low=low, high=high, method="Wilson")


def _why_undefined(answers: LabelSets, name: str, k: int) -> str:
    label, support = answers.labels[k], int(answers.support[k])
    if name == "precision":
        return f"never predicts {label!r}"
    if name in ("auroc", "auprc", "brier") and not answers.has_probabilities.any():
        return NO_PROBABILITIES
    return f"no items labelled {label!r} in the test set" if not support else f"every item is labelled {label!r}"
