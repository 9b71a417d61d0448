"""The forest plot of subgroups: one line a group, against the line of all records."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.ticker import PercentFormatter

from clinfit.report.figures.svg import GREY, INK, PALETTE, folded, inline_svg, new_figure, style


@dataclass(frozen=True)
class GroupEstimate:
    """One group. size: its records and events in words; value None: too few to be shown, or not estimable."""

    name: str
    size: str
    value: float | None
    low: float | None
    high: float | None


def subgroup_figure(
    groups: Sequence[GroupEstimate], overall: float | None, metric: str, percent: bool, confidence: float, name: str
) -> Markup:
    """Estimate and interval of every group in the order given, the value over all records as a dashed line.

    Groups that have no value stay in the plot as words: a group left out would look like one that does not exist.
    """
    with style():
        labels = [f"{group.name} ({group.size})" for group in groups]
        names, lines, longest = folded(labels, (5.6 / 2 - 0.2) / 0.072)
        height = 0.95 + (0.27 + 0.14 * (lines - 1)) * len(groups)
        figure = new_figure(5.6, height, left=0.2 + 0.072 * longest)
        axes = figure.subplots()
        if overall is not None:
            axes.axvline(overall, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
        for y, group in enumerate(groups):
            if group.value is None:
                axes.text(0.01, y, "not shown", color=GREY, va="center", transform=axes.get_yaxis_transform())
                continue
            if group.low is not None and group.high is not None:
                axes.plot([group.low, group.high], [y, y], color=PALETTE[0], linewidth=1.8, solid_capstyle="butt")
            axes.plot(group.value, y, "o", color=PALETTE[0], markersize=6)
        axes.set_yticks(range(len(groups)), names)
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.set(ylim=(len(groups) - 0.4, -0.6), xlabel=f"{metric}, {confidence:.0%} interval (dashed: all records)")
        if percent:
            axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.grid(axis="y", visible=False)
        axes.spines["left"].set_visible(False)
        words = "; ".join(_words(group, label) for group, label in zip(groups, labels, strict=True))
        whole = "" if overall is None else f" All records: {overall:.3f}."
        return inline_svg(figure, name, f"{metric} by group with its interval", f"{words}.{whole}")


def _words(group: GroupEstimate, label: str) -> str:
    if group.value is None:
        return f"{label} not shown"
    interval = "" if group.low is None or group.high is None else f" [{group.low:.3f}, {group.high:.3f}]"
    return f"{label} {group.value:.3f}{interval}"
