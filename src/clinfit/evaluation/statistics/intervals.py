"""Intervals by formula: Wilson, Bonett-Price, Student, and the log scale for ratios.

Why these: Wald intervals and the percentile bootstrap collapse where clinical test sets live (few items, proportions
near 1), so proportions take Wilson's and AUROC takes DeLong's on the logit scale (delong.py); the bootstrap
(bootstrap.py) serves what has no formula, and everything when items come in groups (several notes of one patient),
because only it can resample groups.
"""

from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from scipy.stats import t as student

Floats = NDArray[np.float64]
Interval = tuple[float | None, float | None]


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
    middle, error = bonett_price_error(c - b, b + c, n)
    half = z_value(confidence) * error
    return max(-1.0, middle - half), min(1.0, middle + half)


def bonett_price_error(total: float, squares: float, n: int) -> tuple[float, float]:
    """The middle of that interval and its standard error, which is never 0: an item more on either side.

    total, squares: sums of the n items' differences, each -1 to 1, and of their squares.
    """
    middle = total / (n + 2)
    return middle, sqrt(((squares + 2) / (n + 2) - middle**2) / (n + 2))


def log_ratio(a: int, n: int, b: int, m: int, confidence: float = 0.95) -> Interval:
    """Interval of the ratio (a / n) / (b / m) of independent shares on the log scale (Simel et al., 1991).

    None where a share is 0, and where both are 1: their error would be 0.
    """
    if a == 0 or b == 0 or (a == n and b == m):
        return None, None
    half = z_value(confidence) * np.sqrt(1 / a - 1 / n + 1 / b - 1 / m)
    ratio = (a / n) / (b / m)
    return float(ratio * np.exp(-half)), float(ratio * np.exp(half))


def ratio_of_proportions(a: int, n: int, b: int, m: int, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of (a / n) / (b / m), two proportions of different items, from Wilson's interval of each (MOVER-R;
    Donner and Zou, 2012). It stands where a count is 0, as formulas on the log scale do not: without any b it has no
    upper end (infinity), without any a it begins at 0. n, m: at least 2.
    """
    p, q = a / n, b / m
    (l1, u1), (l2, u2) = _ends(a, n, confidence), _ends(b, m, confidence)
    low = (p * q - np.sqrt(max((p * q) ** 2 - l1 * u2 * (2 * p - l1) * (2 * q - u2), 0.0))) / (u2 * (2 * q - u2))
    if l2 <= 0:
        return float(max(low, 0.0)), float("inf")
    high = (p * q + np.sqrt(max((p * q) ** 2 - u1 * l2 * (2 * p - u1) * (2 * q - l2), 0.0))) / (l2 * (2 * q - l2))
    return float(max(low, 0.0)), float(high)


def _ends(events: int, n: int, confidence: float) -> tuple[float, float]:
    low, high = wilson(events, n, confidence)
    assert low is not None and high is not None
    return low, high


def ratio_of_sums(top: Floats, bottom: Floats, confidence: float = 0.95) -> Interval:
    """Interval of sum(top) / sum(bottom) over the same items, linearised, on the log scale (Cochran, 1977, ch. 6).

    top, bottom: (n,) of items that are independent of each other. None with fewer than two items, where a sum is 0, and
    where the ratio is the same for every item.
    """
    n = len(top)
    if n < 2 or top.sum() <= 0 or bottom.sum() <= 0:
        return None, None
    with np.errstate(over="ignore"):
        ratio = top.sum() / bottom.sum()
    if not np.isfinite(ratio):
        return None, None
    spread = np.std(top - ratio * bottom, ddof=1)
    if spread < 1e-12:
        return None, None
    half = z_value(confidence) * spread * np.sqrt(n) / top.sum()
    return float(ratio * np.exp(-half)), float(ratio * np.exp(half))


def student_interval(difference: float, error: float, freedom: float, confidence: float) -> tuple[float, float, float]:
    """(low, high, p of no difference) of a difference by its standard error and Student's t of so many degrees of
    freedom. An error of 0 leaves the difference itself, and is for one of 0."""
    if not error:
        return difference, difference, 1.0
    reach = float(student.ppf(0.5 + confidence / 2, freedom)) * error
    p = 2 * float(student.sf(abs(difference) / error, freedom))
    return difference - reach, difference + reach, p
