"""The page on which people read written texts side by side without knowing who wrote them.

One HTML file that requests nothing. It shows text of records, unlike every other page: it is made only where somebody
asks for it, and says so on its first lines. Scores leave it as a JSON file that the rater saves.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from markupsafe import Markup

from clinfit.evaluation.readings import CRITERIA
from clinfit.report.build import DISCLAIMER, script_hash, templates

#: The form of the file that a rater saves.
RATINGS_FORMAT = "clinfit-ratings/1"


@dataclass(frozen=True)
class ReadItem:
    """One record. source: title and text of each input. answers: in the order in which they are shown."""

    id: str
    source: Sequence[tuple[str, str]]
    reference: str
    answers: Sequence[str]


def render_reading(title: str, page: str, items: Sequence[ReadItem]) -> str:
    """The page as text. page: what the saved scores are matched by."""
    script = (
        resources.files("clinfit.report")
        .joinpath("templates/reading.js")
        .read_text(encoding="utf-8")
        .replace("CLINFIT_PAGE", json.dumps(page))
        .replace("CLINFIT_FORMAT", json.dumps(RATINGS_FORMAT))
    )
    css = resources.files("clinfit.report")
    known: dict[str, Any] = {
        "title": title,
        "page": page,
        "items": items,
        "criteria": CRITERIA,
        "texts": sum(len(item.answers) for item in items),
        "script": Markup(script),
        "script_hash": script_hash(script),
        "css": Markup(
            "\n".join(css.joinpath(f"templates/{n}.css").read_text(encoding="utf-8") for n in ("style", "reading"))
        ),
        "disclaimer": DISCLAIMER,
    }
    return templates().get_template("reading.html.j2").render(known)
