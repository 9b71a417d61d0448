"""Every figure and table of a report as files, to be pasted into a paper or a talk.

    figures/<id>.svg, .pdf, .png       the id of the figure in the page; captions.csv: title and description of each
    tables/<id>-<caption>.csv, .tex    the id of the heading above the table, and its caption in small letters
    tables/tables.html                 all tables, plain, as a word processor reads them

Names change only where a heading's id or a caption does. Nothing is in them that the page does not show, so no patient
text either.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from clinfit.files import new_folder, write_text
from clinfit.report.build import context, render
from clinfit.report.figures.svg import Drawing
from clinfit.report.inputs import ReportInputs

FIGURES, TABLES = "figures", "tables"
#: What each of these folders always holds: where it lies, an evaluation has written the folder.
CAPTIONS, TOGETHER = "captions.csv", "tables.html"
#: Letters of a caption in a name.
LONGEST_NAME = 60


@dataclass
class Table:
    """A table of the page. place: id of the heading above it. head: how many of the rows are its head."""

    place: str
    caption: str = ""
    hint: str = ""
    head: int = 0
    rows: list[list[str]] = field(default_factory=list)


def write_files(inputs: ReportInputs, folder: Path) -> tuple[int, int]:
    """Write `figures` and `tables` into the folder of the report; how many there are of each. What these folders held
    is replaced."""
    known = context(inputs)
    drawings = list(drawings_in(known))
    tables = named(tables_in(render(inputs, known)))
    with new_folder(folder / FIGURES) as path:
        for drawing in drawings:
            drawing.save(path)
        captions = [["figure", "title", "description"], *([d.name, d.caption, d.description] for d in drawings)]
        write_text(path / CAPTIONS, csv_text(captions))
    with new_folder(folder / TABLES) as path:
        for name, table in tables.items():
            write_text(path / f"{name}.csv", csv_text(table.rows))
            write_text(path / f"{name}.tex", latex(name, table))
        write_text(path / TOGETHER, tables_html(inputs.study.name, tables))
    return len(drawings), len(tables)


def has_files(folder: Path) -> bool:
    """Whether figures and tables of a report were written there. A folder of that name that is another's is no sign."""
    return (folder / FIGURES / CAPTIONS).is_file() or (folder / TABLES / TOGETHER).is_file()


def drawings_in(value: Any) -> Iterator[Drawing]:
    """Every figure in what the templates may use, in its order."""
    if isinstance(value, Drawing):
        yield value
    elif is_dataclass(value):
        for part in fields(value):
            yield from drawings_in(getattr(value, part.name))
    elif isinstance(value, Mapping):
        yield from drawings_in(list(value.values()))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from drawings_in(part)


# ---------------------------------------------------------------- tables of the page


class _Reader(HTMLParser):
    """The tables of a page, with the heading above each."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[Table] = []
        self._place = ""
        self._open: Table | None = None
        self._in_head = False
        self._text: list[str] | None = None
        self._hint: int | None = None  # spans that are open within a hint
        self._hints: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        if tag in ("h2", "h3") and known.get("id"):
            self._place = known["id"] or ""
        elif tag == "table":
            self._open = Table(self._place)
        elif self._open is None:
            return
        elif tag in ("thead", "tbody"):
            self._in_head = tag == "thead"
        elif tag == "tr":
            self._open.rows.append([])
            self._open.head += self._in_head
        elif tag in ("th", "td", "caption"):
            self._text = []
        elif tag == "span" and self._hint is not None:
            self._hint += 1
        elif tag == "span" and known.get("class") == "hint":
            self._hint = 1

    def handle_endtag(self, tag: str) -> None:
        if self._open is None:
            return
        if tag == "span" and self._hint is not None:
            self._hint = self._hint - 1 or None
        elif tag in ("th", "td") and self._text is not None:
            self._open.rows[-1].append(_plain(self._text))
            self._text = None
        elif tag == "caption" and self._text is not None:
            self._open.caption, self._open.hint = _plain(self._text), _plain(self._hints)
            self._text, self._hints = None, []
        elif tag == "table":
            self.tables.append(self._open)
            self._open = None

    def handle_data(self, data: str) -> None:
        if self._text is not None:
            (self._text if self._hint is None else self._hints).append(data)


def _plain(parts: Iterable[str]) -> str:
    """Text as other programs read it: one kind of space, and a hyphen for the minus sign."""
    return " ".join("".join(parts).split()).replace("\N{MINUS SIGN}", "-")


def tables_in(page: str) -> list[Table]:
    """The tables of a page that hold anything, in its order."""
    reader = _Reader()
    reader.feed(page)
    return [table for table in reader.tables if any(any(row) for row in table.rows)]


def named(tables: Sequence[Table]) -> dict[str, Table]:
    """The tables by their names; the second of a name gets a 2."""
    found: dict[str, Table] = {}
    for table in tables:
        words = re.sub(r"[^a-z0-9]+", "-", table.caption.casefold()).strip("-")[:LONGEST_NAME].rstrip("-")
        name = "-".join(filter(None, [table.place, words])) or "table"
        number = 1
        while (key := name if number == 1 else f"{name}-{number}") in found:
            number += 1
        found[key] = table
    return found


# ---------------------------------------------------------------- their formats


def csv_text(rows: Iterable[Sequence[str]]) -> str:
    """With a mark at the beginning by which spreadsheets know UTF-8."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return "\ufeff" + buffer.getvalue()


def latex(name: str, table: Table) -> str:
    """For the package booktabs: the first column to the left, the others to the right."""
    width = max(map(len, table.rows))
    lines = [_latex_row(row + [""] * (width - len(row))) for row in table.rows]
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            rf"\caption{{{_latex_text(table.caption)}}}",
            rf"\label{{tab:{name}}}",
            rf"\begin{{tabular}}{{l{'r' * (width - 1)}}}",
            r"\toprule",
            *lines[: table.head],
            *([r"\midrule"] if table.head else []),
            *lines[table.head :],
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _latex_row(cells: Iterable[str]) -> str:
    r"""A row that begins with `[` or `*`, as an interval does, would be read as an option of the `\\` or `\midrule`
    before it."""
    text = " & ".join(map(_latex_text, cells))
    return f"{'{}' if text.startswith(('[', '*')) else ''}{text} " + r"\\"


_LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "—": "---", "–": "--",
    "≥": r"$\geq$", "≤": r"$\leq$", "±": r"$\pm$", "−": "-", "→": r"$\rightarrow$", "×": r"$\times$", "…": r"\ldots{}",
    "<": r"\textless{}", ">": r"\textgreater{}", **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}  # fmt: skip


def _latex_text(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in text)


def tables_html(title: str, tables: Mapping[str, Table]) -> str:
    """One page of plain tables, each under its caption and name."""
    blocks = [_html_table(name, table) for name, table in tables.items()]
    style = "table { border-collapse: collapse } th, td { border: 1px solid #999; padding: 2px 6px; text-align: left }"
    head = f'<meta charset="utf-8"><title>{escape(title)}: tables</title><style>{style}</style>'
    return "\n".join([f'<!DOCTYPE html><html lang="en"><head>{head}</head><body>', *blocks, "</body></html>", ""])


def _html_table(name: str, table: Table) -> str:
    rows = []
    for at, row in enumerate(table.rows):
        first, *rest = [escape(cell) for cell in row] or [""]
        other = "th" if at < table.head else "td"
        rows.append(f"<tr><th>{first}</th>{''.join(f'<{other}>{cell}</{other}>' for cell in rest)}</tr>")
    hint = f"<p>{escape(table.hint)}</p>" if table.hint else ""
    caption = f"<p><b>{escape(table.caption)}</b> ({name})</p>"
    return "\n".join([caption, "<table>", *rows, "</table>", hint])
