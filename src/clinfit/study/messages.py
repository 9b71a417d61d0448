"""What is wrong with a study file, in plain words: pydantic's errors with the nearest known key or value."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from clinfit.errors import nearest
from clinfit.study.schema import section_schema

#: Where something stands in the file: ("models", 2, "train").
Place = tuple[str | int, ...]


@dataclass(frozen=True)
class Problem:
    """One thing to correct, and where it stands; `line` (from 1) only where the place does not tell."""

    place: Place
    text: str
    line: int | None = None


def shown(place: Place) -> str:
    """A place as people write it: models[2].train."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)
    return text.removeprefix(".") or "the study"


def did_you_mean(word: str, known: Iterable[str], *, what: str = "known") -> str:
    """The end of a message about a misspelt word: the nearest known word, or all of them."""
    known = list(known)
    close = nearest(word, known)
    return f"did you mean {close}?" if close else f"{what}: {', '.join(known)}"


def problems_in(error: ValidationError, data: Any) -> list[Problem]:
    """The errors of one validation of `data`; `data` is the whole study as it was read."""
    located = _without_other_alternatives([_Located.of(details, data) for details in error.errors()])
    misspelt = {
        (*item.place[:-1], nearest(str(item.place[-1]), _properties(item.details["loc"][:-1])))
        for item in located
        if item.details["type"] == "extra_forbidden"
    }
    return [
        Problem(item.place, _plain(item))
        for item in located
        if item.details["type"] != "missing" or item.place not in misspelt
    ]


# ---------------------------------------------------------------- where


@dataclass(frozen=True)
class _Located:
    """An error with its place in the file.

    pydantic puts the alternative of a union that it tried (`InputColumn`, `list[str]`, the family, the kind of task)
    into the location as if it were a key; `place` is free of these. `union` is the place of the first such union that
    no key decides, `alternative` what was tried, `option` its location and `value` what stands there.
    """

    details: ErrorDetails
    place: Place
    union: Place | None
    alternative: str
    option: Place
    value: Any

    @classmethod
    def of(cls, details: ErrorDetails, data: Any) -> "_Located":
        loc = details["loc"]
        place: list[str | int] = []
        union, option, at_union = None, (), None
        value = data
        for position, step in enumerate(loc):
            last = position == len(loc) - 1
            if _is_tag(loc, position):
                continue
            if isinstance(value, Mapping) and (key := _key_like(step, value)) is not None:
                place.append(str(key))
                value = value[key]
            elif isinstance(value, Sequence) and not isinstance(value, str) and isinstance(step, int):
                place.append(step)
                value = value[step]
            elif last and details["type"] == "missing":
                place.append(step)
            elif union is None:
                union, option, at_union = tuple(place), loc[: position + 1], value
        return cls(details, tuple(place), union, str(option[-1]) if option else "", option, at_union)


def _key_like(step: str | int, mapping: Mapping[Any, Any]) -> Any:
    """The key of the mapping that the step names; pydantic writes keys that are no text as text."""
    if step in mapping:
        return step
    return next((key for key in mapping if str(key) == str(step)), None)


def _is_tag(loc: Place, position: int) -> bool:
    """Whether a step of pydantic's location is the family of a model or the kind of a task: tasks.cancer.multilabel."""
    return position == 2 and loc[0] in TAGS and loc[2] != "[key]"


def _without_other_alternatives(errors: list[_Located]) -> list[_Located]:
    """Of a union's errors only those of the alternative that the user meant: a block, a list, or a single value."""
    kept: list[_Located] = []
    for place in dict.fromkeys((item.union, item.place if item.union is None else None) for item in errors):
        group = [item for item in errors if (item.union, item.place if item.union is None else None) == place]
        if place[0] is not None:
            group = _of_likeliest([item for item in group if _meant(item)]) or group[:1]
        kept += group
    return kept


def _of_likeliest(group: list[_Located]) -> list[_Located]:
    """The errors of the alternative whose keys are spelt most like those that stand there; of several, the first."""
    options = list(dict.fromkeys(item.option for item in group))
    if len(options) < 2 or not isinstance(group[0].value, Mapping):
        return group
    likeliest = max(options, key=lambda option: _likeness(group[0].value, _properties(option)))
    return [item for item in group if item.option == likeliest]


def _likeness(block: Mapping[Any, Any], known: Iterable[str]) -> float:
    """Sum over the keys of a block of the likeness to the known key that is most like it, 1 where it is the same."""
    return sum(max((SequenceMatcher(None, str(key), name).ratio() for name in known), default=0.0) for key in block)


def _meant(item: _Located) -> bool:
    if isinstance(item.value, Mapping):
        return item.alternative.startswith("dict") or item.alternative[0].isupper()
    if isinstance(item.value, list):
        return item.alternative.startswith("list")
    return item.alternative == "str" or item.alternative.startswith("literal")


# ---------------------------------------------------------------- what

_TYPES = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a block of keys",
    "model_type": "a block of keys",
    "model_attributes_type": "a block of keys",
    "finite_number": "a finite number",
}
_BOUNDS = {
    "greater_than": ("gt", "above"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "below"),
    "less_than_equal": ("le", "at most"),
}


def _plain(item: _Located) -> str:
    """One error as a sentence."""
    details, place = item.details, shown(item.place)
    kind, found, context = details["type"], details["input"], details.get("ctx", {})
    if kind == "extra_forbidden" or item.place == ("folder",):
        return _unknown_key(details["loc"], item.place)
    if kind == "missing":
        return f"{shown(item.place[:-1])} lacks the key {item.place[-1]}"
    if kind.startswith("union_tag"):
        return _unknown_alternative(item)
    if kind == "literal_error":
        choices = re.findall(r"'([^']*)'", context["expected"])
        hint = did_you_mean(found, choices) if isinstance(found, str) else ""
        return f"{place} is {_found(found)}, and must be one of {', '.join(choices)}" + (
            f"; {hint}" if hint.startswith("did you") else ""
        )
    if kind in _TYPES:
        advice = "; put it in quotes" if _TYPES[kind] == "text" and isinstance(found, bool | int | float) else ""
        return f"{place} must be {_TYPES[kind]}, and is {_found(found)}{advice}"
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        return f"{place} must be {words} {context[name]:g}, and is {_found(found)}"
    if kind == "too_short":
        entries = "entry" if context["min_length"] == 1 else "entries"
        return f"{place} needs at least {context['min_length']} {entries}, and has {context['actual_length']}"
    if kind == "string_too_short":
        return f"{place} needs at least {context['min_length']} character, and is {_found(found)}"
    if kind == "string_pattern_mismatch":
        return f"{place}: {_found(found)} must start with a letter or digit and hold only letters, digits, and . _ -"
    if kind == "value_error":
        return f"{place}: {context['error']}"
    return f"{place}: {details['msg'][:1].lower()}{details['msg'][1:]}, and is {_found(found)}"


def _unknown_alternative(item: _Located) -> str:
    """A model of no known family, or a task of no known kind."""
    section = str(item.details["loc"][0])
    key, block = TAGS[section], item.details["input"]
    known = list(_alternatives(section, key))
    if not isinstance(block, Mapping):
        return f"{shown(item.place)} must be a block of keys, and is {_found(block)}"
    if key not in block:
        return f"{shown(item.place)} lacks the key {key}, one of {', '.join(known)}"
    tag = block[key]
    if not isinstance(tag, str):
        return f"{shown(item.place)}.{key} is {_found(tag)}, and must be one of {', '.join(known)}"
    return f"{shown(item.place)}.{key}: {tag!r} is not a {key}; {did_you_mean(tag, known, what=PLURALS[key])}"


def _found(value: Any) -> str:
    """A value of the study file in words."""
    if value is None:
        return "empty"
    if isinstance(value, Mapping):
        return "a block of keys"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value!r}" if isinstance(value, str) else f"the number {value}"


# ---------------------------------------------------------------- known keys, from the JSON Schema

#: Sections whose blocks are of one of several types, and the key that says of which.
TAGS = {"tasks": "kind", "models": "family"}
PLURALS = {"kind": "kinds", "family": "families"}


@lru_cache(maxsize=1)
def _schema() -> dict[str, Any]:
    return section_schema()


def _unknown_key(loc: Place, place: Place) -> str:
    key, block = str(place[-1]), place[:-1]
    properties = _properties(loc[:-1])
    elsewhere = [f"{name}.{key}" for name, part in properties.items() if key in _follow(part).get("properties", {})]
    if elsewhere:
        hint = f"did you mean {elsewhere[0]}?"
    elif len(block) > 1 and isinstance(block[-1], str) and key in _properties(loc[:-2]):
        hint = f"did you mean {shown((*block[:-1], key))}, one level up?"
    else:
        hint = did_you_mean(key, properties, what="known keys")
    return f"{key} is not a key of {shown(block)}; {hint}"


def _properties(loc: Place) -> dict[str, Any]:
    """The properties of the section that pydantic's location leads to, alternatives of unions included."""
    node = _schema()
    for position, step in enumerate(loc):
        node = (
            _alternatives(str(loc[0]), TAGS[str(loc[0])])[str(step)] if _is_tag(loc, position) else _inner(node, step)
        )
    return _follow(node).get("properties", {})


def _inner(node: dict[str, Any], step: str | int) -> dict[str, Any]:
    """The node that one step leads to: a key, an entry of a list or of a map, or an alternative of a union."""
    node = _follow(node)
    if step in node.get("properties", {}):
        return node["properties"][step]
    if "anyOf" in node:
        name = str(step).removesuffix("]").rpartition(", ")[2]  # function-after[_check(), Name], where it is checked
        return next((option for option in node["anyOf"] if option.get("$ref", "").endswith(f"/{name}")), node)
    entries = [node.get("items"), node.get("additionalProperties"), *node.get("patternProperties", {}).values()]
    return next((entry for entry in entries if isinstance(entry, dict)), {})


def _follow(node: dict[str, Any]) -> dict[str, Any]:
    """The node itself, or the definition that it refers to; of one that may be null, the other."""
    options = [option for option in node.get("anyOf", []) if option != {"type": "null"}]
    if len(options) == 1:
        node = options[0]
    return _schema()["$defs"][node["$ref"].rsplit("/", 1)[1]] if "$ref" in node else node


@lru_cache(maxsize=2)
def _alternatives(section: str, key: str) -> dict[str, dict[str, Any]]:
    """Tag -> schema of each alternative of a section: the families of models, the kinds of tasks."""
    options = _inner(_schema()["properties"][section], "")["oneOf"]
    return {_follow(option)["properties"][key]["const"]: option for option in options}
