"""Writes docs/metrics.md from the definitions that the evaluation uses and the words that the report shows.

    python scripts/make_metrics_page.py

tests/test_docs.py fails while the page differs from what this script would write.
"""

import inspect
from pathlib import Path
from types import ModuleType

from clinfit.evaluation.analyses import canaries
from clinfit.evaluation.claims import comparisons as claims
from clinfit.evaluation.claims import paired as comparison
from clinfit.evaluation.decisions import thresholds
from clinfit.evaluation.metrics import classification_table, definitions
from clinfit.evaluation.statistics import intervals
from clinfit.report.glossary import MEANINGS, TERMS

PAGE = Path(__file__).parents[1] / "docs" / "metrics.md"

HEAD = """\
# How the numbers are made

Made from the code by `python scripts/make_metrics_page.py`; edit the code, not this page.

Every metric of a report is a record in `metrics.json`: `value, low, high, method, n, events, status, reason`. A metric
that the test records cannot give is null with a reason, never 0. Answers that hold no label stay in every denominator
as wrong. Metrics see only the saved predictions, so `clinfit evaluate RUN` makes them again without any model.
"""

#: Where the rules are written down: title on the page, module whose docstring says them.
RULES: list[tuple[str, ModuleType]] = [
    ("Intervals", classification_table),
    ("Why these intervals", intervals),
    ("Comparisons", comparison),
    ("What may be claimed", claims),
    ("Thresholds", thresholds),
    ("Canaries", canaries),
]

BETTER = {"higher": "higher", "lower": "lower", None: "neither"}


def page() -> str:
    """The text of docs/metrics.md."""
    return "\n".join([HEAD, *_metrics(), *_rules(), *_terms()]).rstrip() + "\n"


def _metrics() -> list[str]:
    rows = [
        f"| {entry.title} | `{name}` | {_cell(entry.formula)} | {BETTER[entry.better]} | {_cell(MEANINGS[name])} |"
        for name, entry in definitions.METRICS.items()
    ]
    return [
        "## Metrics",
        "",
        "| metric | name | computed as | better | what it says |",
        "|---|---|---|---|---|",
        *rows,
        "",
        "A study's `evaluation.primary` takes its multi-class form for more than two labels: "
        + ", ".join(f"`{name}` becomes `{other}`" for name, other in definitions.MULTI_CLASS.items())
        + ".",
        "",
    ]


def _rules() -> list[str]:
    return [line for title, module in RULES for line in (f"## {title}", "", inspect.getdoc(module) or "", "")]


def _terms() -> list[str]:
    return ["## Terms", "", *(line for term, text in TERMS.items() for line in (f"**{term}.** {text}", ""))]


def _cell(text: str) -> str:
    """Text for a table cell, with the signs that would end it or start a tag written apart."""
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(Path.cwd()) if PAGE.is_relative_to(Path.cwd()) else PAGE}")
