"""The figure of stages: every task's primary metric after every stage, one line a model."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.ticker import PercentFormatter

from clinfit.report.figures.svg import GREY, LINES, PALETTE, inline_svg, new_figure, style


@dataclass(frozen=True)
class Point:
    """A value with its interval after a stage."""

    stage: int
    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Line:
    """One model. points: by stage."""

    model: str
    points: Sequence[Point]


def stages_figure(
    lines: Sequence[Line], task: str, metric: str, percent: bool, name: str, joint: float | None
) -> Markup:
    """joint: the value of a model that learned all tasks at once, dotted."""
    with style():
        figure = new_figure(5.2, 3.4)
        figure.subplots_adjust(top=0.9, bottom=0.16 + 0.05 * ((len(lines) + 2) // 3), left=0.14)
        axes = figure.subplots()
        last = max(point.stage for line in lines for point in line.points)
        for k, line in enumerate(lines):
            aside = 0.18 * (k - (len(lines) - 1) / 2) / max(len(lines), 1)
            colour = PALETTE[k % len(PALETTE)]
            x = [point.stage + aside for point in line.points]
            for at, point in zip(x, line.points, strict=True):
                if point.low is not None and point.high is not None:
                    axes.plot([at, at], [point.low, point.high], color=colour, linewidth=1, alpha=0.6)
            values = [point.value for point in line.points]
            axes.plot(x, values, LINES[k % len(LINES)], marker="o", markersize=4, color=colour, label=line.model)
        if joint is not None:
            axes.axhline(joint, color=GREY, linewidth=1, linestyle=(0, (1, 2)), label="all at once")
        axes.set(title=f"{task}: {metric}", xlim=(-0.3, last + 0.3))
        axes.set_xticks(range(last + 1), ["before", *(f"stage {stage}" for stage in range(1, last + 1))])
        if percent:
            axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=3)
        text = "; ".join(
            f"{line.model}: " + ", ".join(f"{point.value:.3f} after stage {point.stage}" for point in line.points)
            for line in lines
        )
        return inline_svg(figure, name, f"{metric} of {task} after every stage", f"{text}.")
