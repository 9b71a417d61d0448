"""The figure of many labels: the F1 of each, one line a label, for one system or two."""

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from clinfit.evaluation.system_results import MetricDict
from clinfit.report.figures.svg import GREY, INK, PALETTE, inline_svg, new_figure, style
from clinfit.report.format import count

#: Letters of a label in one line; a longer name takes two, and no more.
WIDTH = 22


@dataclass(frozen=True)
class LabelEstimates:
    """One label; metrics: of each system, None where it has none."""

    label: str
    support: int
    metrics: Sequence[MetricDict | None]


def labels_figure(rows: Sequence[LabelEstimates], systems: Sequence[str], confidence: float, name: str) -> Markup:
    """One line a label in the order given, a mark and an interval for each system: the first one filled, the second
    hollow. Narrow, so that the letters stay readable on a phone."""
    with style():
        names = [short(f"{row.label} ({count(row.support)})") for row in rows]
        longest = max(len(line) for text in names for line in text.split("\n"))
        figure = new_figure(4.5, 1.05 + 0.38 * len(rows), left=0.2 + 0.076 * longest)
        axes = figure.subplots()
        for y, row in enumerate(rows):
            if all(metric is None or metric["value"] is None for metric in row.metrics):
                axes.text(0, y, "not estimable", color=GREY, va="center")
            for place, metric in enumerate(row.metrics):
                _mark(axes, metric, y + (place - (len(systems) - 1) / 2) * 0.34, place)
        for place, system in enumerate(systems):
            axes.plot([], [], **_look(place), label=system)
        axes.set_yticks(range(len(rows)), names, linespacing=1.15)
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.set(xlim=(-0.02, 1.02), ylim=(len(rows) - 0.4, -0.6), xlabel=f"F1, {confidence:.0%} interval")
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.grid(axis="y", visible=False)
        axes.spines["left"].set_visible(False)
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=len(systems), borderaxespad=0.1, handletextpad=0.2)
        text = "; ".join(_words(row, systems) for row in rows)
        return inline_svg(figure, name, "F1 of each label with its interval", f"{text}.")


def short(label: str) -> str:
    """A label with its number of records in at most two lines; the number stays."""
    name, _, number = label.rpartition(" ")
    lines = wrap(label, WIDTH)
    if len(lines) > 2:
        lines = wrap(name, WIDTH - len(number) - 1, max_lines=2, placeholder=" …")
        lines[-1] += f" {number}"
    return "\n".join(lines)


def _look(place: int) -> dict[str, Any]:
    """How a system's mark looks: told apart without colour too."""
    colour = GREY if place else PALETTE[0]
    return {
        "color": colour,
        "marker": "o",
        "linestyle": "none",
        "markerfacecolor": "white" if place else colour,
        "markersize": 5,
    }


def _mark(axes: Axes, metric: MetricDict | None, y: float, place: int) -> None:
    if metric is None or metric["value"] is None:
        return
    look = _look(place)
    if metric["low"] is not None and metric["high"] is not None:
        axes.plot([metric["low"], metric["high"]], [y, y], color=look["color"], linewidth=1.4, solid_capstyle="butt")
    axes.plot(metric["value"], y, **look)


def _words(row: LabelEstimates, systems: Sequence[str]) -> str:
    told = [f"{system} {_value(metric)}" for system, metric in zip(systems, row.metrics, strict=True)]
    return f"{row.label} ({count(row.support)} records): {', '.join(told)}"


def _value(metric: MetricDict | None) -> str:
    if metric is None or metric["value"] is None:
        return "not estimable"
    if metric["low"] is None or metric["high"] is None:
        return f"{metric['value']:.3f}"
    return f"{metric['value']:.3f} [{metric['low']:.3f}, {metric['high']:.3f}]"
