"""How a pack decides on records of another place, by kind of task: its settings, its map and its thresholds there."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from clinfit.errors import ClinfitError
from clinfit.evaluation.answers import LabelAnswers
from clinfit.evaluation.decisions.decide import Choosing, Decision, decide_elsewhere
from clinfit.evaluation.decisions.label_thresholds import LabelDecision, decide_labels_elsewhere
from clinfit.evaluation.label_sets import LabelSets
from clinfit.evaluation.systems import System
from clinfit.packs.content import TaskEntry
from clinfit.packs.decide import Served
from clinfit.predictions import predicted_texts
from clinfit.runs.external.offer import METHODS, Name
from clinfit.study.evaluation import (
    ClassificationEvaluation,
    LabelThreshold,
    MultilabelEvaluation,
    MultipleChoiceEvaluation,
    Refer,
    TaskEvaluation,
    Threshold,
)
from clinfit.study.tasks import HOLDS

Folds = NDArray[np.int64]
#: The decision from all records, and the answers, cross-fitted.
Elsewhere = tuple[Decision | LabelDecision, Any]


@dataclass(frozen=True)
class Kind:
    """settings: map, rule of the threshold and of the referral, as an evaluation has them; the last argument says
    whether the threshold stays where it is. plain: the answers by the probabilities, before any threshold. decide: with
    the served task, whose thresholds stay where none is chosen. threshold: of the decision, as pack.json has it."""

    settings: Callable[[TaskEntry, Served, Name, bool], TaskEvaluation]
    chooses: Callable[[Any], bool]
    plain: Callable[[Served, Any], Any]
    decide: Callable[[Any, Served, System, Folds], Elsewhere]
    threshold: Callable[[Any], dict[str, Any] | None]


def decided_elsewhere(kind: Kind, settings: TaskEvaluation, served: Served, system: System, folds: Folds) -> Elsewhere:
    """The decision from all records of the place, and their answers, cross-fitted. folds: (n,) of each answer."""
    plain = kind.plain(served, system.test.answers)
    return kind.decide(settings, served, replace(system, test=replace(system.test, answers=plain)), folds)


# ---------------------------------------------------------------- one label, and one option


def _of_one_label(entry: TaskEntry, served: Served, method: Name, keep: bool) -> ClassificationEvaluation:
    made, study = served.thresholds[""], served.task.evaluation
    assert isinstance(study, ClassificationEvaluation)
    rule = study.threshold
    if keep or made.rule == "fixed":
        rule = Threshold(rule="fixed", value=made.value, weights=made.weights) if made.moved else Threshold()
    elif rule.rule != made.rule:
        raise _unknown_rule(made.rule)
    refer = None if entry.referral is None else Refer(rule=entry.referral["rule"], value=entry.referral["value"])
    calibration: Any = METHODS[method].kind
    return ClassificationEvaluation(calibration=calibration, threshold=rule, refer=refer)


def _of_options(entry: TaskEntry, served: Served, method: Name, keep: bool) -> MultipleChoiceEvaluation:
    return MultipleChoiceEvaluation(calibration="temperature")


def _most_probable(served: Served, answers: LabelAnswers) -> LabelAnswers:
    texts = predicted_texts(served.task, answers.probabilities)
    return replace(answers, predicted=np.array([answers.labels.index(text) for text in texts], dtype=np.int64))


def _decide_one(settings: Choosing, served: Served, system: System, folds: Folds) -> Elsewhere:
    return decide_elsewhere(settings, system, folds)


def _unknown_rule(rule: str) -> ClinfitError:
    return ClinfitError(
        f"the pack does not say how its threshold was chosen (rule {rule})",
        expected="a pack that this version of clinfit has written",
        fix="add --keep-threshold, or write the pack again: clinfit evaluate RUN",
    )


# ---------------------------------------------------------------- several labels


def _of_label_sets(entry: TaskEntry, served: Served, method: Name, keep: bool) -> MultilabelEvaluation:
    rules, study = {choice.rule for choice in served.thresholds.values()}, served.task.evaluation
    assert isinstance(study, MultilabelEvaluation)
    calibration: Any = METHODS[method].kind
    if keep or rules == {"fixed"}:
        return MultilabelEvaluation(calibration=calibration)
    if study.threshold.rule not in rules:
        raise _unknown_rule(", ".join(sorted(rules)))
    return MultilabelEvaluation(calibration=calibration, threshold=study.threshold)


def _chooses(settings: MultilabelEvaluation) -> bool:
    return settings.threshold != LabelThreshold()


def _holding(served: Served, answers: LabelSets) -> LabelSets:
    return replace(answers, predicted=answers.probabilities >= HOLDS)


def _decide_sets(settings: MultilabelEvaluation, served: Served, system: System, folds: Folds) -> Elsewhere:
    kept = None if _chooses(settings) else served.thresholds
    return decide_labels_elsewhere(settings, system, folds, kept)


KINDS: Mapping[str, Kind] = {
    "classification": Kind(
        settings=_of_one_label,
        chooses=lambda settings: settings.threshold.rule not in ("argmax", "fixed"),
        plain=_most_probable,
        decide=_decide_one,
        threshold=lambda decision: {**cast(Decision, decision).choice.as_dict()},
    ),
    "multilabel": Kind(
        settings=_of_label_sets,
        chooses=_chooses,
        plain=_holding,
        decide=_decide_sets,
        threshold=lambda decision: {
            label: choice.as_dict() for label, choice in cast(LabelDecision, decision).choices.items()
        },
    ),
    "multiple-choice": Kind(
        settings=_of_options,
        chooses=lambda _: False,
        plain=_most_probable,
        decide=_decide_one,
        threshold=lambda _: None,
    ),
}
