"""Dividing records of which each has any number of labels, so that every part has its share of every label."""

import numpy as np
from numpy.typing import NDArray


def divide_sets(held: NDArray[np.bool_], ratios: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """(n,) part of each record: iterative stratification (Sechidis, Tsoumakas and Vlahavas, ECML PKDD 2011).

    held: (n, K) which labels each record has. ratios: (p,) share of each part; they sum to 1. The label of which fewest
    records are left comes first, since nothing makes up for a rare one later; each of its records goes where most of
    the label is still due, then where most records are due, then by lot. Records without a label come last.
    """
    n, labels = held.shape
    due = ratios * n
    due_of_label = ratios[:, None] * held.sum(axis=0)
    codes = np.full(n, -1, dtype=np.int64)

    def place(record: int, wanted: NDArray[np.float64]) -> None:
        best = np.flatnonzero(wanted >= wanted.max() - 1e-9)
        best = best[due[best] >= due[best].max() - 1e-9]
        codes[record] = part = int(rng.choice(best))
        due[part] -= 1
        due_of_label[part] -= held[record]

    for _ in range(labels):
        left = held[codes < 0].sum(axis=0)
        if not left.any():
            break
        label = int(np.where(left > 0, left, n + 1).argmin())
        for record in rng.permutation(np.flatnonzero(held[:, label] & (codes < 0))):
            place(int(record), due_of_label[:, label])
    for record in rng.permutation(np.flatnonzero(codes < 0)):
        place(int(record), due)
    return codes
