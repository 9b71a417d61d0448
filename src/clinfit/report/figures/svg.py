"""A matplotlib figure as an inline SVG: small, accessible, the same bytes for the same input."""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path
from textwrap import wrap
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

#: Okabe and Ito (2008): told apart with every common colour-vision deficiency. Yellow is left out (too pale on white).
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
LINES = ("-", "--", "-.", ":")
INK, GREY, GRID = "#1a1a1a", "#595959", "#e3e3e3"

#: What a file may say of how it was made, by format: nothing that differs from run to run.
FILES: dict[str, dict[str, None]] = {
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
}

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: smaller, searchable, read aloud
    "svg.hashsalt": "clinfit",
    "font.family": "DejaVu Sans",  # measures the layout; the page's CSS sets the font that is seen
    "font.size": 9,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.6,
    "text.color": INK,
    "xtick.color": GREY,
    "ytick.color": GREY,
}


@contextmanager
def style() -> Iterator[None]:
    """The report's look, whatever the user's own matplotlib settings are."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield


def new_figure(width: float, height: float, *, left: float = 0.62) -> Figure:
    """An empty figure (inches) outside pyplot, so that nothing global is left behind.

    Margins are fixed, `left` for the labels: the axes of panels side by side line up, in half the time of a layout. The
    drawing keeps a third of the width, however long the labels are.
    """
    left = min(left, 2 / 3 * width)
    figure = Figure(figsize=(width, height))
    FigureCanvasSVG(figure)
    figure.subplots_adjust(
        left=left / width, right=1 - 0.15 / width, bottom=0.5 / height, top=1 - 0.3 / height, hspace=0.12
    )
    return figure


def folded(names: Sequence[str], room: float) -> tuple[list[str], int, int]:
    """Names over as many lines as they need within `room` letters, so that no two become alike; the most lines of one,
    and the letters of the longest line."""
    lines = [wrap(name, max(8, int(room))) or [""] for name in names]
    longest = max(len(line) for each in lines for line in each)
    return ["\n".join(each) for each in lines], max(map(len, lines)), longest


class Drawing(Markup):
    """A figure as the <svg> element of a page, with what it was made from. name: its id."""

    figure: Figure
    name: str
    caption: str
    description: str

    def save(self, folder: Path) -> None:
        """Write it as SVG, PDF and PNG (300 dots an inch); the same figure gives the same bytes. In the SVG letters are
        outlines, so that it looks the same everywhere; in the PDF they are text."""
        with style(), mpl.rc_context({"svg.fonttype": "path", "pdf.fonttype": 42}):
            for suffix, metadata in FILES.items():
                self.figure.savefig(folder / f"{self.name}.{suffix}", dpi=300, facecolor="white", metadata=metadata)


#: Inches (width, height without the legend) of a figure of the first pages: three stand in a row.
FRONT = (3.4, 3.4)


def legend_below(figure: Figure, axes: Axes, columns: int = 1) -> None:
    """The legend beneath everything else, in a figure that grows by it: it can cover no curve."""
    handles, labels = axes.get_legend_handles_labels()
    width, height = figure.get_size_inches()
    extra = 0.08 + 0.165 * -(-len(labels) // columns)
    margins = figure.subplotpars
    below, above = margins.bottom * height + extra, (1 - margins.top) * height
    height += extra
    figure.set_size_inches(width, height)
    figure.subplots_adjust(bottom=below / height, top=1 - above / height)
    figure.legend(
        handles, labels, loc="lower left", bbox_to_anchor=(0.02, 0), ncols=columns, fontsize=7.5, borderaxespad=0.1,
        labelspacing=0.35, columnspacing=1.2, handlelength=1.8,
    )  # fmt: skip


def inline_svg(figure: Figure, name: str, title: str, description: str) -> Drawing:
    """The figure as an <svg> element with a title and a description for screen readers.

    name: unique in the page; it is put before every id, since ids of different figures share one page.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    body = buffer.getvalue()
    body = body[body.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>\s*", "", body, flags=re.DOTALL)
    body = re.sub(r"<!--.*?-->\s*", "", body, flags=re.DOTALL)
    body = re.sub(r"<style[^>]*>.*?</style>\s*", "", body, flags=re.DOTALL)
    body = body.replace("xlink:href", "href")
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r'href="#', f'href="#{name}-', body)
    body = re.sub(r"url\(#", f"url(#{name}-", body)
    match = re.search(r'viewBox="([^"]+)"', body)
    assert match is not None, "matplotlib always writes a viewBox"
    content = body[body.index(">") + 1 :]
    drawing = Drawing(
        f'<svg viewBox="{match[1]}" role="img" aria-labelledby="{name}-title {name}-desc">\n'
        f'<title id="{name}-title">{escape(title)}</title>\n'
        f'<desc id="{name}-desc">{escape(description)}</desc>\n{content.strip()}'
    )
    drawing.figure, drawing.name, drawing.caption, drawing.description = figure, name, title, description
    return drawing
