"""What the sections of a study must agree on: names that refer to each other, and tasks that can be asked.

Each check yields problems instead of raising, and takes only the sections that are valid by themselves, so that a
misspelt key in one model does not hide what is wrong elsewhere. Models and stages, and evaluation, have files of their
own.
"""

import re
from collections.abc import Iterator, Sequence

from jinja2 import TemplateSyntaxError, meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from clinfit.study.data import InputColumn, LabelColumn
from clinfit.study.evaluation_checks import evaluation_checks
from clinfit.study.fold_checks import fold_checks
from clinfit.study.messages import Place, Problem, did_you_mean, shown
from clinfit.study.model_checks import model_checks, stage_checks
from clinfit.study.parts import Parts
from clinfit.study.search_checks import search_checks
from clinfit.study.tasks import Multilabel, MultipleChoice, Task

#: Names that a prompt may use beside the task's inputs, by kind of task (see prompts/template.py).
PROMPT_NAMES: dict[str, tuple[str, ...]] = {
    "classification": ("labels", "record"),
    "multilabel": ("labels", "record", "label"),
    "multiple-choice": ("labels", "record", "options"),
    "generation": ("record",),
    "extraction": ("record", "fields"),
}
#: What looks like a template.
FILLED_IN = re.compile(r"\{\{-?\s*\w|\{%")


def cross_checks(parts: Parts) -> Iterator[Problem]:
    """Everything that spans sections."""
    yield from _distinct_names("task", [(("tasks", name), name) for name in parts.task_names])
    yield from _distinct_names("model", [(("models", k, "name"), name) for k, name in enumerate(parts.model_names)])
    for name, task in parts.tasks.items():
        yield from _task_checks(("tasks", name), task)
    yield from fold_checks(parts)
    yield from model_checks(parts)
    yield from stage_checks(parts)
    yield from search_checks(parts)
    yield from evaluation_checks(parts)


def _distinct_names(what: str, names: Sequence[tuple[Place, str]]) -> Iterator[Problem]:
    """Files and folders of a run are called so, and `Cancer` and `cancer` are one file on many disks.

    Nothing else can collide: in `<task>-<split>-stage<n>.parquet` split and stage are read from the end.
    """
    earlier: dict[str, str] = {}
    for place, name in names:
        first = earlier.get(name.casefold())
        earlier.setdefault(name.casefold(), name)
        if first is not None:
            case = "" if first == name else " in more than case, since they name files"
            yield Problem(place, f"{shown(place)}: an earlier {what} is called {first!r} too; names must differ{case}")


# ---------------------------------------------------------------- tasks


def _task_checks(place: Place, task: Task) -> Iterator[Problem]:
    columns = task.data.columns
    if not columns:
        yield Problem((*place, "data"), f"{shown(place)}.data declares no inputs; name at least one under `inputs`")
    for name, column in columns.items():
        yield from _input_checks((*place, "data", "inputs", name), name, column, task)
    for position, name in enumerate(task.data.clean.drop_missing):
        if name not in columns:
            here = (*place, "data", "clean", "drop_missing", position)
            yield Problem(here, f"{shown(here)}: {name} is not an input; {did_you_mean(name, columns, what='inputs')}")
    if isinstance(task.data.label, LabelColumn):
        yield from _label_checks((*place, "data", "label"), task, task.data.label)
    if task.system is not None and FILLED_IN.search(task.system):
        here = (*place, "system")
        yield Problem(here, f"{shown(here)}: `{{{{` is not filled in here; the prompt is a template, and this is none")
    if task.prompt is not None:
        here = (*place, "prompt")
        yield from (Problem(here, f"{shown(here)}: {text}") for text in _prompt_problems(task.prompt, task))


def _input_checks(here: Place, name: str, column: InputColumn, task: Task) -> Iterator[Problem]:
    if name in PROMPT_NAMES[task.kind]:
        yield Problem(here, f"{shown(here)}: `{{{{ {name} }}}}` has a meaning of its own in prompts; rename the input")
    if column.column in task.data.label_columns:
        yield Problem(here, f"{shown(here)} reads the label column, so the answer would be part of the question")
    if column.unit is not None and column.type != "number":
        yield Problem(here, f"{shown(here)}: a unit goes with type: number, and the type is {column.type}")
    if column.range is not None and column.type != "number":
        yield Problem(here, f"{shown(here)}: a range goes with type: number, and the type is {column.type}")
    if column.range is not None and not column.range[0] < column.range[1]:
        yield Problem(here, f"{shown(here)}: the range begins at {column.range[0]:g} and ends at {column.range[1]:g}")
    if column.categories is not None and column.type != "category":
        yield Problem(here, f"{shown(here)}: categories go with type: category, and the type is {column.type}")
    if column.categories is not None and len(set(map(str, column.categories))) < len(column.categories):
        yield Problem(here, f"{shown(here)}: a category stands there twice")
    if isinstance(task, MultipleChoice) and name in task.options and column.type != "text":
        yield Problem(here, f"{shown(here)}: an option must be of type text, and this one is of type {column.type}")


def _label_checks(here: Place, task: Task, label: LabelColumn) -> Iterator[Problem]:
    """A separator divides the cells of multilabel tasks, and so may not stand in what it divides."""
    here = (*here, "separator")
    if not isinstance(task, Multilabel):
        if label.separator != LabelColumn.model_fields["separator"].default:
            yield Problem(here, f"{shown(here)} goes with kind: multilabel, and the kind is {task.kind}")
        return
    values = task.labels if label.map is None else [key for key in label.map if isinstance(key, str)]
    if divided := [value for value in values if label.separator in value]:
        yield Problem(here, f"{shown(here)}: {label.separator!r} stands in {divided[0]!r}, which it would cut in two")


def _prompt_problems(prompt: str, task: Task) -> Iterator[str]:
    """What is wrong with a prompt template over the inputs of a task."""
    inputs = task.data.columns
    known = [*inputs, *PROMPT_NAMES[task.kind]]  # `task` is known too where it is used (load.py)
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
    if isinstance(task, MultipleChoice) and "options" not in used and not used >= set(task.options):
        yield "the prompt does not show all options; use {{ options }}"
