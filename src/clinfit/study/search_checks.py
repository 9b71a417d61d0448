"""What a search for hyperparameters must agree on with the model that it is for, and with the study."""

import json
from collections.abc import Iterator
from typing import Any

from pydantic import TypeAdapter, ValidationError

from clinfit.study.messages import Place, Problem, did_you_mean, problems_in, shown
from clinfit.study.model_checks import label_settings
from clinfit.study.models import ModelSpec
from clinfit.study.parts import Parts
from clinfit.study.search import (
    NOT_SEARCHED,
    USED_BY,
    Search,
    as_value,
    dimension_of,
    filled_in,
    searchable,
    setting,
    size_of,
    space_of,
)
from clinfit.study.tasks import Writing

#: A model at its place in the study, so that messages about it name the place.
_PLACED = TypeAdapter(dict[str, dict[int, ModelSpec]])


def search_checks(parts: Parts) -> Iterator[Problem]:
    """Each search has one value to compare points by, settings that the model has, and values that they take."""
    for position, model in parts.models.items():
        if model.searched is not None:
            place: Place = ("models", position, "search")
            yield from _whole(place, model, model.searched, parts)
            problems = list(_ranges(place, position, model, model.searched, parts))
            yield from problems
            if not problems:
                yield from _size(place, model, model.searched)


def _whole(place: Place, model: ModelSpec, search: Search, parts: Parts) -> Iterator[Problem]:
    """What stands in the way of a search as a whole."""
    if getattr(model, "prompting", False):
        yield Problem(place, f"{shown(place)}: `method: prompt` trains nothing, so there is nothing to search")
    if len(model.stages or parts.stages) > 1:
        text = "a search is for one round of training, and this model has several stages; search them in studies of "
        yield Problem(place, f"{shown(place)}: {text}their own, or give the model `stages` with one entry")
    tasks = parts.answered(model)
    here = (*place, "by")
    if search.by == "primary" and len(tasks) > 1:
        text = f"primary metrics of several tasks ({', '.join(tasks)}) have no common scale; use by: loss"
        yield Problem(here, f"{shown(here)}: {text}, or name one task in the model's `tasks`")
    elif search.by == "primary" and any(isinstance(task, Writing) for task in tasks.values()):
        yield Problem(here, f"{shown(here)}: no text is written during a search, so use by: loss")


def _ranges(place: Place, position: int, model: ModelSpec, search: Search, parts: Parts) -> Iterator[Problem]:
    """Names that the model knows, with values that each setting takes."""
    known = searchable(model)
    for name, tried in search.over.items():
        here = (*place, "over", name)
        if name not in known:
            yield Problem(here, f"{shown(here)}: {_not_searched(name, model, known)}")
            continue
        if overridden := _overridden(name, model, parts):
            yield Problem(here, f"{shown(here)}: {overridden}")
            continue
        if name == "train.loss_per" and search.by == "loss":
            text = "the loss is counted by it, so that losses under different values cannot be compared"
            yield Problem(here, f"{shown(here)}: {text}; use by: primary, or leave it out")
            continue
        if isinstance(tried, list):
            values = tried
        else:
            listed = isinstance(setting(model, name), list)
            values = [as_value(tried.low, listed), as_value(tried.high, listed)]
        refused = [text for value in values for text in _refused(position, model, name, value, parts)]
        yield from (Problem(here, f"{shown(here)}: {text}") for text in dict.fromkeys(refused))
        if isinstance(tried, list) and not refused:
            different = {json.dumps(value, sort_keys=True) for value in dimension_of(model, name, tried).values or ()}
            if len(different) < max(2, len(tried)):
                yield Problem(here, f"{shown(here)} needs two values or more, each once")


def _not_searched(name: str, model: ModelSpec, known: list[str]) -> str:
    """Why a name cannot be searched."""
    if name in USED_BY and name not in NOT_SEARCHED and hasattr(model, name):
        return f"models of kind {getattr(model, 'kind', '')} do not use {name}"
    if name.startswith("lora.") and getattr(model, "trains_all", False):
        return f"`method: full` trains all weights and no adapter, so {name} means nothing"
    if name in NOT_SEARCHED:
        return f"{name} is no setting that is found by trying; what is: {', '.join(known)}"
    inside = next((other for other in known if other.endswith(f".{name}")), None)
    hint = f"did you mean {inside}?" if inside else did_you_mean(name, known, what="settings that may be searched")
    return f"{name} is no setting of {model.name}; {hint}"


def _overridden(name: str, model: ModelSpec, parts: Parts) -> str | None:
    """Why trying a setting would change nothing: the stage has it as its own."""
    section, _, own = name.partition(".")
    stages = model.stages or list(parts.stages.values())
    if section != "train" or all(getattr(stage.settings, own, None) is None for stage in stages):
        return None
    return f"the stage trains with its own settings.{own}, whatever is tried here; leave one of them out"


def _refused(position: int, model: ModelSpec, name: str, value: Any, parts: Parts) -> Iterator[str]:
    """Why the model cannot have that value."""
    block = filled_in(model.model_dump(), {name: value})
    placed = {"models": {position: block}}

    def plain(text: str) -> str:
        return text.replace(f"models.{position}.", "").replace(f"models[{position}].", "")

    try:
        changed = _PLACED.validate_python(placed)["models"][position]
    except ValidationError as error:
        yield from (plain(problem.text) for problem in problems_in(error, placed))
        return
    yield from (plain(problem.text) for problem in label_settings(("models", position), changed, parts))
    obstacles = [changed.obstacle(task) for task in parts.answered(model).values()]
    obstacles += [changed.stage_obstacle(stage) for stage in model.stages or parts.stages.values()]
    yield from (f"{json.dumps(value)}: {obstacle}" for obstacle in obstacles if obstacle is not None)


def _size(place: Place, model: ModelSpec, search: Search) -> Iterator[Problem]:
    size = size_of(space_of(model, search.over))
    if size is not None and search.trials > size:
        here = (*place, "trials")
        yield Problem(
            here, f"{shown(here)} is {search.trials}, and there are {size} points; {size} trials try them all"
        )
