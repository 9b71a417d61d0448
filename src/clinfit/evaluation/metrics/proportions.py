"""Shares of items with their intervals: Wilson's, or the bootstrap over groups where items come in groups, which has
none where all resamples agree."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from clinfit.evaluation.metrics.metric import Metric, resampled, undefined
from clinfit.evaluation.statistics.bootstrap import Resamples
from clinfit.evaluation.statistics.intervals import wilson

Mask = NDArray[np.bool_]


def proportion_metrics(
    shares: Mapping[str, tuple[Mask, Mask]], resamples: Resamples, confidence: float
) -> dict[str, Metric]:
    """name -> share of the items `inside` that are `hits`, from (n,) masks (hits, inside); undefined where none is
    inside."""
    counts = {name: (int((hits & inside).sum()), int(inside.sum())) for name, (hits, inside) in shares.items()}
    drawn = {} if resamples.clusters is None else _drawn(shares, resamples)
    found = {}
    for name, (events, n) in counts.items():
        if not n:
            found[name] = undefined("no such items", 0, 0)
        elif resamples.clusters is None:
            found[name] = Metric(events / n, *wilson(events, n, confidence), "Wilson", n, events)
        else:
            found[name] = resampled(Metric(events / n, n=n, events=events), drawn[name], resamples, confidence)
    return found


def _drawn(shares: Mapping[str, tuple[Mask, Mask]], resamples: Resamples) -> dict[str, NDArray[np.float64]]:
    """name -> (resamples,) share; nan where a resample holds no such item."""
    hits = np.array([hits & inside for hits, inside in shares.values()], dtype=np.float64)
    inside = np.array([inside for _, inside in shares.values()], dtype=np.float64)
    drawn = []
    for weights in resamples.blocks():
        events, n = hits @ weights, inside @ weights
        drawn.append(np.divide(events, n, out=np.full_like(events, np.nan), where=n > 0))
    values = np.concatenate(drawn, axis=1)
    return dict(zip(shares, values, strict=True))
