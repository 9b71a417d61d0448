"""What a curve of validation losses says: it fell to its end, it is flat, or it rose.

A rule of thumb with stated bounds and no test: the losses of one training have no intervals of their own. With the
validation losses in the order of their steps and `noise` = 1 % of the lowest of them:

    rose     the last loss lies more than `noise` above the lowest
    unknown  else, of fewer than four validations, where the last two losses lie within `noise` of each other
    flat     else, where all losses of the last quarter of the steps, and at least two, lie within `noise` of each
             other, and do not fall all the same: those of the last half from each to the next, and those of the last
             quarter by more than a tenth of the whole fall, from the first loss to the lowest
    falling  else: it still fell when training ended

A learning rate that ends at 0 makes the end of every curve look flat. So two losses that are alike say nothing yet, and
a fall is held against that of the whole curve, which `noise` may be large beside.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from typing import Any, Literal

#: Share of the lowest loss within which losses count as equal.
NOISE = 0.01
#: Share of the steps, at the end, over which a flat curve must be flat.
TAIL = 0.25
#: Share of the steps, at the end, over which losses within the noise must fall from each to the next to be a fall.
STEADY = 0.5
#: Share of the whole fall that the last quarter of the steps then brings at least; an even pace brings 0.25.
PACE = 0.1
#: Share of the lowest loss that the whole fall is at least.
LEAST_FALL = 0.001
#: Fewer validations are never called flat.
LEAST = 4

Shape = Literal["falling", "flat", "rose", "unknown"]


@dataclass(frozen=True)
class CurveVerdict:
    """shape: unknown for too few validations. since: the step of the lowest loss where it rose, the first of the losses
    that are alike where it is flat."""

    shape: Shape
    since: int | None
    sentence: str


def curve_verdict(rows: Sequence[Mapping[str, Any]], kept: int | None) -> CurveVerdict:
    """The verdict on a training's log. rows: of log.jsonl. kept: the step whose checkpoint was kept."""
    points = [
        (int(row["step"]), float(loss))
        for row in rows
        if (loss := row.get("validation_loss")) is not None and isfinite(loss)
    ]
    if len(points) < 2:
        told = "one validation" if points else "no validation loss"
        return CurveVerdict("unknown", None, f"The log holds {told}: no curve to read.")
    lowest_at, lowest = min(points, key=lambda point: point[1])
    last_at, last = points[-1]
    noise = NOISE * abs(lowest)
    if last - lowest > noise:
        share = f" ({100 * (last - lowest) / lowest:.1f} %)" if lowest > 0 else ""
        which = "the best checkpoint" if kept == lowest_at else "not the lowest loss, but the best primary metric,"
        ending = "" if kept is None else f"; {which} was kept: step {kept}"
        rise = f"Validation loss rose since step {lowest_at} by {last - lowest:.3f}{share}{ending}."
        return CurveVerdict("rose", lowest_at, rise)
    if len(points) < LEAST and abs(points[-2][1] - last) <= noise:
        few = f"Validation loss has {len(points)} values, the last two within {100 * NOISE:g} % of each other: too few"
        return CurveVerdict("unknown", None, f"{few} to call it flat; validate more often (train.evaluate_every).")
    since = _flat_since(points, noise)
    if since is not None and since <= (1 - TAIL) * last_at and not _still_falls(points):
        flat = f"Validation loss is flat since step {since} (change within {100 * NOISE:g} %)"
        return CurveVerdict("flat", since, f"{flat}: more epochs are not expected to help.")
    fell = (
        f"Validation loss fell to its end ({points[-2][1]:.3f} at step {points[-2][0]}, {last:.3f} at step {last_at})"
    )
    return CurveVerdict("falling", None, f"{fell}: more epochs may help.")


def _still_falls(points: Sequence[tuple[int, float]]) -> bool:
    """Whether losses that lie within the noise at the end fall all the same (see the rule above)."""
    last_at, last = points[-1]
    half = [loss for step, loss in points if step >= (1 - STEADY) * last_at]
    before = next(loss for step, loss in points if step >= (1 - TAIL) * last_at)
    lowest = min(loss for _, loss in points)
    whole = points[0][1] - lowest
    steady = all(later < earlier for earlier, later in pairwise(half))
    return steady and before - last > PACE * whole and whole >= LEAST_FALL * abs(lowest)


def _flat_since(points: Sequence[tuple[int, float]], noise: float) -> int | None:
    """The first step from which on all losses lie within `noise` of each other; None for the last alone."""
    since, low, high = None, points[-1][1], points[-1][1]
    for step, loss in reversed(points[:-1]):
        low, high = min(low, loss), max(high, loss)
        if high - low > noise:
            break
        since = step
    return since
