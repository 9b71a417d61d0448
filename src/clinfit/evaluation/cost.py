"""What a lead costs: which systems no other beats in the primary metric and in time at once, and the price in words."""

from collections.abc import Sequence

from clinfit.evaluation.definitions import LOWER_IS_BETTER
from clinfit.evaluation.results import Comparison
from clinfit.evaluation.system_results import SystemResult

#: A ratio of times below this is not worth a sentence.
TOLD_RATIO = 2.0

NOT_SHOWN = "is not shown to be better"


def pareto(systems: Sequence[SystemResult], primary: str) -> list[str]:
    """Names of the systems that no other beats in the primary metric and in median seconds an item at once.

    One system beats another when it is at least as good in both and better in one. Systems without a primary value or
    without a time are left out.
    """
    sign = -1.0 if primary in LOWER_IS_BETTER else 1.0
    points: dict[str, tuple[float, float]] = {}
    for system in systems:
        value, seconds = system["metrics"].get(primary), system["cost"].get("seconds_p50")
        if value is not None and value["value"] is not None and seconds is not None:
            points[system["name"]] = (sign * value["value"], -float(seconds))
    return [
        name
        for name, point in points.items()
        if not any(other != point and other[0] >= point[0] and other[1] >= point[1] for other in points.values())
    ]


def cost_sentences(systems: Sequence[SystemResult], comparisons: Sequence[Comparison]) -> list[str]:
    """For each system that was compared with the baseline: how many times its time an item, and for what."""
    seconds = {system["name"]: system["cost"].get("seconds_p50") for system in systems}
    lines = []
    for comparison in comparisons:
        new, reference = comparison["new"], comparison["reference"]
        slow, fast = seconds[new], seconds[reference]
        if comparison["kind"] != "versus-baseline" or not slow or not fast or slow < TOLD_RATIO * fast:
            continue
        row = comparison["rows"][0]
        verb = "is better" if row["supported"] else "is worse" if row["direction"] == "worse" else NOT_SHOWN
        lines.append(
            f"Cost: {new} takes {times(slow / fast)} times the time an item of {reference} ({told_time(slow)} against "
            f"{told_time(fast)}, medians) and {verb} than it in {row['title']}."
        )
    return lines


def times(ratio: float) -> str:
    """A ratio to two digits: 3.4, 41, 400."""
    if ratio < 10:
        return f"{ratio:.1f}"
    digits = len(str(int(ratio))) - 2
    return f"{round(ratio, -digits):,.0f}"


def told_time(seconds: float) -> str:
    """Seconds in a unit that gives a readable number."""
    if seconds < 1e-3:
        return f"{1e6 * seconds:.3g} µs"
    return f"{1e3 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
