"""One system's answers on one split as aligned arrays: what every metric is computed from."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clinfit.predictions import PROBABILITY

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Code of an answer that is no label.
UNPARSED = -1


@dataclass(frozen=True)
class Answers:
    """gold: (n,) label index. predicted: (n,) label index, or UNPARSED.

    probabilities: (n, K), a row of nan where the system gave none. label_mass: (n,), nan where there is none.
    positive: index of the positive label of a binary task, None for more labels.
    """

    labels: tuple[str, ...]
    positive: int | None
    gold: Ints
    predicted: Ints
    probabilities: Floats
    label_mass: Floats

    def __len__(self) -> int:
        return len(self.gold)

    @cached_property
    def has_probabilities(self) -> NDArray[np.bool_]:
        """(n,) whether the system gave probabilities for the item."""
        return np.asarray(np.isfinite(self.probabilities).all(axis=1))

    def scores(self, label: int) -> Floats:
        """(n,) P(label), to rank by; an item without probabilities ranks on the wrong side of all others (-1 or 2)."""
        worst = np.where(self.gold == label, -1.0, 2.0)
        return np.where(self.has_probabilities, self.probabilities[:, label], worst)


def label_codes(values: pd.Series | Sequence[str], labels: Sequence[str]) -> Ints:
    """Index of each value among the labels; UNPARSED for anything else. Labels match exactly: True is not 'True'."""
    place, distinct = pd.factorize(values if isinstance(values, pd.Series) else np.asarray(values, dtype=object))
    codes = pd.Index(list(labels), dtype=object).get_indexer(np.asarray(distinct, dtype=object)).astype(np.int64)
    # A missing value has place -1: the last entry.
    return np.append(codes, UNPARSED)[place]


@dataclass(frozen=True)
class Rows:
    """A predictions table's rows of one system and split, sorted by id, as arrays of length n.

    gold, predicted: label indices, UNPARSED for what is no declared label. undeclared: parsed predictions among the
    latter. groups: code of each item's group. The rest as in the table, nan for null.
    """

    ids: pd.Index
    groups: Ints
    gold: Ints
    predicted: Ints
    undeclared: int
    probabilities: Floats
    label_mass: Floats
    seconds: Floats
    prompt_tokens: Floats

    def __len__(self) -> int:
        return len(self.gold)

    def answers(self, labels: Sequence[str], positive: str | None) -> Answers:
        """These rows as the input of every metric."""
        code = None if positive is None else list(labels).index(positive)
        return Answers(tuple(labels), code, self.gold, self.predicted, self.probabilities, self.label_mass)


def read_rows(table: pd.DataFrame, labels: Sequence[str]) -> Rows:
    """Rows of one system and split. An answer whose status is not `ok` is unparsed, whatever `predicted` holds."""
    if not table["id"].is_monotonic_increasing:
        table = table.sort_values("id", kind="stable")
    predicted = label_codes(pd.Series(table["predicted"]), labels)
    parsed = np.asarray(table["status"] == "ok")
    undeclared = int((parsed & (predicted == UNPARSED)).sum())
    return Rows(
        ids=pd.Index(table["id"]),
        groups=pd.factorize(table["group"].where(table["group"].notna(), table["id"]))[0].astype(np.int64),
        gold=label_codes(pd.Series(table["gold"]), labels),
        predicted=np.where(parsed, predicted, UNPARSED),
        undeclared=undeclared,
        probabilities=read_probabilities(table, labels),
        label_mass=numbers(table, "label_mass"),
        seconds=numbers(table, "seconds"),
        prompt_tokens=numbers(table, "prompt_tokens"),
    )


def read_probabilities(table: pd.DataFrame, labels: Sequence[str]) -> Floats:
    """(n, K) of the columns `p_<label>`, nan for null."""
    return np.column_stack([numbers(table, PROBABILITY + label) for label in labels])


def numbers(table: pd.DataFrame, column: str) -> Floats:
    """(n,) a column of numbers, nan for null."""
    return table[[column]].to_numpy(dtype=np.float64, na_value=np.nan)[:, 0]


def confusion(answers: Answers) -> Ints:
    """(K, K + 1) counts: rows gold, columns predicted and, last, unparsed."""
    k = len(answers.labels)
    column = np.where(answers.predicted == UNPARSED, k, answers.predicted)
    return np.bincount(answers.gold * (k + 1) + column, minlength=k * (k + 1)).reshape(k, k + 1)
