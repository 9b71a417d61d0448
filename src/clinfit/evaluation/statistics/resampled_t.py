"""Differences between two models in a cross-validation, over training sets too."""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def corrected_error(differences: Floats, ratio: float) -> float:
    """Standard error of the mean of the differences of all folds of all repeats, (J,). ratio: n_test/n_train.

    The folds' training sets overlap, so that the plain error is too small: the variance is multiplied by 1/J +
    n_test/n_train instead of 1/J (the corrected resampled t-test of Nadeau and Bengio, Machine Learning 52, 2003; for
    repeated k-fold cross-validation Bouckaert and Frank, PAKDD 2004, where the ratio is 1/(k - 1); it is larger where a
    part of each training set is left for validation).
    """
    return math.sqrt((1 / len(differences) + ratio) * float(differences.var(ddof=1)))
