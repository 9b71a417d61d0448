"""What is wrong with a study file, in plain words: pydantic's errors with the nearest known key or value."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from clinfit.errors import nearest
from clinfit.study import json_schema

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
        (*item.place[:-1], nearest(str(item.place[-1]), _properties(_schema(), item.details["loc"][:-1])))
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

    pydantic puts the alternative of a union that it tried (`InputColumn`, `list[str]`, the family) into the
    location as if it were a key; `place` is free of these. `union` is the place of the first such union,
    `alternative` its tag and `value` what stands there.
    """

    details: ErrorDetails
    place: Place
    union: Place | None
    alternative: str
    value: Any

    @classmethod
    def of(cls, details: ErrorDetails, data: Any) -> "_Located":
        loc = details["loc"]
        place: list[str | int] = []
        union, alternative, at_union = None, "", None
        value = data
        for position, step in enumerate(loc):
            last = position == len(loc) - 1
            if isinstance(value, Mapping) and (key := _key_like(step, value)) is not None:
                place.append(str(key))
                value = value[key]
            elif isinstance(value, Sequence) and not isinstance(value, str) and isinstance(step, int):
                place.append(step)
                value = value[step]
            elif last and details["type"] == "missing":
                place.append(step)
            elif union is None and not _is_family(step, value):
                union, alternative, at_union = tuple(place), str(step), value
        return cls(details, tuple(place), union, alternative, at_union)


def _key_like(step: str | int, mapping: Mapping[Any, Any]) -> Any:
    """The key of the mapping that the step names; pydantic writes keys that are no text as text."""
    if step in mapping:
        return step
    return next((key for key in mapping if str(key) == str(step)), None)


def _is_family(step: str | int, value: Any) -> bool:
    return isinstance(value, Mapping) and value.get("family") == step


def _without_other_alternatives(errors: list[_Located]) -> list[_Located]:
    """Of a union's errors only those of the alternative that the user meant: a block, a list, or a single value."""
    kept: list[_Located] = []
    for place in dict.fromkeys((item.union, item.place if item.union is None else None) for item in errors):
        group = [item for item in errors if (item.union, item.place if item.union is None else None) == place]
        if place[0] is not None:
            group = [item for item in group if _meant(item)] or group[:1]
        kept += group
    return kept


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
    if kind == "union_tag_not_found":
        return f"{place} lacks the key family, one of {', '.join(_families())}"
    if kind == "union_tag_invalid":
        family = context["tag"]
        return f"{place}.family: {family!r} is not a family; {did_you_mean(family, _families(), what='families')}"
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
    if kind == "string_pattern_mismatch":
        return f"{place}: {_found(found)} must start with a letter or digit and hold only letters, digits, and . _ -"
    if kind == "value_error":
        return f"{place}: {context['error']}"
    return f"{place}: {details['msg'][:1].lower()}{details['msg'][1:]}, and is {_found(found)}"


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


@lru_cache(maxsize=1)
def _schema() -> dict[str, Any]:
    return json_schema()


def _unknown_key(loc: Place, place: Place) -> str:
    key, block = str(place[-1]), place[:-1]
    sections = _schema()
    properties = _properties(sections, loc[:-1])
    elsewhere = [
        f"{name}.{key}" for name, part in properties.items() if key in _follow(sections, part).get("properties", {})
    ]
    hint = f"did you mean {elsewhere[0]}?" if elsewhere else did_you_mean(key, properties, what="known keys")
    return f"{key} is not a key of {shown(block)}; {hint}"


def _properties(schema: dict[str, Any], loc: Place) -> dict[str, Any]:
    """The properties of the section that pydantic's location leads to, alternatives of unions included."""
    node = schema
    for step in loc:
        node = _follow(schema, node)
        if "discriminator" in node:
            node = {"$ref": node["discriminator"]["mapping"][step]}
        elif step in node.get("properties", {}):
            node = node["properties"][step]
        elif "anyOf" in node:
            node = next((option for option in node["anyOf"] if option.get("$ref", "").endswith(f"/{step}")), node)
        else:
            node = (
                node.get("items") or node.get("additionalProperties") or next(iter(node["patternProperties"].values()))
            )
    return _follow(schema, node).get("properties", {})


def _follow(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    """The node itself, or the definition that it refers to."""
    return schema["$defs"][node["$ref"].rsplit("/", 1)[1]] if "$ref" in node else node


def _families() -> list[str]:
    models = _schema()["properties"]["models"]["items"]
    return list(models["discriminator"]["mapping"])
