"""Thresholds that keep a promise with a stated probability: Learn then Test (Angelopoulos et al., 2025).

At each threshold the hypothesis "the rate here is below the target" is tested with an exact binomial p value, in an
order fixed before the data are seen and only until the first test that fails; so all thresholds that pass keep the
promise together, with the stated probability over validation sets. Items must be independent.

Sensitivity and specificity are monotone in the threshold, so candidates between the scores themselves are as good as a
grid: the walk passes a threshold that breaks the promise only if it passes the boundary, which has one p value.
Predictive values are not monotone; they are tested on a grid fixed in advance, walked downwards from several starts.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

Floats = NDArray[np.float64]

#: Thresholds at which a predictive value is tested, ascending.
GRID: Floats = np.arange(1, 91) / 100
#: Where walks begin, as places in the descending grid: 0.9, 0.7, 0.5, 0.3, 0.1. One start at the top would end at once,
#: since few items are called positive there.
STARTS = (0, 20, 40, 60, 80)


def p_values(hits: Floats, n: Floats, target: float) -> Floats:
    """(t,) exact one-sided p values of `rate < target` for hits among n; 1 where n is 0."""
    return np.where(n > 0, binom.sf(hits - 1, np.maximum(n, 1), target), 1.0)


def certified(
    hits: Floats, n: Floats, target: float, certainty: float, starts: Sequence[int] = (0,)
) -> NDArray[np.bool_]:
    """(t,) candidates whose true rate is at least `target`, all of them at once with probability `certainty`.

    hits, n: (t,) counts in the order in which the candidates are tested. starts: where walks begin; each has an equal
    part of the error (Bonferroni).
    """
    passed = p_values(hits, n, target) <= (1 - certainty) / len(starts)
    valid = np.zeros(len(passed), dtype=bool)
    for start in starts:
        failures = np.flatnonzero(~passed[start:])
        valid[start : start + failures[0] if len(failures) else None] = True
    return valid
