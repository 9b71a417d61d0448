"""A metric is a record, not a float: value, interval, how many items stand behind it, and why if there is none."""

from dataclasses import asdict, dataclass, replace
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from clinfit.evaluation.statistics.bootstrap import UNDEFINED_LIMIT, Resamples, percentile
from clinfit.evaluation.statistics.hidden import NOTHING, Hidden
from clinfit.evaluation.system_results import MetricDict

Status = Literal["ok", "unreliable", "undefined", "withheld"]


@dataclass(frozen=True)
class Metric:
    """One number on one set of items.

    value: None when undefined or withheld, never 0 in their place. low, high: interval at the study's confidence, None
    where none can be given. method: how the interval was made. n: items in the denominator. events: items in the
    numerator of a share, positives for metrics of probabilities, else None. reason: why it is undefined, withheld or
    unreliable, or what a reader must know beside the value.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    method: str | None = None
    n: int = 0
    events: int | None = None
    status: Status = "ok"
    reason: str | None = None

    def as_dict(self) -> MetricDict:
        return cast(MetricDict, asdict(self))

    def withheld(self, reason: str) -> "Metric":
        """The same metric with its numbers taken away."""
        return replace(self, value=None, low=None, high=None, method=None, status="withheld", reason=reason)


def undefined(reason: str, n: int = 0, events: int | None = None) -> Metric:
    """A metric that these items cannot give."""
    return Metric(None, n=n, events=events, status="undefined", reason=reason)


def resampled(
    base: Metric, drawn: NDArray[np.float64], resamples: Resamples, confidence: float, unseen: Hidden = NOTHING
) -> Metric:
    """The metric with the percentile interval of its (resamples,) values; with a reason where they give none. unseen:
    what few items of a label hide of a share."""
    low, high, lost = percentile(drawn, confidence, base.value)
    if lost > UNDEFINED_LIMIT:
        base = replace(base, status="unreliable", reason=f"undefined in {100 * lost:.0f} % of the resamples")
    if low is None or high is None or high - low < 1e-12:
        return replace(base, reason=base.reason or "all resamples agree, so they give no interval")
    if unseen.variance and base.value is not None:
        low, high = unseen.widened(base.value, low, high, float(np.nanvar(drawn)), confidence, least=0.0)
    return replace(base, low=low, high=high, method=resamples.method)
