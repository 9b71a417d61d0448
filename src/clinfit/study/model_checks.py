"""Which models answer which tasks, and whether the stages teach them something."""

import re
from collections.abc import Iterator, Mapping, Sequence

from clinfit.study.messages import Place, Problem, did_you_mean, shown
from clinfit.study.models import Baseline, Classical, ModelSpec
from clinfit.study.parts import Parts
from clinfit.study.search import USED_BY
from clinfit.study.stages import Stage

#: What only models with an adapter have a use for: the others have a model for each task, and no steps.
FOR_NEURAL = ("adapter", "retain", "merge", "mix", "settings")


def model_checks(parts: Parts) -> Iterator[Problem]:
    """Each model has tasks that it can answer, each task a model that answers it, each weight a label."""
    for position, model in parts.models.items():
        place: Place = ("models", position)
        if model.tasks is not None:
            yield from _named_tasks((*place, "tasks"), model, parts)
        elif parts.tasks and parts.all_tasks and not parts.answered(model):
            reasons = "; ".join(f"{name}: {model.obstacle(task)}" for name, task in parts.tasks.items())
            yield Problem(place, f"{shown(place)} ({model.name}) can answer no task: {reasons}")
        if isinstance(model, Classical):
            yield from _settings_of_its_kind(place, model)
        if isinstance(model, Baseline):
            yield from _patterns(place, model, parts)
        else:
            yield from label_settings(place, model, parts)
    if parts.all_models and parts.models:
        answered = {name for model in parts.models.values() for name in model.tasks or parts.answered(model)}
        for name, task in parts.tasks.items():
            if name not in answered:
                place = ("tasks", name)
                advice = f"add a model that answers {task.kind}, or name {name} in the `tasks` of one that can"
                yield Problem(place, f"{shown(place)}: no model answers it; {advice}")


def _settings_of_its_kind(place: Place, model: Classical) -> Iterator[Problem]:
    """Settings that the kind does not use; not asked of models that are saved already."""
    for name, kinds in USED_BY.items():
        default = type(model).model_fields[name].get_default(call_default_factory=True)
        if model.kind not in kinds and getattr(model, name) != default:
            here = (*place, name)
            kind = " or ".join(sorted(kinds))
            yield Problem(here, f"{shown(here)}: `{name}` goes with kind: {kind}, and the kind is {model.kind}")


def _named_tasks(place: Place, model: ModelSpec, parts: Parts) -> Iterator[Problem]:
    """`tasks` of a model: known, once each, and such that it can answer them."""
    names = model.tasks or []
    for position, name in enumerate(names):
        here = (*place, position)
        if name not in parts.task_names:
            hint = did_you_mean(name, parts.task_names, what="tasks")
            yield Problem(here, f"{shown(here)}: {name} is not a task; {hint}")
        elif name in names[:position]:
            yield Problem(here, f"{shown(here)}: {name} stands there twice")
        elif name in parts.tasks and (obstacle := model.obstacle(parts.tasks[name])):
            yield Problem(here, f"{shown(here)}: {name}: {obstacle}")


def _patterns(place: Place, model: Baseline, parts: Parts) -> Iterator[Problem]:
    for position, pattern in enumerate(model.patterns):
        try:
            re.compile(pattern)
        except re.error as error:
            here = (*place, "patterns", position)
            yield Problem(here, f"{shown(here)}: {pattern!r} is no regular expression ({error})")
    several = list(parts.answered(model))
    if model.patterns and model.tasks is None and len(several) > 1:
        yield Problem(
            place,
            f"{shown(place)} ({model.name}): patterns answer one question, and {', '.join(several)} have two labels "
            f"each; name those that the patterns are for: tasks: [{several[0]}]",
        )


def label_settings(place: Place, model: ModelSpec, parts: Parts) -> Iterator[Problem]:
    """Weights, sampling and the like act on tasks with one label a record; names are labels of one of these."""
    tasks = {name: task for name, task in parts.answered(model).items() if task.labels and task.kind != "multilabel"}
    for setting in ("class_weights", "sampling", "oversample"):
        value = getattr(model, setting, None)
        if value in (None, "none", False):
            continue
        here = (*place, setting)
        if not tasks and parts.answered(model) and parts.all_tasks:
            yield Problem(here, f"{shown(here)} acts on tasks with one label a record, and {model.name} has none")
        elif isinstance(value, dict) and tasks and parts.all_tasks:
            labels = list(dict.fromkeys(label for task in tasks.values() for label in task.labels))
            for label in (label for label in value if label not in labels):
                hint = did_you_mean(label, labels, what="labels")
                text = f"{shown((*here, label))}: {label} is not a label of {' or '.join(tasks)}; {hint}"
                yield Problem((*here, label), text)


def stage_checks(parts: Parts) -> Iterator[Problem]:
    """Stages train tasks and go on from stages that are there, in ways that the model knows, and teach every trained
    model something."""
    yield from _stages(("stages",), parts.stages, parts)
    for position, model in parts.models.items():
        place: Place = ("models", position, "stages")
        own = dict(enumerate(model.stages or ()))
        yield from _stages(place, own, parts)
        if model.prompting:
            yield from _of_trained_models(place, own, ("mix", "settings"), f"{model.name} trains nothing")
        elif not model.neural:
            yield from _of_trained_models(place, own, FOR_NEURAL, f"{model.name} is {model.family}")
        here, stages = (place, own) if own else (("stages",), parts.stages)
        for number, stage in stages.items():
            if (obstacle := model.stage_obstacle(stage)) is not None:
                at = (*here, number)
                yield Problem(at, f"{shown(at)}: {obstacle}; the model is {model.name}")
        if stages and parts.all_tasks and _learned(stages) <= parts.tasks.keys():
            yield from _idle(here, model, stages, parts)
            yield from _never_learned(here, model, stages, parts)


def _stages(place: Place, stages: Mapping[int, Stage], parts: Parts) -> Iterator[Problem]:
    """The names and numbers in a list of stages."""
    for position, stage in stages.items():
        named = {("train", name): name for name in stage.train}
        if stage.mix is not None:
            named |= {("mix", "records", name): name for name in stage.mix.records or {}}
        for key, name in named.items():
            here = (*place, position, *key)
            if parts.task_names and name not in parts.task_names:
                hint = did_you_mean(name, parts.task_names, what="tasks")
                yield Problem(here, f"{shown(here)}: {name} is not a task; {hint}")
            elif key[0] == "mix" and not stage.train.get(name):
                yield Problem(here, f"{shown(here)}: the stage does not train {name}")
        if len(stages) == max(stages) + 1 and _rehearses_nothing(stages, position):
            here = (*place, position, "retain", "rehearsal")
            text = "the stage trains every earlier task itself, so there is nothing to rehearse; leave it out"
            yield Problem(here, f"{shown(here)}: {text}")
        if stage.merge is not None and (lost := _known(stages, position) - _held(stages, position)):
            here = (*place, position, "merge", "stages")
            text = f"none of these adapters has learned {', '.join(sorted(lost))}, which `adapter: new` left to another"
            yield Problem(here, f"{shown(here)}: {text}; name the stage that taught it too")
        if position == 0 and (later := _needs_a_stage_before(stage)):
            here = (*place, position, later)
            yield Problem(here, f"{shown(here)}: there is no stage before the first")
        numbers = {("start",): stage.start} if isinstance(stage.start, int) else {}
        if stage.merge is not None:
            numbers |= {("merge", "stages", k): number for k, number in enumerate(stage.merge.stages)}
        for key, number in numbers.items():
            if number > position and position > 0:
                here = (*place, position, *key)
                yield Problem(here, f"{shown(here)}: stage {number} does not come before stage {position + 1}")


def _of_trained_models(
    place: Place, stages: Mapping[int, Stage], settings: Sequence[str], why: str
) -> Iterator[Problem]:
    """Settings in stages of a model's own that act on the training of neural models, which it is not."""
    for position, stage in stages.items():
        for name in settings:
            if getattr(stage, name) != Stage.model_fields[name].get_default(call_default_factory=True):
                here = (*place, position, name)
                yield Problem(here, f"{shown(here)} is for the training of neural models, and {why}; leave it out")


def _rehearses_nothing(stages: Mapping[int, Stage], position: int) -> bool:
    """Whether a stage asks for rehearsal, and trains every task itself that the stages before it have taught."""
    stage = stages[position]
    if stage.retain is None or not stage.retain.rehearsal:
        return False
    known = _known(stages, position)
    return bool(known) and known <= stage.taught


def _known(stages: Mapping[int, Stage], position: int) -> set[str]:
    """The tasks that the stages taught which a stage goes on from, as far as these are well-formed."""
    stage = stages.get(position)
    if stage is None or stage.start == "base":
        return set()
    starts = [position - 1] if stage.start == "previous" else [stage.start - 1]
    if stage.merge is not None:
        starts = [number - 1 for number in stage.merge.stages]
    found = set[str]()
    for start in (start for start in starts if start in stages and start < position):
        found |= stages[start].taught | _known(stages, start)
    return found


def _held(stages: Mapping[int, Stage], position: int) -> set[str]:
    """The tasks that the adapter of a stage has learned itself; with `adapter: new`, earlier ones have others."""
    stage = stages.get(position)
    if stage is None:
        return set()
    if stage.merge is not None:
        before = [number - 1 for number in stage.merge.stages]
    else:
        start = position - 1 if stage.start == "previous" else stage.start - 1 if stage.start != "base" else position
        before = [start] if stage.adapter != "new" else []
    held = (_held(stages, start) for start in before if start < position)
    return stage.taught.union(*held)


def _needs_a_stage_before(stage: Stage) -> str | None:
    """The key of a stage that means something only behind another one."""
    if stage.merge is not None:
        return "merge"
    if isinstance(stage.start, int):
        return "start"
    return "retain" if stage.retain is not None else "adapter" if stage.adapter != "continue" else None


def _learned(stages: Mapping[int, Stage]) -> set[str]:
    """The tasks that some stage trains."""
    return {name for stage in stages.values() for name in stage.taught}


def _idle(place: Place, model: ModelSpec, stages: Mapping[int, Stage], parts: Parts) -> Iterator[Problem]:
    """A stage without any task of a model leaves the model as it is; one of them must have some."""
    learned, own = _learned(stages), parts.answered(model)
    if model.seeded and own and not learned & own.keys():
        text = f"{shown(place)}: {model.name} learns nothing, since none gives any of its tasks ({', '.join(own)})"
        yield Problem(place, f"{text} a weight above 0; give it one, or let {model.name} have {_or(learned)} too")


def _never_learned(place: Place, model: ModelSpec, stages: Mapping[int, Stage], parts: Parts) -> Iterator[Problem]:
    """A language model can be asked what it was not taught; rules and classifiers need training records of it."""
    learned = _learned(stages)
    for name in parts.answered(model):
        if not model.untaught and name not in learned:
            text = f"{shown(place)}: none trains {name}, and {model.name} cannot answer what it has not learned"
            yield Problem(place, f"{text}; give {name} a weight in a stage, or name other `tasks` for the model")


def _or(names: set[str]) -> str:
    return " or ".join(sorted(names))
