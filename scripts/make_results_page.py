"""Writes docs/results.md from the types of the evaluation.

    python scripts/make_results_page.py

tests/test_docs.py fails while the page differs from what this script would write.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from clinfit.evaluation.kinds import KINDS
from clinfit.evaluation.results import FORMAT
from clinfit.evaluation.schema import metrics_schema

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "results.md"

HEAD = f"""\
# What is in metrics.json

Made from the code by `python scripts/make_results_page.py`; edit the code, not this page.

Format `{FORMAT}`; `schema/metrics.schema.json` describes it for programs. Everything is plain JSON: no NaN,
no infinity, no patient text. A number that cannot be given is null, and its `reason` says why. [Metrics](metrics.md)
says how each number is made.

Every task has the same shell, whatever its kind: counts, systems, ranking, comparisons, findings, verdict. What only
some kinds have stands in `sections`, of the task and of each system, and only what was made is there: a task whose data
did not leak has no `leakage`, a keyword rule no `conformal`, and where an error withholds the numbers, most are absent.
"""

PLAIN = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false", "null": "null"}


def page() -> str:
    """The text of docs/results.md."""
    described = metrics_schema()
    types = {"Results": described, **{name: described["$defs"][name] for name in _order(described)}}
    blocks = [line for name, entry in types.items() for line in _block(name, entry)]
    return "\n".join([HEAD, *_kinds(described), *blocks]).rstrip() + "\n"


def _kinds(described: Mapping[str, Any]) -> Iterator[str]:
    """Which sections each kind of task can have."""
    yield from ("## Sections by kind of task", "", "| kind | of the task | of each system |", "|---|---|---|")
    for name, kind in KINDS.items():
        made = {
            "TaskSections": {*kind.checks, *kind.analyses, *kind.withheld},
            "SystemSections": set(kind.systems),
        }
        cells = (
            ", ".join(f"`{key}`" for key in described["$defs"][type_]["properties"] if key in names)
            for type_, names in made.items()
        )
        yield f"| {name} | {' | '.join(cells)} |"
    yield ""


def _order(described: Mapping[str, Any]) -> list[str]:
    """The types in the order in which a reader meets them."""
    found: list[str] = []
    waiting = [described]
    while waiting:
        for name in _references(waiting.pop(0)["properties"]):
            if name not in found:
                found.append(name)
                waiting.append(described["$defs"][name])
    return found


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        if "$ref" in value:
            yield value["$ref"].rpartition("/")[2]
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _references(inner)


def _block(name: str, entry: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"## {name}", "")
    if "description" in entry:
        yield from (" ".join(entry["description"].split("\n\n")[0].split()), "")
        yield from (" ".join(text.split()) + "\n" for text in entry["description"].split("\n\n")[1:])
    yield from ("| key | type |", "|---|---|")
    for key, field in entry["properties"].items():
        yield f"| `{key}` | {_type(field)} |"
    yield ""


def _type(field: Mapping[str, Any]) -> str:
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "anyOf" in field:
        return " or ".join(_type(option) for option in field["anyOf"])
    if field["type"] == "array":
        return f"list of {_type(field['items'])}"
    if field["type"] == "object":
        return f"name → {_type(field['additionalProperties'])}"
    return PLAIN[field["type"]]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")
