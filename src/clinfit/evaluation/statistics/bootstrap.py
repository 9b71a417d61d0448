"""One shared bootstrap: every system is resampled alike, so that differences are paired, by group where any repeat."""

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

    strata: (n,) code of each item's gold label, or of several labels the rarest; how many items of each a resample has
    is drawn as well, as another test set would have other counts, but for none at all, which would leave metrics of
    this label undefined. clusters: (n,) code of each item's group, or None when every item stands alone; whole groups
    are then resampled, and a label may be lost. The weights depend on these, `draws` and `seed` alone. unit: what a
    cluster is called: all answers of the folds of a cross-validation to one item are a cluster as well.
    """

    strata: Ints
    clusters: Ints | None
    draws: int
    seed: int = 0
    unit: str = "group"

    @property
    def method(self) -> str:
        if self.clusters is None:
            several = self._in_strata.min(initial=0) < self._in_strata.max(initial=0)
            kind = "by item, no stratum lost" if several else "by item"
            merged = len(self._in_strata) < len(self.strata)
        else:
            kind, merged = f"by {self.unit}", len(self._in_strata) < int(self.clusters.max()) + 1
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
        """Blocks of (units, b) weights: how often each unit is in each resample; `draws` columns in all.

        A statistic that is a sum over items is `sums over the items of each unit @ weights`.
        """
        rng = np.random.default_rng(self.seed)
        units = np.array([len(of_stratum) for of_stratum in _members(self._in_strata)])
        items = units if self.clusters is not None else np.array([len(of_label) for of_label in _members(self.strata)])
        size = min(self.draws, max(COLUMNS, BLOCK // max(int(units.sum()), 1)))
        for start in range(0, self.draws, size):
            counts = _counts(rng, items, units, min(size, self.draws - start))
            # Units are numbered stratum by stratum.
            yield np.concatenate([_draw(rng, int(own), drawn) for own, drawn in zip(units, counts, strict=True)])

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


def _counts(rng: np.random.Generator, items: Ints, units: Ints, columns: int) -> Ints:
    """(strata, columns) units that are drawn of each stratum. One of each is sure, the rest is of a stratum by chance,
    so that none is lost and each has as many on average as there are. items, units: (strata,) how many there are."""
    further = items - 1
    if len(items) < 2 or not further.any():
        return np.tile(units[:, None], columns)
    drawn = 1 + rng.multinomial(int(further.sum()), further / further.sum(), size=columns).T
    return np.maximum(1, np.rint(drawn * (units / items)[:, None])).astype(np.int64)


def _draw(rng: np.random.Generator, units: int, counts: Ints) -> Floats:
    """(units, columns) how often each unit is drawn, with replacement. counts: (columns,) draws of each column."""
    columns = len(counts)
    picks = rng.integers(0, units, size=int(counts.sum()), dtype=np.int64)
    picks *= columns
    picks += np.repeat(np.arange(columns), counts)
    return np.bincount(picks, minlength=units * columns).reshape(units, columns).astype(np.float64)


def percentile(replicates: Floats, confidence: float) -> tuple[float | None, float | None, float]:
    """Percentile interval over the defined replicates, and the share that was undefined (nan)."""
    defined = replicates[np.isfinite(replicates)]
    lost = 1 - len(defined) / max(len(replicates), 1)
    if len(defined) < 2:
        return None, None, 1.0
    low, high = np.quantile(defined, [0.5 - confidence / 2, 0.5 + confidence / 2])
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
