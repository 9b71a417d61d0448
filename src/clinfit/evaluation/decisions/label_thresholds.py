"""How the probabilities of a multilabel task become sets of labels: recalibration and a threshold for each label, from
validation.

A label holds from its threshold on, as everywhere (thresholds.py); evaluation and the served pack use the same ones.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from clinfit.evaluation.answers import Ints, items_of, support_of_fold
from clinfit.evaluation.context import Measured, MeasuredContext, Outcome
from clinfit.evaluation.decisions.decide import ELSEWHERE, OUT_OF_FOLD, Decided, cross_fitted, joined
from clinfit.evaluation.decisions.recalibration import Recalibration, fit_label_recalibration
from clinfit.evaluation.decisions.thresholds import ThresholdChoice, choose_threshold, over_folds
from clinfit.evaluation.label_sets import LabelSets
from clinfit.evaluation.systems import System
from clinfit.findings import Finding
from clinfit.study.data import Fold
from clinfit.study.evaluation import LabelThreshold, MultilabelEvaluation, Threshold
from clinfit.study.tasks import HOLDS

#: Validation items of a label below which a threshold chosen on them is a matter of chance.
FEW_TO_CHOOSE = 30


@dataclass(frozen=True)
class LabelDecision:
    """choices: by label, in the order of the task. recalibration: None where the study asks for none. raw: the test
    answers before it. folds: of a cross-validation the decision of each fold, chosen on its own validation; `choices`
    sums them up, and `recalibration`, which cannot be summed up, is None."""

    choices: Mapping[str, ThresholdChoice]
    recalibration: Recalibration | None
    raw: LabelSets
    folds: "Mapping[Fold, LabelDecision]" = field(default_factory=dict)


def decide_labels(settings: MultilabelEvaluation, system: System) -> Decided:
    """The study's recalibration and rule on the system's validation items, label by label, in a cross-validation of
    each fold on its own; rules such as majority, and systems that give labels alone, keep the answers that they are."""
    test: LabelSets = system.test.answers
    if test.folds is None:
        return _decide(settings, system)
    made = {fold: _decide(settings, part) for fold, part in system.parts.items()}
    folds = {fold: one.decision for fold, one in made.items()}
    choices = {label: over_folds([one.choices[label] for one in folds.values()]) for label in test.labels}
    return joined(system, made, LabelDecision(choices, None, test, folds), _joined)


def decide_refit_labels(settings: MultilabelEvaluation, system: System) -> LabelDecision:
    """How a model that is refitted on all records decides: by the study's rule, on the out-of-fold answers of all
    repeats together (see decide.decide_refit)."""
    raw: LabelSets = system.test.answers
    fitted = _recalibration(settings, system, raw, OUT_OF_FOLD)
    answers = raw if fitted is None else _mapped(raw, fitted)
    choices = {label: _choose(settings.threshold, answers, k, OUT_OF_FOLD) for k, label in enumerate(answers.labels)}
    most = items_of(answers)
    if fitted is not None:
        fitted = replace(fitted, n=min(fitted.n, most))
    return LabelDecision(
        {label: replace(choice, n=min(choice.n, most)) for label, choice in choices.items()}, fitted, raw
    )


def _joined(answers: LabelSets, parts: Mapping[Fold, LabelSets]) -> LabelSets:
    """The answers as each fold gives its own."""
    if answers.folds is None:  # no validation items
        return answers
    predicted, probabilities = answers.predicted.copy(), answers.probabilities.copy()
    for fold, items in answers.folds.parts.items():
        predicted[items], probabilities[items] = parts[fold].predicted, parts[fold].probabilities
    return replace(answers, predicted=predicted, probabilities=probabilities)


def _decide(
    settings: MultilabelEvaluation,
    system: System,
    split: str = "validation",
    kept: Mapping[str, ThresholdChoice] | None = None,
    mapped_labels: Collection[str] | None = None,
) -> Decided:
    """kept: thresholds that are not chosen here. mapped_labels: see fit_label_recalibration."""
    raw: LabelSets = system.test.answers
    fitted = _recalibration(settings, system, system.validation.answers, split, mapped_labels)
    mapped = system if fitted is None or fitted.kind == "none" else system.with_answers(partial(_mapped, fitted=fitted))
    test, validation = mapped.test.answers, mapped.validation.answers
    fixed = system.rule or system.majority or not raw.has_probabilities.any()
    rule = LabelThreshold() if fixed else settings.threshold
    choices = kept or {label: _choose(rule, validation, k, split) for k, label in enumerate(raw.labels)}
    decision = LabelDecision(choices, fitted, raw)
    # What every model does by itself; answers of other tools stay as they are given.
    if kept is None and rule == LabelThreshold():
        return Decided(mapped, decision, test, validation)
    return Decided(mapped, decision, *(_under(answers, choices) for answers in (test, validation)))


def decide_labels_elsewhere(
    settings: MultilabelEvaluation, system: System, folds: Ints, kept: Mapping[str, ThresholdChoice] | None = None
) -> tuple[LabelDecision, LabelSets]:
    """How a trained model decides at another place, and what that does there, cross-fitted: see
    decide.decide_elsewhere. kept: thresholds that stay where they are."""
    final = _decide(settings, replace(system, validation=system.test), ELSEWHERE, kept)
    # The folds judge the map that is given: of the same labels, though each fold has fewer items of them.
    fitted: Recalibration | None = final.decision.recalibration
    labels = None if fitted is None else fitted.mapped_labels(system.test.answers.labels)
    decided = partial(_decide, settings, split=ELSEWHERE, kept=kept, mapped_labels=labels)
    return final.decision, cross_fitted(system, folds, lambda part: decided(part).test, _joined)


def _recalibration(
    settings: MultilabelEvaluation,
    system: System,
    answers: LabelSets,
    split: str,
    mapped_labels: Collection[str] | None = None,
) -> Recalibration | None:
    """The study's map, fitted on the answers that have probabilities; none for simple rules."""
    if settings.calibration == "none" or system.rule or system.majority:
        return None
    read = answers.has_probabilities
    return fit_label_recalibration(
        settings.calibration, answers.labels, answers.gold[read], answers.probabilities[read], split, mapped_labels
    )


def _mapped(answers: LabelSets, fitted: Recalibration) -> LabelSets:
    """The answers as if the model had given the recalibrated probabilities, and had answered by them."""
    probabilities = fitted.apply(answers.probabilities)
    open_items = ~answers.parsed | ~answers.has_probabilities
    predicted = np.where(open_items[:, None], answers.predicted, probabilities >= HOLDS)
    return replace(answers, probabilities=probabilities, predicted=predicted)


def _choose(rule: LabelThreshold, validation: LabelSets, k: int, split: str = "validation") -> ThresholdChoice:
    """Of one label; the fixed value where validation cannot give another."""
    fixed = choose_threshold(Threshold(rule="fixed", value=rule.value), validation.gold[:, k], np.zeros(0))
    if rule.rule == "fixed":
        return fixed
    read = validation.has_probabilities & validation.parsed
    if not read.any():
        return replace(fixed, rule=rule.rule, note=f"no {split} items; the threshold {rule.value:g} is taken")
    scores = np.where(read, validation.probabilities[:, k], np.nan)
    choice = choose_threshold(Threshold(rule=rule.rule), validation.gold[:, k], scores, split)
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
    n = len(answers) if answers.folds is None else len(answers) // len(answers.folds.parts)
    support = support_of_fold(answers)
    fewest = np.minimum(support, n - support)
    each = "" if answers.folds is None else " of each fold"
    few = {label: count for label, count in zip(answers.labels, fewest.tolist(), strict=True) if count < FEW_TO_CHOOSE}
    if not few:
        return None, []
    return None, [
        Finding(
            "warn",
            "small-validation",
            f"The thresholds of {len(few)} of {len(answers.labels)} labels were chosen on fewer than {FEW_TO_CHOOSE} "
            f"validation items{each} with, or without, the label",
            ", ".join(f"{label} {count}" for label, count in few.items()),
            "read what they reach on test, not on validation; a fixed threshold is safer for rare labels",
        )
    ]
