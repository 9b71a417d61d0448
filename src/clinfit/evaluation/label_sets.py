"""One system's answers to a multilabel task on one split: which of the labels hold, as aligned arrays."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from clinfit.evaluation.answers import (
    Bools,
    Floats,
    Folds,
    Ints,
    Undeclared,
    read_folds,
    read_probabilities,
    repeats_of,
)
from clinfit.predictions import SEPARATOR


@dataclass(frozen=True)
class LabelSets:
    """gold, predicted: (n, K) whether each label holds, and whether it was given. parsed: (n,); the row of an unparsed
    answer is all False, so that each of its labels is missed.

    probabilities: (n, K), a row of nan where the system gave none. support counts an item once, however many repeats of
    a cross-validation answer it.
    """

    labels: tuple[str, ...]
    gold: Bools
    predicted: Bools
    parsed: Bools
    probabilities: Floats
    folds: Folds | None = None

    def __len__(self) -> int:
        return len(self.gold)

    @property
    def positive(self) -> None:
        """No label is more positive than another."""
        return None

    @property
    def right(self) -> Bools:
        """(n,) whether the set is exactly right."""
        return np.asarray(self.parsed & (self.gold == self.predicted).all(axis=1))

    @cached_property
    def has_probabilities(self) -> Bools:
        return np.asarray(np.isfinite(self.probabilities).all(axis=1))

    @property
    def predicted_shares(self) -> Floats:
        """(K + 1,) share of the items that are given each label, and last of those whose answer cannot be read."""
        return np.append(self.predicted.sum(axis=0), (~self.parsed).sum()) / max(len(self), 1)

    @cached_property
    def strata(self) -> Ints:
        """(n,) the rarest of each item's labels, K where it has none: sets are too many to be strata. Splits
        are stratified in the same way."""
        rarity = np.where(self.gold, self.support, len(self) + 1)
        return np.where(self.gold.any(axis=1), rarity.argmin(axis=1), len(self.labels)).astype(np.int64)

    @cached_property
    def support(self) -> Ints:
        return self.gold.sum(axis=0).astype(np.int64) // repeats_of(self)

    def has_label(self, label: int) -> Bools:
        return self.gold[:, label]

    def scores(self, label: int) -> Floats:
        worst = np.where(self.gold[:, label], -1.0, 2.0)
        return np.where(self.has_probabilities, self.probabilities[:, label], worst)

    def take(self, items: Ints | Bools) -> "LabelSets":
        return replace(
            self,
            gold=self.gold[items],
            predicted=self.predicted[items],
            parsed=self.parsed[items],
            probabilities=self.probabilities[items],
            folds=None if self.folds is None else self.folds.take(items),
        )


def read_label_sets(table: pd.DataFrame, labels: Sequence[str], positive: str | None) -> tuple[LabelSets, Undeclared]:
    """Labels of a cell are joined by `|`, the empty text is none of them. An answer that is null, or whose status is
    not `ok`, is unparsed; a gold cell that is null has undeclared labels."""
    parsed = np.asarray((table["status"] == "ok") & table["predicted"].notna())
    gold, odd_golds = _indicator(pd.Series(table["gold"]), labels)
    predicted, odd_answers = _indicator(pd.Series(table["predicted"]).where(parsed, ""), labels)
    undeclared = Undeclared(int((odd_golds | np.asarray(table["gold"].isna())).sum()), int(odd_answers.sum()))
    probabilities, folds = read_probabilities(table, labels), read_folds(table)
    return LabelSets(tuple(labels), gold, predicted, parsed, probabilities, folds), undeclared


def _indicator(values: pd.Series, labels: Sequence[str]) -> tuple[Bools, Bools]:
    """(n, K) which declared labels each text names, and (n,) whether it names another; a null names none."""
    place, texts = pd.factorize(values.fillna(""))
    sets = [set(str(text).split(SEPARATOR)) - {""} for text in texts]
    known = np.array([[label in named for label in labels] for named in sets], dtype=bool).reshape(-1, len(labels))
    odd = np.array([bool(named - set(labels)) for named in sets], dtype=bool)
    return known[place], odd[place]
