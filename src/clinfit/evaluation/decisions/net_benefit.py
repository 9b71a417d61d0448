"""Net benefit and the counts behind it at every threshold: what a decision at that threshold gains and costs.

Vickers & Elkin (2006): a threshold t says that one missed event weighs as much as (1 - t) / t unnecessary alarms, so
NB(t) = TP / n - FP / n x t / (1 - t). Calling nobody positive has 0; calling everybody positive has
prevalence - (1 - prevalence) x t / (1 - t). Convention: positive when p >= t.
"""

import numpy as np
from numpy.typing import NDArray

from clinfit.evaluation.statistics.intervals import z_value

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Thresholds of the saved sweep.
THRESHOLDS: Floats = np.arange(1, 100) / 100


def net_benefit(found: Floats | float, alarms: Floats | float, n: float, threshold: Floats | float) -> Floats:
    """TP / n - FP / n x t / (1 - t), with `found` true positives and `alarms` false positives among n items."""
    return np.asarray(found / n - alarms / n * (threshold / (1 - np.asarray(threshold))))


def treat_all(prevalence: float, threshold: Floats | float) -> Floats:
    """Net benefit of calling everybody positive."""
    return net_benefit(prevalence, 1 - prevalence, 1, threshold)


def interventions_avoided(benefit: Floats | float, everybody: Floats | float, threshold: Floats | float) -> Floats:
    """Interventions avoided per 100 items against treating all, at no event missed on balance."""
    return 100 * (np.asarray(benefit) - everybody) * (1 - np.asarray(threshold)) / threshold


def threshold_sweep(positive: NDArray[np.bool_], scores: Floats, parsed: NDArray[np.bool_]) -> Floats:
    """(99, 5) threshold, TP, FP, FN, TN at THRESHOLDS, from (n,) outcome, P(positive) and whether the answer was read.

    An unparsed answer has no cell at any threshold, as in the confusion matrix: it is a miss or no correct negative
    once the counts are divided by all positives or all negatives.
    """
    scores_by_outcome = [np.sort(scores[parsed & (positive == outcome)]) for outcome in (True, False)]
    below = [np.searchsorted(ordered, THRESHOLDS, side="left") for ordered in scores_by_outcome]
    called = [len(ordered) - count for ordered, count in zip(scores_by_outcome, below, strict=True)]
    return np.column_stack([THRESHOLDS, *called, *below]).astype(np.float64)


def net_benefit_curve(
    sweep: Floats,
    positive: NDArray[np.bool_],
    scores: Floats,
    parsed: NDArray[np.bool_],
    confidence: float,
    clusters: Ints | None = None,
) -> Floats:
    """(99, 5) threshold, net benefit, net benefit of treating all, and the interval of the former, low and high.

    Wald, point by point: net benefit is a mean over items of 1, -t / (1 - t) or 0. Where items come in groups
    (clusters: (n,) codes) the variance is that of the sums over groups; a single group has no interval, and the result
    is then (99, 3).
    """
    n = len(positive)
    thresholds, found, alarms = sweep[:, 0], sweep[:, 1], sweep[:, 2]
    odds = thresholds / (1 - thresholds)
    benefit = net_benefit(found, alarms, n, thresholds)
    if clusters is None:
        units, squares = n, found + odds**2 * alarms - n * benefit**2
    else:
        sizes = np.bincount(clusters)
        units = len(sizes)
        sums = _group_products(positive, np.where(parsed, scores, -1.0), clusters, sizes)
        ff, aa, fa, fm, am = sums.T
        squares = ff + odds**2 * aa - 2 * odds * fa + benefit**2 * (sizes.astype(np.float64) ** 2).sum()
        squares -= 2 * benefit * (fm - odds * am)
    everybody = treat_all(float(positive.mean()), thresholds)
    if units < 2:
        return np.column_stack([thresholds, benefit, everybody])
    half = z_value(confidence) * np.sqrt(np.maximum(squares, 0) * units / (units - 1)) / n
    return np.column_stack([thresholds, benefit, everybody, benefit - half, benefit + half])


def _group_products(positive: NDArray[np.bool_], scores: Floats, clusters: Ints, sizes: Ints) -> Floats:
    """(99, 5) sums over groups of F x F, A x A, F x A, F x m and A x m at THRESHOLDS.

    F, A and m are a group's true positives, false positives and items. Thresholds are passed from high to low and only
    groups that gain an alert are touched, so that the whole costs one pass over the items.
    """
    place = np.searchsorted(THRESHOLDS, scores, side="right")
    order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[order], np.arange(len(THRESHOLDS) + 2))
    found, alarms = np.zeros(len(sizes)), np.zeros(len(sizes))
    result, total = np.empty((len(THRESHOLDS), 5)), np.zeros(5)
    for k in range(len(THRESHOLDS) - 1, -1, -1):
        items = order[starts[k + 1] : starts[k + 2]]
        groups, inside = np.unique(clusters[items], return_inverse=True)
        hits = np.bincount(inside, weights=positive[items], minlength=len(groups))
        others = np.bincount(inside, weights=~positive[items], minlength=len(groups))
        f, a, m = found[groups], alarms[groups], sizes[groups]
        f2, a2 = f + hits, a + others
        gains = f2 * f2 - f * f, a2 * a2 - a * a, f2 * a2 - f * a, hits * m, others * m
        total += [gain.sum() for gain in gains]
        found[groups], alarms[groups] = f2, a2
        result[k] = total
    return result
