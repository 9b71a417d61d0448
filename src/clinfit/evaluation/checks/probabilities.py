"""What a reader must know of a system's probabilities before any number is made of them: some that are missing, some
that say no more than the answers, some that rank the wrong way round."""

import numpy as np

from clinfit.evaluation.answers import Floats, LabelAnswers, counted, items_of, repeats_of
from clinfit.evaluation.context import Context, Measured, MeasuredContext, Outcome
from clinfit.evaluation.metrics.definitions import METRICS
from clinfit.findings import Finding

#: A probability this near to 0 or 1 is one of them; and the share of items from which a system knows no others.
CERTAIN, NEARLY_ALL = 1e-9, 0.99
#: A label that gets this probability is as good as certain; one that fewer items have should not get it for all.
SURE, COMMON = 0.99, 0.95


def check_missing(context: Context) -> Outcome:
    """Answers without probabilities, of systems that give some."""
    found = []
    for system in context.systems:
        answers = system.test.answers
        without = answers.parsed & ~answers.has_probabilities
        if not without.any() or not answers.has_probabilities.any():
            continue
        by_label = ", ".join(
            f"{label}: {int(without[answers.has_label(k)].sum())} of {answers.support[k] * repeats_of(answers)}"
            for k, label in enumerate(answers.labels)
        )
        found.append(
            Finding(
                "warn",
                "missing-probabilities",
                f"{system.name}: {int(without.sum())} of {len(answers)} {counted(answers)} have an answer and no "
                "probabilities",
                by_label,
                "figures made of probabilities have no value, or rank these items last: give probabilities for all "
                "items, and say why they are missing",
                system.name,
            )
        )
    return None, found


def check_hard(context: Context) -> Outcome:
    """Systems that give probabilities of 0 and 1 only; not rules, of which nobody expects others."""
    found = [
        Finding(
            "warn",
            "hard-probabilities",
            f"{system.name} gives probabilities of 0 and 1 only",
            f"{int(system.test.answers.has_probabilities.sum())} {counted(system.test.answers)}",
            "its AUROC, calibration and decision curve say no more than its answers do: give the probabilities "
            "themselves, or read accuracy, sensitivity and specificity",
            system.name,
        )
        for system in context.systems
        if not system.rule and hard(system.test.answers)
    ]
    return None, found


def hard(answers: LabelAnswers) -> bool:
    """Whether (nearly) all known probabilities are 0 or 1."""
    known = answers.probabilities[answers.has_probabilities]
    return bool(len(known)) and bool((np.minimum(known, 1 - known) <= CERTAIN).all(axis=1).mean() >= NEARLY_ALL)


def check_constant(context: MeasuredContext, item: Measured) -> Outcome:
    """A system that is sure of one label whatever the item, although its threshold makes several answers of that."""
    raw: LabelAnswers = item.decision.raw
    known = raw.probabilities[raw.has_probabilities]
    if item.system.rule or not len(known) or len(np.unique(item.answers.predicted)) < 2:
        return None, []
    label = int(known.mean(axis=0).argmax())
    if known[:, label].min() < SURE or raw.support[label] >= COMMON * items_of(raw):
        return None, []
    name, said = item.name, raw.labels[label]
    return None, [
        Finding(
            "warn",
            "constant-probabilities",
            f"{name} gives {said!r} a probability of at least {_down(known[:, label])} for every item",
            f"{int(raw.support[label])} of {items_of(raw)} items are {said!r}; what a threshold makes of the rest is "
            "in the last digits",
            "look at the prompt and at label mass (clinfit diagnose): the model answers before it has read; a gain on "
            "such a base says that training was needed, not what the base knows",
            name,
        )
    ]


def _down(probabilities: Floats) -> str:
    """The smallest of them, rounded down."""
    return f"{np.floor(1000 * probabilities.min()) / 1000:.3f}"


def check_direction(context: MeasuredContext, item: Measured) -> Outcome:
    """An AUROC below that of guessing by more than chance. Only of an untrained base it is no more than a note."""
    name = "auroc" if item.answers.positive is not None else "macro_auroc"
    metric = item.metrics.get(name)
    if item.system.rule or metric is None or metric.value is None or metric.high is None or metric.high >= 0.5:
        return None, []
    return None, [
        Finding(
            "warn" if item.system.trained else "info",
            "auroc-below-half",
            f"{item.name} ranks the wrong way round: {METRICS[name].title} {metric.value:.3f}",
            f"interval {metric.low:.3f} to {metric.high:.3f}; guessing reaches 0.5",
            "are the columns of probabilities exchanged, or the labels in the map? Read some records by hand",
            item.name,
        )
    ]
