"""Metrics of probabilities, weighted: (n, b) resample weights in, (b,) values out; all-ones weights give the estimate.

nan means undefined. A ranking is sorted once and then serves every resample.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.special import expit

Floats = NDArray[np.float64]

#: Probabilities are held this far from 0 and 1 where a logarithm is taken.
EDGE = 1e-6
#: Fewest items of each class for calibration intercept and slope.
CALIBRATION_EVENTS = 20
BINS = 10


class Ranking:
    """Scores against a yes/no outcome as levels: items of one level are tied.

    levels: (L,) distinct scores from high to low. With more than `most` of them, neighbours are merged into `most`
    levels of about equal size: AUROC and average precision then move by less than 1 / most, which is far inside their
    intervals, and resamples cost by items and not by levels. units: (n,) unit of each item, where weights are those of
    units; None when every item has its own weight.
    """

    def __init__(
        self,
        positive: NDArray[np.bool_],
        scores: Floats,
        most: int | None = None,
        units: NDArray[np.int64] | None = None,
    ) -> None:
        distinct, place = np.unique(-scores, return_inverse=True)
        self.merged = most is not None and len(distinct) > most
        if self.merged:
            sizes = np.bincount(place).cumsum()
            merged = (sizes - 1) * most // len(scores)
            _, starts, level = np.unique(merged, return_index=True, return_inverse=True)
            distinct, place = distinct[starts], level[place]
        self.levels = -distinct
        n, count = len(scores), len(distinct)
        units = np.arange(n) if units is None else units
        # One row a level of the positives, then one a level of the negatives.
        row = place + np.where(positive, 0, count)
        self._rows = csr_array((np.ones(n), (row, units)), shape=(2 * count, int(units.max(initial=-1)) + 1))

    def steps(self, weights: Floats) -> tuple[Floats, Floats]:
        """(L, b) weight of positives and of negatives at each level, from high to low."""
        sums = self._rows @ weights
        count = len(self.levels)
        return sums[:count], sums[count:]

    def auroc_and_precision(self, weights: Floats) -> tuple[Floats, Floats]:
        """(b,) AUROC (ties count half) and average precision; both nan without positives or without negatives."""
        positives, negatives = self.steps(weights)
        found, alarms = positives.cumsum(0), negatives.cumsum(0)
        all_positives, all_negatives = found[-1], alarms[-1]
        outranked = (positives * (all_negatives - alarms + negatives / 2)).sum(0)
        called = found + alarms
        precision = np.divide(found, called, out=np.zeros_like(found), where=called > 0)
        both = (all_positives > 0) & (all_negatives > 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            auroc = np.where(both, outranked / (all_positives * all_negatives), np.nan)
            average = np.where(both, (positives * precision).sum(0) / all_positives, np.nan)
        return auroc, average


def brier_terms(
    gold: NDArray[np.int64], probabilities: Floats, answered: NDArray[np.bool_], positive: int | None
) -> Floats:
    """(n,) squared errors: of P(positive) for a binary task (0 to 1), else summed over labels (0 to 2).

    An item without probabilities counts as wrong with certainty: 1, or 2.
    """
    if positive is not None:
        terms = (probabilities[:, positive] - (gold == positive)) ** 2
        return np.where(answered, terms, 1.0)
    outcome = np.eye(probabilities.shape[1])[gold]
    return np.where(answered, ((probabilities - outcome) ** 2).sum(1), 2.0)


def log_loss_terms(gold: NDArray[np.int64], probabilities: Floats) -> Floats:
    """(n,) -log P(gold label), probabilities held at the smallest that float64 tells from 0 relative to 1."""
    chosen = probabilities[np.arange(len(gold)), gold]
    return -np.log(np.maximum(chosen, np.finfo(np.float64).eps))


@dataclass(frozen=True)
class Calibration:
    """Intercept (slope held at 1) and slope of the logistic recalibration model, each with its standard error.

    freedom: degrees of freedom of the errors; None where items are independent, and a normal quantile serves.
    """

    intercept: float
    intercept_error: float
    slope: float
    slope_error: float
    freedom: int | None = None


def calibration(
    outcome: NDArray[np.bool_], probabilities: Floats, clusters: NDArray[np.int64] | None = None
) -> Calibration | None:
    """Cox's recalibration of P(positive): logit P(y) = a + logit p, and a + b logit p.

    clusters: (n,) code of each item's group, where items come in groups; errors are then robust to it. None when the
    model does not exist: all probabilities equal, or the classes separated by them.
    """
    held = np.clip(probabilities, EDGE, 1 - EDGE)
    logit = np.log(held / (1 - held))
    one = np.ones((len(logit), 1))
    intercept = logistic(one, outcome, offset=logit)
    slope = logistic(np.column_stack([one, logit]), outcome, offset=np.zeros_like(logit))
    if intercept is None or slope is None:
        return None
    if clusters is None:
        return Calibration(
            intercept=float(intercept[0][0]),
            intercept_error=float(intercept[1][0]),
            slope=float(slope[0][1]),
            slope_error=float(slope[1][1]),
        )
    of_intercept = _robust(one, outcome, expit(logit + intercept[0][0]), clusters)
    design = np.column_stack([one, logit])
    of_slope = _robust(design, outcome, expit(design @ slope[0]), clusters)
    return Calibration(
        intercept=float(intercept[0][0]),
        intercept_error=float(of_intercept[0]),
        slope=float(slope[0][1]),
        slope_error=float(of_slope[1]),
        freedom=len(np.unique(clusters)) - 1,
    )


def _robust(design: Floats, outcome: NDArray[np.bool_], fitted: Floats, clusters: NDArray[np.int64]) -> Floats:
    """(d,) standard errors by the sandwich over groups (Liang & Zeger, Biometrika 73, 1986), times G / (G - 1)."""
    inverse = np.linalg.inv((design * (fitted * (1 - fitted))[:, None]).T @ design)
    residual = outcome - fitted
    sums = np.column_stack([np.bincount(clusters, weights=residual * column) for column in design.T])
    groups = len(np.unique(clusters))
    return np.sqrt(np.diag(groups / max(groups - 1, 1) * inverse @ (sums.T @ sums) @ inverse))


def logistic(
    design: Floats, outcome: NDArray[np.bool_] | Floats, offset: Floats, trials: Floats | float = 1.0
) -> tuple[Floats, Floats] | None:
    """Coefficients and standard errors by Newton's method with halved steps; None when it does not converge.

    design: (n, d). outcome: (n,) events among the `trials` items that share a row of the design.
    """

    def log_likelihood(beta: Floats) -> float:
        linear = offset + design @ beta
        return float((outcome * linear - trials * np.logaddexp(0, linear)).sum())

    beta = np.zeros(design.shape[1])
    best = log_likelihood(beta)
    for _ in range(100):
        fitted = expit(offset + design @ beta)
        information = (design * (trials * fitted * (1 - fitted))[:, None]).T @ design
        if np.linalg.cond(information) > 1e12:
            return None
        step = np.linalg.solve(information, design.T @ (outcome - trials * fitted))
        size = 1.0
        while (reached := log_likelihood(beta + size * step)) < best - 1e-12 and size > 1e-6:
            size /= 2
        beta = beta + size * step
        best = reached
        if np.abs(size * step).max() < 1e-10:
            return beta, np.sqrt(np.diag(np.linalg.inv(information)))
    return None


def calibration_error(outcome: NDArray[np.bool_], confidence: Floats, seed: int = 0) -> tuple[float, float]:
    """Expected calibration error in 10 bins of equal width, and its mean for a perfect model with these confidences.

    Even perfect probabilities show an error at small n (0.10 at n = 100), so the second number is what the first must
    be read against. It is simulated: outcomes drawn from the confidences themselves.
    """
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    n = len(confidence)
    expected = np.bincount(bins, weights=confidence, minlength=BINS)

    def error(outcomes: NDArray[np.bool_]) -> float:
        return float(np.abs(np.bincount(bins, weights=outcomes, minlength=BINS) - expected).sum() / n)

    rng = np.random.default_rng(seed)
    draws = int(np.clip(20_000_000 // n, 20, 500))
    null = float(np.mean([error(rng.random(n) < confidence) for _ in range(draws)]))
    return error(outcome), null
