"""One shared bootstrap: every system is resampled alike, so that differences are paired, by group where any repeat.

A resample gives every item a weight from a flat Dirichlet distribution, n in all, in place of a whole number of copies
(Rubin, 1981; Xu et al., 2020). How much a label weighs then varies as in another test set, and none is ever lost, so
that metrics of rare labels have a value in every resample and those of all items are drawn as they should. Groups are
drawn whole and in copies: what hangs on one or two of them is undefined in many resamples, and told as unreliable.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: More undefined resamples than this and the interval is called unreliable.
UNDEFINED_LIMIT = 0.05
#: Up to this many items of a label (or groups), the bootstrap resamples each of them; above, random groups of them.
UNITS = 10_000
#: About how many random groups there are then.
RANDOM_GROUPS = 4_000
#: Units below which a tail that no resample has reached is not computed either.
ENOUGH_UNITS = 50
#: Cells of one block of resample weights: 2 MB of float64, which stays in cache and is four times faster than 32 MB.
BLOCK = 250_000
#: Fewest resamples in a block; below it the indices of the items cost more than their weights.
COLUMNS = 8


@dataclass(frozen=True)
class Resamples:
    """One plan of resamples, the same for every system, so that differences are paired without further work.

    strata: (n,) code of each item's gold label, or of several labels the rarest. clusters: (n,) code of each item's
    group, or None when every item stands alone; whole groups are then resampled. The weights depend on these, `draws`
    and `seed` alone. unit: what a cluster is called: all answers of the folds of a cross-validation to one item are a
    cluster as well.
    """

    strata: Ints
    clusters: Ints | None
    draws: int
    seed: int = 0
    unit: str = "group"

    @property
    def method(self) -> str:
        if self.clusters is None:
            merged = len(self._in_strata) < len(self.strata)
        else:
            merged = len(self._in_strata) < int(self.clusters.max()) + 1
        kind = "by item" if self.clusters is None else f"by {self.unit}"
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
    def fewest(self) -> int:
        """Units of the smallest stratum."""
        counts = np.bincount(self._in_strata)
        return int(counts[counts > 0].min(initial=len(self._in_strata)))

    @cached_property
    def _in_strata(self) -> Ints:
        """(units,) code of the stratum of each unit: zeros where groups are resampled."""
        if self.clusters is not None:
            return np.zeros(int(self.units.max()) + 1, dtype=np.int64)
        strata = np.empty(int(self.units.max(initial=-1)) + 1, dtype=np.int64)
        strata[self.units] = self.strata
        return strata

    def unit_weights(self) -> Iterator[Floats]:
        """Blocks of (units, b) weights of an item of each unit in each resample; `draws` columns in all.

        A statistic that is a sum over items is `sums over the items of each unit @ weights`.
        """
        rng = np.random.default_rng(self.seed)
        units = np.array([len(of_stratum) for of_stratum in _members(self._in_strata)])
        items = np.array([len(of_label) for of_label in _members(self.strata)])
        size = min(self.draws, max(COLUMNS, BLOCK // max(int(units.sum()), 1)))
        for start in range(0, self.draws, size):
            columns = min(size, self.draws - start)
            yield (
                _weights(rng, items, units, columns)
                if self.clusters is None
                else _copies(rng, int(units.sum()), columns)
            )

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


def _weights(rng: np.random.Generator, items: Ints, units: Ints, columns: int) -> Floats:
    """(units, columns) weights, units numbered stratum by stratum. items, units: (strata,) how many there are; what the
    items of a stratum weigh together does not hang on how many units they are merged into."""
    totals = rng.standard_gamma(items[:, None], size=(len(items), columns))
    totals *= items.sum() / totals.sum(axis=0)
    parts = []
    for own, held, total in zip(units, items, totals, strict=True):
        weights = rng.standard_exponential((own, columns))
        weights *= total * (own / held) / weights.sum(axis=0)
        parts.append(weights)
    return np.concatenate(parts)


def _copies(rng: np.random.Generator, units: int, columns: int) -> Floats:
    """(units, columns) counts of `units` draws with replacement, anew for each column."""
    picks = rng.integers(0, units, size=(columns, units), dtype=np.int64)
    picks *= columns
    picks += np.arange(columns)[:, None]
    return np.bincount(picks.ravel(), minlength=units * columns).reshape(units, columns).astype(np.float64)


def percentile(
    replicates: Floats, confidence: float, estimate: float | None = None
) -> tuple[float | None, float | None, float]:
    """Percentile interval over the defined replicates, and the share that was undefined (nan). It reaches to the
    estimate where this is best possible on these very items, as of a model that says how frequent the events are."""
    defined = replicates[np.isfinite(replicates)]
    lost = 1 - len(defined) / max(len(replicates), 1)
    if len(defined) < 2:
        return None, None, 1.0
    low, high = np.quantile(defined, [0.5 - confidence / 2, 0.5 + confidence / 2])
    if estimate is not None:
        low, high = min(low, estimate), max(high, estimate)
    return float(low), float(high), float(lost)


def bootstrap_p(drawn: Floats, units: int) -> float:
    """Two-sided p value that inverts the percentile interval: twice the smaller tail beyond no difference.

    units: how many are resampled, of each stratum at least. Each tail is (1 + count) / (B + 1) over the B defined
    resamples, so that p is never 0 (Davison & Hinkley, 1997). Where no resample lies beyond, counting says no more than
    p < 2 / (B + 1), which no correction for a hundred comparisons would leave standing. Of 50 units or more the tail is
    then that of Student's t with units - 1 degrees of freedom, of the resamples' mean and standard deviation. A few
    units all lean to one side by chance: p is no smaller than a sign test of as many could give.
    """
    defined = drawn[np.isfinite(drawn)]
    tail = min((defined <= 0).sum(), (defined >= 0).sum())
    least = 2.0 ** (1 - min(units, 1000))
    counted = max(float(min(1.0, 2 * (1 + tail) / (len(defined) + 1))), least)
    mean, spread = float(defined.mean()), float(defined.std())
    if tail or units < ENOUGH_UNITS or spread <= 1e-12 * abs(mean):
        return counted
    beyond = float(2 * student.sf(abs(mean) / spread, units - 1))
    return min(counted, max(beyond, least))
