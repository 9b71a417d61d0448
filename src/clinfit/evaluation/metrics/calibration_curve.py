"""The flexible calibration curve of a binary task, and how far it lies from the ideal: ICI, E50, E90 and Emax.

The observed share as a smooth function of the predicted probability: a logistic regression of the outcome on a
restricted cubic spline of the logit of the probability (Harrell, 2015; Austin & Steyerberg, 2019). It stays between 0
and 1, has a standard error at every point, and is fitted on levels of like probability, so that a million items cost
no more than a thousand.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from clinfit.evaluation.metrics.metric import Metric, undefined
from clinfit.evaluation.metrics.probabilities import CALIBRATION_EVENTS, EDGE, logistic
from clinfit.evaluation.statistics.intervals import z_value

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Quantiles of the predictions at which the spline has its knots, most knots first (Harrell's places).
KNOTS = ((0.05, 0.275, 0.5, 0.725, 0.95), (0.05, 0.35, 0.65, 0.95), (0.1, 0.5, 0.9))
#: Levels of predicted probability that the fit sees; up to this many distinct ones it sees them as they are.
LEVELS = 400
#: Points of the drawn curve.
POINTS = 101
#: Draws of the coefficients for the intervals of the indices.
DRAWS = 500

INDICES = ("ici", "e50", "e90", "emax")


@dataclass(frozen=True)
class CalibrationFit:
    """A fitted curve.

    knots: on the logit scale; none for a straight line. coefficients: (d,). covariance: (d, d), robust to items that
    come in groups. levels: (L,) predicted probabilities. weights: (L,) items at each level.
    """

    knots: Floats
    coefficients: Floats
    covariance: Floats
    levels: Floats
    weights: Floats

    def design(self, probabilities: Floats) -> Floats:
        return _design(logit(np.clip(probabilities, EDGE, 1 - EDGE)), self.knots)

    def points(self, confidence: float) -> list[list[float]]:
        """[probability, observed, low, high] along the range of the predictions; the band is point by point."""
        grid = np.linspace(self.levels.min(), self.levels.max(), POINTS)
        design = self.design(grid)
        linear = design @ self.coefficients
        half = z_value(confidence) * np.sqrt(((design @ self.covariance) * design).sum(1))
        return np.column_stack([grid, expit(linear), expit(linear - half), expit(linear + half)]).tolist()


def fit_calibration_curve(
    outcome: NDArray[np.bool_], probabilities: Floats, clusters: Ints | None = None, repeats: int = 1
) -> CalibrationFit | None:
    """The curve with as many knots as the data allow: five, four, three, else a straight line on the logit scale.

    Each coefficient beside the intercept needs CALIBRATION_EVENTS items of the rarer class (five knots need 80): with
    fewer, a flexible curve shows noise as miscalibration (Van Calster et al., 2016).

    outcome, probabilities, clusters: (n,); clusters hold the code of each item's group. repeats: answers to an
    item, which all have one outcome. None with fewer than
    CALIBRATION_EVENTS items of a class or groups, and where not even the line exists: a constant prediction, or one
    that separates the classes.
    """
    events = int(outcome.sum())
    groups = len(outcome) if clusters is None else int(clusters.max()) + 1
    smallest = min(events // repeats, (len(outcome) - events) // repeats, groups)
    levels, place = _levels(probabilities)
    weights = np.bincount(place).astype(np.float64)
    hits = np.bincount(place, weights=outcome).astype(np.float64)
    scores = logit(np.clip(levels, EDGE, 1 - EDGE))
    for quantiles in (*KNOTS, ()):
        if smallest < CALIBRATION_EVENTS * max(1, len(quantiles) - 1):
            continue
        knots = scores[np.searchsorted(weights.cumsum() / len(outcome), quantiles)]
        if len(np.unique(knots.round(6))) < len(quantiles) or len(levels) <= len(quantiles):
            continue
        design = _design(scores, knots)
        found = logistic(design, hits, np.zeros(len(levels)), weights)
        if found is not None:
            covariance = _covariance(design, found[0], outcome, place, weights, clusters)
            return CalibrationFit(knots, found[0], covariance, levels, weights)
    return None


def _levels(probabilities: Floats) -> tuple[Floats, Ints]:
    """(L,) distinct probabilities and the place (n,) of each item; neighbours are merged into at most LEVELS."""
    distinct, place = np.unique(probabilities, return_inverse=True)
    if len(distinct) > LEVELS:
        sizes = np.bincount(place).cumsum()
        place = np.unique((sizes - 1) * LEVELS // len(probabilities), return_inverse=True)[1][place]
        distinct = np.bincount(place, weights=probabilities) / np.bincount(place)
    return distinct, place


def _design(scores: Floats, knots: Floats) -> Floats:
    """(n, d): 1, the score, and Harrell's restricted cubic terms: linear beyond the outer knots."""
    columns = [np.ones_like(scores), scores]
    if len(knots):
        last, before = knots[-1], knots[-2]

        def cubed(knot: float) -> Floats:
            return np.maximum(scores - knot, 0) ** 3

        for knot in knots[:-2]:
            tail = (cubed(before) * (last - knot) - cubed(last) * (before - knot)) / (last - before)
            columns.append((cubed(knot) - tail) / (last - knots[0]) ** 2)
    return np.column_stack(columns)


def _covariance(
    design: Floats,
    coefficients: Floats,
    outcome: NDArray[np.bool_],
    place: Ints,
    weights: Floats,
    clusters: Ints | None,
) -> Floats:
    """Inverse information, or the sandwich over groups (Liang & Zeger, 1986) where items come in groups."""
    fitted = expit(design @ coefficients)
    inverse = np.linalg.inv((design * (weights * fitted * (1 - fitted))[:, None]).T @ design)
    if clusters is None:
        return inverse
    residual = outcome - fitted[place]
    sums = np.column_stack([np.bincount(clusters, weights=residual * column[place]) for column in design.T])
    groups = len(sums)
    return groups / (groups - 1) * inverse @ (sums.T @ sums) @ inverse


# ---------------------------------------------------------------- indices


def calibration_indices(
    fit: CalibrationFit | None, why: str, n: int, events: int, confidence: float
) -> dict[str, Metric]:
    """ICI, E50, E90 and Emax (Austin & Steyerberg, 2019).

    Mean, median, 90th percentile and maximum, over the items, of the distance between the predicted probability and the
    curve. why: the reason when there is no fit.

    A distance is never negative, so that chance alone makes it larger than it is. Coefficients are drawn from their
    distribution around the fit and around the ideal line. The interval reaches from the estimate reflected at the upper
    quantile of the former to that quantile, and to 0 where a perfect model would show as much; `reason` holds the mean
    of the latter.
    """
    if fit is None:
        return {name: undefined(why, n, events) for name in INDICES}
    design = fit.design(fit.levels)
    # The square root of the covariance by its eigenvalues, since rounding can leave it a hair from positive definite.
    values, vectors = np.linalg.eigh(fit.covariance)
    root = vectors * np.sqrt(np.maximum(values, 0))
    noise = (design @ root @ np.random.default_rng(0).standard_normal((len(values), DRAWS))).T
    line, curve = logit(np.clip(fit.levels, EDGE, 1 - EDGE)), design @ fit.coefficients
    estimate = _distances(fit, curve[None, :])[:, 0]
    drawn, perfect = _distances(fit, curve + noise), _distances(fit, line + noise)
    high = np.maximum(np.quantile(drawn, 0.5 + confidence / 2, axis=1), estimate)
    low = np.where(estimate <= np.quantile(perfect, confidence, axis=1), 0.0, np.maximum(2 * estimate - high, 0.0))
    return {
        name: Metric(
            float(estimate[k]),
            float(low[k]),
            float(high[k]),
            f"{DRAWS} draws of the curve, 0 where a perfect model would show as much",
            n,
            events,
            reason=f"a perfect model would show {perfect[k].mean():.3f} at this n",
        )
        for k, name in enumerate(INDICES)
    }


def _distances(fit: CalibrationFit, linear: Floats) -> Floats:
    """(4, b) indices of the curves with linear predictors (b, L)."""
    distance = np.abs(expit(linear) - fit.levels)
    order = distance.argsort(1)
    ranked = np.take_along_axis(distance, order, 1)
    share = fit.weights[order].cumsum(1) / fit.weights.sum()
    rows = [distance @ fit.weights / fit.weights.sum()]
    rows += [ranked[np.arange(len(ranked)), (share >= q - 1e-12).argmax(1)] for q in (0.5, 0.9, 1.0)]
    return np.stack(rows)
