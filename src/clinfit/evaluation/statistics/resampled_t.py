"""Differences between two models in a cross-validation, over training sets too."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

Floats = NDArray[np.float64]


def corrected_error(differences: Floats, folds: int) -> float:
    """Standard error of the mean of the differences of all folds of all repeats, (J,). folds: k.

    The folds' training sets overlap, so that the plain error is too small: the variance is multiplied by 1/J +
    n_test/n_train instead of 1/J (the corrected resampled t-test of Nadeau and Bengio, Machine Learning 52, 2003; for
    repeated k-fold cross-validation, where the ratio is 1/(k - 1), Bouckaert and Frank, PAKDD 2004).
    """
    return math.sqrt((1 / len(differences) + 1 / (folds - 1)) * float(differences.var(ddof=1)))


def corrected_t(
    difference: float, differences: Floats, folds: int, confidence: float
) -> tuple[float, float, float] | None:
    """(low, high, p) of a difference by that error and J - 1 degrees of freedom; None where all folds agree."""
    error, freedom = corrected_error(differences, folds), len(differences) - 1
    if error < 1e-12:
        return None
    reach = float(student.ppf(0.5 + confidence / 2, freedom)) * error
    p = 2 * float(student.sf(abs(difference) / error, freedom))
    return difference - reach, difference + reach, p
