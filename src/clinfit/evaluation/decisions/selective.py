"""Selective prediction: how often a system is wrong among the items of which it is surest.

Confidence is the probability of the predicted label. An answer that is no label is wrong, and the least confident.
"""

import numpy as np
from numpy.typing import NDArray

from clinfit.evaluation.decisions.referral_rule import confidences
from clinfit.evaluation.metrics.engine import Scored
from clinfit.evaluation.metrics.proportions import proportion_metrics
from clinfit.evaluation.system_results import SelectiveDict

Floats = NDArray[np.float64]

COVERAGES = (0.8, 0.9)
POINTS = 300


def confidence_cut(confidence: Floats, share: float) -> float:
    """The largest cut at which at least `share` of the items are at or above it."""
    kept = int(np.ceil(share * len(confidence) - 1e-9))
    return float(np.sort(confidence)[len(confidence) - kept])


def risk_coverage(risk: Floats | NDArray[np.bool_], confidence: Floats) -> Floats:
    """(n, 2) coverage k / n and the mean risk of the k surest items, for k = 1 to n; whether an item is wrong is a risk
    of 0 or 1.

    Items of equal confidence have no order: each counts with the mean risk of all of them.
    """
    _, place = np.unique(-confidence, return_inverse=True)
    tied = np.bincount(place, weights=risk) / np.bincount(place)
    k = np.arange(1, len(risk) + 1)
    return np.column_stack([k / len(risk), tied[np.sort(place)].cumsum() / k])


def risk_coverage_area(risk: Floats, confidence: Floats, weights: Floats) -> float:
    """The mean risk over all coverages: the mean of the curve of `risk_coverage` where every item weighs 1.

    weights: (n,) of the items in a resample, whole or not; coverage and risk are then of what the surest weigh.
    """
    held = weights > 0
    risk, confidence, weights = risk[held], confidence[held], weights[held]
    _, place = np.unique(-confidence, return_inverse=True)
    tied = np.bincount(place, weights=weights * risk) / np.bincount(place, weights=weights)
    order = np.argsort(place, kind="stable")
    risk, weights = tied[place[order]], weights[order]
    return float(np.average((weights * risk).cumsum() / weights.cumsum(), weights=weights))


def thinned(curve: Floats) -> list[list[float]]:
    """A few hundred points of a curve, its ends among them."""
    keep = np.unique(np.linspace(0, len(curve) - 1, min(len(curve), POINTS)).round().astype(int))
    return curve[keep].tolist()


def selective(scored: Scored) -> SelectiveDict | None:
    """None where the system gives no probabilities.

    The area under the curve is the mean error rate over all coverages (Geifman et al., 2019). Accuracy at a coverage
    takes in all items that are tied with the last one.
    """
    answers = scored.answers
    if not answers.has_probabilities.any():
        return None
    confidence, right = confidences(answers), answers.predicted == answers.gold
    curve = risk_coverage(~right, confidence)
    kept = {f"{share:g}": confidence >= confidence_cut(confidence, share) for share in COVERAGES}
    masks = {name: (right, inside) for name, inside in kept.items()}
    return SelectiveDict(
        risk_coverage=thinned(curve),
        aurc=float(curve[:, 1].mean()),
        accuracy_at={
            name: metric.as_dict()
            for name, metric in proportion_metrics(masks, scored.resamples, scored.confidence).items()
        },
    )
