"""How the probabilities of a multilabel task become sets of labels: a threshold for each label, from validation.

A label holds from its threshold on, as everywhere (thresholds.py); evaluation and the served pack use the same ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from clinfit.evaluation.context import Measured, MeasuredContext, Outcome
from clinfit.evaluation.decisions.decide import Decided
from clinfit.evaluation.decisions.thresholds import ThresholdChoice, choose_threshold
from clinfit.evaluation.label_sets import LabelSets
from clinfit.evaluation.systems import System
from clinfit.findings import Finding
from clinfit.study.evaluation import LabelThreshold, MultilabelEvaluation, Threshold

#: Validation items of a label below which a threshold chosen on them is a matter of chance.
FEW_TO_CHOOSE = 30


@dataclass(frozen=True)
class LabelDecision:
    """choices: by label, in the order of the task."""

    choices: Mapping[str, ThresholdChoice]


def decide_labels(settings: MultilabelEvaluation, system: System) -> Decided:
    """The study's rule on the system's validation items, label by label; rules such as majority, and systems that give
    labels alone, keep the answers that they are."""
    test: LabelSets = system.test.answers
    validation: LabelSets = system.validation.answers
    fixed = system.rule or system.majority or not test.has_probabilities.any()
    rule = LabelThreshold() if fixed else settings.threshold
    decision = LabelDecision({label: _choose(rule, validation, k) for k, label in enumerate(test.labels)})
    if rule == LabelThreshold():  # what every model does by itself; answers of other tools stay as they are given
        return Decided(system, decision, test, validation)
    return Decided(system, decision, *(_under(answers, decision.choices) for answers in (test, validation)))


def _choose(rule: LabelThreshold, validation: LabelSets, k: int) -> ThresholdChoice:
    """Of one label; the fixed value where validation cannot give another."""
    fixed = choose_threshold(Threshold(rule="fixed", value=rule.value), validation.gold[:, k], np.zeros(0))
    if rule.rule == "fixed":
        return fixed
    read = validation.has_probabilities & validation.parsed
    if not read.any():
        return replace(fixed, rule=rule.rule, note=f"no validation items; the threshold {rule.value:g} is taken")
    scores = np.where(read, validation.probabilities[:, k], np.nan)
    choice = choose_threshold(Threshold(rule=rule.rule), validation.gold[:, k], scores)
    if choice.value is not None:
        return choice
    why = (choice.note or "").partition(";")[0]
    return replace(choice, value=rule.value, note=f"{why}; the threshold {rule.value:g} is taken")


def _under(answers: LabelSets, choices: Mapping[str, ThresholdChoice]) -> LabelSets:
    """Answers under the thresholds; unparsed answers, and items without probabilities, stay as they are."""
    values = np.array([choice.value for choice in choices.values()], dtype=np.float64)
    open_items = ~answers.parsed | ~answers.has_probabilities
    return replace(answers, predicted=np.where(open_items[:, None], answers.predicted, answers.probabilities >= values))


# ---------------------------------------------------------------- what is said of it


def label_thresholds(context: MeasuredContext, item: Measured) -> Outcome:
    """The threshold of each label, and for how many validation could not give what the study asked for.

    Of a pack on new records those that it brings along: it has decided by them, and nothing was chosen here.
    """
    if context.facts.external is not None:
        return context.facts.external["thresholds"], []
    decision: LabelDecision = item.decision
    section = {label: choice.as_dict() for label, choice in decision.choices.items()}
    left = {label: choice.note for label, choice in decision.choices.items() if choice.note}
    if item.system.rule or not left:
        return section, []
    return section, [
        Finding(
            "warn",
            "threshold-fallback",
            f"{item.name}: validation gives no threshold for {len(left)} of {len(section)} labels",
            "; ".join(f"{label}: {note.partition(';')[0]}" for label, note in left.items() if note),
            "the fixed value is used for these; validation needs items with and without each label",
            item.name,
        )
    ]


def check_label_validation(context: MeasuredContext) -> Outcome:
    """Whether thresholds were chosen on enough items: once a task, as all systems have the same."""
    chosen = [item for item in context.measured if any(c.split is not None for c in item.decision.choices.values())]
    if not chosen:
        return None, []
    answers: LabelSets = chosen[0].validation
    fewest = np.minimum(answers.support, len(answers) - answers.support)
    few = {label: count for label, count in zip(answers.labels, fewest.tolist(), strict=True) if count < FEW_TO_CHOOSE}
    if not few:
        return None, []
    return None, [
        Finding(
            "warn",
            "small-validation",
            f"The thresholds of {len(few)} of {len(answers.labels)} labels were chosen on fewer than {FEW_TO_CHOOSE} "
            "validation items with, or without, the label",
            ", ".join(f"{label} {count}" for label, count in few.items()),
            "read what they reach on test, not on validation; a fixed threshold is safer for rare labels",
        )
    ]
