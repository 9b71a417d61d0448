"""AUROC with its variance (DeLong, DeLong and Clarke-Pearson, 1988): intervals, and tests on the same items."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from clinfit.evaluation.statistics.intervals import Interval, z_value

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class DeLong:
    """AUROC with the structural components of its variance, one for each positive and each negative."""

    auroc: float
    positives: Floats  # (m,) share of negatives that each positive outranks
    negatives: Floats  # (k,) share of positives that outrank each negative

    @cached_property
    def variance(self) -> float:
        """Variance of the AUROC; nan with fewer than two positives or negatives."""
        return covariance(self, self)

    @property
    def error(self) -> float:
        """Standard error; nan with fewer than two positives or negatives."""
        return float(np.sqrt(self.variance))


def delong(positive: NDArray[np.bool_], scores: Floats) -> DeLong:
    """AUROC by midranks (Sun & Xu, 2014); needs at least one positive and one negative."""
    x, y = scores[positive], scores[~positive]
    ranks = rankdata(np.concatenate([x, y]))
    above = (ranks[: len(x)] - rankdata(x)) / len(y)
    below = 1 - (ranks[len(x) :] - rankdata(y)) / len(x)
    return DeLong(float(above.mean()), above, below)


def covariance(a: DeLong, b: DeLong) -> float:
    """Covariance of two AUROCs on the same items (DeLong et al., 1988); nan when a class has a single item."""
    total = 0.0
    for first, second in ((a.positives, b.positives), (a.negatives, b.negatives)):
        if len(first) < 2:
            return float("nan")
        products = (first - first.mean()) @ (second - second.mean())
        total += float(products) / (len(first) - 1) / len(first)
    return total


def delong_interval(estimate: DeLong, confidence: float = 0.95) -> Interval:
    """Interval of an AUROC on the logit scale; none at 0 and 1 or with a single item of a class."""
    auroc, error = estimate.auroc, estimate.error
    if not 0 < auroc < 1 or not np.isfinite(error):
        return None, None
    half = z_value(confidence) * error / (auroc * (1 - auroc))
    centre = np.log(auroc / (1 - auroc))
    low, high = (float(1 / (1 + np.exp(-t))) for t in (centre - half, centre + half))
    return min(low, auroc), max(high, auroc)


@dataclass(frozen=True)
class PairedTest:
    """Difference new - reference with its interval and two-sided p value."""

    difference: float
    low: float | None
    high: float | None
    p: float | None


def delong_paired(reference: DeLong, new: DeLong, confidence: float = 0.95) -> PairedTest:
    """Paired DeLong test of two AUROCs on the same items; equal rankings give p = 1.

    Against a blind ranking (a constant answer) the interval is the AUROC's own less one half, so that no lead is shown
    beside an interval that holds 0.5, and the test takes the larger of DeLong's variance and that of the null
    hypothesis: with few items DeLong's is too small near 1.
    """
    difference = new.auroc - reference.auroc
    if _blind(reference) != _blind(new):
        return _against_blind(new, confidence) if _blind(reference) else _turned(_against_blind(reference, confidence))
    variance = new.variance + reference.variance - 2 * covariance(new, reference)
    if not np.isfinite(variance):
        return PairedTest(difference, None, None, None)
    if variance <= 1e-18:
        if difference == 0:
            return PairedTest(difference, 0.0, 0.0, 1.0)
        variance = _null_variance(new)  # a perfect ranking against an inverted one
    error = float(np.sqrt(variance))
    half = z_value(confidence) * error
    p = float(2 * norm.sf(abs(difference) / error))
    return PairedTest(difference, max(-1.0, difference - half), min(1.0, difference + half), p)


def _blind(estimate: DeLong) -> bool:
    """Whether all items rank alike."""
    return estimate.auroc == 0.5 and bool((estimate.positives == 0.5).all() and (estimate.negatives == 0.5).all())


def _null_variance(estimate: DeLong) -> float:
    """The variance of an AUROC that says nothing, without ties (Mann & Whitney, 1947)."""
    positives, negatives = len(estimate.positives), len(estimate.negatives)
    return (positives + negatives + 1) / (12 * positives * negatives)


def _against_blind(estimate: DeLong, confidence: float) -> PairedTest:
    """An AUROC less one half."""
    if not np.isfinite(estimate.variance):
        return PairedTest(estimate.auroc - 0.5, None, None, None)
    error = float(np.sqrt(max(_null_variance(estimate), estimate.variance)))
    difference = estimate.auroc - 0.5
    low, high = delong_interval(estimate, confidence)
    if low is None or high is None:  # a perfect ranking
        low, high = estimate.auroc - z_value(confidence) * error, estimate.auroc + z_value(confidence) * error
    p = float(2 * norm.sf(abs(difference) / error))
    return PairedTest(difference, max(-0.5, low - 0.5), min(0.5, high - 0.5), p)


def _turned(test: PairedTest) -> PairedTest:
    """The test of the two the other way round."""
    low, high = (None if bound is None else -bound for bound in (test.high, test.low))
    return PairedTest(-test.difference, low, high, test.p)
