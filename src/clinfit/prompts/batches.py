"""Rows of ids as batches with little padding.

Padding stands on the right. In a causal model no real token ever attends to what stands to its right, so the batch
needs no attention mask at all: the attention kernels take their fastest path, positions count from 0 in every row,
and padding cannot change an answer.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch

#: Cost of one more forward pass, in tokens; keeps the planner from splitting a batch to save a few cells.
PASS_OVERHEAD = 96


def token_batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Indices grouped so that rows x longest row stays within `budget` cells (a longer single row stands alone).

    The cheapest division of the rows sorted by length: cells plus PASS_OVERHEAD a batch, by dynamic programming over
    the cut points. Long rows come first, so that a lack of memory shows at once.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    best = [0.0] + [float("inf")] * len(order)
    start = [0] * (len(order) + 1)
    for end in range(1, len(order) + 1):
        for first in range(end - 1, -1, -1):
            cells = (end - first) * lengths[order[first]]
            if cells > budget and end - first > 1:
                break
            cost = best[first] + cells + PASS_OVERHEAD
            if cost < best[end]:
                best[end], start[end] = cost, first
    cuts = [len(order)]
    while cuts[-1] > 0:
        cuts.append(start[cuts[-1]])
    cuts.reverse()
    return [order[a:b] for a, b in pairwise(cuts)]


def pad_right(rows: Sequence[Sequence[int]], pad_id: int, device: torch.device | str = "cpu") -> torch.Tensor:
    """(rows, longest) int64, rows left-aligned and filled up with `pad_id`."""
    width = max(map(len, rows))
    return torch.tensor([[*row, *[pad_id] * (width - len(row))] for row in rows], dtype=torch.int64, device=device)
