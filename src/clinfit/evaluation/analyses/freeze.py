"""What a study declares before its test split is opened, and whether what is evaluated is still that.

A declaration holds everything that could be bent towards the test results: the primary metric, the rules for decisions,
the subgroups, the margin, the family of comparisons and the data. Its SHA-256 is what `clinfit freeze` writes. Times
come from the machine's clock and the files lie in the user's hands, so that a freeze is a record, not a proof: who has
to convince others publishes the hash before the test split is opened.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from clinfit.evaluation.context import Context, Outcome
from clinfit.evaluation.results import FreezeResult
from clinfit.findings import Finding
from clinfit.study.evaluation import SETTINGS, Evaluation
from clinfit.study.schema import Study
from clinfit.study.section import Section

Declaration = dict[str, Any]

#: What changed, in the words of the report.
WORDS = {
    "primary": "the primary metric",
    "asked": "what is asked of the records",
    "positive": "the positive label",
    "threshold": "the threshold rule",
    "calibration": "the recalibration",
    "refer": "the rule of referral",
    "subgroups": "the subgroups",
    "margin": "the margin",
    "confidence": "the level of the intervals",
    "baseline": "the baseline",
    "compare": "the declared comparisons",
    "models": "the models that are compared",
    "data": "the data",
    "tasks": "the settings of single tasks",
}


def freeze(context: Context) -> Outcome:
    """What was declared before the test split was opened, where a run folder says; and a warning where the split was
    scored more than once, since choices may have followed what was seen."""
    made = context.facts.freeze
    if made is None or made["scored"] < 2:
        return made, []
    return made, [
        Finding(
            "warn",
            "development-figure",
            f"Development figures: the test split was scored {made['scored']} times with different answers or settings",
            "of this study's name and data, in all run folders beside this one",
            "figures that are cited come from records held out from all choosing, scored once",
        )
    ]


def declaration(study: Study, fingerprints: Mapping[str, str]) -> Declaration:
    """What is frozen, as JSON values. fingerprints: task -> SHA-256 of its records and splits."""
    evaluation = study.evaluation
    stated = evaluation.model_dump(mode="json")
    own = {name: task.evaluation.model_dump(mode="json") for name, task in study.tasks.items() if task.evaluation}
    return {
        **{name: stated[name] for name in WORDS if name in stated},
        "subgroups": [group.model_dump(mode="json") for group in evaluation.subgroup_columns],
        "asked": {
            name: task.model_dump(mode="json", include={"kind", "labels", "options", "answer"})
            for name, task in study.tasks.items()
        },
        "positive": {name: task.positive_label for name, task in study.tasks.items()},
        "models": [model.name for model in study.models],
        "data": dict(fingerprints),
        **({"tasks": own} if own else {}),
    }


def declaration_hash(stated: Declaration) -> str:
    """SHA-256 of what a declaration chooses, independent of the order of keys."""
    return hashlib.sha256(json.dumps(choices(stated), sort_keys=True, allow_nan=False).encode()).hexdigest()


def choices(stated: Declaration) -> Declaration:
    """A declaration without what is as it is unless somebody chooses: a setting that a later version brings along is at
    its default in every declaration of before, and changes none of them."""
    kinds = {name: asked["kind"] for name, asked in stated.get("asked", {}).items()}
    shared = {name: value for name, value in stated.items() if name in Evaluation.model_fields}
    rest = {name: value for name, value in stated.items() if name not in shared}
    blocks = stated.get("tasks", {}).items()
    own = {name: _chosen(SETTINGS[kinds[name]], block) if name in kinds else block for name, block in blocks}
    return rest | _chosen(Evaluation, shared) | ({"tasks": own} if own else {})


def _chosen(settings: type[Section], block: Declaration) -> Declaration:
    """The settings that are not at their default; all of them where this version cannot read them."""
    try:
        return settings.model_validate(block).model_dump(mode="json", exclude_defaults=True)
    except ValidationError:
        return block


@dataclass(frozen=True)
class Freeze:
    """One freeze. opened: whether test predictions of the study existed when it was made."""

    sha256: str
    time: str
    opened: bool
    stated: Declaration


@dataclass(frozen=True)
class Scoring:
    """One time that metrics of the test split were computed. declared, answers: hashes of what was scored, and how.

    freeze: hash that was in force, None when nothing was frozen.
    """

    time: str
    declared: str
    answers: str
    freeze: str | None


def in_force(freezes: Sequence[Freeze], first_scored: str | None) -> Freeze | None:
    """The last freeze before the test split was opened; the first one when all of them came later."""
    in_time = [freeze for freeze in freezes if not _late(freeze, first_scored)]
    if in_time:
        return max(in_time, key=lambda freeze: freeze.time)
    return min(freezes, key=lambda freeze: freeze.time, default=None)


def freeze_result(stated: Declaration, freezes: Sequence[Freeze], scorings: Sequence[Scoring]) -> FreezeResult:
    """Whether the declaration stands. freezes, scorings: of all runs of the study on these data, this one included."""
    first = min((scoring.time for scoring in scorings), default=None)
    scored = len({(scoring.declared, scoring.answers) for scoring in scorings})
    freeze = in_force(freezes, first)
    if freeze is None:
        state, changed = "not-frozen", []
    else:
        then, now = choices(freeze.stated), choices(stated)
        changed = [name for name in WORDS if then.get(name) != now.get(name)]
        state = "late" if _late(freeze, first) else "changed" if changed else "frozen"
    return FreezeResult(
        state=state,
        sha256=freeze.sha256 if freeze else None,
        frozen_at=freeze.time if freeze else None,
        first_scored_at=first,
        scored=scored,
        changed=changed,
        sentence=f"{_stands(state, freeze, changed)} {_times(scored)}",
    )


def _late(freeze: Freeze, first_scored: str | None) -> bool:
    return freeze.opened or (first_scored is not None and freeze.time > first_scored)


def _stands(state: str, freeze: Freeze | None, changed: Sequence[str]) -> str:
    if freeze is None:
        return (
            "Nothing was frozen before the test split was opened, so that nothing shows which of these choices were "
            "made before the results were known."
        )
    named = ", ".join(WORDS[name] for name in changed)
    after = f" Since then {named} changed." if changed else ""
    if state == "late":
        return f"What is evaluated was frozen ({freeze.time}) only after the test split had been opened.{after}"
    if state == "changed":
        return f"What is evaluated is not what was frozen ({freeze.time}) before the test split was opened.{after}"
    return f"What is evaluated was frozen ({freeze.time}) before the test split was opened, and has not changed."


def _times(scored: int) -> str:
    if scored == 1:
        return "The test split was scored once."
    return (
        f"The test split was scored {scored} times with other answers or other choices, in this or an earlier run of "
        "the study: the more often, the more a good result may be luck."
    )
