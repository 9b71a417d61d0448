"""What was fixed before the test split was opened, for the report."""

from dataclasses import dataclass

from clinfit.evaluation.analyses.freeze import WORDS
from clinfit.evaluation.results import FreezeResult
from clinfit.report.format import text_of
from clinfit.report.section import section
from clinfit.report.sections.subject import Subject

#: State -> the words and the colour of its tag.
STATES = {
    "frozen": ("frozen", "pass"),
    "changed": ("changed since", "fail"),
    "late": ("frozen late", "warn"),
    "not-frozen": ("not frozen", "info"),
}


@dataclass(frozen=True)
class FreezeView:
    state: str
    tag: str
    sentence: str
    facts: list[tuple[str, str]]


def freeze_view(subject: Subject) -> FreezeView | None:
    """None where nothing is known, as for predictions without a run folder."""
    freeze: FreezeResult | None = section(subject.task, "freeze")
    if freeze is None:
        return None
    state, tag = STATES[freeze["state"]]
    facts = [
        ("declaration (SHA-256)", text_of(freeze["sha256"])),
        ("frozen at (UTC)", text_of(freeze["frozen_at"])),
        ("test split first scored at (UTC)", text_of(freeze["first_scored_at"])),
        ("scorings that differ", text_of(freeze["scored"])),
        ("changed since the freeze", ", ".join(WORDS[name] for name in freeze["changed"]) or "nothing"),
    ]
    return FreezeView(state, tag, freeze["sentence"], facts if freeze["sha256"] else facts[2:4])
