"""How a binary probability becomes a decision: chosen on validation, applied once to test, stored with the model.

Convention, everywhere: positive when P(positive) >= threshold. Without a threshold (`argmax`) the most probable label
is taken, and of equally probable ones the first declared.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from clinfit.evaluation.results import ThresholdDict
from clinfit.study import Threshold

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ThresholdChoice:
    """The decision rule in force.

    rule: the rule of the study. value: the threshold, None when the most probable label is taken. split, n: where it
    was chosen and on how many items; None and 0 when nothing had to be chosen. achieved: sensitivity, specificity and
    the rule's own measure there. note: why it is not what the study asked for.
    """

    rule: str = "argmax"
    value: float | None = None
    split: str | None = None
    n: int = 0
    achieved: dict[str, float] = field(default_factory=dict)
    note: str | None = None

    def as_dict(self) -> ThresholdDict:
        return cast(ThresholdDict, asdict(self))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ThresholdChoice":
        return cls(**values)


def apply_threshold(
    probabilities: Floats, labels: Sequence[str], positive: str | None, choice: ThresholdChoice
) -> list[str]:
    """(n, K) probabilities to n labels; evaluation and the served pack both decide here."""
    if choice.value is None:
        return [str(labels[k]) for k in probabilities.argmax(axis=1)]
    if positive is None or len(labels) != 2:
        raise ValueError("a threshold needs two labels and a positive one")
    negative = next(label for label in labels if label != positive)
    yes = probabilities[:, list(labels).index(positive)] >= choice.value
    return [positive if hit else negative for hit in yes]


def choose_threshold(rule: Threshold, positive: NDArray[np.bool_], scores: Floats) -> ThresholdChoice:
    """The study's rule on validation items: (n,) gold is positive, (n,) P(positive).

    Candidates lie midway between neighbouring scores, so that both answers occur: calling everything positive is no
    threshold. Of equally good candidates the one nearest to 0.5 is taken; for a floor on sensitivity (specificity) the
    best specificity (sensitivity) above the floor. When none satisfies the rule, the choice falls back to the most
    probable label and its `note` says so.
    """
    if rule.rule == "argmax":
        return ThresholdChoice()
    if rule.rule == "fixed":
        return ThresholdChoice("fixed", rule.value)
    n = len(scores)
    fallback = ThresholdChoice(rule.rule, None, "validation", n)
    if positive.all() or not positive.any():
        return replace(fallback, note="validation holds one class only; the most probable label is taken")
    sweep = sweep_thresholds(positive, scores)
    if not len(sweep.thresholds):
        return replace(fallback, note="every item has the same probability; the most probable label is taken")
    gain, allowed = _objective(rule, sweep)
    if not allowed.any():
        text = f"no threshold reaches {rule.rule} {rule.value:g} on validation; the most probable label is taken"
        return replace(fallback, note=text)
    gain = np.where(allowed, gain, -np.inf)
    best = np.flatnonzero(gain >= gain.max() - 1e-12)
    chosen = int(best[np.abs(sweep.thresholds[best] - 0.5).argmin()])
    achieved = {
        "sensitivity": float(sweep.sensitivity[chosen]),
        "specificity": float(sweep.specificity[chosen]),
        "f1": float(sweep.f1[chosen]),
        "balanced_accuracy": float((sweep.sensitivity[chosen] + sweep.specificity[chosen]) / 2),
    }
    return replace(fallback, value=float(sweep.thresholds[chosen]), achieved=achieved)


@dataclass(frozen=True)
class Sweep:
    """Every threshold that changes an answer, ascending, with what it gives; all (t,)."""

    thresholds: Floats
    sensitivity: Floats
    specificity: Floats
    f1: Floats


def sweep_thresholds(positive: NDArray[np.bool_], scores: Floats) -> Sweep:
    """All thresholds midway between neighbouring distinct scores; both classes must be present."""
    levels, place = np.unique(scores, return_inverse=True)
    below = np.cumsum(np.bincount(place, minlength=len(levels)))[:-1]
    missed = np.cumsum(np.bincount(place, weights=positive, minlength=len(levels)))[:-1]
    middle = (levels[:-1] + levels[1:]) / 2
    # Neighbouring floats have no number between them: the upper one then divides them, by the >= convention.
    thresholds = np.where(middle > levels[:-1], middle, levels[1:])
    n, positives = len(scores), positive.sum()
    found = positives - missed
    called = n - below
    return Sweep(thresholds, found / positives, (below - missed) / (n - positives), 2 * found / (called + positives))


def _objective(rule: Threshold, sweep: Sweep) -> tuple[Floats, NDArray[np.bool_]]:
    """What to maximise over the thresholds, and which of them are allowed."""
    sensitivity, specificity = sweep.sensitivity, sweep.specificity
    anywhere = np.ones(len(sweep.thresholds), dtype=bool)
    floor = (rule.value or 0.0) - 1e-12
    match rule.rule:
        case "sensitivity":
            return specificity, sensitivity >= floor
        case "specificity":
            return sensitivity, specificity >= floor
        case "f1":
            return sweep.f1, anywhere
        case _:  # Youden's J and balanced accuracy have the same maximum
            return sensitivity + specificity, anywhere
