"""Quality against time: which systems are worth their time on the processor, as a figure and its words."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter, PercentFormatter

from clinfit.evaluation.results import TaskResult
from clinfit.report.figures.svg import GREY, INK, PALETTE, inline_svg, new_figure, style
from clinfit.report.format import duration
from clinfit.report.glossary import definition
from clinfit.report.section import section
from clinfit.report.tables import by_rank, metric_of

#: Left, lower, right and upper end in points.
Box = tuple[float, float, float, float]

#: Points that a letter of a name is wide and a line high, with some air; how far a name may move up or down, nearest
#: first.
WIDTH, HEIGHT = 5.4, 12.0
RISES = (0.0, 9.0, -9.0, 20.0, -20.0, 32.0, -32.0, 44.0, -44.0)

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
            unbeaten = system["name"] in (section(task, "pareto") or [])
            points.append(Point(system["name"], max(float(seconds), FASTEST), metric["value"], unbeaten))
    known = definition(task["primary"])
    return pareto_figure(points, known.title, known.percent, name) if len(points) > 1 else None


def pareto_figure(points: Sequence[Point], metric: str, percent: bool, name: str) -> Markup:
    """One mark a system; those that none beats are filled and joined, the others hollow."""
    with style():
        figure = new_figure(5.6, 3.4)
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
        axes.set_xlim(fastest / 4, slowest * 4)
        axes.margins(y=0.2)
        _label(axes, points, best)
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


def _label(axes: Axes, points: Sequence[Point], joined: Sequence[Point]) -> None:
    """The names beside their marks; a thin line leads to those that had to move away."""
    scale = 72 / axes.figure.dpi
    marks = [
        (float(x * scale), float(y * scale))
        for x, y in axes.transData.transform([(p.seconds, p.value) for p in points])
    ]
    inside = axes.get_window_extent()
    frame = (inside.x0 * scale, inside.y0 * scale, inside.x1 * scale, inside.y1 * scale)
    lines = []
    for before, after in pairwise(marks[points.index(point)] for point in joined):
        lines += [
            (before[0], before[1] - 1, after[0], before[1] + 1),
            (after[0] - 1, before[1], after[0] + 1, after[1]),
        ]
    places = label_places(marks, [WIDTH * len(point.name) for point in points], lines, frame)
    for point, (side, rise) in zip(points, places, strict=True):
        axes.annotate(
            point.name,
            (point.seconds, point.value),
            xytext=(8 if side == "left" else -8, rise),
            textcoords="offset points",
            ha=side,
            va="center",
            fontsize=8.5,
            color=INK,
            arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.6} if abs(rise) > RISES[1] else None,
        )


def label_places(
    marks: Sequence[tuple[float, float]], widths: Sequence[float], lines: Sequence[Box], frame: Box
) -> list[tuple[str, float]]:
    """Where each name stands: which end of it is at the mark, and how far up. It covers no mark, no line and no other
    name, and stays in the frame, or comes as near to that as can be.

    All in points, from a rough width of the letters: the page sets its own font.
    """
    taken = [*lines, *((x - 4, y - 4, x + 4, y + 4) for x, y in marks)]
    places: dict[int, tuple[str, float]] = {}
    for k in sorted(range(len(marks)), key=lambda k: (marks[k][1], marks[k][0])):
        boxes = {(side, rise): _box(*marks[k], widths[k], side, rise) for rise in RISES for side in ("left", "right")}
        places[k] = min(boxes, key=lambda place: _cover(boxes[place], taken, frame))
        taken.append(boxes[places[k]])
    return [places[k] for k in range(len(marks))]


def _box(x: float, y: float, width: float, side: str, rise: float) -> Box:
    """Where a name of this width would stand."""
    start = x + 8 if side == "left" else x - 8 - width
    return start, y + rise - HEIGHT / 2, start + width, y + rise + HEIGHT / 2


def _cover(box: Box, taken: Sequence[Box], frame: Box) -> float:
    """How much of a box lies on others or outside the frame."""
    own = (box[2] - box[0]) * (box[3] - box[1])
    return sum(_shared(box, other) for other in taken) + own - _shared(box, frame)


def _shared(one: Box, other: Box) -> float:
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return wide * high if wide > 0 and high > 0 else 0.0
