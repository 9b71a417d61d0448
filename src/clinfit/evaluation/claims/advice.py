"""Which system for which use: words derived from the numbers of a binary task, never more than these support.

A use has a threshold of its own. It is chosen for every useful system on validation, and the system that is best there
is named; what it then does is told from the test split, which has chosen nothing. Useful are those shown to be better
than the constant answers. When a simpler one is not shown to be worse, that one is named as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from clinfit.evaluation.answers import LabelAnswers, confusion, repeats_of, support_of_fold
from clinfit.evaluation.claims.natural_frequencies import natural_frequencies
from clinfit.evaluation.claims.paired import paired_difference
from clinfit.evaluation.claims.wording import evidence, title, with_interval
from clinfit.evaluation.context import Measured, MeasuredContext
from clinfit.evaluation.decisions.decide import decide
from clinfit.evaluation.decisions.thresholds import ThresholdChoice
from clinfit.evaluation.metrics.engine import Scored
from clinfit.study.evaluation import DecisionSettings, Threshold

#: Screening asks for this sensitivity, and for at least this specificity: a system that calls everyone positive screens
#: nobody.
SCREENING_SENSITIVITY = 0.95
SCREENING_SPECIFICITY = 0.5
#: Without these validation items of each class no threshold for a use can be chosen.
LEAST_ITEMS = 10


@dataclass(frozen=True)
class Use:
    """rule: how its threshold is chosen; None for the study's own. metric: what is best on validation. floor: the least
    of it there. shown: what is told of the test split."""

    name: str
    rule: Threshold | None
    metric: str
    floor: float
    shown: tuple[str, ...]


USES = (
    Use(
        f"Screening (sensitivity of {100 * SCREENING_SENSITIVITY:g} % or more)",
        Threshold(rule="sensitivity", value=SCREENING_SENSITIVITY),
        "specificity",
        SCREENING_SPECIFICITY,
        ("sensitivity", "specificity"),
    ),
    Use("Balanced", Threshold(rule="balanced-accuracy"), "balanced_accuracy", 0.0, ("balanced_accuracy",)),
    Use("Overall", None, "accuracy", 0.0, ("accuracy",)),
)


@dataclass(frozen=True)
class Candidate:
    """A system under the threshold of a use. validation: the use's metric there. test: its answers."""

    item: Measured
    choice: ThresholdChoice
    validation: float
    test: LabelAnswers


def advice(context: MeasuredContext) -> list[str]:
    """A line for each use, among the systems shown to be better than the constant answers (binary tasks)."""
    if context.measured[0].answers.positive is None:
        return []
    useful = [item for item in context.measured if item.name not in context.uninformative]
    if not useful:
        unbeaten = next(iter(context.uninformative.values()))
        return [f"No system can be advised for any use: none is shown to be better than {unbeaten.name}."]
    if min(support_of_fold(useful[0].validation), default=0) < LEAST_ITEMS:
        return [
            f"No system is advised for a use: its threshold needs {LEAST_ITEMS} validation items of each class, which "
            "are not there."
        ]
    return [_of_use(context, use, useful) for use in USES]


def _of_use(context: MeasuredContext, use: Use, useful: Sequence[Measured]) -> str:
    candidates = [found for item in useful if (found := _candidate(context, use, item)) is not None]
    fitting = [found for found in candidates if found.validation >= use.floor]
    if fitting:
        return _line(context, use, fitting)
    if use.floor and candidates:
        return f"{use.name}: none of the useful systems keeps a {use.metric} of {100 * use.floor:g} % on validation."
    return f"{use.name}: validation gives no threshold for it."


def _candidate(context: MeasuredContext, use: Use, item: Measured) -> Candidate | None:
    """The system under the use's threshold; None where validation gives none."""
    validation: LabelAnswers = item.validation
    choice, test = item.decision.choice, item.answers
    if use.rule is not None:  # the probabilities of the system are recalibrated already
        asked = {"threshold": use.rule, "calibration": "none"}
        decided = decide(cast(DecisionSettings, context.settings).model_copy(update=asked), item.system)
        choice, validation, test = decided.decision.choice, decided.validation, decided.test
        if choice.value is None:
            return None
    value = context.engine.estimates(validation).get(use.metric, float("nan"))
    return None if np.isnan(value) else Candidate(item, choice, value, test)


def _line(context: MeasuredContext, use: Use, fitting: Sequence[Candidate]) -> str:
    """The best of the fitting systems, and the simple one that it is not shown to beat; only these are resampled."""
    best = max(fitting, key=lambda found: found.validation)
    simple = max((found for found in fitting if found.item.system.simple), key=lambda f: f.validation, default=None)
    rival = None if best.item.system.simple else simple
    told = [best.test, *([] if rival is None else [rival.test])]
    scored, *others = context.engine.score(told, best.item.scored.resamples, context.confidence)
    metrics = context.engine.metrics(scored)
    values = ", ".join(
        f"{title(name).lower()} {with_interval(name, metrics[name], context.confidence)}" for name in use.shown
    )
    line = f"{use.name}: {best.item.name}, best on validation, {decision(best.choice, best.test)}; on test {values}."
    line += f" {_of_hundred(best.test)}{_beside_constant(context, use, scored)}"
    if rival is None:
        return line
    found = paired_difference(use.metric, others[0], scored)
    if found.shown(context.confidence) > 0:
        return line
    facts = evidence(found, None, context.confidence)
    return f"{line} It is not shown to be better than {rival.item.name}, which is simpler: {facts}."


def _beside_constant(context: MeasuredContext, use: Use, scored: Scored) -> str:
    """What answering the most frequent label is worth in accuracy, where the system is not shown to be worth more: one
    that tells labels apart better than a constant answer may be right less often all the same."""
    if use.metric != "accuracy":
        return ""
    name, constant = next(iter(context.constants.items()))
    found = paired_difference("accuracy", constant, scored)
    shown = found.shown(context.confidence)
    if shown > 0:
        return ""
    verb = "is right less often" if shown < 0 else "is not shown to be right more often"
    return f" It {verb} than {name}: {evidence(found, None, context.confidence)}."


def decision(choice: ThresholdChoice, answers: LabelAnswers) -> str:
    """How the probability becomes the answer: at a threshold of 0.310 (chosen on validation)."""
    if choice.weights is not None:
        return f"by label weights ({f'chosen on {choice.split}' if choice.split else 'as the study fixes them'})"
    if choice.value is None:
        return "taking the most probable label"
    if answers.folds is not None and choice.split:
        return f"at each fold's own threshold (chosen on {choice.split}, median {choice.value:.3f})"
    where = f"chosen on {choice.split}" if choice.split else "as the study fixes it"
    return f"at a threshold of {choice.value:.3f} ({where})"


def _of_hundred(answers: LabelAnswers) -> str:
    """What the system would do to 100 records of this test set's mix."""
    positive = answers.positive
    assert positive is not None
    order = [positive, 1 - positive]
    counts = confusion(answers)[order][:, [*order, 2]]
    base, whole = natural_frequencies(counts)
    (found, missed), (scaled, overlooked) = ((each[0, 0], each[0, 1:].sum()) for each in (counts, whole))
    false, event, n = counts[1, 0], answers.labels[positive], len(answers)
    return (
        f"Of {base:,} records like these it flags {_shown(found, scaled)} rightly and {_shown(false, whole[1, 0])} "
        f"falsely as {event!r}, and misses {_shown(missed, overlooked)} (counted: {found}, {false} and {missed} of "
        f"{n}{' answers' if repeats_of(answers) > 1 else ''})."
    )


def _shown(counted: int, whole: int) -> str:
    """A rounded number of records; what there is and rounds to nothing is not called none."""
    return "less than 1" if counted and not whole else f"{whole:,}"
