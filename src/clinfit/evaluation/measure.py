"""Systems to scores: recalibration and threshold from validation, answers under them, one bootstrap, all metrics."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from clinfit.evaluation.answers import UNPARSED, Answers, Rows, label_codes
from clinfit.evaluation.classification import Scored, overall_metrics
from clinfit.evaluation.definitions import LOWER_IS_BETTER, primary_name
from clinfit.evaluation.intervals import Resamples
from clinfit.evaluation.metric import Metric
from clinfit.evaluation.recalibration import Recalibration, fit_recalibration
from clinfit.evaluation.results import SplitCounts
from clinfit.evaluation.scoring import estimates, replicates
from clinfit.evaluation.systems import System
from clinfit.evaluation.thresholds import ThresholdChoice, apply_threshold, choose_threshold
from clinfit.study import Baseline, Study, Task
from clinfit.study_evaluation import Evaluation, Threshold


@dataclass(frozen=True)
class Measured:
    """A system with its decision rule, its scores and its metrics.

    system: with its recalibrated probabilities. validation_primary: the primary metric on validation, larger is better;
    None where it cannot be estimated. validation: the decided validation items. recalibration: None where the study
    asks for none. before: metrics of the probabilities on test as the model gave them, empty without a map.
    """

    system: System
    choice: ThresholdChoice
    scored: Scored
    metrics: dict[str, Metric]
    validation_primary: float | None
    validation: Answers
    recalibration: Recalibration | None
    before: dict[str, Metric]

    @property
    def name(self) -> str:
        return self.system.name

    @property
    def answers(self) -> Answers:
        return self.scored.answers


def with_majority(study: Study, task: Task, systems: Sequence[System], counts: dict[str, SplitCounts]) -> list[System]:
    """The systems, with the majority answer added when the study has none: no table without a trivial row."""
    if any(is_majority(study, system) for system in systems):
        return list(systems)
    shares = label_shares(task, counts)
    first = systems[0]
    name = "majority" if all(system.model != "majority" for system in systems) else "majority (reference)"

    def answer(rows: Rows) -> Rows:
        n = len(rows)
        return replace(
            rows,
            predicted=np.full(n, int(shares.argmax())),
            probabilities=np.tile(shares, (n, 1)),
            label_mass=np.full(n, np.nan),
            seconds=np.zeros(n),
            prompt_tokens=np.full(n, np.nan),
        )

    added = System(name, name, first.seed, 0, None, "baseline", answer(first.test), answer(first.validation))
    return [added, *systems]


def is_majority(study: Study, system: System) -> bool:
    """Whether this is the answer that is most frequent in training, always."""
    specs = {spec.name: spec for spec in study.models}
    spec = specs.get(system.model)
    if spec is None:
        return system.model in ("majority", "majority (reference)")
    return isinstance(spec, Baseline) and spec.kind == "majority"


def label_shares(task: Task, counts: dict[str, SplitCounts]) -> np.ndarray:
    """(K,) share of each label in the first split that has counts: training, else validation, else test."""
    split = next(name for name in ("train", "validation", "test") if name in counts and counts[name]["n"])
    labels = counts[split]["labels"]
    return np.array([labels.get(label, 0) for label in task.labels]) / sum(labels.values())


def trivial_answers(task: Task, template: Scored, counts: dict[str, SplitCounts]) -> dict[str, Scored]:
    """Always the same label, for each label, majority first, on the items of `template`: what a useful system beats.

    Majority has the shares of training as its probabilities, the others are certain of their label.
    """
    shares = label_shares(task, counts)
    majority, n = int(shares.argmax()), len(template.answers)
    order = [majority, *(k for k in range(len(shares)) if k != majority)]
    certain = np.eye(len(shares))
    answers = [
        replace(
            template.answers,
            predicted=np.full(n, k),
            probabilities=np.tile(shares if k == majority else certain[k], (n, 1)),
            label_mass=np.full(n, np.nan),
        )
        for k in order
    ]
    names = [f"always answering {task.labels[k]!r}" for k in order]
    return dict(zip(names, _score(answers, template.resamples, template.confidence), strict=True))


def measure(study: Study, task: Task, systems: Sequence[System]) -> list[Measured]:
    """All systems on the same test items under the same resamples."""
    evaluation = study.evaluation
    maps = [_recalibrate(study, task, system) for system in systems]
    raw, systems = systems, [_mapped(system, map, task) for system, map in zip(systems, maps, strict=True)]
    choices = [_choose(evaluation.threshold, task, system) for system in systems]
    answers = [_decide(system.test, task, choice) for system, choice in zip(systems, choices, strict=True)]
    groups = systems[0].test.groups
    grouped = len(np.unique(groups)) < len(groups)
    resamples = Resamples(answers[0].gold, groups if grouped else None, evaluation.bootstrap)
    scored = _score(answers, resamples, evaluation.confidence)
    return [
        Measured(
            system,
            choice,
            scores,
            overall_metrics(scores),
            _validation_primary(evaluation, task, system, choice),
            _decide(system.validation, task, choice),
            map,
            _before(given, task, map, resamples, evaluation.confidence),
        )
        for given, system, map, choice, scores in zip(raw, systems, maps, choices, scored, strict=True)
    ]


def _recalibrate(study: Study, task: Task, system: System) -> Recalibration | None:
    """The study's map, fitted on the validation items that have probabilities; none for simple rules."""
    kind = study.evaluation.calibration
    if kind == "none" or system.family == "baseline" or is_majority(study, system):
        return None
    answers = system.validation.answers(task.labels, task.positive_label)
    usable = answers.has_probabilities
    return fit_recalibration(kind, answers.gold[usable], answers.probabilities[usable], answers.positive)


def _mapped(system: System, map: Recalibration | None, task: Task) -> System:
    """The system as if its model had given the recalibrated probabilities, and had answered by them."""
    if map is None or map.kind == "none":
        return system

    def apply(rows: Rows) -> Rows:
        rows = replace(rows, probabilities=map.apply(rows.probabilities))
        answers = rows.answers(task.labels, task.positive_label)
        return replace(rows, predicted=_answered(answers, task, ThresholdChoice()))

    return replace(system, test=apply(system.test), validation=apply(system.validation))


#: Metrics of the probabilities before recalibration that the report shows beside those after it.
BEFORE = ("brier", "brier_sum", "log_loss", "calibration_intercept", "calibration_slope", "ece")


def _before(
    system: System, task: Task, map: Recalibration | None, resamples: Resamples, confidence: float
) -> dict[str, Metric]:
    if map is None or map.kind == "none":
        return {}
    (scored,) = _score([system.test.answers(task.labels, task.positive_label)], resamples, confidence)
    return {name: metric for name, metric in overall_metrics(scored).items() if name in BEFORE}


def _score(systems: Sequence[Answers], resamples: Resamples, confidence: float) -> list[Scored]:
    return [
        Scored(answers, estimates(answers), drawn, resamples, confidence)
        for answers, drawn in zip(systems, replicates(systems, resamples), strict=True)
    ]


def _choose(rule: Threshold, task: Task, system: System) -> ThresholdChoice:
    """The study's rule on the system's validation items; rules such as majority keep the answer that they are, and so
    do systems that give labels alone."""
    if rule.rule == "argmax" or system.family == "baseline" or not np.isfinite(system.test.probabilities).any():
        return ThresholdChoice()
    if task.positive_label is None:
        return ThresholdChoice(rule.rule, note="the task has more than two labels; the most probable label is taken")
    answers = system.validation.answers(task.labels, task.positive_label)
    read = answers.has_probabilities & (answers.predicted != UNPARSED)
    if rule.rule != "fixed" and not read.any():
        return ThresholdChoice(rule.rule, note="no validation items; the most probable label is taken")
    scores = np.where(read, answers.probabilities[:, list(task.labels).index(task.positive_label)], np.nan)
    choice = choose_threshold(rule, answers.gold == answers.positive, scores)
    groups = system.validation.groups
    if rule.rule == "guarantee" and choice.value is not None and len(np.unique(groups)) < len(groups):
        note = "the guarantee is for independent items, and validation items share groups: it may hold less often"
        return replace(choice, note=note)
    return choice


def _decide(rows: Rows, task: Task, choice: ThresholdChoice) -> Answers:
    """Answers under the threshold; unparsed answers stay unparsed."""
    answers = rows.answers(task.labels, task.positive_label)
    return answers if choice.value is None else replace(answers, predicted=_answered(answers, task, choice))


def _answered(answers: Answers, task: Task, choice: ThresholdChoice) -> np.ndarray:
    """(n,) label indices by the probabilities; an item that has none, or an unparsed answer, stays as it is."""
    decided = label_codes(apply_threshold(answers.probabilities, task.labels, task.positive_label, choice), task.labels)
    open_items = (answers.predicted == UNPARSED) | ~answers.has_probabilities
    return np.where(open_items, answers.predicted, decided)


def _validation_primary(evaluation: Evaluation, task: Task, system: System, choice: ThresholdChoice) -> float | None:
    if not len(system.validation):
        return None
    name = primary_name(evaluation.primary, len(task.labels))
    value = estimates(_decide(system.validation, task, choice)).get(name, float("nan"))
    if np.isnan(value):
        return None
    return -value if name in LOWER_IS_BETTER else value
