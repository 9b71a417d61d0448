"""Declared fields as JSON: one text for one object, and what a text says of the fields, read strictly.

The text that a model learns is canonical: every declared field in the order of the study, `null` where there is no
value, whole numbers without a decimal point. What a model writes is read as RFC 8259 has it, and nothing is put right:
no text around the object, no second spelling of a name, no number in quotes, no value beside the list.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from clinfit.data.values import whole_characters
from clinfit.study.fields import ExtractedField

FieldValue = str | int | float | bool | list[str] | None
Values = dict[str, FieldValue]

Fault = Literal["not_json", "missing_field", "extra_field", "wrong_type", "outside_list"]
#: What is wrong with a text, in words, in the order of every table.
FAULTS: dict[Fault, str] = {
    "not_json": "no JSON object",
    "missing_field": "a field is missing",
    "extra_field": "a field is not declared, or stands twice",
    "wrong_type": "a value is of another type",
    "outside_list": "a value is not one of the list",
}


#: Types of fields in words.
WORDS = {
    "string": "a string",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "list": "a list of strings",
}


@dataclass(frozen=True)
class Extracted:
    """What a text says of the fields. values: of every declared field, None where the text is invalid. faults: what is
    wrong with it, each once, in the order of FAULTS; none of a valid text."""

    values: Values | None
    faults: tuple[Fault, ...] = ()


def canonical(values: Mapping[str, FieldValue]) -> str:
    """The one text of an object whose fields stand in the order of the study."""
    return json.dumps(dict(values), ensure_ascii=False)


def read_object(text: str, fields: Mapping[str, ExtractedField]) -> Extracted:
    """The object that a text is. White space around it is part of JSON; a fence or a word beside it is not.

    A field that must have a value is missing where it is null; one that need not may also be left out.
    """
    pairs = object_pairs(text)
    if pairs is None:
        return Extracted(None, ("not_json",))
    given = dict(pairs)
    found: set[Fault] = set()
    if len(given) < len(pairs) or given.keys() - fields.keys():
        found.add("extra_field")
    values: Values = {}
    for name, field in fields.items():
        values[name], fault = read_value(given.get(name), field)
        if fault is not None:
            found.add(fault)
    return Extracted(None, tuple(fault for fault in FAULTS if fault in found)) if found else Extracted(values)


def object_pairs(text: str) -> list[tuple[str, Any]] | None:
    """Names and values of a JSON object (RFC 8259: no NaN), a name as often as it stands there; None of other texts. An
    object within it is a value of no JSON type, which no field and no input takes."""
    try:
        found = json.loads(text, object_pairs_hook=_Pairs, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return None
    return found.pairs if isinstance(found, _Pairs) else None


def read_value(value: Any, field: ExtractedField) -> tuple[FieldValue, Fault | None]:
    """A value as its field declares it, or what is wrong with it."""
    if value is None:
        return None, "missing_field" if field.required else None
    if field.type == "boolean":
        return (value, None) if isinstance(value, bool) else (None, "wrong_type")
    if field.type in ("number", "integer"):
        return _number(value, whole=field.type == "integer")
    several = field.type == "list"
    texts = value if several else [value]
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        return None, "wrong_type"
    if field.values is not None and not {*texts} <= {*field.values}:
        return None, "outside_list"
    read = [whole_characters(text) for text in texts]
    return read if several else read[0], None


def told(field: ExtractedField) -> str:
    """What may stand in a field, in words."""
    if field.values is not None:
        listed = ", ".join(json.dumps(value, ensure_ascii=False) for value in field.values)
        what = f"one of {listed}" if field.type == "string" else f"a list of any of {listed}"
    else:
        what = WORDS[field.type]
    return what if field.required else f"{what}, or null"


@dataclass(frozen=True)
class _Pairs:
    """A JSON object with every name as often as it stands there."""

    pairs: list[tuple[str, Any]]


def _number(value: Any, *, whole: bool) -> tuple[FieldValue, Fault | None]:
    """1.0 is a whole number, as in JSON Schema; true and "1" are no numbers, nor is one beyond the range of floats."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not _finite(value):
        return None, "wrong_type"
    if isinstance(value, int) or value.is_integer():
        return int(value), None
    return (None, "wrong_type") if whole else (value, None)


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # of a whole number of more than 308 digits
        return False


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
