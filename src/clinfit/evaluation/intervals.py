"""Intervals: Wilson, DeLong on the logit scale, Bonett-Price, log scale for ratios, and one shared bootstrap.

Why these: Wald intervals and the percentile bootstrap collapse where clinical test sets live (few items, shares near
1), so shares take Wilson's and AUROC takes DeLong's on the logit scale; the bootstrap serves what has no formula, and
everything when items come in groups (several notes of one patient), because only it can resample groups.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Interval = tuple[float | None, float | None]

#: More undefined resamples than this and the interval is called unreliable.
UNDEFINED_LIMIT = 0.05
#: Up to this many items of a label (or groups), the bootstrap resamples each of them; above, random groups of them.
UNITS = 10_000
#: About how many random groups there are then.
RANDOM_GROUPS = 4_000
#: Cells of one block of resample weights: 2 MB of float64, which stays in cache and is four times faster than 32 MB.
BLOCK = 250_000
#: Fewest resamples in a block; below it the indices of the items cost more than their weights.
COLUMNS = 8


def z_value(confidence: float) -> float:
    """Two-sided standard normal quantile: 1.96 for 0.95."""
    return float(norm.ppf(0.5 + confidence / 2))


def wilson(events: int, n: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval of a share (Wilson, 1927); none for fewer than two items."""
    if n < 2:
        return None, None
    z, p = z_value(confidence), events / n
    scale = 1 + z * z / n
    centre = (p + z * z / (2 * n)) / scale
    half = z / scale * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # At 0 and n events the bound is the estimate itself; rounding must not push it past.
    low = 0.0 if events == 0 else float(centre - half)
    high = 1.0 if events == n else float(centre + half)
    return low, high


def bonett_price(b: int, c: int, n: int, confidence: float = 0.95) -> Interval:
    """Interval of the difference of two paired shares, (c - b) / n (Bonett & Price, 2012).

    b: items that only the reference has right; c: items that only the new system has right.
    """
    if n < 2:
        return None, None
    p01, p10 = (c + 1) / (n + 2), (b + 1) / (n + 2)
    half = z_value(confidence) * np.sqrt((p01 + p10 - (p01 - p10) ** 2) / (n + 2))
    return max(-1.0, float(p01 - p10 - half)), min(1.0, float(p01 - p10 + half))


def log_ratio(a: int, n: int, b: int, m: int, confidence: float = 0.95) -> Interval:
    """Interval of the ratio (a / n) / (b / m) of independent shares on the log scale (Simel et al., 1991).

    None where a share is 0, and where both are 1: their error would be 0.
    """
    if a == 0 or b == 0 or (a == n and b == m):
        return None, None
    half = z_value(confidence) * np.sqrt(1 / a - 1 / n + 1 / b - 1 / m)
    ratio = (a / n) / (b / m)
    return float(ratio * np.exp(-half)), float(ratio * np.exp(half))


def ratio_of_sums(top: Floats, bottom: Floats, confidence: float = 0.95) -> Interval:
    """Interval of sum(top) / sum(bottom) over the same items, linearised, on the log scale (Cochran, 1977, ch. 6).

    top, bottom: (n,) of items that are independent of each other. None with fewer than two items, where a sum is 0, and
    where the ratio is the same for every item.
    """
    n = len(top)
    if n < 2 or top.sum() <= 0 or bottom.sum() <= 0:
        return None, None
    ratio = top.sum() / bottom.sum()
    spread = np.std(top - ratio * bottom, ddof=1)
    if spread < 1e-12:
        return None, None
    half = z_value(confidence) * spread * np.sqrt(n) / top.sum()
    return float(ratio * np.exp(-half)), float(ratio * np.exp(half))


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
    """Paired DeLong test of two AUROCs on the same items; equal rankings give p = 1."""
    difference = new.auroc - reference.auroc
    variance = new.variance + reference.variance - 2 * covariance(new, reference)
    if not np.isfinite(variance):
        return PairedTest(difference, None, None, None)
    if variance <= 1e-18:
        if difference == 0:
            return PairedTest(difference, 0.0, 0.0, 1.0)
        # A perfect ranking against a blind one: the variance that a blind ranking has (Mann & Whitney, 1947).
        positives, negatives = len(new.positives), len(new.negatives)
        variance = (positives + negatives + 1) / (12 * positives * negatives)
    error = float(np.sqrt(variance))
    half = z_value(confidence) * error
    p = float(2 * norm.sf(abs(difference) / error))
    return PairedTest(difference, max(-1.0, difference - half), min(1.0, difference + half), p)


# ---------------------------------------------------------------- bootstrap


@dataclass(frozen=True)
class Resamples:
    """One plan of resamples, the same for every system, so that differences are paired without further work.

    strata: (n,) code of each item's gold label; resampling within labels keeps their counts. clusters: (n,) code of
    each item's group, or None when every item stands alone; whole groups are then resampled, and labels are not held
    fixed. The weights depend on these, `draws` and `seed` alone.
    """

    strata: Ints
    clusters: Ints | None
    draws: int
    seed: int = 0

    @property
    def method(self) -> str:
        if self.clusters is None:
            kind = (
                "stratified by label" if self._in_strata.min(initial=0) < self._in_strata.max(initial=0) else "by item"
            )
            merged = len(self._in_strata) < len(self.strata)
        else:
            kind, merged = "by group", len(self._in_strata) < int(self.clusters.max()) + 1
        of = f" of {len(self._in_strata)} random groups" if merged else ""
        return f"percentile bootstrap, {kind}, {self.draws} resamples{of}"

    @cached_property
    def units(self) -> Ints:
        """(n,) code of the unit that each item is resampled with, 0 to `len(unit_weights) - 1`.

        Few items (or groups) are units themselves. Of more than UNITS in a stratum, units are random groups of equal
        size, so that a resample costs by units and not by items (method of random groups; Wolter, 2007). The standard
        error is then that of the plain bootstrap within about 1 / sqrt(2 x RANDOM_GROUPS), one per cent.
        """
        if self.clusters is not None:
            return _merge(int(self.clusters.max()) + 1, self.seed)[self.clusters]
        units = np.empty(len(self.strata), dtype=np.int64)
        first = 0
        for items in _members(self.strata):
            units[items] = first + _merge(len(items), self.seed)
            first = int(units[items].max()) + 1
        return units

    @cached_property
    def _in_strata(self) -> Ints:
        """(units,) code of the stratum of each unit: zeros where groups are resampled."""
        if self.clusters is not None:
            return np.zeros(int(self.units.max()) + 1, dtype=np.int64)
        strata = np.empty(int(self.units.max(initial=-1)) + 1, dtype=np.int64)
        strata[self.units] = self.strata
        return strata

    def unit_weights(self) -> Iterator[Floats]:
        """Blocks of (units, b) weights: how often each unit is in each resample; `draws` columns in all.

        A statistic that is a sum over items is `sums over the items of each unit @ weights`.
        """
        rng = np.random.default_rng(self.seed)
        sizes = [len(units) for units in _members(self._in_strata)]
        size = min(self.draws, max(COLUMNS, BLOCK // max(sum(sizes), 1)))
        for start in range(0, self.draws, size):
            columns = min(size, self.draws - start)
            # Units are numbered stratum by stratum.
            yield np.concatenate([_draw(rng, units, columns) for units in sizes])

    def blocks(self) -> Iterator[Floats]:
        """Blocks of (n, b) weights of items, for statistics that are no sums; with many items far slower."""
        for weights in self.unit_weights():
            yield weights[self.units]


def _members(strata: Ints) -> list[Ints]:
    return [np.flatnonzero(strata == code) for code in np.unique(strata)]


def _merge(n: int, seed: int) -> Ints:
    """(n,) unit of each of n items: its own for few of them, else one of about RANDOM_GROUPS of equal size."""
    if n <= UNITS:
        return np.arange(n)
    size = -(-n // RANDOM_GROUPS)
    units = np.arange(n) % (n // size)
    # A stream of its own: the resamples of few items must not depend on whether another label has many.
    return np.random.default_rng([seed, n]).permutation(units)


def _draw(rng: np.random.Generator, units: int, columns: int) -> Floats:
    """(units, columns) counts of `units` draws with replacement, anew for each column."""
    picks = rng.integers(0, units, size=(columns, units), dtype=np.int64)
    picks *= columns
    picks += np.arange(columns)[:, None]
    return np.bincount(picks.ravel(), minlength=units * columns).reshape(units, columns).astype(np.float64)


def percentile(replicates: Floats, confidence: float) -> tuple[float | None, float | None, float]:
    """Percentile interval over the defined replicates, and the share that was undefined (nan)."""
    defined = replicates[np.isfinite(replicates)]
    lost = 1 - len(defined) / max(len(replicates), 1)
    if len(defined) < 2:
        return None, None, 1.0
    low, high = np.quantile(defined, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return float(low), float(high), float(lost)
