"""The report's figures, each one panel: the page lays them side by side on a desk and below each other on a phone.

Every function takes points that the evaluation saved and gives an inline SVG with a text alternative that tells what
the picture tells. Nothing is computed here, so that a figure cannot disagree with metrics.json.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from clinfit.evaluation.results import CalibrationBin
from clinfit.report.svg import GREY, INK, LINES, PALETTE, inline_svg, new_figure, style

UNIT = (-0.02, 1.02)
_PAPER: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "pad": 1}
IDEAL: dict[str, Any] = {"color": GREY, "linewidth": 1, "linestyle": (0, (4, 3))}


@dataclass(frozen=True)
class Estimate:
    """One line of the forest plot; `simple` marks the baselines."""

    name: str
    value: float
    low: float | None
    high: float | None
    simple: bool


@dataclass(frozen=True)
class Curve:
    """A curve of one system: points (x, y), and its legend, which holds the area as the results give it."""

    legend: str
    points: Sequence[Sequence[float]]


def forest_figure(estimates: Sequence[Estimate], metric: str, percent: bool, confidence: float, name: str) -> Markup:
    """One line a system: the estimate and its interval; simple baselines are hollow."""
    with style():
        longest = max(len(item.name) for item in estimates)
        figure = new_figure(7.4, 0.85 + 0.27 * len(estimates), left=0.2 + 0.075 * longest)
        axes = figure.subplots()
        for y, item in enumerate(estimates):
            colour = GREY if item.simple else PALETTE[0]
            if item.low is not None and item.high is not None:
                axes.plot([item.low, item.high], [y, y], color=colour, linewidth=1.8, solid_capstyle="butt")
            face = "white" if item.simple else colour
            axes.plot(item.value, y, "o", color=colour, markerfacecolor=face, markersize=6)
        axes.set_yticks(range(len(estimates)), [item.name for item in estimates])
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.set(ylim=(len(estimates) - 0.4, -0.6), xlabel=f"{metric}, {confidence:.0%} interval")
        if percent:
            axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.grid(axis="y", visible=False)
        axes.spines["left"].set_visible(False)
        lines = "; ".join(
            f"{item.name} {item.value:.3f}"
            + ("" if item.low is None or item.high is None else f" [{item.low:.3f}, {item.high:.3f}]")
            for item in estimates
        )
        return inline_svg(figure, name, f"{metric} of every system with its interval", lines + ".")


def calibration_figure(
    system: str,
    bins: Sequence[CalibrationBin],
    histogram: Mapping[str, Sequence[int]],
    event: str,
    confidence: float,
    name: str,
) -> Markup:
    """Observed share against predicted risk, the ideal line, and the number of records at each risk beneath."""
    with style():
        figure = new_figure(4.1, 4.7)
        top, bottom = figure.subplots(2, 1, height_ratios=[3.3, 1], sharex=True)
        top.plot([0, 1], [0, 1], label="ideal", **IDEAL)
        x, y = (np.array([point[key] for point in bins]) for key in ("mean_probability", "observed"))
        for point in bins:
            if point["low"] is not None and point["high"] is not None:
                top.vlines(point["mean_probability"], point["low"], point["high"], color=PALETTE[0], linewidth=1)
        top.plot(x, y, "o-", color=PALETTE[0], markersize=4.5, label=f"observed, {confidence:.0%} interval")
        top.set(xlim=UNIT, ylim=UNIT, ylabel=f"observed share of {event}", title=system)
        top.legend(loc="upper left")
        edges = np.linspace(0, 1, len(histogram[event]) + 1)
        counts = np.sum(list(histogram.values()), axis=0)
        bottom.bar(edges[:-1], counts, np.diff(edges), align="edge", color=GREY, edgecolor="white", linewidth=0.5)
        bottom.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        bottom.set(xlabel=f"predicted probability of {event}", ylabel="records")
        groups = "; ".join(
            f"{p['mean_probability']:.2f} predicted, {p['observed']:.2f} observed, n {p['n']}" for p in bins
        )
        text = f"Observed share of {event} in {len(bins)} groups of similar predicted probability: {groups}."
        return inline_svg(figure, name, f"Calibration of {system}", text)


def risk_figure(
    system: str, histogram: Mapping[str, Sequence[int]], event: str, threshold: float | None, name: str
) -> Markup:
    """Histogram of the predicted risk: records with the event above the line, the others below it."""
    other = next(label for label in histogram if label != event)
    edges = np.linspace(0, 1, len(histogram[event]) + 1)
    with style():
        figure = new_figure(4.1, 2.7)
        axes = figure.subplots()
        for label, sign, colour in ((event, 1, PALETTE[1]), (other, -1, PALETTE[0])):
            heights = sign * np.asarray(histogram[label])
            axes.bar(edges[:-1], heights, np.diff(edges), align="edge", color=colour, edgecolor="white", linewidth=0.5)
        largest = max(max(counts) for counts in histogram.values()) * 1.35
        axes.axhline(0, color=GREY, linewidth=0.8)
        axes.set(xlim=UNIT, ylim=(-largest, largest), ylabel="records", title=system)
        axes.set_xlabel(f"predicted probability of {event}")
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.yaxis.set_major_formatter(lambda value, _: f"{abs(value):.0f}")
        axes.text(
            0.5, 0.98, f"truly {event}", transform=axes.transAxes, ha="center", va="top", color="#9c4400", bbox=_PAPER
        )
        axes.text(0.5, 0.02, f"truly {other}", transform=axes.transAxes, ha="center", color="#00507d", bbox=_PAPER)
        if threshold is not None:
            axes.axvline(threshold, color=INK, linewidth=1, linestyle="--")
        text = "; ".join(f"truly {label}: {_where(histogram[label], edges)}" for label in (event, other))
        text += "." if threshold is None else f". Decision threshold {threshold:.3f}."
        return inline_svg(figure, name, f"Predicted risk by outcome: {system}", text)


def _where(counts: Sequence[int], edges: np.ndarray) -> str:
    """Where the bulk of a histogram lies, in words."""
    total = sum(counts)
    if not total:
        return "no records"
    below = sum(count for count, edge in zip(counts, edges[1:], strict=True) if edge <= 0.5 + 1e-9)
    return f"{total} records, {below} of them with a probability below 0.5"


def roc_figure(curves: Sequence[Curve], name: str) -> Markup:
    """Sensitivity against 1 - specificity of every system."""
    with style():
        figure, axes = _square("ROC", "1 − specificity", "sensitivity")
        axes.plot([0, 1], [0, 1], **IDEAL)
        for k, curve in enumerate(curves):
            points = np.asarray(curve.points)
            axes.plot(points[:, 0], points[:, 1], label=curve.legend, **_line(k))
        axes.legend(loc="lower right")
        areas = "; ".join(curve.legend for curve in curves)
        return inline_svg(figure, name, "ROC curves", f"Area under the ROC curve: {areas}.")


def precision_recall_figure(curves: Sequence[Curve], prevalence: float, name: str) -> Markup:
    """Precision against recall; the dashed line is the prevalence, which a blind ranking reaches."""
    with style():
        figure, axes = _square("Precision and recall", "recall (sensitivity)", "precision (PPV)")
        axes.axhline(prevalence, **IDEAL)
        for k, curve in enumerate(curves):
            axes.plot(*precision_recall_steps(curve.points), label=curve.legend, **_line(k))
        axes.legend(loc="lower left")
        areas = "; ".join(curve.legend for curve in curves)
        text = f"Prevalence {prevalence:.3f}. Average precision: {areas}."
        return inline_svg(figure, name, "Precision-recall curves", text)


def precision_recall_steps(points: Sequence[Sequence[float]]) -> tuple[np.ndarray, np.ndarray]:
    """The corners of the curve from recall 0: the area beneath is the average precision, sum of precision x step.

    points: (n, 2 or more) recall and precision, recall ascending; the result is two arrays of (2 n).
    """
    recall, precision = np.asarray(points)[:, :2].T
    return np.repeat(np.r_[0.0, recall], 2)[1:-1], np.repeat(precision, 2)


def _square(title: str, x: str, y: str) -> tuple[Any, Axes]:
    figure = new_figure(4.1, 4.1)
    axes = figure.subplots()
    axes.set(xlim=UNIT, ylim=UNIT, xlabel=x, ylabel=y, title=title)
    axes.set_aspect("equal")
    return figure, axes


def _line(k: int) -> dict[str, Any]:
    """Colour and dash of the k-th curve: told apart without colour too."""
    return {"color": PALETTE[k % len(PALETTE)], "linestyle": LINES[k % len(LINES)]}


def training_figure(rows: Sequence[Mapping[str, Any]], model: str, primary: str, best: int | None, name: str) -> Markup:
    """Training loss, validation loss and the primary metric on validation, over the optimizer steps."""
    loss, validation, score = (_series(rows, key) for key in ("loss", "validation_loss", "validation_primary"))
    with style():
        figure = new_figure(4.1, 3.9 if score[0] else 2.6)
        panels: list[Axes] = list(figure.subplots(2 if score[0] else 1, 1, sharex=True, squeeze=False)[:, 0])
        panels[0].plot(*loss, color=PALETTE[4], linewidth=1.1, label="training")
        if validation[0]:
            panels[0].plot(*validation, color=PALETTE[0], marker="o", markersize=3.5, label="validation")
        panels[0].set(ylabel="loss", ylim=(0, None), title=model)
        panels[0].legend(loc="upper right")
        if score[0]:
            panels[1].plot(*score, color=PALETTE[1], marker="o", markersize=3.5)
            panels[1].set_ylabel(f"validation {primary}")
        for axes in panels:
            if best is not None:
                axes.axvline(best, color=INK, linewidth=0.9, linestyle="--")
        panels[-1].set_xlabel("optimizer step" + ("" if best is None else f" (dashed: kept, step {best})"))
        panels[-1].xaxis.set_major_locator(MaxNLocator(6, integer=True))
        named = (("training loss", loss[1]), ("validation loss", validation[1]), (f"validation {primary}", score[1]))
        changes = "; ".join(f"{title} from {values[0]:.3g} to {values[-1]:.3g}" for title, values in named if values)
        kept = "" if best is None else f"; checkpoint kept from step {best}"
        return inline_svg(figure, name, f"Training of {model}", f"{changes}{kept}.")


def _series(rows: Sequence[Mapping[str, Any]], key: str) -> tuple[list[int], list[float]]:
    """Steps and values of the rows that hold a finite `key`."""
    pairs = [(row["step"], row[key]) for row in rows if row.get(key) is not None and np.isfinite(row[key])]
    return [step for step, _ in pairs], [value for _, value in pairs]
