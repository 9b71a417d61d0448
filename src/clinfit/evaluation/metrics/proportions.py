"""Shares of items with their intervals: Wilson's, or the bootstrap over groups where items come in groups, which has
none where all resamples agree."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from clinfit.evaluation.metrics.metric import Metric, undefined
from clinfit.evaluation.statistics.bootstrap import UNDEFINED_LIMIT, Resamples, percentile
from clinfit.evaluation.statistics.intervals import wilson

Mask = NDArray[np.bool_]


def proportion_metrics(
    shares: Mapping[str, tuple[Mask, Mask]], resamples: Resamples, confidence: float
) -> dict[str, Metric]:
    """name -> share of the items `inside` that are `hits`, from (n,) masks (hits, inside); undefined where none is
    inside."""
    counts = {name: (int((hits & inside).sum()), int(inside.sum())) for name, (hits, inside) in shares.items()}
    intervals: dict[str, tuple[float | None, float | None]] = {}
    method, why = "Wilson", "too few items for an interval"
    if resamples.clusters is None:
        intervals = {name: wilson(events, n, confidence) for name, (events, n) in counts.items()}
    else:
        method, why = resamples.method, "the resamples agree, or too many hold no such item: no interval"
        intervals = _bootstrap(shares, resamples, confidence)
    found = {}
    for name, (events, n) in counts.items():
        low, high = intervals[name]
        if not n:
            found[name] = undefined("no such items", 0, 0)
        elif low is None or high is None:
            found[name] = Metric(events / n, n=n, events=events, reason=why)
        else:
            found[name] = Metric(events / n, low, high, method, n, events)
    return found


def _bootstrap(
    shares: Mapping[str, tuple[Mask, Mask]], resamples: Resamples, confidence: float
) -> dict[str, tuple[float | None, float | None]]:
    hits = np.array([hits & inside for hits, inside in shares.values()], dtype=np.float64)
    inside = np.array([inside for _, inside in shares.values()], dtype=np.float64)
    drawn = []
    for weights in resamples.blocks():
        events, n = hits @ weights, inside @ weights
        drawn.append(np.divide(events, n, out=np.full_like(events, np.nan), where=n > 0))
    values = np.concatenate(drawn, axis=1)
    return {name: _interval(row, confidence) for name, row in zip(shares, values, strict=True)}


def _interval(replicates: NDArray[np.float64], confidence: float) -> tuple[float | None, float | None]:
    low, high, lost = percentile(replicates, confidence)
    if low is None or high is None or lost > UNDEFINED_LIMIT or high - low < 1e-12:
        return None, None
    return low, high
