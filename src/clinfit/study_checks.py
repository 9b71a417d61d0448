"""What the sections of a study must agree on: names that refer to each other, and models that fit their task.

Each check yields problems instead of raising, and takes only the sections that are valid by themselves, so that a
misspelt key in one model does not hide what is wrong elsewhere.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import get_args

from jinja2 import TemplateSyntaxError, meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from clinfit.study import Baseline, Classical, ModelSpec, Stage, Task
from clinfit.study_evaluation import Evaluation, Primary
from clinfit.study_messages import Place, Problem, did_you_mean, shown

#: Names that a prompt may use beside the task's inputs: "A, B or C", and all inputs as lines.
PROMPT_NAMES = ("labels", "record")
#: Metrics and decisions that need a positive class.
_BINARY_METRICS = {"f1", "sensitivity", "specificity", "ppv", "npv"}
#: Metrics that a floor may name.
_FLOORS = (*get_args(Primary), "ppv", "npv", "kappa")


def cross_checks(
    tasks: Mapping[str, Task],
    models: Mapping[int, ModelSpec],
    stages: list[Stage],
    evaluation: Evaluation | None,
    model_names: list[str],
) -> Iterator[Problem]:
    """Everything that spans sections. `models` maps the position in the list to the model; `model_names` holds the
    names of all models, of the ill-formed ones too."""
    yield from _one_task_one_stage(tasks, stages)
    yield from _distinct_names(model_names)
    for name, task in tasks.items():
        yield from _task_checks(("tasks", name), task)
        for position, model in models.items():
            yield from _model_checks(("models", position), model, task)
        if evaluation is not None:
            yield from _binary_evaluation(evaluation, task)
    if evaluation is not None:
        yield from _evaluation_checks(evaluation, model_names)


def _one_task_one_stage(tasks: Mapping[str, Task], stages: list[Stage]) -> Iterator[Problem]:
    if len(tasks) > 1:
        yield Problem(("tasks",), f"{len(tasks)} tasks ({', '.join(tasks)}); a study has one task so far")
    if len(stages) > 1:
        yield Problem(("stages",), f"{len(stages)} stages; a study has one stage so far")
    for position, stage in enumerate(stages):
        for name in stage.train:
            if tasks and name not in tasks:
                place = ("stages", position, "train", name)
                yield Problem(place, f"{shown(place)}: {name} is not a task; {did_you_mean(name, tasks, what='tasks')}")


def _distinct_names(names: list[str]) -> Iterator[Problem]:
    for position, name in enumerate(names):
        if name in names[:position]:
            place = ("models", position, "name")
            yield Problem(place, f"{shown(place)}: an earlier model is called {name!r} too; names must differ")


# ---------------------------------------------------------------- tasks


def _task_checks(place: Place, task: Task) -> Iterator[Problem]:
    columns = task.data.columns
    if not columns:
        yield Problem((*place, "data"), f"{shown(place)}.data declares no inputs; name at least one under `inputs`")
    for name, column in columns.items():
        here = (*place, "data", "inputs", name)
        if name in PROMPT_NAMES:
            yield Problem(
                here, f"{shown(here)}: `{{{{ {name} }}}}` has a meaning of its own in prompts; rename the input"
            )
        if column.column == task.data.label_column.column:
            yield Problem(here, f"{shown(here)} reads the label column, so the answer would be part of the question")
        if column.unit is not None and column.type != "number":
            yield Problem(here, f"{shown(here)}: a unit goes with type: number, and the type is {column.type}")
    for position, name in enumerate(task.data.clean.drop_missing):
        if name not in columns:
            here = (*place, "data", "clean", "drop_missing", position)
            yield Problem(here, f"{shown(here)}: {name} is not an input; {did_you_mean(name, columns, what='inputs')}")
    if task.prompt is not None:
        here = (*place, "prompt")
        yield from (Problem(here, f"{shown(here)}: {text}") for text in _prompt_problems(task.prompt, columns))


def _prompt_problems(prompt: str, inputs: Iterable[str]) -> Iterator[str]:
    """What is wrong with a prompt template over the given inputs."""
    known = [*inputs, *PROMPT_NAMES]
    try:
        tree = ImmutableSandboxedEnvironment().parse(prompt)
    except TemplateSyntaxError as error:
        yield f"line {error.lineno} of the prompt is no valid template ({error.message})"
        return
    if any(tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends))):
        yield "a prompt may not include or import other files"
    used = meta.find_undeclared_variables(tree)
    for name in sorted(used - set(known)):
        yield f"`{{{{ {name} }}}}` is not an input; {did_you_mean(name, known, what='inputs')}"
    if not used & ({"record"} | set(inputs)) and used <= set(known):
        yield f"the prompt shows no input; use at least one of {', '.join(f'{{{{ {name} }}}}' for name in inputs)}" + (
            " or {{ record }}"
        )


# ---------------------------------------------------------------- models


def _model_checks(place: Place, model: ModelSpec, task: Task) -> Iterator[Problem]:
    if model.family == "baseline":
        if model.kind != "majority" and not task.binary:
            yield Problem(
                (*place, "kind"),
                f"{shown(place)}: {model.kind} needs a task with two labels, and this one has {len(task.labels)}",
            )
        for position, pattern in enumerate(model.patterns):
            try:
                re.compile(pattern)
            except re.error as error:
                here = (*place, "patterns", position)
                yield Problem(here, f"{shown(here)}: {pattern!r} is no regular expression ({error})")
    no_text = bool(task.data.columns) and all(column.type != "text" for column in task.data.columns.values())
    if isinstance(model, Baseline | Classical) and model.kind in {"keyword", "tfidf-logistic"} and no_text:
        yield Problem((*place, "kind"), f"{shown(place)}: {model.kind} needs an input of type text, and there is none")
    if model.family != "baseline" and isinstance(model.class_weights, dict):
        for label in model.class_weights:
            if label not in task.labels:
                here = (*place, "class_weights", label)
                hint = did_you_mean(label, task.labels, what="labels")
                yield Problem(here, f"{shown(here)}: {label} is not a label of the task; {hint}")


# ---------------------------------------------------------------- evaluation


def _evaluation_checks(evaluation: Evaluation, model_names: list[str]) -> Iterator[Problem]:
    if evaluation.baseline is not None and evaluation.baseline not in model_names:
        place = ("evaluation", "baseline")
        hint = did_you_mean(evaluation.baseline, model_names, what="models")
        yield Problem(place, f"{shown(place)}: {evaluation.baseline} is not a model; {hint}")
    for position, pair in enumerate(evaluation.compare):
        for name in pair:
            if name not in model_names:
                place = ("evaluation", "compare", position)
                hint = did_you_mean(name, model_names, what="models")
                yield Problem(place, f"{shown(place)}: {name} is not a model; {hint}")
    for metric in evaluation.floors:
        if metric not in _FLOORS:
            place = ("evaluation", "floors", metric)
            hint = did_you_mean(metric, _FLOORS, what="metrics")
            yield Problem(place, f"{shown(place)}: {metric} is not a metric; {hint}")


def _binary_evaluation(evaluation: Evaluation, task: Task) -> Iterator[Problem]:
    if task.binary:
        return
    rule = evaluation.threshold.rule
    if rule != "argmax":
        place = ("evaluation", "threshold", "rule")
        yield Problem(place, f"{shown(place)}: {rule} needs a task with two labels; use argmax")
    if evaluation.calibration in {"platt", "isotonic"}:
        place = ("evaluation", "calibration")
        yield Problem(place, f"{shown(place)}: {evaluation.calibration} needs two labels; temperature has no such need")
    if evaluation.decision_range is not None:
        place = ("evaluation", "decision_range")
        yield Problem(place, f"{shown(place)}: a decision curve needs a task with two labels")
    for place, metric in [
        (("evaluation", "primary"), evaluation.primary),
        *((("evaluation", "floors", metric), metric) for metric in evaluation.floors),
    ]:
        if metric in _BINARY_METRICS:
            yield Problem(place, f"{shown(place)}: {metric} needs a task with two labels; macro_f1 has no such need")
