"""From probabilities to what is done with an item, as sections of a system's results; and what a reader must know of
choices made on validation."""

from dataclasses import replace
from typing import cast

import numpy as np

from clinfit.evaluation.answers import support_of_fold
from clinfit.evaluation.context import Measured, MeasuredContext, Outcome
from clinfit.evaluation.decisions.conformal import conformal as conformal_sets
from clinfit.evaluation.decisions.decide import Decision, decide_refit
from clinfit.evaluation.decisions.label_thresholds import LabelDecision, decide_refit_labels
from clinfit.evaluation.decisions.recalibration import Recalibration
from clinfit.evaluation.decisions.referral import choose_referral, referral_result
from clinfit.evaluation.decisions.selective import selective as selective_prediction
from clinfit.evaluation.metrics.definitions import METRICS
from clinfit.evaluation.metrics.metric import Metric
from clinfit.evaluation.system_results import RecalibrationDict, RecalibrationMap, RefitDict
from clinfit.evaluation.systems import System
from clinfit.findings import Finding
from clinfit.study.evaluation import DecisionSettings, MultilabelEvaluation, MultipleChoiceEvaluation, Refer

#: Level of the sets of labels where the study names none.
LEVEL = 0.9
#: Validation items of each class below which what was chosen on them is a matter of chance.
FEW_TO_CHOOSE = 100
#: Metrics of the probabilities before recalibration that the report shows beside those after it.
BEFORE = ("brier", "brier_sum", "log_loss", "calibration_intercept", "calibration_slope", "ece")


def threshold(context: MeasuredContext, item: Measured) -> Outcome:
    """The decision rule in force, and why it is not what the study asked for."""
    choice = item.decision.choice
    if item.system.rule or choice.note is None:
        return choice.as_dict(), []
    code, advice = "threshold-fallback", "set evaluation.threshold to a rule that validation can satisfy"
    if choice.moved:
        code, advice = "threshold-note", "read the threshold with this in mind"
    return choice.as_dict(), [Finding("warn", code, f"{item.name}: {choice.note}", "", advice, item.name)]


def refit(context: MeasuredContext, item: Measured) -> Outcome:
    """How the model that is refitted on all records decides; none where the study asks for no such model."""
    if not _refitted(context, item):
        return None, []
    made = decide_refit(cast(DecisionSettings, context.settings), _raw(item))
    fitted = made.recalibration
    section = RefitDict(threshold=made.choice.as_dict(), recalibration=_map_dict(fitted))
    said = {"threshold-note": made.choice.note, "recalibration-fallback": fitted and fitted.note}
    advice = "read what the refitted model decides with this in mind"
    return section, [
        Finding("warn", code, f"{item.name}, refitted: {note}", "", advice, item.name)
        for code, note in said.items()
        if note is not None
    ]


def refit_option(context: MeasuredContext, item: Measured) -> Outcome:
    """Of a multiple-choice task, whose answer is the most probable option whatever was trained."""
    if not _refitted(context, item):
        return None, []
    made = decide_refit(cast(MultipleChoiceEvaluation, context.settings), _raw(item))
    return RefitDict(threshold=None, recalibration=_map_dict(made.recalibration)), []


def refit_labels(context: MeasuredContext, item: Measured) -> Outcome:
    """Of a multilabel task: recalibration and threshold of each label, from the out-of-fold answers."""
    if not _refitted(context, item):
        return None, []
    made = decide_refit_labels(cast(MultilabelEvaluation, context.settings), _raw(item))
    choices = {label: choice.as_dict() for label, choice in made.choices.items()}
    return RefitDict(threshold=None, label_thresholds=choices, recalibration=_map_dict(made.recalibration)), []


def refit_text(context: MeasuredContext, item: Measured) -> Outcome:
    """Of a task that asks for texts, which nothing decides."""
    return (RefitDict(threshold=None, recalibration=None) if _refitted(context, item) else None), []


def _raw(item: Measured) -> System:
    """The system with the test answers as its model gave them."""
    return replace(item.system, test=replace(item.system.test, answers=item.decision.raw))


def _map_dict(fitted: Recalibration | None) -> RecalibrationMap | None:
    return None if fitted is None else RecalibrationMap(**fitted.as_dict())


def _refitted(context: MeasuredContext, item: Measured) -> bool:
    """Whether the study asks for a model that ends as this system did, trained on all records."""
    system, stages = item.system, context.stages.get(item.system.model)
    asked = system.spec is not None and system.spec.refit and bool(system.parts)
    return asked and bool(stages) and system.stage == stages[-1].number


def recalibration(context: MeasuredContext, item: Measured) -> Outcome:
    """The map of the probabilities, with the metrics that they had before it."""
    fitted = item.decision.recalibration or _over_folds(item.decision)
    if item.system.rule or fitted is None:
        return None, []
    before = {} if fitted.kind == "none" else _before(context, item)
    section = RecalibrationDict(**fitted.as_dict(), before={name: metric.as_dict() for name, metric in before.items()})
    return section, _check_recalibration(item, fitted, before)


def recalibration_of_labels(context: MeasuredContext, item: Measured) -> Outcome:
    """The same of a multilabel task: the Brier score that each label had before it, as `brier:LABEL`."""
    fitted = item.decision.recalibration or _over_folds(item.decision)
    if item.system.rule or fitted is None:
        return None, []
    before: dict[str, Metric] = {}
    if fitted.kind != "none":
        (scored,) = context.engine.score([item.decision.raw], item.scored.resamples, context.confidence)
        before = {f"brier:{label}": found["brier"] for label, found in context.engine.by_label(scored).items()}
    section = RecalibrationDict(**fitted.as_dict(), before={name: metric.as_dict() for name, metric in before.items()})
    if fitted.note is None:
        return section, []
    said = "not recalibrated" if fitted.kind == "none" else "recalibrated in part"
    advice = "give the study more validation items of these labels, or read their probabilities as an order alone"
    return section, [
        Finding("warn", "recalibration-fallback", f"{item.name} is {said}", fitted.note, advice, item.name)
    ]


def _over_folds(decision: Decision | LabelDecision) -> Recalibration | None:
    """The maps of the folds in one: their kind and the mean number of items, and no parameters, which are each fold's
    own. None where there are none."""
    maps = [found for one in decision.folds.values() if (found := one.recalibration) is not None]
    if not maps:
        return None
    fitted = next((one for one in maps if one.kind != "none"), maps[0])
    notes = [one.note for one in maps if one.note is not None]
    note = f"in {len(notes)} of {len(maps)} folds: {notes[0]}" if notes else None
    return replace(fitted, parameters={}, n=round(float(np.mean([one.n for one in maps]))), note=note)


def _before(context: MeasuredContext, item: Measured) -> dict[str, Metric]:
    (scored,) = context.engine.score([item.decision.raw], item.scored.resamples, context.confidence)
    return {name: metric for name, metric in context.engine.metrics(scored).items() if name in BEFORE}


def _check_recalibration(item: Measured, fitted: Recalibration, before: dict[str, Metric]) -> list[Finding]:
    return [*_not_recalibrated(item, fitted), *_made_worse(item, fitted, before)]


def _not_recalibrated(item: Measured, fitted: Recalibration) -> list[Finding]:
    """Where no map could be fitted: nowhere, or in some folds."""
    if fitted.note is None:
        return []
    title = f"{item.name} is not recalibrated{' ' if item.decision.folds else ': '}{fitted.note}"
    advice = "choose another evaluation.calibration, or give the study more validation items"
    return [Finding("warn", "recalibration-fallback", title, "", advice, item.name)]


def _made_worse(item: Measured, fitted: Recalibration, before: dict[str, Metric]) -> list[Finding]:
    """In the first measure that there is of how far probabilities are from what happened."""
    for name in ("brier", "brier_sum", "log_loss"):
        old, new = before.get(name), item.metrics.get(name)
        if old is None or new is None or old.value is None or new.value is None or new.value <= old.value:
            continue
        return [
            Finding(
                "warn",
                "recalibration-worse",
                f"{item.name}: the recalibration made the {METRICS[name].title} on test worse",
                f"{old.value:.4f} before, {new.value:.4f} after; fitted on {fitted.n} validation items",
                "leave evaluation.calibration out, or fit it on more validation items",
                item.name,
            )
        ]
    return []


def selective(context: MeasuredContext, item: Measured) -> Outcome:
    """Accuracy among the items of which the system is surest."""
    return (None if item.system.rule else selective_prediction(item.scored)), []


def conformal(context: MeasuredContext, item: Measured) -> Outcome:
    """Sets of labels; none of a cross-validation, whose folds would each have others."""
    if item.system.rule or item.answers.folds is not None:
        return None, []
    refer = _refer(context)
    level = refer.value if refer is not None and refer.rule == "conformal" else LEVEL
    return conformal_sets(item.scored, item.validation, _validation_groups(item), level), []


def referral(context: MeasuredContext, item: Measured) -> Outcome:
    """Which items a person decides, where the study hands any on."""
    refer = _refer(context)
    if item.system.rule or refer is None:
        return None, []
    section = referral_result(choose_referral(refer, item.validation, _validation_groups(item)), item.scored)
    if section["note"] is None:
        return section, []
    title = f"{item.name}: {section['note']}"
    advice = "give the study more validation items, or leave evaluation.refer out"
    return section, [Finding("warn", "referral-fallback", title, "", advice, item.name)]


def _refer(context: MeasuredContext) -> Refer | None:
    return cast(DecisionSettings, context.settings).refer


def _validation_groups(item: Measured) -> int:
    return len(np.unique(item.system.validation.groups))


def _maps(decision: Decision) -> bool:
    """Whether a recalibration was fitted."""
    return decision.recalibration is not None and decision.recalibration.kind != "none"


def check_validation(context: MeasuredContext) -> Outcome:
    """Whether thresholds and recalibration were chosen on enough items: once a task, as all systems have the same."""
    decisions: list[tuple[Measured, Decision]] = [(item, item.decision) for item in context.measured]
    chosen = [item for item, made in decisions if made.choice.split is not None and made.choice.moved]
    fitted = [item for item, made in decisions if any(map(_maps, [made, *made.folds.values()]))]
    weighed = any(made.choice.weights is not None for _, made in decisions)
    rule = "label weights" if weighed else "threshold"
    used = [name for name, items in ((rule, chosen), ("recalibration", fitted)) if items]
    if not used:
        return None, []
    answers = (chosen or fitted)[0].validation
    support, each = support_of_fold(answers), "" if answers.folds is None else " of each fold"
    if support.min() >= FEW_TO_CHOOSE:
        return None, []
    counts = ", ".join(f"{label}: {count}" for label, count in zip(answers.labels, support, strict=True))
    return None, [
        Finding(
            "warn",
            "small-validation",
            f"The {' and '.join(used)} {'were' if weighed or len(used) > 1 else 'was'} chosen on few validation items: "
            f"{support.min()} in the smallest class{each}",
            counts,
            f"read what they reach on test, not on validation; {FEW_TO_CHOOSE} items of each class are a sound basis",
        )
    ]
