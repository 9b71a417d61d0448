"""How the probabilities of one label out of several become answers: recalibration and threshold from validation.

Evaluation applies both to the saved predictions; the pack applies the same two objects to new records.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from clinfit.evaluation.answers import UNPARSED, Floats, Folds, Ints, LabelAnswers, items_of, label_codes
from clinfit.evaluation.decisions.label_weights import shares
from clinfit.evaluation.decisions.recalibration import Recalibration, fit_recalibration
from clinfit.evaluation.decisions.thresholds import (
    ThresholdChoice,
    apply_threshold,
    choose_label_weights,
    choose_threshold,
    over_folds,
)
from clinfit.evaluation.systems import System
from clinfit.study.data import Fold
from clinfit.study.evaluation import (
    DecisionSettings,
    ExtractionEvaluation,
    GenerationEvaluation,
    MultipleChoiceEvaluation,
    Threshold,
)

#: Settings by which one answer out of several is decided; of multiple choice no threshold is chosen.
Choosing = DecisionSettings | MultipleChoiceEvaluation
#: The answers of a kind, as parts of them give their own.
Join = Callable[[Any, Mapping[Fold, Any]], Any]

#: What the test answers of a cross-validation are called where something is chosen on them.
OUT_OF_FOLD = "out-of-fold"
#: What records are called on which a pack is recalibrated.
ELSEWHERE = "recalibration"
#: Why a guarantee of a refitted model is none.
NO_GUARANTEE = (
    "a guarantee is for one model and records that it has not seen; this threshold was sought on answers of the models "
    "of the folds, and guarantees nothing of the refitted model"
)


@dataclass(frozen=True)
class Decision:
    """choice: the threshold. recalibration: None where the study asks for none. raw: the test answers before it.

    folds: of a cross-validation the decision of each fold, chosen on its own validation; `choice` sums them up, and
    `recalibration`, which cannot be summed up, is None.
    """

    choice: ThresholdChoice
    recalibration: Recalibration | None
    raw: LabelAnswers
    folds: "Mapping[Fold, Decision]" = field(default_factory=dict)


@dataclass(frozen=True)
class Decided:
    """A system (with recalibrated probabilities) and its answers under its decision."""

    system: System
    decision: Any
    test: Any
    validation: Any


def decide(settings: Choosing, system: System) -> Decided:
    """The study's recalibration and threshold, both from the system's validation items; in a cross-validation those of
    each fold from its own."""
    if system.test.answers.folds is not None:
        return _together(system, {fold: _decide(settings, part) for fold, part in system.parts.items()})
    return _decide(settings, system)


def _decide(settings: Choosing, system: System, split: str = "validation") -> Decided:
    fitted = _recalibration(settings, system, split)
    mapped = system if fitted is None else _mapped(system, fitted)
    choice = _threshold(settings.threshold, mapped, split)
    return Decided(
        mapped,
        Decision(choice, fitted, system.test.answers),
        under_threshold(mapped.test.answers, choice),
        under_threshold(mapped.validation.answers, choice),
    )


def decide_refit(settings: Choosing, system: System) -> Decision:
    """How a model that is refitted on all records decides: by the study's rules, on the out-of-fold answers.

    No record is left that the refitted model has not seen. The answers of the folds are of models that were trained
    alike and had not seen theirs, and all repeats are pooled: as scikit-learn does for a map of probabilities
    (CalibratedClassifierCV, ensemble=False) and, by averages over the folds, for a threshold
    (TunedThresholdClassifierCV). Where the number of items decides (a guarantee, isotonic steps), the first repeat
    alone, which has each record once. system: with the answers as the models of the folds gave them.
    """
    answers: LabelAnswers = system.test.answers
    assert answers.folds is not None
    first = np.flatnonzero(answers.folds.repeat == answers.folds.repeat.min())
    every, once = (_out_of_fold(system, items) for items in (np.arange(len(answers)), first))
    fitted = _recalibration(settings, once if settings.calibration == "isotonic" else every, OUT_OF_FOLD)
    source = once if settings.threshold.rule == "guarantee" else every
    choice = _threshold(settings.threshold, source if fitted is None else _mapped(source, fitted), OUT_OF_FOLD)
    if settings.threshold.rule == "guarantee" and choice.moved:
        choice = replace(choice, note=NO_GUARANTEE)
    records = items_of(answers)
    if fitted is not None:
        fitted = replace(fitted, n=min(fitted.n, records))
    return Decision(replace(choice, n=min(choice.n, records)), fitted, answers)


def decide_elsewhere(settings: Choosing, system: System, folds: Ints) -> tuple[Decision, LabelAnswers]:
    """How a trained model decides at another place, and what that does there.

    system: with its answers to records of that place as test rows. folds: (n,) code of each record's fold. Map and
    threshold are chosen on all records. The answers are cross-fitted: those of each fold are decided by a map and a
    threshold from the other folds, so that no record is judged by what was chosen on it.
    """
    final = _decide(settings, replace(system, validation=system.test), ELSEWHERE)
    return final.decision, cross_fitted(system, folds, lambda part: _decide(settings, part, ELSEWHERE).test, _joined)


def cross_fitted(system: System, folds: Ints, decided: Callable[[System], Any], join: Join) -> Any:
    """The test answers of a system, those of each fold as `decided` gives them with the other rows to choose on."""
    rows, divided = system.test, Folds(np.ones_like(folds), folds)
    others = {fold: np.setdiff1d(np.arange(len(rows)), items) for fold, items in divided.parts.items()}
    parts = {
        fold: decided(replace(system, test=rows.part(items), validation=rows.part(others[fold])))
        for fold, items in divided.parts.items()
    }
    return replace(join(replace(rows.answers, folds=divided), parts), folds=None)


def _out_of_fold(system: System, items: Ints) -> System:
    """The system as if it were one model, to be decided by these of its answers."""
    rows = system.test.part(items)
    return replace(system, test=rows, validation=rows)


def _together(system: System, folds: Mapping[Fold, Decided]) -> Decided:
    """The answers of all folds, each under its own decision."""
    decisions = {fold: one.decision for fold, one in folds.items()}
    choice = over_folds([decision.choice for decision in decisions.values()])
    return joined(system, folds, Decision(choice, None, system.test.answers, decisions), _joined)


def joined(system: System, folds: Mapping[Fold, Decided], decision: Any, join: Join) -> Decided:
    """What the folds decided as of one system, under a decision that sums theirs up."""
    test, validation = system.test, system.validation
    tested, chosen = (
        join(test.answers, {fold: one.system.test.answers for fold, one in folds.items()}),
        join(validation.answers, {fold: one.system.validation.answers for fold, one in folds.items()}),
    )
    return Decided(
        replace(system, test=replace(test, answers=tested), validation=replace(validation, answers=chosen)),
        decision,
        join(test.answers, {fold: one.test for fold, one in folds.items()}),
        join(validation.answers, {fold: one.validation for fold, one in folds.items()}),
    )


def _joined(answers: LabelAnswers, parts: Mapping[Fold, LabelAnswers]) -> LabelAnswers:
    """The answers as each fold gives its own."""
    if answers.folds is None:  # no validation items
        return answers
    predicted, probabilities = answers.predicted.copy(), answers.probabilities.copy()
    sure = None if all(part.sureness is None for part in parts.values()) else np.zeros_like(probabilities)
    for fold, items in answers.folds.parts.items():
        part = parts[fold]
        predicted[items], probabilities[items] = part.predicted, part.probabilities
        if sure is not None:
            sure[items] = part.probabilities if part.sureness is None else part.sureness
    return replace(answers, predicted=predicted, probabilities=probabilities, sureness=sure)


def decide_text(settings: GenerationEvaluation | ExtractionEvaluation, system: System) -> Decided:
    """The text, as the system wrote it."""
    return Decided(system, None, system.test.answers, system.validation.answers)


def _recalibration(settings: Choosing, system: System, split: str = "validation") -> Recalibration | None:
    """The study's map, fitted on the validation items that have probabilities; none for simple rules."""
    if settings.calibration == "none" or system.rule or system.majority:
        return None
    answers: LabelAnswers = system.validation.answers
    usable = answers.has_probabilities
    return fit_recalibration(
        settings.calibration,
        answers.gold[usable],
        answers.probabilities[usable],
        answers.positive,
        split,
        classes=isinstance(settings, DecisionSettings),
    )


def _mapped(system: System, fitted: Recalibration) -> System:
    """The system as if its model had given the recalibrated probabilities, and had answered by them."""
    if fitted.kind == "none":
        return system

    def apply(answers: LabelAnswers) -> LabelAnswers:
        answers = replace(answers, probabilities=fitted.apply(answers.probabilities))
        return replace(answers, predicted=_answered(answers, ThresholdChoice()))

    return system.with_answers(apply)


def _threshold(rule: Threshold, system: System, split: str = "validation") -> ThresholdChoice:
    """The study's rule on the system's validation items; rules such as majority keep the answer that they are, and so
    do systems that give labels alone."""
    if rule.rule == "argmax" or system.rule or not np.isfinite(system.test.answers.probabilities).any():
        return ThresholdChoice()
    answers: LabelAnswers = system.validation.answers
    read = answers.has_probabilities & answers.parsed
    if rule.rule != "fixed" and not read.any():
        return ThresholdChoice(rule.rule, note=f"no {split} items; the most probable label is taken")
    if answers.positive is None:
        readable = np.where(read[:, None], answers.probabilities, np.nan)
        return choose_label_weights(rule, answers.labels, answers.gold, readable, split)
    scores = np.where(read, answers.probabilities[:, answers.positive], np.nan)
    choice = choose_threshold(rule, answers.gold == answers.positive, scores, split)
    if rule.rule == "guarantee" and choice.value is not None and system.validation.grouped:
        note = "the guarantee is for independent items, and validation items share groups: it may hold less often"
        return replace(choice, note=note)
    return choice


def under_threshold(answers: LabelAnswers, choice: ThresholdChoice) -> LabelAnswers:
    """Answers under the threshold or the label weights; unparsed answers stay unparsed."""
    if not choice.moved:
        return answers
    return replace(answers, predicted=_answered(answers, choice), sureness=sureness(answers, choice))


def sureness(answers: LabelAnswers, choice: ThresholdChoice) -> Floats | None:
    """(n, K) how sure a decision by label weights is of each label; None where it is not made by them."""
    if choice.weights is None:
        return None
    return shares(answers.probabilities, [choice.weights[label] for label in answers.labels])


def _answered(answers: LabelAnswers, choice: ThresholdChoice) -> Ints:
    """(n,) label indices by the probabilities; an item that has none, or an unparsed answer, stays as it is."""
    positive = None if answers.positive is None else answers.labels[answers.positive]
    decided = label_codes(apply_threshold(answers.probabilities, answers.labels, positive, choice), answers.labels)
    open_items = (answers.predicted == UNPARSED) | ~answers.has_probabilities
    return np.where(open_items, answers.predicted, decided)
