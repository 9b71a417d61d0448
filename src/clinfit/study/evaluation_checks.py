"""Settings of the evaluation against the tasks that they are for, and the models that they name."""

from collections.abc import Iterator, Mapping

from clinfit.study.evaluation import (
    ClassificationEvaluation,
    CommonSettings,
    DecisionSettings,
    Evaluation,
    Threshold,
    floor_names,
    primaries,
)
from clinfit.study.messages import Place, Problem, did_you_mean, shown
from clinfit.study.parts import Parts
from clinfit.study.tasks import Task

#: Threshold rules that a task with more than two labels can have; others need a positive class.
LABEL_WEIGHT_RULES = ("argmax", "balanced-accuracy", "macro-f1")
#: Metrics that need a positive class.
_BINARY_METRICS = {"f1", "sensitivity", "specificity", "ppv", "npv"}


def evaluation_checks(parts: Parts) -> Iterator[Problem]:
    """The study's settings with the tasks that have none of their own, and each task's own block."""
    study = parts.evaluation
    if study is not None:
        shared = {name: task for name, task in parts.tasks.items() if task.evaluation is None}
        yield from _models(("evaluation",), study, parts, set(parts.tasks))
        yield from _two_labels(("evaluation",), study, shared, shared_by_tasks=True)
        if parts.all_tasks and parts.tasks:
            yield from _kinds(study, {task.kind for task in (shared or parts.tasks).values()})
    for name, task in parts.tasks.items():
        if task.evaluation is not None:
            place = ("tasks", name, "evaluation")
            yield from _models(place, task.evaluation, parts, {name})
            yield from _two_labels(place, task.evaluation, {name: task}, shared_by_tasks=False)
            yield from _floors(place, task.evaluation, {task.kind})


def _models(place: Place, settings: CommonSettings, parts: Parts, tasks: set[str]) -> Iterator[Problem]:
    """Models that settings name: they exist, and answer the tasks in question; a pair has a task in common."""
    named = [((*place, "baseline"), [settings.baseline])] if settings.baseline is not None else []
    named += [((*place, "compare", position), pair) for position, pair in enumerate(settings.compare)]
    for here, names in named:
        unknown = [name for name in names if name not in parts.model_names]
        for name in unknown:
            hint = did_you_mean(name, parts.model_names, what="models")
            yield Problem(here, f"{shown(here)}: {name} is not a model; {hint}")
        if not unknown and tasks and parts.all_tasks and not set.intersection(tasks, *map(parts.answered_by, names)):
            what = f"{names[0]} does not answer" if len(names) == 1 else f"{' and '.join(names)} do not both answer"
            yield Problem(here, f"{shown(here)}: {what} {next(iter(tasks)) if len(tasks) == 1 else 'any one task'}")


def _kinds(evaluation: Evaluation, kinds: set[str]) -> Iterator[Problem]:
    """Settings of the study that no task of it can use."""
    known = list(dict.fromkeys(metric for kind in sorted(kinds) for metric in primaries(kind)))
    default = Evaluation()
    if evaluation.primary not in known and evaluation.primary != default.primary:
        place: Place = ("evaluation", "primary")
        hint = did_you_mean(evaluation.primary, known, what="metrics")
        yield Problem(place, f"{shown(place)}: {evaluation.primary} is no metric of {_and(kinds)} tasks; {hint}")
    without = {kind for kind in kinds if evaluation.primary not in primaries(kind)}
    if evaluation.margin is not None and without:
        place = ("evaluation", "margin")
        text = f"{shown(place)} is of {evaluation.primary}, which is no metric of {_and(without)} tasks"
        yield Problem(place, f"{text}; give these tasks a margin of their own in `evaluation`")
    yield from _floors(("evaluation",), evaluation, kinds)
    if "classification" not in kinds:
        for name in DecisionSettings.model_fields.keys() - CommonSettings.model_fields.keys():
            if getattr(evaluation, name) != getattr(default, name):
                place = ("evaluation", name)
                text = f"{shown(place)} is for classification, and the tasks are of kind {_and(kinds)}"
                yield Problem(place, f"{text}; settings of a task stand in its own `evaluation`")


def _floors(place: Place, settings: CommonSettings, kinds: set[str]) -> Iterator[Problem]:
    known = list(dict.fromkeys(metric for kind in sorted(kinds) for metric in floor_names(kind)))
    for metric in settings.floors:
        if metric not in known:
            here = (*place, "floors", metric)
            hint = did_you_mean(metric, known, what="metrics")
            yield Problem(here, f"{shown(here)}: {metric} is not a metric of {_and(kinds)} tasks; {hint}")


def _two_labels(
    place: Place, settings: CommonSettings, tasks: Mapping[str, Task], *, shared_by_tasks: bool
) -> Iterator[Problem]:
    """Settings that need a positive label, against classification tasks with more than two; and label weights, which
    need more than two."""
    several = [name for name, task in tasks.items() if task.kind == "classification" and not task.binary]
    if not isinstance(settings, DecisionSettings):
        return
    for where, text in _label_weights(settings.threshold, tasks):
        here = (*place, "threshold", where)
        yield Problem(here, f"{shown(here)}: {text}")
    if not several:
        return
    for where, text in _binary_settings(settings):
        here = (*place, *where)
        others = len(tasks) > len(several) and shared_by_tasks
        own = f"; {', '.join(several)} may have settings of their own in `evaluation`" if others else ""
        yield Problem(here, f"{shown(here)}: {text}{own}")


def _label_weights(threshold: Threshold, tasks: Mapping[str, Task]) -> Iterator[tuple[str, str]]:
    """Rules that set weights of labels, against tasks with two labels or with others than they name."""
    binary = [name for name, task in tasks.items() if task.kind == "classification" and task.binary]
    if threshold.rule == "macro-f1" and binary:
        yield "rule", f"macro-f1 needs a task with more than two labels, and {binary[0]} has two; use f1"
    if threshold.weights is None:
        return
    for name, task in tasks.items():
        if task.kind == "classification" and set(task.labels) != threshold.weights.keys():
            yield (
                "weights",
                f"{_and({*threshold.weights})}, and {name} has the labels {_and({*task.labels})}; name each",
            )
        elif name in binary:
            yield "weights", f"need a task with more than two labels, and {name} has two; use `value`"


def _binary_settings(settings: DecisionSettings) -> Iterator[tuple[Place, str]]:
    if settings.threshold.rule not in LABEL_WEIGHT_RULES and settings.threshold.weights is None:
        text = f"{settings.threshold.rule} needs a task with two labels; use {' or '.join(LABEL_WEIGHT_RULES)}"
        yield ("threshold", "rule"), text if settings.threshold.rule != "fixed" else f"{text}, or fixed with `weights`"
    if settings.calibration in {"intercept", "platt", "isotonic"}:
        yield ("calibration",), f"{settings.calibration} needs two labels; temperature has no such need"
    if settings.decision_range is not None:
        yield ("decision_range",), "a decision curve needs a task with two labels"
    metrics: list[tuple[Place, str]] = [(("floors", metric), metric) for metric in settings.floors]
    if isinstance(settings, Evaluation | ClassificationEvaluation):
        metrics.insert(0, (("primary",), settings.primary))
    for where, metric in metrics:
        if metric in _BINARY_METRICS:
            yield where, f"{metric} needs a task with two labels; macro_f1 has no such need"


def _and(kinds: set[str]) -> str:
    return " and ".join(sorted(kinds))
