"""The report's figures of all systems and of training, each one panel: the page lays them side by side on a desk and
below each other on a phone. The figures of one binary task are in `clinical.py`.

Every function takes points that the evaluation saved and gives an inline SVG with a text alternative that tells what
the picture tells. Nothing is computed here, so that a figure cannot disagree with metrics.json.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from clinfit.report.figures.svg import GREY, INK, PALETTE, folded, inline_svg, legend_below, new_figure, style

#: Width in inches in the appendix.
FOREST = 5.6


@dataclass(frozen=True)
class Estimate:
    """One line of the forest plot; `simple` marks the baselines."""

    name: str
    value: float
    low: float | None
    high: float | None
    simple: bool


def forest_figure(
    estimates: Sequence[Estimate],
    metric: str,
    percent: bool,
    confidence: float,
    name: str,
    chance: float | None = None,
    width: float = FOREST,
) -> Markup:
    """One line a system: the estimate and its interval; simple baselines are hollow. chance: drawn dashed. width: in
    inches."""
    with style():
        names, lines, longest = folded([item.name for item in estimates], (width / 2 - 0.2) / 0.075)
        height = 0.85 + (0.27 + 0.14 * (lines - 1)) * len(estimates)
        figure = new_figure(width, height, left=0.2 + 0.075 * longest)
        axes = figure.subplots()
        if chance is not None:
            axes.axvline(chance, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
        for y, item in enumerate(estimates):
            colour = GREY if item.simple else PALETTE[0]
            if item.low is not None and item.high is not None:
                axes.plot([item.low, item.high], [y, y], color=colour, linewidth=1.8, solid_capstyle="butt")
            face = "white" if item.simple else colour
            axes.plot(item.value, y, "o", color=colour, markerfacecolor=face, markersize=6)
        axes.set_yticks(range(len(estimates)), names)
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.set(ylim=(len(estimates) - 0.4, -0.6), xlabel=f"{metric}, {confidence:.0%} interval", title="All systems")
        if percent:
            axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.grid(axis="y", visible=False)
        axes.spines["left"].set_visible(False)
        words = "; ".join(
            f"{item.name} {item.value:.3f}"
            + ("" if item.low is None or item.high is None else f" [{item.low:.3f}, {item.high:.3f}]")
            for item in estimates
        )
        level = "" if chance is None else f" An even guess: {chance:.3f}."
        return inline_svg(figure, name, f"{metric} of every system with its interval", f"{words}.{level}")


@dataclass(frozen=True)
class Scores:
    """One metric on validation. points: (step, value)."""

    title: str
    points: Sequence[tuple[int, float]]


def training_figure(
    rows: Sequence[Mapping[str, Any]], model: str, per: str, scores: Sequence[Scores], best: int | None, name: str
) -> Markup:
    """Training and validation loss, and beneath it the primary metric of each task, over the optimizer steps.

    per: what both losses are counted by, `record` or `token`.
    """
    loss, validation = (_series(rows, key) for key in ("loss", "validation_loss"))
    with style():
        figure = new_figure(4.1, 2.6 + 1.3 * len(scores))
        panels: list[Axes] = list(figure.subplots(1 + len(scores), 1, sharex=True, squeeze=False)[:, 0])
        panels[0].plot(*loss, color=PALETTE[4], linewidth=1.1, label="training")
        if validation[0]:
            panels[0].plot(*validation, color=PALETTE[0], marker="o", markersize=3.5, label="validation")
        panels[0].set(ylabel=f"loss a {per}", ylim=(0, None), title=model)
        panels[0].margins(y=0.1)
        for k, (axes, score) in enumerate(zip(panels[1:], scores, strict=True), 1):
            steps, values = zip(*score.points, strict=True)
            axes.plot(steps, values, color=PALETTE[k % len(PALETTE)], marker="o", markersize=3.5)
            axes.set_ylabel("\n".join(wrap(score.title, 18)), fontsize=8 if len(scores) > 1 else 9)
        for axes in panels:
            if best is not None:
                axes.axvline(best, color=INK, linewidth=0.9, linestyle="--")
        panels[-1].set_xlabel("optimizer step" + ("" if best is None else f" (dashed: kept, step {best})"))
        panels[-1].xaxis.set_major_locator(MaxNLocator(6, integer=True))
        legend_below(figure, panels[0], columns=2)
        named = [(f"training loss a {per}", loss[1]), (f"validation loss a {per}", validation[1])]
        named += [(f"validation {score.title}", [value for _, value in score.points]) for score in scores]
        changes = "; ".join(f"{title} from {values[0]:.3g} to {values[-1]:.3g}" for title, values in named if values)
        kept = "" if best is None else f"; checkpoint kept from step {best}"
        return inline_svg(figure, name, f"Training of {model}", f"{changes}{kept}.")


def _series(rows: Sequence[Mapping[str, Any]], key: str) -> tuple[list[int], list[float]]:
    """Steps and values of the rows that hold a finite `key`."""
    pairs = [(row["step"], row[key]) for row in rows if row.get(key) is not None and np.isfinite(row[key])]
    return [step for step, _ in pairs], [value for _, value in pairs]
