"""McNemar's exact test: two systems that are right or wrong on the same items."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class McNemar:
    """Exact McNemar test. b: only the reference is right. c: only the new system is right."""

    b: int
    c: int
    p: float


def mcnemar(reference_right: Bools, new_right: Bools) -> McNemar:
    """Two-sided binomial test of the discordant pairs; p = 1 when there are none."""
    b, c = int((reference_right & ~new_right).sum()), int((~reference_right & new_right).sum())
    return McNemar(b, c, 1.0 if b + c == 0 else float(binomtest(b, b + c, 0.5).pvalue))
