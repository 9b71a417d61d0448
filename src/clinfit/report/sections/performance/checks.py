"""Canaries: made-up predictors with known scores, run through the same code as the models."""

from collections.abc import Mapping
from typing import Any

from clinfit.report.glossary import definition
from clinfit.report.section import section
from clinfit.report.sections.subject import Subject


def canaries_view(subject: Subject) -> list[tuple[str, bool, str]]:
    """Name, whether it passed, and what was found; empty where none was run."""
    return [
        (canary["name"], canary["passed"], canary_text(canary)) for canary in section(subject.task, "canaries") or []
    ]


def canary_text(canary: Mapping[str, Any]) -> str:
    """Expected and found values; only those that differ when the canary failed."""
    expected, found = canary["expected"], canary["found"]
    return "; ".join(
        f"{definition(name).title} {_number(found.get(name))}"
        + ("" if canary["passed"] else f" (expected {_number(value)})")
        for name, value in expected.items()
    )


def _number(value: float | None) -> str:
    return "not estimable" if value is None else f"{value:.3g}"
