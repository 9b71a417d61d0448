"""One system's answers on one split as aligned arrays: what every metric is computed from."""

from collections.abc import Sequence
from dataclasses import dataclass

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

    @property
    def has_probabilities(self) -> NDArray[np.bool_]:
        """(n,) whether the system gave probabilities for the item."""
        return np.isfinite(self.probabilities).all(axis=1)

    def scores(self, label: int) -> Floats:
        """(n,) P(label), where an item without probabilities is as wrong as it can be: intention to classify."""
        worst = (self.gold != label).astype(np.float64)
        return np.where(self.has_probabilities, self.probabilities[:, label], worst)


def label_codes(values: Sequence[object], labels: Sequence[str]) -> Ints:
    """Index of each value among the labels; UNPARSED for anything else. Labels match exactly, never by likeness."""
    index = {label: k for k, label in enumerate(labels)}
    return np.array([index.get(value, UNPARSED) if isinstance(value, str) else UNPARSED for value in values], np.int64)


def read_answers(table: pd.DataFrame, labels: Sequence[str], positive: str | None) -> Answers:
    """A system's rows of one split. Rows whose status is not `ok` are unparsed, whatever `predicted` holds."""
    predicted = label_codes(table["predicted"].tolist(), labels)
    predicted[(table["status"] != "ok").to_numpy()] = UNPARSED
    return Answers(
        labels=tuple(labels),
        positive=None if positive is None else list(labels).index(positive),
        gold=label_codes(table["gold"].tolist(), labels),
        predicted=predicted,
        probabilities=table[[PROBABILITY + label for label in labels]].to_numpy(dtype=np.float64),
        label_mass=pd.to_numeric(table["label_mass"]).to_numpy(dtype=np.float64),
    )


def confusion(answers: Answers) -> Ints:
    """(K, K + 1) counts: rows gold, columns predicted and, last, unparsed."""
    k = len(answers.labels)
    column = np.where(answers.predicted == UNPARSED, k, answers.predicted)
    return np.bincount(answers.gold * (k + 1) + column, minlength=k * (k + 1)).reshape(k, k + 1)
