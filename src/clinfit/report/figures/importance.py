"""The figure of permutation importance: one line an input, the most needed first."""

from collections.abc import Sequence

from markupsafe import Markup

from clinfit.evaluation.system_results import ImportanceRow
from clinfit.report.figures.svg import GREY, INK, PALETTE, inline_svg, new_figure, style


def importance_figure(rows: Sequence[ImportanceRow], system: str, confidence: float, name: str) -> Markup:
    """Drop of AUROC and interval of every input in the order given."""
    with style():
        names = [row["input"] if len(row["input"]) <= 28 else row["input"][:27] + "…" for row in rows]
        figure = new_figure(6.4, 0.95 + 0.27 * len(rows), left=0.25 + 0.076 * max(map(len, names)))
        axes = figure.subplots()
        axes.axvline(0, color=GREY, linewidth=1)
        for y, row in enumerate(rows):
            drop = row["drop"]
            if drop["low"] is not None and drop["high"] is not None:
                axes.plot([drop["low"], drop["high"]], [y, y], color=PALETTE[0], linewidth=1.8, solid_capstyle="butt")
            if drop["value"] is not None:
                axes.plot(drop["value"], y, "o", color=PALETTE[0], markersize=6)
        axes.set_yticks(range(len(rows)), names)
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.set(ylim=(len(rows) - 0.4, -0.6), xlabel=f"Drop of AUROC when shuffled, {confidence:.0%} interval")
        axes.grid(axis="y", visible=False)
        axes.spines["left"].set_visible(False)
        text = "; ".join(_words(row) for row in rows)
        return inline_svg(figure, name, f"How much {system} needs each input", f"{text}.")


def _words(row: ImportanceRow) -> str:
    drop = row["drop"]
    if drop["value"] is None or drop["low"] is None or drop["high"] is None:
        return f"{row['input']} not estimable"
    return f"{row['input']} {drop['value']:.3f} [{drop['low']:.3f}, {drop['high']:.3f}]"
