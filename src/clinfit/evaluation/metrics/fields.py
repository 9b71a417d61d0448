"""What one text is worth of which declared fields are asked: counts of one item, from two JSON texts.

Strings are compared after the normaliser of all text metrics (metrics/text/normalise.py), but those of a declared list
as they are: a normaliser may make one of two. Numbers are compared by value, lists as sets of strings. A text that is
no valid object is nothing but wrong: all its fields are wrong, and it counts as if it had given as many wrong values of
each field as its reference has, and one where that has none, so that it stands in the denominator of precision too.
"""

from collections.abc import Mapping
from typing import Any

from clinfit.data.fields import FAULTS, FieldValue, read_object
from clinfit.evaluation.metrics.text.form import cut_off
from clinfit.evaluation.metrics.text.normalise import normalise
from clinfit.study.fields import ExtractedField

#: Of every item.
OF_ITEM = ("valid_output", "all_fields", *FAULTS, "cut_off")
#: Of every field of an item, before `:` and its name. right: whether the value is the reference's, none like none.
#: correct, given, true: values that are in both, in the text, in the reference; of a list any number.
OF_FIELD = ("right", "correct", "given", "true")


def columns_of(fields: Mapping[str, ExtractedField]) -> list[str]:
    """The names of all scores of an item."""
    return [*OF_ITEM, *(f"{count}:{name}" for name in fields for count in OF_FIELD)]


def field_scores(
    output: str, reference: str, fields: Mapping[str, ExtractedField], finish_reason: str | None
) -> dict[str, float | None]:
    """The scores of one text. reference: a valid object of these fields. finish_reason: None where it is not known."""
    said, gold = read_object(output, fields), read_object(reference, fields).values
    assert gold is not None
    scores: dict[str, float | None] = {fault: float(fault in said.faults) for fault in FAULTS}
    scores["valid_output"] = float(said.values is not None)
    scores["cut_off"] = None if finish_reason is None else cut_off(finish_reason)
    right = []
    for name, field in fields.items():
        true = _compared(gold[name], field)
        given = None if said.values is None else _compared(said.values[name], field)
        right.append(true == given)
        counts = (
            right[-1],
            0 if given is None else len(true & given),
            max(1, len(true)) if given is None else len(given),
            len(true),
        )
        scores |= {f"{count}:{name}": float(value) for count, value in zip(OF_FIELD, counts, strict=True)}
    scores["all_fields"] = float(all(right))
    return scores


def _compared(value: FieldValue, field: ExtractedField) -> set[Any]:
    """The values of a field as they are compared; none where there is none."""
    if value is None:
        return set()
    values = value if isinstance(value, list) else [value]
    if field.values is not None:
        return {*values}
    return {normalise(one) or one.strip() if isinstance(one, str) else one for one in values}
