"""Values of a label column to the labels of a task; what is not known is refused, never guessed.

Both the value and the keys of the map (without a map: the names of the labels) are brought to the one form of `values`:
`1`, `1.0`, `"1"` and numpy's integers are one value. Then

1. the same spelling matches; failing that, the same but for case, where only one key differs so little;
2. the key true also matches the texts yes and on, false also no and off: YAML reads an unquoted `Yes:` as true;
3. where all keys of a map are 0, 1, true or false, true and 1 are one value, and so are false and 0;
4. a boolean (not the text "True" of a csv file, but a real one) never matches a quoted key. Text keys meet booleans
   only by mistake, and a default for what did not match once turned every gold label of a study into one class.

Everything else, and everything missing, is an error that counts what was found.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pandas as pd
import yaml

from clinfit.data.values import EXAMPLES, as_bool, as_text, is_missing, may_be_text, shown_ids
from clinfit.errors import ClinfitError, nearest

YAML_BOOLEANS = {"true": ("yes", "on"), "false": ("no", "off")}
FLAGS = {"true": "1", "false": "0", "1": "true", "0": "false"}
MISSING = "missing"


class LabelMap:
    """Maps the values of one column to labels; see the module for the rules."""

    def __init__(
        self, labels: Sequence[str], map: Mapping[str | int | float | bool, str] | None = None, column: str = "label"
    ) -> None:
        self.labels = list(labels)
        self.column = column
        self.map = map
        keys = {label: label for label in labels} if map is None else map
        self._exact: dict[str, str] = {}
        for key, label in keys.items():
            self._add(self._exact, _spelling(key), label)
        self._folded = _unambiguous(self._exact)
        quoted = {_spelling(key).casefold() for key in keys if isinstance(key, str)}
        self._add_yaml_booleans(keys)
        if map is not None and _unambiguous(self._exact).keys() <= FLAGS.keys():
            for key, label in _unambiguous(self._exact).items():
                self._add(self._folded, FLAGS[key], label)
            quoted |= {FLAGS[key] for key in quoted}
        self._quoted = quoted

    def _add(self, table: dict[str, str], key: str, label: str) -> None:
        if table.setdefault(key, label) != label:
            raise ClinfitError(
                f"label map of column {self.column!r}: the value {key!r} maps to both {table[key]!r} and {label!r}",
                expected="one label for each value; 1, '1' and 1.0 are one value, and so are true and 1",
                fix="remove one of the two entries of the map",
            )

    def _add_yaml_booleans(self, keys: Mapping[Any, str]) -> None:
        for key, label in keys.items():
            if isinstance(key, bool):
                for word in YAML_BOOLEANS[_spelling(key)]:
                    self._folded.setdefault(word, label)

    def lookup(self, value: Any) -> str | None:
        """The label of one value, None when the value is missing or unknown."""
        if is_missing(value):
            return None
        key = _spelling(value)
        if as_bool(value) is not None and key in self._quoted:
            return None
        return self._exact.get(key) or self._folded.get(key.casefold())

    def lookup_all(self, values: Sequence[Any]) -> list[str | None]:
        """`lookup` for each value; each distinct value is looked up once."""
        known: dict[tuple[type, Any], str | None] = {}  # by type too, since True == 1 == 1.0
        labels: list[str | None] = []
        for value in values:
            if not pd.api.types.is_scalar(value) or isinstance(value, bytes):
                labels.append(None)  # a list or an object is no label
                continue
            key = (type(value), value)
            if key not in known:
                known[key] = self.lookup(value)
            labels.append(known[key])
        return labels

    def apply(
        self, values: Sequence[Any], ids: Sequence[str] | None = None, what: Literal["rows", "labels"] = "rows"
    ) -> list[str]:
        """The labels of a column; raises ClinfitError that counts missing and unknown values.

        ids: of the records, row numbers by default. what: what the values are, the whole cells of a column or the
        single labels in them. Where the column looks like free text the message names records instead of values.
        """
        labels = self.lookup_all(values)
        lost = [at for at, label in enumerate(labels) if label is None]
        if lost:
            told = f"column {self.column!r}: {len(lost)} of {len(values)} {what} "
            told += "have no known label" if what == "rows" else "are not known"
            if may_be_text({_whole(values[at]) for at in lost}):
                raise self._text_column(told, [ids[at] if ids else f"row {at + 1}" for at in lost])
            raise self._unknown(told, Counter(_shown(values[at]) for at in lost))
        return [label for label in labels if label is not None]

    def _text_column(self, told: str, records: Sequence[str]) -> ClinfitError:
        return ClinfitError(
            f"{told}, in {shown_ids(list(dict.fromkeys(records)))}; the values are not shown, as they look like free "
            "text",
            expected=f"one of {', '.join(_shown(key) for key in (self.labels if self.map is None else self.map))}",
            fix="name the column that holds the labels, or map its values: label: {column: ..., map: {...}}",
        )

    def _unknown(self, told: str, unknown: Counter[str]) -> ClinfitError:
        shown = ", ".join(f"{value} ({count} x)" for value, count in unknown.most_common(EXAMPLES))
        more = f" and {len(unknown) - EXAMPLES} other values" if len(unknown) > EXAMPLES else ""
        known = ", ".join(_shown(key) for key in (self.labels if self.map is None else self.map))
        return ClinfitError(
            f"{told}: {shown}{more}",
            expected=f"one of {known}" + (" (the labels themselves, as no map is given)" if self.map is None else ""),
            fix=self._fix(sorted(unknown.keys() - {MISSING})),
        )

    def _fix(self, values: list[str]) -> str:
        if not values:
            return "fill in the missing labels, or take these rows out of the file"
        flags = len(self.labels) == 2 and {value.casefold() for value in values} <= FLAGS.keys()
        guesses = [
            self.labels[value.casefold() in {"1", "true"}] if flags else nearest(value, self.labels)
            for value in values[:EXAMPLES]
        ]
        pairs = ", ".join(
            f"{value}: {_as_yaml(guess) if guess else '<label>'}"
            for value, guess in zip(values[:EXAMPLES], guesses, strict=True)
        )
        if self.map and not flags:
            return f"add to the map of {self.column}: {pairs}, with the right label at each value"
        return f"label: {{column: {self.column}, map: {{{pairs}}}}}, with the right label at each value"


def _unambiguous(table: Mapping[str, str]) -> dict[str, str]:
    """The table by case-folded keys, without those that only case tells apart."""
    folds = Counter(key.casefold() for key in table)
    return {key.casefold(): label for key, label in table.items() if folds[key.casefold()] == 1}


def _spelling(value: Any) -> str:
    return as_text(value) or ""


def _as_yaml(label: str) -> str:
    """The label as YAML needs it: quoted where it would be read as something else (no, yes, 1)."""
    return label if re.fullmatch(r"[A-Za-z][\w -]*", label) and yaml.safe_load(label) == label else json.dumps(label)


def _whole(value: Any) -> str:
    """A value in its spelling; what is not one value by its type."""
    if is_missing(value):
        return MISSING
    if not pd.api.types.is_scalar(value) or isinstance(value, bytes):
        return f"a {type(value).__name__}"
    return value.strip() if isinstance(value, str) else _spelling(value)


def _shown(value: Any) -> str:
    """A value as one would type it in YAML, cut to 40 characters."""
    text = _whole(value)
    if is_missing(value):
        return text
    text = text if len(text) <= 40 else text[:39] + "…"
    return text if not isinstance(value, str) or text.replace("-", "").isalnum() else f"'{text}'"
