"""The figures of a binary task: calibration, ranking, decision curve, risks by outcome.

As in `basic.py`, points come from the evaluation and nothing is computed here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from clinfit.evaluation.system_results import CalibrationBin
from clinfit.report.figures.svg import GREY, INK, LINES, PALETTE, inline_svg, legend_below, new_figure, style

UNIT = (-0.02, 1.02)
#: Inches (width, height) in the appendix.
CALIBRATION, ROC, DECISION = (4.1, 4.7), (4.1, 4.1), (4.1, 3.9)
_PAPER: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "pad": 1}
IDEAL: dict[str, Any] = {"color": GREY, "linewidth": 1, "linestyle": (0, (4, 3))}
#: Colours of records with and without the event.
EVENT, OTHER = PALETTE[1], PALETTE[0]


@dataclass(frozen=True)
class Curve:
    """A curve of one system: points (x, y), and its legend, which holds the area as the results give it.

    operating: where the system's decisions are on it.
    """

    legend: str
    points: Sequence[Sequence[float]]
    operating: tuple[float, float] | None = None


@dataclass(frozen=True)
class Benefit:
    """Net benefit of one system. rows: [threshold, net benefit, of treating all, low, high], the last two optional.

    largest: the largest predicted probability; beyond it nobody is flagged. threshold: the one in force; None where
    there are several.
    """

    name: str
    rows: Sequence[Sequence[float]]
    largest: float
    threshold: float | None


def calibration_figure(
    system: str,
    smooth: Sequence[Sequence[float]],
    bins: Sequence[CalibrationBin],
    histogram: Mapping[str, Sequence[int]],
    event: str,
    confidence: float,
    name: str,
    size: tuple[float, float] = CALIBRATION,
) -> Markup:
    """Observed share against predicted risk, smooth with its band and in groups; the records by outcome beneath."""
    with style():
        figure = new_figure(*size)
        top, bottom = figure.subplots(2, 1, height_ratios=[3, 1.1], sharex=True)
        top.plot([0, 1], [0, 1], label="ideal", **IDEAL)
        if smooth:
            x, y, low, high = np.asarray(smooth).T
            top.fill_between(x, low, high, color=PALETTE[0], alpha=0.18, linewidth=0)
            top.plot(x, y, color=PALETTE[0], label=f"smooth, {confidence:.0%} band")
        for point in bins:
            if point["low"] is not None and point["high"] is not None:
                top.vlines(point["mean_probability"], point["low"], point["high"], color=INK, linewidth=0.8)
        sizes = [point["n"] for point in bins]
        records = f"{min(sizes)}" if min(sizes) == max(sizes) else f"{min(sizes)} to {max(sizes)}"
        centres, observed = ([point[key] for point in bins] for key in ("mean_probability", "observed"))
        top.plot(centres, observed, "o", color=INK, markersize=4, label=f"groups of {records} records")
        top.set(xlim=UNIT, ylim=UNIT, ylabel=f"observed share of {event}", title=f"Calibration: {system}")
        _mirrored(bottom, histogram, event)
        bottom.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        bottom.set(xlabel=f"predicted probability of {event}", ylabel="records")
        legend_below(figure, top, columns=2)
        groups = "; ".join(
            f"{p['mean_probability']:.2f} predicted, {p['observed']:.2f} observed, n {p['n']}" for p in bins
        )
        text = f"Observed share of {event} in {len(bins)} groups of similar predicted probability: {groups}."
        if smooth:
            places = [smooth[k] for k in (0, len(smooth) // 2, -1)]
            line = "; ".join(f"{p:.2f} predicted, {o:.2f} [{low:.2f}, {high:.2f}]" for p, o, low, high in places)
            text += f" Smooth curve with its {confidence:.0%} band: {line}."
        else:
            text += " No smooth curve could be fitted."
        return inline_svg(figure, name, f"Calibration of {system}", text)


def risk_figure(
    system: str, histogram: Mapping[str, Sequence[int]], event: str, threshold: float | None, name: str
) -> Markup:
    """Histogram of the predicted risk: records with the event above the line, the others below it."""
    other = next(label for label in histogram if label != event)
    edges = np.linspace(0, 1, len(histogram[event]) + 1)
    with style():
        figure = new_figure(4.1, 3.4)
        axes = figure.subplots()
        _mirrored(axes, histogram, event)
        largest = max(max(counts) for counts in histogram.values()) * 1.35
        axes.set(xlim=UNIT, ylim=(-largest, largest), ylabel="records", title=system)
        axes.set_xlabel(f"predicted probability of {event}")
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.text(
            0.5, 0.98, f"truly {event}", transform=axes.transAxes, ha="center", va="top", color="#9c4400", bbox=_PAPER
        )
        axes.text(0.5, 0.02, f"truly {other}", transform=axes.transAxes, ha="center", color="#00507d", bbox=_PAPER)
        if threshold is not None:
            axes.axvline(threshold, color=INK, linewidth=1, linestyle="--")
        text = "; ".join(f"truly {label}: {_where(histogram[label], edges)}" for label in (event, other))
        text += "." if threshold is None else f". Decision threshold {threshold:.3f}."
        return inline_svg(figure, name, f"Predicted risk by outcome: {system}", text)


def _mirrored(axes: Axes, histogram: Mapping[str, Sequence[int]], event: str) -> None:
    """Counts of records with the event upwards, of the others downwards."""
    edges = np.linspace(0, 1, len(histogram[event]) + 1)
    for label, counts in histogram.items():
        sign, colour = (1, EVENT) if label == event else (-1, OTHER)
        heights = sign * np.asarray(counts)
        axes.bar(edges[:-1], heights, np.diff(edges), align="edge", color=colour, edgecolor="white", linewidth=0.5)
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.yaxis.set_major_formatter(lambda value, _: f"{abs(value):.0f}")


def _where(counts: Sequence[int], edges: np.ndarray) -> str:
    """Where the bulk of a histogram lies, in words."""
    total = sum(counts)
    if not total:
        return "no records"
    below = sum(count for count, edge in zip(counts, edges[1:], strict=True) if edge <= 0.5 + 1e-9)
    return f"{total} records, {below} of them with a probability below 0.5"


def roc_figure(curves: Sequence[Curve], name: str, size: tuple[float, float] = ROC) -> Markup:
    """Sensitivity against 1 - specificity of every system, with the point at which it decides."""
    with style():
        figure, axes = _square("ROC", "1 − specificity", "sensitivity", size)
        axes.plot([0, 1], [0, 1], **IDEAL)
        _ranked(axes, curves, [np.asarray(curve.points)[:, :2].T for curve in curves])
        legend_below(figure, axes)
        areas = "; ".join(curve.legend for curve in curves)
        text = f"Area under the ROC curve: {areas}.{_operating(curves, '1 − specificity', 'sensitivity')}"
        return inline_svg(figure, name, "ROC curves", text)


def precision_recall_figure(curves: Sequence[Curve], prevalence: float, name: str) -> Markup:
    """Precision against recall; the dashed line is the prevalence, which a blind ranking reaches."""
    with style():
        figure, axes = _square("Precision and recall", "recall (sensitivity)", "precision (PPV)")
        axes.axhline(prevalence, **IDEAL)
        _ranked(axes, curves, [precision_recall_steps(curve.points) for curve in curves])
        legend_below(figure, axes)
        areas = "; ".join(curve.legend for curve in curves)
        text = f"Prevalence {prevalence:.3f}. Average precision: {areas}.{_operating(curves, 'recall', 'precision')}"
        return inline_svg(figure, name, "Precision-recall curves", text)


def _ranked(axes: Axes, curves: Sequence[Curve], lines: Sequence[Any]) -> None:
    """The lines of the curves, and a dot where each system decides."""
    for k, (curve, (x, y)) in enumerate(zip(curves, lines, strict=True)):
        axes.plot(x, y, label=curve.legend, **_line(k))
        if curve.operating is not None:
            axes.plot(
                *curve.operating, "o", color=_line(k)["color"], markersize=6, markeredgecolor="white", clip_on=False
            )


def _operating(curves: Sequence[Curve], x: str, y: str) -> str:
    """Where the systems decide, in words."""
    places = [f"{c.legend.partition(':')[0]} {c.operating[0]:.3f}, {c.operating[1]:.3f}" for c in curves if c.operating]
    return f" Operating points ({x}, {y}): {'; '.join(places)}." if places else ""


def precision_recall_steps(points: Sequence[Sequence[float]]) -> tuple[np.ndarray, np.ndarray]:
    """The corners of the curve from recall 0: the area beneath is the average precision, sum of precision x step.

    points: (n, 2 or more) recall and precision, recall ascending; the result is two arrays of (2 n).
    """
    recall, precision = np.asarray(points)[:, :2].T
    return np.repeat(np.r_[0.0, recall], 2)[1:-1], np.repeat(precision, 2)


def decision_figure(
    systems: Sequence[Benefit],
    declared: Sequence[float] | None,
    event: str,
    confidence: float,
    name: str,
    size: tuple[float, float] = DECISION,
) -> Markup:
    """Net benefit of the systems, of treating all and of treating none, up to the largest predicted probability.

    The band is that of the first system. declared: lowest and highest threshold that is clinically reasonable.
    """
    largest = max(system.largest for system in systems)
    rows = [row for row in systems[0].rows if row[0] <= largest] or list(systems[0].rows[:1])
    thresholds, everybody = [row[0] for row in rows], [row[2] for row in rows]
    with style():
        figure = new_figure(*size)
        axes = figure.subplots()
        if declared is not None:
            axes.axvspan(declared[0], declared[1], color=GREY, alpha=0.13, linewidth=0)
        axes.plot(thresholds, everybody, color=GREY, linewidth=1, label="all called positive")
        axes.axhline(0, color=INK, linewidth=1, label="none called positive")
        drawn = [[row for row in system.rows if row[0] <= system.largest] for system in systems]
        if drawn[0] and len(drawn[0][0]) == 5:
            x, _, _, low, high = np.asarray(drawn[0]).T
            axes.fill_between(x, low, high, color=PALETTE[0], alpha=0.15, linewidth=0)
        for k, (system, points) in enumerate(zip(systems, drawn, strict=True)):
            axes.plot([row[0] for row in points], [row[1] for row in points], label=system.name, **_line(k))
            if points and system.threshold is not None:
                nearest = min(points, key=lambda row, at=system.threshold: abs(row[0] - at))
                if abs(nearest[0] - system.threshold) <= 0.01:
                    axes.plot(nearest[0], nearest[1], "o", color=_line(k)["color"], markeredgecolor="white")
        top = max(everybody[0], *(row[1] for points in drawn for row in points), 0.01)
        axes.set(xlim=(0, min(1.0, largest + 0.01)), ylim=(-0.25 * top, 1.12 * top), ylabel="net benefit")
        axes.set(xlabel=f"threshold probability of {event}", title="Decision curve")
        legend_below(figure, axes, columns=2)
        at = [(0.1, 0.25, 0.5) if declared is None else (declared[0], sum(declared) / 2, declared[1])][0]
        lines = [
            f"at {row[0]:.2f}: " + ", ".join(f"{system.name} {_at(system, row[0])}" for system in systems)
            + f", all {row[2]:.3f}"
            for row in (min(rows, key=lambda row: abs(row[0] - t)) for t in at)
        ]  # fmt: skip
        shaded = "No range of thresholds was declared." if declared is None else (
            f"Shaded: thresholds {declared[0]:g} to {declared[1]:g}, the range that the study declares."
        )  # fmt: skip
        text = f"Net benefit; calling nobody positive has 0; {'; '.join(dict.fromkeys(lines))}. {shaded}"
        text += f" Band: {confidence:.0%} interval of {systems[0].name}."
        return inline_svg(figure, name, "Decision curve", text)


def _at(system: Benefit, threshold: float) -> str:
    return f"{min(system.rows, key=lambda row: abs(row[0] - threshold))[1]:.3f}"


def _square(title: str, x: str, y: str, size: tuple[float, float] = ROC) -> tuple[Any, Axes]:
    figure = new_figure(*size)
    axes = figure.subplots()
    axes.set(xlim=UNIT, ylim=UNIT, xlabel=x, ylabel=y, title=title)
    axes.set_aspect("equal")
    return figure, axes


def _line(k: int) -> dict[str, Any]:
    """Colour and dash of the k-th curve: told apart without colour too."""
    return {"color": PALETTE[k % len(PALETTE)], "linestyle": LINES[k % len(LINES)]}
