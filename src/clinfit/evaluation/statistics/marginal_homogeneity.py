"""Stuart and Maxwell's test: whether two labellings of the same items use each label equally often."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2


def marginal_homogeneity(counts: NDArray[np.int64]) -> float | None:
    """p value of Maxwell's chi-square with K - 1 degrees of freedom (Stuart, 1955; Maxwell, 1970).

    counts: (K, K), rows one labelling and columns the other. Labels that neither uses are left out. None where the
    covariance of the differences cannot be inverted, as when both agree throughout.
    """
    used = (counts.sum(0) + counts.sum(1)) > 0
    table = counts[np.ix_(used, used)].astype(np.float64)
    rows, columns = table.sum(1), table.sum(0)
    covariance = np.diag(rows + columns - 2 * np.diag(table)) - (table + table.T - 2 * np.diag(np.diag(table)))
    # The differences sum to 0, so that one of them says nothing new.
    difference, covariance = (rows - columns)[:-1], covariance[:-1, :-1]
    if not len(difference) or np.linalg.matrix_rank(covariance) < len(difference):
        return None
    statistic = float(difference @ np.linalg.solve(covariance, difference))
    return float(chi2.sf(statistic, len(difference)))
