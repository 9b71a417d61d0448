"""Differences between different people: two subgroups, two sites. (`comparison.py` has two systems on one sample.)"""

from typing import cast

import numpy as np
from scipy.stats import fisher_exact, norm

from clinfit.evaluation.statistics.delong import DeLong, PairedTest
from clinfit.evaluation.statistics.intervals import wilson, z_value


def proportion_difference(a: int, n: int, b: int, m: int, confidence: float = 0.95) -> PairedTest | None:
    """a / n minus b / m of independent samples: Newcombe's interval and Fisher's exact test.

    The interval joins the Wilson intervals of both shares (Newcombe, 1998, method 10). None for fewer than two items in
    either sample.
    """
    (low_a, high_a), (low_b, high_b) = wilson(a, n, confidence), wilson(b, m, confidence)
    if low_a is None or high_a is None or low_b is None or high_b is None:
        return None
    p, q = a / n, b / m
    low = p - q - np.hypot(p - low_a, high_b - q)
    high = p - q + np.hypot(high_a - p, q - low_b)
    _, p_value = fisher_exact([[a, n - a], [b, m - b]])
    return PairedTest(p - q, float(low), float(high), float(cast(float, p_value)))


def delong_unpaired(first: DeLong, second: DeLong, confidence: float = 0.95) -> PairedTest | None:
    """Difference of two AUROCs of independent samples by DeLong's variances (Hanley and McNeil, 1983, with r = 0).

    None where a sample has no variance: an AUROC of 0 or 1, or a single item of a class.
    """
    variances = first.variance, second.variance
    if not all(np.isfinite(v) and v > 1e-18 for v in variances):
        return None
    difference, error = first.auroc - second.auroc, float(np.sqrt(sum(variances)))
    half = z_value(confidence) * error
    p = float(2 * norm.sf(abs(difference) / error))
    return PairedTest(difference, max(-1.0, difference - half), min(1.0, difference + half), p)
