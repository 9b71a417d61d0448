"""What too few items of a label can hide: resamples tell only what the items show, and of two items that are both right
nothing but that."""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student


@dataclass(frozen=True)
class Hidden:
    """Variance of a mean over labels that its items cannot show, 0 of other metrics, with its degrees of freedom."""

    variance: float = 0.0
    freedom: float = np.inf

    def p(self, difference: float, known: float) -> float:
        """Two-sided p value of a difference, beside the known variance; 0 where nothing is hidden."""
        if not self.variance:
            return 0.0
        return float(2 * student.sf(abs(difference) / sqrt(known + self.variance), self._freedom_beside(known)))

    def widened(
        self, value: float, low: float, high: float, known: float, confidence: float, least: float = -1.0
    ) -> tuple[float, float]:
        """Both ends of an interval as far from the value as with what is hidden, from `least` to 1. known: the variance
        that the interval holds."""
        if not self.variance:
            return low, high
        quantile = float(student.ppf((1 + confidence) / 2, self._freedom_beside(known)))
        further = quantile * sqrt(self.variance)
        below, above = (float(np.hypot(max(reach, 0.0), further)) for reach in (value - low, high - value))
        return max(least, value - below), min(1.0, value + above)

    def _freedom_beside(self, known: float) -> float:
        """Satterthwaite (1946); the known variance has endless degrees of freedom."""
        return self.freedom * ((known + self.variance) / self.variance) ** 2


#: Of a metric that few items of a label cannot move unseen.
NOTHING = Hidden()


def hidden_in(items: NDArray[np.int64], moved: float) -> Hidden:
    """Of a mean over L labels: each of (L,) items n adds 2 m / (n + 2)^2 / L^2 with n - 1 degrees of freedom, as two
    more items would that moved in opposite directions (Bonett and Price, 2012). moved: m, the mean square of how far an
    item moves: 1 from right to wrong, 1/4 around a half."""
    if not len(items) or not moved:
        return NOTHING
    parts = 2 * moved / (items + 2.0) ** 2 / len(items) ** 2
    variance = float(parts.sum())
    return Hidden(variance, variance**2 / float((parts**2 / np.maximum(items - 1, 1)).sum()))
