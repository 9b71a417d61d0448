"""A few plain words where a term first stands in running text, whichever section says it: put into the finished page.

The words are in the `title` of an `abbr`, and the page's style shows them behind the term: the text itself stays as it
was written.
"""

import re
from collections.abc import Iterator, Mapping

from markupsafe import Markup, escape

#: Text in these is no running text; in cells a term is explained too, where the cursor rests on it.
CLOSED = {"svg", "script", "style", "code", "pre", "h1", "h2", "h3", "h4", "summary", "dt", "button", "option", "small"}
CELLS = {"th", "td"}
PIECE = re.compile(r"<[^>]+>|[^<]+")
TAG = re.compile(r"</?([a-zA-Z0-9]+)")


def glossed(page: Markup, glosses: Mapping[str, str]) -> Markup:
    """The page with each term explained once, at its first place."""
    return Markup("".join(_pieces(page, dict(glosses))))


def _pieces(page: str, left: dict[str, str]) -> Iterator[str]:
    depth, in_cells = {"closed": 0, "cell": 0}, dict(left)
    for piece in PIECE.findall(page):
        if not piece.startswith("<"):
            yield piece if depth["closed"] else _explained(piece, in_cells if depth["cell"] else left)
            continue
        tag = TAG.match(piece)
        name = "" if tag is None or piece.endswith("/>") else tag[1].lower()
        if name in CLOSED | CELLS:
            depth["closed" if name in CLOSED else "cell"] += -1 if piece.startswith("</") else 1
        yield piece


def _explained(text: str, left: dict[str, str]) -> str:
    """The text with the terms of `left` that stand in it explained and taken out of `left`."""
    if not left:
        return text
    found = re.compile("|".join(rf"\b{re.escape(term)}\b" for term in left), re.IGNORECASE)

    def explain(match: re.Match[str]) -> str:
        term = next((term for term in left if term.casefold() == match[0].casefold()), None)
        return match[0] if term is None else f'<abbr title="{escape(left.pop(term))}">{match[0]}</abbr>'

    return found.sub(explain, text)
