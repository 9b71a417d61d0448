"""The verdict box: a few sentences, each derived from the numbers, none saying more than they support."""

from collections.abc import Sequence

import numpy as np

from clinfit.data.support import LEAST_EVENTS
from clinfit.evaluation.answers import Answers, items_of, repeats_of
from clinfit.evaluation.checks.probabilities import hard
from clinfit.evaluation.claims.constant_answers import ConstantAnswer
from clinfit.evaluation.claims.paired import paired_difference
from clinfit.evaluation.claims.ranking import chosen_among
from clinfit.evaluation.claims.wording import evidence, in_words, number, with_interval
from clinfit.evaluation.context import Measured, MeasuredContext
from clinfit.evaluation.metrics.definitions import LOWER_IS_BETTER, METRICS
from clinfit.evaluation.metrics.metric import Metric
from clinfit.evaluation.results import Comparison
from clinfit.findings import Finding
from clinfit.study.data import SYNTHETIC

#: Sentences before those on calibration and size.
LINES = 5
#: Before-after and declared comparisons in the verdict, each; the rest stand in the comparison table.
SHOWN_GAINS = 2


def withheld_verdict(errors: Sequence[Finding]) -> list[str]:
    """Why there are no headline numbers."""
    lines = ["No headline numbers are given, because the evaluation found an error."]
    for error in errors[:4]:
        lines.append(f"{error.title}: {error.evidence}." if error.evidence else f"{error.title}.")
    return lines


def verdict(context: MeasuredContext) -> list[str]:
    """A few sentences: the model and what it reaches, whether it is ahead of the next, the language models, the gain of
    training, whether the model's probabilities can be taken at their word.

    Comparisons that the study declared come beside these, up to SHOWN_GAINS of them.
    """
    model = context.model
    lines = [*([SYNTHETIC] if context.task.data.synthetic else []), _model(context, model), *_lead(context, model)]
    lines += _language_models(context)
    lines += [f"Fine-tuning: {item['rows'][0]['sentence']}" for item in _shown(context, "before-after")]
    lines = [*lines[:LINES], *_calibration(model), *model.scored.engine.remarks(model.scored), *_caution(model)]
    return lines + [f"Declared comparison: {_with_margin(item)}" for item in _shown(context, "declared")]


def _with_margin(comparison: Comparison) -> str:
    """The sentence of the primary metric, and non-inferiority where it is shown and says more than that."""
    sentence, within = comparison["rows"][0]["sentence"], comparison["non_inferiority"]
    if within is None or not within["shown"] or comparison["rows"][0]["direction"] == "better":
        return sentence
    return f"{sentence} {within['sentence']}"


def _model(context: MeasuredContext, model: Measured) -> str:
    """Which system is the model, why, and what it reaches on test."""
    primary, answers = context.primary, model.answers
    items = f"{where(answers)} ({model.scored.engine.mix(answers)})"
    metric, title = model.metrics.get(primary), METRICS[primary].title
    if metric is None or metric.value is None:
        reason = metric.reason if metric is not None else "it is not defined for this task"
        return f"{items[0].upper()}{items[1:]} no system has an estimable {title}: {reason}."
    reached = with_interval(primary, metric, model.scored.confidence)
    seeds = [item.metrics[primary].value for item in context.measured if item.same_model(model)]
    known = [value for value in seeds if value is not None]
    if len(known) > 1:
        mean, spread = number(primary, float(np.mean(known))), number(primary, float(np.std(known, ddof=1)))
        return (
            f"The model is {model.name}{_why(context)}: {items} {model.system.model} has a mean {title} over "
            f"{len(known)} seeds of {mean} (standard deviation between seeds {spread}, which is not in the intervals); "
            f"{model.name}: {reached}."
        )
    return f"The model is {model.name}{_why(context)}: {items} its {title} is {reached}."


def where(answers: Answers) -> str:
    """On how many items figures stand."""
    if answers.folds is None:
        return f"on {len(answers)} test items"
    repeats = repeats_of(answers)
    return f"in {in_words(len(answers.folds.parts) // repeats, repeats)}, over {items_of(answers)} items"


def _why(context: MeasuredContext) -> str:
    """How the model was chosen."""
    chosen, title = context.chosen, METRICS[context.primary].title
    if chosen is None:
        return ""
    if chosen["among"] == 1:
        return f", the only one beside {'constant answers' if context.task.labels else 'rules that write'}"
    most = "lowest" if context.primary in LOWER_IS_BETTER else "highest"
    seeds = (
        "mean "
        if any(item.same_model(context.model) and item is not context.model for item in context.measured)
        else ""
    )
    of = f"the {most} {seeds}{title} of {chosen['among']}"
    if chosen["split"] == "validation":
        return f", chosen on validation ({of}, {number(context.primary, chosen['value'])})"
    tested = "this test set" if context.model.answers.folds is None else "the records that test it"
    return f", picked on {tested} for want of validation answers ({of}), so that its figures are too good"


def _lead(context: MeasuredContext, model: Measured) -> list[str]:
    """Whether the model beats the constant answers, and the best other system; not where a comparison that was planned
    says it, which has not been picked on the test set."""
    uninformative, primary = context.uninformative, context.primary
    unbeaten = uninformative.get(model.name)
    if unbeaten is not None:
        value = number(unbeaten.metric, unbeaten.value)
        rivals = [item.name for item in context.ranked if not item.system.rule]
        who = "no model" if rivals and all(name in uninformative for name in rivals) else model.name
        verb = "is shown" if who == "no model" else "is not shown"
        return [
            f"On these {items_of(model.answers)} items {who} {verb} to be better than {unbeaten.name} "
            f"({METRICS[unbeaten.metric].title} {value}{_its_accuracy(unbeaten)})."
        ]
    others = [item for item in context.ranked if not item.same_model(model) and item.name not in uninformative]
    others = [item for item in others if not item.system.writing_rule]  # told by the comparison with the baseline
    if not others:
        return []
    other = others[0]
    if context.ranking.index(other.name) < context.ranking.index(model.name):
        return [_ahead(other, model, primary)]
    planned = [item for item in context.comparisons if {item["new"], item["reference"]} == {model.name, other.name}]
    if planned:
        return [] if _told(context, planned) else [planned[0]["rows"][0]["sentence"]]
    found = paired_difference(primary, other.scored, model.scored)
    facts = evidence(found, None, model.scored.confidence)
    if found.shown(model.scored.confidence) > 0:
        return [f"The next is {other.name}: {facts}. The comparison was not planned, so no lead is claimed."]
    return [f"It is not shown to be better than the next, {other.name}: {facts}."]


def _ahead(other: Measured, model: Measured, primary: str) -> str:
    """What is said of a system that reaches more than the model on test."""
    found = paired_difference(primary, model.scored, other.scored)
    facts = evidence(found, None, model.scored.confidence)
    if found.shown(model.scored.confidence) > 0:
        return (
            f"{other.name} does better on this test set: {facts}. To take it for that would be choosing on test: "
            "try it on new records."
        )
    return f"{other.name} stands before it on this test set, and is not shown to be better: {facts}."


def _told(context: MeasuredContext, planned: Sequence[Comparison]) -> bool:
    """Whether another sentence says what one of these comparisons of two systems found."""
    best, reference = _language_model(context), context.baseline
    of_language_models = None not in (best, reference) and {planned[0]["new"], planned[0]["reference"]} == {
        item.name for item in (best, reference) if item is not None
    }
    return of_language_models or any(
        item in _shown(context, kind) for kind in ("before-after", "declared") for item in planned
    )


def _shown(context: MeasuredContext, kind: str) -> list[Comparison]:
    """The comparisons of a kind that have a sentence of their own: those of the model first."""
    own = {item.name for item in context.measured if item.same_model(context.model)}
    found = [item for item in context.comparisons if item["kind"] == kind]
    return sorted(found, key=lambda item: own.isdisjoint((item["new"], item["reference"])))[:SHOWN_GAINS]


def _calibration(model: Measured) -> list[str]:
    """Whether the model's probabilities are right on average, and neither too extreme nor too moderate."""
    if not model.answers.has_probabilities.any():
        return []
    intercept, slope = (model.metrics.get(name) for name in ("calibration_intercept", "calibration_slope"))
    if not model.system.rule and hard(model.answers):
        return [
            f"Calibration: {model.name} gives probabilities of 0 and 1 only, so that its AUROC, calibration and "
            "decision curve say no more than its answers."
        ]
    if intercept is None or slope is None or intercept.value is None or slope.value is None:
        return []
    confidence = model.scored.confidence
    said = [
        *_beyond(intercept, 0.0, "too high on average", "too low on average"),
        *_beyond(slope, 1.0, "too extreme", "too moderate"),
    ]
    values = (
        f"intercept {with_interval('calibration_intercept', intercept, confidence)}, slope "
        f"{with_interval('calibration_slope', slope, confidence)}"
    )
    if said:
        return [f"Calibration: the probabilities of {model.name} are {' and '.join(said)}: {values}; ideal 0 and 1."]
    if None in (intercept.low, slope.low):
        return [f"Calibration: the probabilities of {model.name} have {values}, not tested; ideal 0 and 1."]
    return [f"Calibration: no error is shown in the probabilities of {model.name}: {values}; ideal 0 and 1."]


def _beyond(metric: Metric, ideal: float, below: str, above: str) -> list[str]:
    """What the interval says where it excludes the ideal."""
    if metric.low is None or metric.high is None or metric.low <= ideal <= metric.high:
        return []
    return [below if metric.high < ideal else above]


def _its_accuracy(constant: ConstantAnswer) -> str:
    """Accuracy of the constant answer, for a reader to whom its primary metric says little."""
    if constant.metric == "accuracy" or constant.accuracy is None:
        return ""
    return f", accuracy {100 * constant.accuracy:.1f} %"


def _language_models(context: MeasuredContext) -> list[str]:
    """The chosen of the trained language models against the simple baseline."""
    best = _language_model(context)
    if best is None or context.baseline is None:
        return []
    for comparison in context.comparisons:
        if comparison["new"] == best.name and comparison["kind"] == "versus-baseline":
            return [f"Language models against simple ones: {_with_margin(comparison)}"]
    return []


def _language_model(context: MeasuredContext) -> Measured | None:
    """The language model that validation chooses among the trained ones."""
    return chosen_among(context, [item for item in context.trained if item.system.language_model])


def _caution(model: Measured) -> list[str]:
    what, count = model.scored.engine.scarcest(model.answers)
    if count >= LEAST_EVENTS:
        return []
    items = "test item" if count == 1 else "test items"
    return [f"The {what} has {count} {items}, so every number here is uncertain: read the intervals."]
