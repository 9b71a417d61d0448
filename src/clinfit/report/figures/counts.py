"""The figure of a confusion matrix: how many records of each label got each answer."""

from collections.abc import Sequence

from markupsafe import Markup

from clinfit.report.figures.svg import FRONT, INK, PALETTE, inline_svg, new_figure, style

#: Letters of a label that an axis has room for.
WIDTH = 14
#: Colours of right and wrong answers, and how dark the largest share is.
RIGHT, WRONG, DARKEST = PALETTE[0], PALETTE[5], 0.55


def counts_figure(
    system: str, rows: Sequence[str], columns: Sequence[str], counts: Sequence[Sequence[int]], name: str
) -> Markup:
    """(rows, columns) counts as a table of tinted cells, rows being the truth; the tint is the share of the row."""
    with style():
        width, height = FRONT
        longest = max(len(short(label)) for label in rows)
        figure = new_figure(width, height, left=0.35 + 0.078 * longest)
        figure.subplots_adjust(bottom=(0.4 + 0.06 * max(len(short(label)) for label in columns)) / height)
        axes = figure.subplots()
        for y, (label, line) in enumerate(zip(rows, counts, strict=True)):
            for x, (column, n) in enumerate(zip(columns, line, strict=True)):
                share = n / sum(line) if sum(line) else 0.0
                colour = RIGHT if column == label else WRONG
                axes.fill_between(
                    [x - 0.5, x + 0.5], y - 0.5, y + 0.5, color=colour, alpha=DARKEST * share, linewidth=0
                )
                axes.text(x, y, str(n), ha="center", va="center", color=INK, fontsize=9 if len(columns) <= 6 else 7)
        axes.set_xticks(range(len(columns)), [short(label) for label in columns], rotation=35, ha="right")
        axes.set_yticks(range(len(rows)), [short(label) for label in rows])
        axes.tick_params(length=0, labelcolor=INK)
        axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(rows) - 0.5, -0.5), title=f"Answers: {system}")
        axes.set(xlabel="answer", ylabel="truth")
        axes.grid(visible=False)
        text = "; ".join(
            f"truly {label}: "
            + ", ".join(f"{n} answered {column}" for column, n in zip(columns, line, strict=True) if n)
            for label, line in zip(rows, counts, strict=True)
        )
        return inline_svg(figure, name, f"Answers of {system} by truth", f"{text}.")


def short(label: str) -> str:
    return label if len(label) <= WIDTH else f"{label[: WIDTH - 1]}…"
