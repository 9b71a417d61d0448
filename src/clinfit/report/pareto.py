"""Quality against time: which systems are worth their time on the processor, as a figure and its words."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup
from matplotlib.ticker import FuncFormatter, NullFormatter, PercentFormatter

from clinfit.evaluation.results import TaskResult
from clinfit.report.format import duration
from clinfit.report.glossary import definition
from clinfit.report.svg import GREY, INK, PALETTE, inline_svg, new_figure, style
from clinfit.report.tables import by_rank, metric_of

#: Times below the clock's resolution are drawn here: a rule takes no time worth the name.
FASTEST = 1e-7


@dataclass(frozen=True)
class Point:
    """One system. unbeaten: no other is at least as good and as fast, and better in one of the two."""

    name: str
    seconds: float
    value: float
    unbeaten: bool


def pareto(task: TaskResult, name: str) -> Markup | None:
    """The figure of a task; None with fewer than two systems to draw."""
    points = []
    for system in by_rank(task):
        metric, seconds = metric_of(system, task["primary"]), system["cost"].get("seconds_p50")
        if metric is not None and metric["value"] is not None and seconds is not None:
            unbeaten = system["name"] in task["pareto"]
            points.append(Point(system["name"], max(float(seconds), FASTEST), metric["value"], unbeaten))
    known = definition(task["primary"])
    return pareto_figure(points, known.title, known.percent, name) if len(points) > 1 else None


def pareto_figure(points: Sequence[Point], metric: str, percent: bool, name: str) -> Markup:
    """One mark a system; those that none beats are filled and joined, the others hollow."""
    with style():
        figure = new_figure(7.4, 3.4)
        axes = figure.subplots()
        best = sorted((point for point in points if point.unbeaten), key=lambda point: point.seconds)
        axes.plot(
            [p.seconds for p in best], [p.value for p in best], color=PALETTE[0], linewidth=1, drawstyle="steps-post"
        )
        for point in points:
            colour = PALETTE[0] if point.unbeaten else GREY
            axes.plot(
                point.seconds,
                point.value,
                "o",
                color=colour,
                markerfacecolor=colour if point.unbeaten else "white",
                markersize=6,
            )
        axes.set_xscale("log")
        slowest, fastest = max(p.seconds for p in points), min(p.seconds for p in points)
        middle = (slowest * fastest) ** 0.5
        for point, height in zip(points, _label_heights(points), strict=True):
            left = point.seconds > middle
            axes.annotate(
                point.name,
                (point.seconds, point.value),
                xytext=(-8 if left else 8, height),
                textcoords="offset points",
                ha="right" if left else "left",
                va="center",
                fontsize=8.5,
                color=INK,
            )
        axes.set_xlim(fastest / 3, slowest * 3)
        axes.margins(y=0.15)
        axes.set(xlabel="median time a record (logarithmic scale; further left is faster)", ylabel=metric)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: tick(seconds)))
        axes.xaxis.set_minor_formatter(NullFormatter())
        if percent:
            axes.yaxis.set_major_formatter(PercentFormatter(1))
        shown = "; ".join(
            f"{p.name} {p.value:.3f} in {duration(p.seconds)}{'' if p.unbeaten else ' (beaten by another)'}"
            for p in points
        )
        return inline_svg(figure, name, f"{metric} against time a record", f"{shown}.")


def tick(seconds: float) -> str:
    """A power of ten as an axis shows it; a hair below one millisecond is one."""
    return f"{seconds * 1e6:.3g} µs" if seconds < 0.999e-3 else duration(seconds)


def _label_heights(points: Sequence[Point]) -> list[float]:
    """Offset of each label in points, up and down in turn where neighbours would write over each other."""
    order = sorted(range(len(points)), key=lambda k: points[k].value)
    span = (points[order[-1]].value - points[order[0]].value) or 1.0
    heights = [0.0] * len(points)
    for below, above in pairwise(order):
        if points[above].value - points[below].value < 0.06 * span:
            heights[above] = heights[below] + 11 if heights[below] >= 0 else 11
    return heights
