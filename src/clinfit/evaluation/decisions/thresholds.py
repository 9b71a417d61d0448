"""How probabilities become a decision: chosen on validation, applied once to test, stored with the model.

Convention, everywhere: of two labels positive when P(positive) >= threshold; of more the largest weight x probability
(`label_weights`). Without either (`argmax`) the most probable label is taken, and of equal ones the first declared.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from clinfit.evaluation.decisions.guarantee import GRID, STARTS, certified
from clinfit.evaluation.decisions.label_weights import OBJECTIVES as LABEL_RULES
from clinfit.evaluation.decisions.label_weights import choose_weights, weighed
from clinfit.evaluation.system_results import ThresholdDict
from clinfit.study.evaluation import Threshold

Floats = NDArray[np.float64]

#: What the rule `guarantee` promises in a cross-validation.
GUARANTEE_OF_FOLDS = (
    "the guarantee is each fold's own, for its model at its threshold: that all folds keep it, or the figures over all "
    "of them, is less certain"
)


@dataclass(frozen=True)
class ThresholdChoice:
    """The decision rule in force.

    rule: the rule of the study. value: the threshold of two labels; weights: label -> what its probability is
    multiplied by, of more than two; the most probable label is taken when both are None. split, n: where it was chosen
    and on how many items; None and 0 when nothing had to be chosen. achieved: sensitivity, specificity and the rule's
    own measure there; of weights macro F1 and balanced accuracy. note: why it is not what the study asked for. words:
    the rule as a person would say it.
    """

    rule: str = "argmax"
    value: float | None = None
    split: str | None = None
    n: int = 0
    achieved: dict[str, float] = field(default_factory=dict)
    note: str | None = None
    words: str = "the most probable label"
    weights: dict[str, float] | None = None

    @property
    def moved(self) -> bool:
        """Whether something else than the most probable label may be taken."""
        return self.value is not None or self.weights is not None

    def as_dict(self) -> ThresholdDict:
        return cast(ThresholdDict, asdict(self))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ThresholdChoice":
        return cls(**values)


def apply_threshold(
    probabilities: Floats, labels: Sequence[str], positive: str | None, choice: ThresholdChoice
) -> list[str]:
    """(n, K) probabilities to n labels; evaluation and the served pack both decide here."""
    if choice.weights is not None:
        return [str(labels[k]) for k in weighed(probabilities, [choice.weights[label] for label in labels])]
    if choice.value is None:
        return [str(labels[k]) for k in probabilities.argmax(axis=1)]
    if positive is None or len(labels) != 2:
        raise ValueError("a threshold needs two labels and a positive one")
    negative = next(label for label in labels if label != positive)
    yes = probabilities[:, list(labels).index(positive)] >= choice.value
    return [positive if hit else negative for hit in yes]


def choose_threshold(
    rule: Threshold, positive: NDArray[np.bool_], scores: Floats, split: str = "validation"
) -> ThresholdChoice:
    """The study's rule on validation items: (n,) gold is positive, (n,) P(positive), nan where no answer can be read.

    split: what these items are called, where they are others.

    An unread item counts in its class, as it does on test: a miss, or a negative that is not cleared.

    Candidates lie midway between neighbouring scores, so that both answers occur: calling everything positive is no
    threshold. Only a guaranteed predictive value is sought on a grid fixed in advance (`guarantee.GRID`). Of equally
    good candidates the one nearest to 0.5 is taken; for a floor on sensitivity (specificity) the best specificity
    (sensitivity) above the floor. When none satisfies the rule, the choice falls back to the most probable label and
    its `note` says so.
    """
    if rule.rule == "argmax":
        return ThresholdChoice()
    words = rule_words(rule)
    if rule.rule == "fixed":
        return ThresholdChoice("fixed", rule.value, words=words)
    n = len(scores)
    fallback = ThresholdChoice(rule.rule, None, split, n, words=words)
    if positive.all() or not positive.any():
        return replace(fallback, note=f"{split} items are of one class only; the most probable label is taken")
    on_grid = rule.rule == "guarantee" and rule.metric == "ppv"
    sweep = sweep_at(positive, scores, GRID) if on_grid else sweep_thresholds(positive, scores)
    if not len(sweep.thresholds) or np.ptp(scores[~np.isnan(scores)]) == 0:
        return replace(fallback, note="every item has the same probability; the most probable label is taken")
    gain, allowed = _objective(rule, sweep)
    if not allowed.any():
        asked = words.partition(",")[0]
        return replace(fallback, note=f"no threshold on {split} items gives {asked}; the most probable label is taken")
    gain = np.where(allowed, gain, -np.inf)
    best = np.flatnonzero(gain >= gain.max() - 1e-12)
    chosen = int(best[np.abs(sweep.thresholds[best] - 0.5).argmin()])
    return replace(fallback, value=float(sweep.thresholds[chosen]), achieved=_achieved(rule, sweep, chosen))


def choose_label_weights(
    rule: Threshold, labels: Sequence[str], gold: NDArray[np.int64], scores: Floats, split: str = "validation"
) -> ThresholdChoice:
    """The study's rule for more than two labels: (n,) gold label indices, (n, K) probabilities, nan where no answer can
    be read. What they cannot give falls back to the most probable label, with a `note`. split: as of
    `choose_threshold`."""
    words = rule_words(rule)
    if rule.weights is not None:
        return ThresholdChoice(rule.rule, words=words, weights={**rule.weights})
    fallback = ThresholdChoice(rule.rule, None, split, len(gold), words=words)
    missing = [
        label for label, count in zip(labels, np.bincount(gold, minlength=len(labels)), strict=True) if not count
    ]
    if missing:
        return replace(fallback, note=f"{split} items hold no {missing[0]!r}; the most probable label is taken")
    weights, achieved = choose_weights(rule.rule, gold, scores)
    if np.ptp(weights) == 0:
        return replace(fallback, achieved=achieved, words=f"{words}, which the most probable label has already")
    return replace(fallback, achieved=achieved, weights=dict(zip(labels, weights.tolist(), strict=True)))


def over_folds(choices: Sequence[ThresholdChoice]) -> ThresholdChoice:
    """What the folds of a cross-validation chose, in one: the median threshold, means of what they achieved on
    validation, and the range in its words. A fold that fell back to the more probable label counts as one half."""
    first = choices[0]
    if all(choice.split is None for choice in choices):
        return first
    if any(choice.weights is not None for choice in choices):
        return _weights_of_folds(choices)
    if first.rule in LABEL_RULES and not any(choice.moved for choice in choices):
        return replace(first, note="; ".join(_fallen(choices)) or None)
    values = [0.5 if choice.value is None else choice.value for choice in choices]
    notes = _fallen(choices)
    if first.rule == "guarantee" and any(choice.value is not None for choice in choices):
        notes.insert(0, GUARANTEE_OF_FOLDS)
    names = [name for name in first.achieved if all(name in choice.achieved for choice in choices)]
    return ThresholdChoice(
        rule=first.rule,
        value=None if all(choice.value is None for choice in choices) else float(np.median(values)),
        split="validation",
        n=round(float(np.mean([choice.n for choice in choices]))),
        achieved={name: float(np.mean([choice.achieved[name] for choice in choices])) for name in names},
        note="; ".join(notes) or None,
        words=f"{first.words}; the median of {len(values)} folds, from {min(values):.2f} to {max(values):.2f}",
    )


def _fallen(choices: Sequence[ThresholdChoice]) -> list[str]:
    """What folds noted, in one sentence."""
    notes = [choice.note for choice in choices if choice.note is not None]
    return [f"in {len(notes)} of {len(choices)} folds: {notes[0]}"] if notes else []


def _weights_of_folds(choices: Sequence[ThresholdChoice]) -> ThresholdChoice:
    """Geometric means of the label weights of the folds; a fold without weights has ones."""
    chosen = [choice for choice in choices if choice.weights is not None]
    labels = list(chosen[0].weights or {})
    table = np.array([[(choice.weights or {}).get(label, 1.0) for label in labels] for choice in choices])
    first = chosen[0]
    return ThresholdChoice(
        rule=first.rule,
        split=first.split,
        n=round(float(np.mean([choice.n for choice in choices]))),
        achieved={
            name: float(np.mean([choice.achieved[name] for choice in choices if name in choice.achieved]))
            for name in first.achieved
        },
        note="; ".join(_fallen(choices)) or None,
        words=f"{first.words}; each fold its own",
        weights=dict(zip(labels, np.exp(np.log(table).mean(axis=0)).tolist(), strict=True)),
    )


def rule_words(rule: Threshold) -> str:
    """What the rule asks for, as a person would say it; fits after `chosen for`."""
    value = rule.value or 0.0
    match rule.rule:
        case "argmax":
            return "the most probable label"
        case "fixed":
            return (
                "label weights, fixed in the study" if rule.weights else f"the threshold {value:g}, fixed in the study"
            )
        case "sensitivity" | "specificity":
            other = "specificity" if rule.rule == "sensitivity" else "sensitivity"
            return f"{rule.rule} of at least {100 * value:g} %, then the largest {other}"
        case "f1":
            return "the largest F1"
        case "macro-f1":
            return "the largest macro F1"
        case "f-beta":
            return f"the largest F-beta, beta {value:g}"
        case "cost":
            return f"the least cost, a miss counted as {value:g} false alarms"
        case "guarantee":
            metric = {"ppv": "positive predictive value"}.get(rule.metric, rule.metric)
            return f"{metric} of at least {100 * value:g} % with probability {100 * rule.certainty:g} %"
        case _:
            return (
                "the largest balanced accuracy"
                if rule.rule == "balanced-accuracy"
                else "the largest sensitivity + specificity"
            )


@dataclass(frozen=True)
class Sweep:
    """Thresholds, ascending, with the positives found, the false alarms and the negatives cleared at each; all (t,).

    positives, negatives: items of each class, at least one, unread ones among them.
    """

    thresholds: Floats
    found: Floats
    alarms: Floats
    cleared: Floats
    positives: int
    negatives: int

    @property
    def sensitivity(self) -> Floats:
        return self.found / self.positives

    @property
    def specificity(self) -> Floats:
        return self.cleared / self.negatives

    @property
    def ppv(self) -> Floats:
        """nan where nothing is called positive."""
        called = self.found + self.alarms
        return np.divide(self.found, called, out=np.full_like(called, np.nan), where=called > 0)

    @property
    def f1(self) -> Floats:
        return self.f_beta(1.0)

    def f_beta(self, beta: float) -> Floats:
        """Van Rijsbergen (1979): recall weighs beta times as much as precision."""
        weight = beta * beta
        misses = self.positives - self.found
        return (1 + weight) * self.found / ((1 + weight) * self.found + weight * misses + self.alarms)

    def cost(self, miss: float) -> Floats:
        """Mean cost of an item in false alarms."""
        return (miss * (self.positives - self.found) + self.alarms) / (self.positives + self.negatives)


def sweep_thresholds(positive: NDArray[np.bool_], scores: Floats) -> Sweep:
    """All thresholds midway between neighbouring distinct scores; both classes must be present."""
    levels = np.unique(scores[~np.isnan(scores)])
    middle = (levels[:-1] + levels[1:]) / 2
    # Neighbouring floats have no number between them: the upper one then divides them, by the >= convention.
    return sweep_at(positive, scores, np.where(middle > levels[:-1], middle, levels[1:]))


def sweep_at(positive: NDArray[np.bool_], scores: Floats, thresholds: Floats) -> Sweep:
    """These thresholds (ascending); both classes must be present."""
    read, positives = ~np.isnan(scores), int(positive.sum())
    hits, others = np.sort(scores[positive & read]), np.sort(scores[~positive & read])
    found = (len(hits) - np.searchsorted(hits, thresholds, side="left")).astype(np.float64)
    cleared = np.searchsorted(others, thresholds, side="left").astype(np.float64)
    return Sweep(thresholds, found, len(others) - cleared, cleared, positives, len(positive) - positives)


def _objective(rule: Threshold, sweep: Sweep) -> tuple[Floats, NDArray[np.bool_]]:
    """What to maximise over the thresholds, and which of them are allowed."""
    sensitivity, specificity = sweep.sensitivity, sweep.specificity
    anywhere = np.ones(len(sweep.thresholds), dtype=bool)
    value = rule.value or 0.0
    floor = value - 1e-12
    match rule.rule:
        case "sensitivity":
            return specificity, sensitivity >= floor
        case "specificity":
            return sensitivity, specificity >= floor
        case "f1":
            return sweep.f1, anywhere
        case "f-beta":
            return sweep.f_beta(value), anywhere
        case "cost":
            return -sweep.cost(value), anywhere
        case "guarantee":
            called = sweep.found + sweep.alarms
            both = (called > 0) & (called < sweep.positives + sweep.negatives)
            match rule.metric:
                case "sensitivity":
                    tested = certified(sweep.found, np.full_like(called, sweep.positives), value, rule.certainty)
                    return specificity, tested & both
                case "specificity":
                    cleared, negatives = sweep.cleared[::-1], np.full_like(called, sweep.negatives)
                    return sensitivity, certified(cleared, negatives, value, rule.certainty)[::-1] & both
                case "ppv":
                    tested = certified(sweep.found[::-1], called[::-1], value, rule.certainty, starts=STARTS)[::-1]
                    return sensitivity, tested & both
        case _:  # Youden's J and balanced accuracy have the same maximum
            return sensitivity + specificity, anywhere


def _achieved(rule: Threshold, sweep: Sweep, chosen: int) -> dict[str, float]:
    measures = {
        "sensitivity": sweep.sensitivity,
        "specificity": sweep.specificity,
        "f1": sweep.f1,
        "balanced_accuracy": (sweep.sensitivity + sweep.specificity) / 2,
    }
    match rule.rule:
        case "f-beta":
            measures["f_beta"] = sweep.f_beta(rule.value or 0.0)
        case "cost":
            measures["cost"] = sweep.cost(rule.value or 0.0)
        case "guarantee":
            measures["ppv"] = sweep.ppv
    return {name: float(values[chosen]) for name, values in measures.items()}
