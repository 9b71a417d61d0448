"""Metrics of labels, from confusion counts: one formula for the estimate and for all resamples at once.

Counts have shape (..., K, K + 1): rows gold, columns predicted and, last, unparsed. Results have shape (...), or
(..., K) for metrics of each label. nan means undefined. An unparsed answer is wrong in every denominator: a miss for
its gold label, and not a correct negative.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def divide(a: Floats, b: Floats) -> Floats:
    """a / b, nan where b is 0, or so little that there is no such number."""
    with np.errstate(over="ignore"):
        found = np.divide(a, b, out=np.full(np.broadcast(a, b).shape, np.nan), where=np.asarray(b) != 0)
    return np.where(np.isinf(found), np.nan, found)


def mean_of_defined(values: Floats) -> Floats:
    """Mean over the last axis of what is not nan; nan when nothing is left."""
    defined = ~np.isnan(values)
    return divide(np.where(defined, values, 0).sum(-1), defined.sum(-1).astype(np.float64))


def per_label(counts: Floats) -> dict[str, Floats]:
    """precision, recall and F1 of each label: (..., K).

    Precision is undefined for a label that is never predicted, and where no item has another label: it is then 1
    whatever the system does. F1 is undefined for a label without items.
    """
    k = counts.shape[-2]
    right = np.diagonal(counts[..., :k], axis1=-2, axis2=-1)
    support, given = counts.sum(-1), counts[..., :k].sum(-2)
    others = counts.sum((-2, -1))[..., None] - support
    return {
        "precision": np.where(others > 0, divide(right, given), np.nan),
        "recall": divide(right, support),
        "f1": np.where(support > 0, divide(2 * right, support + given), np.nan),
    }


def overall(counts: Floats, positive: int | None) -> dict[str, Floats]:
    """Every metric of labels that is one number; with a positive label also the binary ones."""
    classes = per_label(counts)
    k = counts.shape[-2]
    n = counts.sum((-2, -1))
    support = counts.sum(-1)
    right = np.diagonal(counts[..., :k], axis1=-2, axis2=-1).sum(-1)
    several = (support > 0).sum(-1) > 1
    mcc, kappa = _agreement(counts)
    values = {
        "accuracy": divide(right, n),
        "balanced_accuracy": np.where(several, mean_of_defined(classes["recall"]), np.nan),
        "macro_f1": mean_of_defined(classes["f1"]),
        "macro_f1_declared": np.where(n > 0, np.nan_to_num(classes["f1"]).mean(-1), np.nan),
        "weighted_f1": divide((support * np.nan_to_num(classes["f1"])).sum(-1), n),
        # Every parsed answer is a hit or a false alarm, every item a hit or a miss.
        "micro_f1": divide(2 * right, 2 * n - counts[..., -1].sum(-1)),
        "mcc": mcc,
        "kappa": kappa,
        "unparsed": divide(counts[..., -1].sum(-1), n),
    }
    if positive is not None:
        values |= _binary(classes, positive)
    return values


def _binary(classes: dict[str, Floats], positive: int) -> dict[str, Floats]:
    sensitivity, specificity = classes["recall"][..., positive], classes["recall"][..., 1 - positive]
    return {
        "sensitivity": sensitivity,
        "specificity": specificity,
        "ppv": classes["precision"][..., positive],
        "npv": classes["precision"][..., 1 - positive],
        "f1": classes["f1"][..., positive],
        "balance_gap": np.abs(sensitivity - specificity),
        "lr_plus": divide(sensitivity, 1 - specificity),
        "lr_minus": divide(1 - sensitivity, specificity),
    }


def _agreement(counts: Floats) -> tuple[Floats, Floats]:
    """Matthews correlation in Gorodkin's multi-class form, and Cohen's kappa; nan when the gold label never varies.

    Unparsed is a predicted value of its own. A constant predictor has 0 in both: no association.
    """
    k = counts.shape[-2]
    n = counts.sum((-2, -1))
    support, given = counts.sum(-1), counts.sum(-2)
    right = np.diagonal(counts[..., :k], axis1=-2, axis2=-1).sum(-1)
    chance = (support * given[..., :k]).sum(-1)
    spread_gold = n * n - (support * support).sum(-1)
    spread_given = n * n - (given * given).sum(-1)
    covariance = right * n - chance
    mcc = np.where(spread_given > 0, divide(covariance, np.sqrt(spread_gold * spread_given)), 0.0)
    varies = spread_gold > 0
    return np.where(varies, mcc, np.nan), np.where(varies, divide(covariance, n * n - chance), np.nan)
