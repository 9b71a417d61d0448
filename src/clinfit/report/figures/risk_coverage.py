"""The figure of selective prediction: how often a system is wrong among the records of which it is surest."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.ticker import PercentFormatter

from clinfit.report.figures.clinical import Curve
from clinfit.report.figures.svg import LINES, PALETTE, inline_svg, legend_below, new_figure, style


def risk_coverage_figure(
    curves: Sequence[Curve], name: str, size: tuple[float, float] = (4.1, 3.6), *, of_texts: bool = False
) -> Markup:
    """Error rate against the share of the records that is decided, surest first; legends hold the area.

    of_texts: the risk is a mean of 1 - a metric, and not a share that is wrong.
    """
    with style():
        figure = new_figure(*size, left=0.7)
        axes = figure.subplots()
        for k, curve in enumerate(curves):
            points = np.asarray(curve.points)
            colour, line = PALETTE[k % len(PALETTE)], LINES[k % len(LINES)]
            axes.plot(points[:, 0], points[:, 1], label=curve.legend, color=colour, linestyle=line)
        axes.set(xlim=(0, 1.02), ylim=(0, None), title="Risk and coverage")
        axes.set(xlabel="records decided, surest first", ylabel="mean risk of them" if of_texts else "wrong among them")
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        if not of_texts:
            axes.yaxis.set_major_formatter(PercentFormatter(1))
        legend_below(figure, axes)
        all_of_them = [curve.points[-1][1] for curve in curves]
        told = [
            f"risk of all {risk:.3f}" if of_texts else f"{100 * risk:.1f} % wrong among all" for risk in all_of_them
        ]
        text = "; ".join(f"{curve.legend}, {what}" for curve, what in zip(curves, told, strict=True))
        return inline_svg(figure, name, "Risk-coverage curves", f"Area under the curve: {text}.")
