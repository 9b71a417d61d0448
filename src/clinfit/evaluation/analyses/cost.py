"""What a lead costs: which systems no other beats in the primary metric and in time at once, and the price in words."""

from collections.abc import Mapping, Sequence
from math import log10

from clinfit.evaluation.context import MeasuredContext, Outcome
from clinfit.evaluation.metrics.definitions import LOWER_IS_BETTER
from clinfit.evaluation.results import Comparison
from clinfit.evaluation.system_results import SystemResult

#: A ratio of times below this is not worth a sentence: times of single runs on a busy machine differ by much.
LEAST_RATIO = 10.0

NOT_SHOWN = "is not shown to be better"


def pareto_front(context: MeasuredContext) -> Outcome:
    """Names of the systems that no other beats in the primary metric and in median seconds an item at once."""
    points: dict[str, tuple[float, float]] = {}
    for item in context.measured:
        value, seconds = item.metrics.get(context.primary), item.system.test.median_seconds
        if value is not None and value.value is not None and seconds is not None:
            points[item.name] = (value.value, seconds)
    return pareto(points, context.primary), []


def pareto(points: Mapping[str, tuple[float, float]], primary: str) -> list[str]:
    """points: name -> (primary value, seconds).

    One system beats another when it is at least as good in both and better in one. Systems without a primary value or
    without a time are left out.
    """
    sign = -1.0 if primary in LOWER_IS_BETTER else 1.0
    gains = {name: (sign * value, -seconds) for name, (value, seconds) in points.items()}
    return [
        name
        for name, point in gains.items()
        if not any(other != point and other[0] >= point[0] and other[1] >= point[1] for other in gains.values())
    ]


def cost_sentences(systems: Sequence[SystemResult], comparisons: Sequence[Comparison]) -> list[str]:
    """For each system that was compared with the baseline: how many times its time an item, and for what."""
    seconds = {system["name"]: system["cost"].get("seconds_p50") for system in systems}
    lines = []
    for comparison in comparisons:
        new, reference = comparison["new"], comparison["reference"]
        slow, fast = seconds[new], seconds[reference]
        if comparison["kind"] != "versus-baseline" or not slow or not fast or slow < LEAST_RATIO * fast:
            continue
        row = comparison["rows"][0]
        verb = "is better" if row["supported"] else "is worse" if row["direction"] == "worse" else NOT_SHOWN
        lines.append(
            f"Cost: {new} takes about {times(slow / fast)} times the time an item of {reference}, and {verb} than it "
            f"in {row['title']}."
        )
    return lines


def times(ratio: float) -> str:
    """A ratio as the nearest power of ten: 10, 100, 1,000. More digits would not be there the next time."""
    return f"{10 ** round(log10(ratio)):,}"
