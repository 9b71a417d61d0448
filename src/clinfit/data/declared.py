"""What a study declares of an input beforehand: the range outside of which a number is impossible, and the categories
in their order. Training data and new data obey it here, and everything that learns, shows or serves reads what is left.

    number outside its range        missing, counted in training data, noted in new ones
    text that is no category        refused in training data, as an unknown label is; in new ones noted and missing
    a category in another case      refused in training data; in new ones the declared one, with a note
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from clinfit.data.records import Record, Value
from clinfit.data.values import EXAMPLES, as_category, may_be_text, shown_ids
from clinfit.errors import ClinfitError, nearest
from clinfit.study.data import InputColumn

#: A value is shown up to this length: a category that is no name may be text.
LONGEST_SHOWN = 40


def declared_categories(column: InputColumn) -> list[str]:
    """The categories in their order, each in the one form that values have; none where none are declared."""
    return [str(as_category(value)) for value in column.categories or ()]


def is_impossible(value: Value, column: InputColumn) -> bool:
    """Whether a number lies outside of its declared range."""
    return isinstance(value, float) and column.range is not None and not column.range[0] <= value <= column.range[1]


def range_words(column: InputColumn) -> str:
    """The range in words; empty where there is none."""
    return "" if column.range is None else f"{column.range[0]:.15g} to {column.range[1]:.15g}"


def impossible_words(name: str, column: InputColumn) -> str:
    """Under what the impossible values of an input are counted."""
    return f"{name} outside {range_words(column)}, read as missing"


def check_categories(name: str, values: Sequence[Value], column: InputColumn, ids: Sequence[str]) -> None:
    """Raise ClinfitError for values of training data that are no declared category. Where they look like free text it
    names records instead of values."""
    declared = declared_categories(column)
    if not declared:
        return
    unknown = {record: str(value) for record, value in zip(ids, values, strict=True) if value not in (None, *declared)}
    if not unknown:
        return
    counts = Counter(unknown.values())
    shown = f"in {shown_ids(list(unknown))}; the values are not shown, as they look like free text"
    if not may_be_text(counts.keys()):
        shown = ", ".join(f"{cut(value)!r} ({count} x)" for value, count in counts.most_common(EXAMPLES))
        shown += f" and {len(counts) - EXAMPLES} other values" if len(counts) > EXAMPLES else ""
    near = next((f"did you mean {close}? " for value in counts if (close := nearest(value, declared))), "")
    raise ClinfitError(
        f"input {name!r}: {len(unknown)} of {len(values)} values are none of its categories: {shown}",
        expected=f"one of {', '.join(declared)}, or nothing",
        fix=f"{near}Correct the cells, add the value to `categories` at its place, or to `missing`",
    )


def as_declared(record: Record, columns: Mapping[str, InputColumn]) -> tuple[Record, list[str]]:
    """A new record without impossible values, and a note on each that it had."""
    inputs, notes = dict(record.inputs), list[str]()
    for name, column in columns.items():
        if column.range is None and not column.categories:
            continue  # nothing is declared of most inputs, and every record comes by here
        value, declared = inputs[name], declared_categories(column)
        if is_impossible(value, column):
            inputs[name] = None
            notes.append(f"{name}: {value:.15g} is impossible ({range_words(column)}) and is read as missing")
        elif declared and value is not None and value not in declared:
            inputs[name] = _alike(str(value), declared)
            read = "missing" if inputs[name] is None else repr(inputs[name])
            notes.append(f"{name}: {cut(str(value))!r} is none of {', '.join(declared)} and is read as {read}")
    return (replace(record, inputs=inputs) if notes else record), notes


def _alike(value: str, declared: Sequence[str]) -> str | None:
    """The one declared category that differs in case alone."""
    alike = [category for category in declared if category.casefold() == value.casefold()]
    return alike[0] if len(alike) == 1 else None


def cut(value: str) -> str:
    """A value as it may be shown."""
    return value if len(value) <= LONGEST_SHOWN else value[: LONGEST_SHOWN - 1] + "…"
