"""A confusion matrix in whole records: of 100 records like these ..."""

import numpy as np

from clinfit.evaluation.answers import Ints


def natural_frequencies(counts: Ints) -> tuple[int, Ints]:
    """How many records are told of, and (2, 3) how many of them: 100, or 1,000 or 10,000 where events are rare.

    counts: rows truly positive and not, columns flagged, not flagged and unparsed.
    """
    share = counts[0].sum() / counts.sum()
    base = 100 if share >= 0.05 else 1000 if share >= 0.005 else 10000
    return base, rounded(counts, base)


def rounded(counts: Ints, base: int) -> Ints:
    """Counts scaled to whole numbers that sum to `base`: the largest remainders are rounded up."""
    exact = counts / counts.sum() * base
    whole = np.floor(exact).astype(np.int64)
    missing = base - int(whole.sum())
    # Stable: of equal remainders the first cell is rounded up, whatever the machine.
    largest = np.argsort(-(exact - whole).ravel().round(9), kind="stable")[:missing]
    whole.flat[largest] += 1  # not ravel(), which copies an array that is not contiguous
    return whole
