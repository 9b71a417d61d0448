"""The figure of a search: the value of every trial in their order."""

from collections.abc import Sequence

from markupsafe import Markup
from matplotlib.ticker import MaxNLocator, PercentFormatter

from clinfit.report.figures.svg import GREY, INK, PALETTE, inline_svg, new_figure, style


def search_figure(
    done: Sequence[tuple[int, float]],
    pruned: Sequence[tuple[int, float]],
    chosen: tuple[int, float],
    error: float | None,
    title: str,
    model: str,
    percent: bool,
    name: str,
) -> Markup:
    """(number, value) of trials that are done and of pruned ones; the chosen one with one standard error as a band.
    title: of what was compared."""
    with style():
        figure = new_figure(5.6, 2.6, left=0.8)
        axes = figure.subplots()
        if error is not None:
            axes.axhspan(chosen[1] - error, chosen[1] + error, color=PALETTE[4], alpha=0.18, linewidth=0)
        if pruned:
            axes.plot(*zip(*pruned, strict=True), "o", color=GREY, markerfacecolor="white", markersize=5)
        axes.plot(*zip(*done, strict=True), "o", color=PALETTE[0], markersize=5)
        axes.plot(*chosen, "o", color=PALETTE[1], markersize=8)
        axes.annotate("chosen", chosen, (0, 7), textcoords="offset points", ha="center", color=INK, fontsize=8)
        axes.set(xlabel="trial" + (" (hollow: stopped early)" if pruned else ""), ylabel=title)
        axes.margins(y=0.18)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if percent:
            axes.yaxis.set_major_formatter(PercentFormatter(1))
        values = "; ".join(f"trial {number} {value:.4f}" for number, value in done)
        band = "" if error is None else f" One standard error is {error:.4f}."
        text = f"{values}. Trial {chosen[0]} was chosen, {chosen[1]:.4f}.{band}"
        return inline_svg(figure, name, f"{title} on validation in the trials of {model}", text)
