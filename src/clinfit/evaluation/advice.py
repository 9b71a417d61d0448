"""Which system for which use: words derived from the numbers of a binary task, never more than these support.

A use is a metric to be high in, and at times a floor to keep. The systems that qualify are those shown to be better
than the constant answers. The one that scores best on the test set is named, with its threshold and with what it would
do to 100 records like these; when a simpler one is not shown to be worse, that one is named as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clinfit.evaluation.answers import confusion
from clinfit.evaluation.claims import Unbeaten
from clinfit.evaluation.comparison import paired_difference
from clinfit.evaluation.measure import Measured
from clinfit.evaluation.wording import evidence, title, with_interval

#: Screening asks for at least this specificity: a system that calls everyone positive screens nobody.
SCREENING_SPECIFICITY = 0.5


@dataclass(frozen=True)
class Use:
    """metric: what must be high. floor: least specificity of the systems that qualify."""

    name: str
    metric: str
    floor: float


USES = (
    Use(
        f"Screening (few missed, specificity {100 * SCREENING_SPECIFICITY:g} % or more)",
        "sensitivity",
        SCREENING_SPECIFICITY,
    ),
    Use("Balanced", "balanced_accuracy", 0.0),
    Use("Overall", "accuracy", 0.0),
)


def advice(measured: Sequence[Measured], obstacles: dict[str, Unbeaten | None]) -> list[str]:
    """A line for each use, among the systems shown to be better than the trivial answers (binary tasks)."""
    if measured[0].answers.positive is None:
        return []
    useful = [item for item in measured if obstacles[item.name] is None]
    if not useful:
        obstacle = next(found for found in obstacles.values() if found is not None)
        return [f"No system can be advised for any use: none is shown to be better than {obstacle.name}."]
    lines = []
    for use in USES:
        fitting = [item for item in useful if _value(item, "specificity") >= use.floor]
        if fitting:
            lines.append(_line(use, fitting))
        else:
            lines.append(f"{use.name}: none of the systems that beat the constant answers has that specificity.")
    return lines


def _line(use: Use, fitting: Sequence[Measured]) -> str:
    """The best of the fitting systems, and the simple one that it is not shown to beat."""
    best = max(fitting, key=lambda item: _value(item, use.metric))
    value = with_interval(use.metric, best.metrics[use.metric], best.scored.confidence)
    line = f"{use.name}: {best.name}, {title(use.metric).lower()} {value}, {decision(best)}. {_of_hundred(best)}"
    simple = [item for item in fitting if item.system.simple]
    if best.system.simple or not simple:
        return line
    rival = max(simple, key=lambda item: _value(item, use.metric))
    found = paired_difference(use.metric, rival.scored, best.scored)
    if found.gain > 0 and (found.p is None or found.p < 1 - best.scored.confidence):
        return line
    facts = evidence(found, None, best.scored.confidence)
    return f"{line} It is not shown to be better than {rival.name}, which is simpler: {facts}."


def decision(item: Measured) -> str:
    """How the probability becomes the answer: at threshold 0.310 (sensitivity, chosen on validation)."""
    choice = item.choice
    if choice.value is None:
        return "taking the most probable label"
    where = f"chosen on {choice.split}" if choice.split else "as the study fixes it"
    return f"at threshold {choice.value:.3f} (rule {choice.rule}, {where})"


def _of_hundred(item: Measured) -> str:
    """What the system would do to 100 records of this test set's mix."""
    answers = item.answers
    positive = answers.positive
    assert positive is not None
    counts = confusion(answers)
    event, negative = answers.labels[positive], 1 - positive
    found, false = counts[positive, positive], counts[negative, positive]
    missed, n = counts[positive].sum() - found, len(answers)
    hundred = [100 * count / n for count in (found, false, missed)]
    rightly, falsely, overlooked = (_whole(share) for share in hundred)
    return (
        f"Of 100 records like these it flags {rightly} rightly and {falsely} falsely as {event!r}, and misses "
        f"{overlooked} (counted: {found}, {false} and {missed} of {n})."
    )


def _whole(share: float) -> str:
    """A number of records of 100; what is rarer than half a record is not called none."""
    return "less than 1" if 0 < share < 0.5 else f"{share:.0f}"


def _value(item: Measured, metric: str) -> float:
    value = item.metrics[metric].value
    return -np.inf if value is None else value
