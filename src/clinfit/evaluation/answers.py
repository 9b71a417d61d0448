"""One system's answers on one split as aligned arrays: what every metric is computed from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clinfit.predictions import PROBABILITY
from clinfit.study.data import Fold

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: Code of an answer that is no label.
UNPARSED = -1


@dataclass(frozen=True)
class Folds:
    """Which division of a cross-validation gave each answer, from 1. repeat, fold: (n,). ratio: records that a fold
    tests for each that it was trained on, mean over the folds; None where that is not known."""

    repeat: Ints
    fold: Ints
    ratio: float | None = None

    @property
    def repeats(self) -> int:
        return len(np.unique(self.repeat))

    @cached_property
    def parts(self) -> dict[Fold, Ints]:
        """Positions of the answers of each fold, in order."""
        pairs = np.unique(np.column_stack([self.repeat, self.fold]), axis=0).tolist()
        return {Fold(r, k): np.flatnonzero((self.repeat == r) & (self.fold == k)) for r, k in pairs}

    def take(self, items: Ints | Bools) -> "Folds":
        return replace(self, repeat=self.repeat[items], fold=self.fold[items])

    def beside(self, validation: "Folds | None") -> "Folds":
        """The same with its ratio: a fold is trained on what it neither tests nor chooses on."""
        chosen = {} if validation is None else validation.parts
        shares = []
        for fold, items in self.parts.items():
            trained = int((self.repeat == fold.repeat).sum()) - len(items) - len(chosen.get(fold, ()))
            if trained < 1:
                return self
            shares.append(len(items) / trained)
        return replace(self, ratio=float(np.mean(shares))) if shares else self


class Divided(Protocol):
    """Answers of which a cross-validation may have several to an item."""

    @property
    def folds(self) -> Folds | None: ...
    def __len__(self) -> int: ...


class Answers(Protocol):
    """What every kind of task says of n items with K labels; the arrays behind it are the kind's own.

    positive: index of the positive label of a binary task, None for every other. gold: (n, ...) the truth. folds: of a
    cross-validation, in which an item is answered once a repeat.
    """

    @property
    def folds(self) -> Folds | None: ...
    @property
    def labels(self) -> tuple[str, ...]: ...
    @property
    def positive(self) -> int | None: ...
    @property
    def gold(self) -> NDArray[Any]: ...
    @property
    def parsed(self) -> Bools:
        """(n,) whether the answer could be read."""
        ...

    @property
    def right(self) -> Bools:
        """(n,) whether the answer is wholly right."""
        ...

    @property
    def has_probabilities(self) -> Bools:
        """(n,) whether the system gave probabilities for the item."""
        ...

    @property
    def predicted_shares(self) -> Floats:
        """(K + 1,) share of the items that are given each label, and last of those whose answer cannot be read."""
        ...

    @property
    def strata(self) -> Ints:
        """(n,) codes of what may be rare, and with that carry no claim: the label of each item."""
        ...

    @property
    def support(self) -> Ints:
        """(K,) items of each label."""
        ...

    def __len__(self) -> int: ...
    def has_label(self, label: int) -> Bools:
        """(n,) whether the label is true of the item."""
        ...

    def scores(self, label: int) -> Floats:
        """(n,) P(label), to rank by; an item without probabilities ranks on the wrong side of all others (-1 or 2)."""
        ...

    def take(self, items: Ints | Bools) -> Self:
        """The answers to some of the items."""
        ...


@dataclass(frozen=True)
class LabelAnswers:
    """One label an item. gold: (n,) label index. predicted: (n,) label index, or UNPARSED.

    probabilities: (n, K), a row of nan where the system gave none. label_mass: (n,), nan where there is none. support
    counts an item once, however many repeats answer it. sureness: (n, K) how sure the decision is of each label, where
    label weights make it; None: the probabilities say it.
    """

    labels: tuple[str, ...]
    positive: int | None
    gold: Ints
    predicted: Ints
    probabilities: Floats
    label_mass: Floats
    folds: Folds | None = None
    sureness: Floats | None = None

    def __len__(self) -> int:
        return len(self.gold)

    @property
    def parsed(self) -> Bools:
        return self.predicted != UNPARSED

    @property
    def right(self) -> Bools:
        return self.predicted == self.gold

    @cached_property
    def has_probabilities(self) -> Bools:
        return np.asarray(np.isfinite(self.probabilities).all(axis=1))

    @property
    def predicted_shares(self) -> Floats:
        places = np.where(self.predicted == UNPARSED, len(self.labels), self.predicted)
        return np.bincount(places, minlength=len(self.labels) + 1) / max(len(self), 1)

    @property
    def strata(self) -> Ints:
        return self.gold

    @property
    def support(self) -> Ints:
        """Of declared labels only."""
        counts = np.bincount(self.gold[self.gold != UNPARSED], minlength=len(self.labels))
        return counts // repeats_of(self)

    def has_label(self, label: int) -> Bools:
        return self.gold == label

    def scores(self, label: int) -> Floats:
        worst = np.where(self.gold == label, -1.0, 2.0)
        return np.where(self.has_probabilities, self.probabilities[:, label], worst)

    def take(self, items: Ints | Bools) -> Self:
        return replace(
            self,
            gold=self.gold[items],
            predicted=self.predicted[items],
            probabilities=self.probabilities[items],
            label_mass=self.label_mass[items],
            folds=None if self.folds is None else self.folds.take(items),
            sureness=None if self.sureness is None else self.sureness[items],
        )


def repeats_of(answers: Divided) -> int:
    """How often each item is answered: once but in a repeated cross-validation."""
    return 1 if answers.folds is None else max(answers.folds.repeats, 1)


def items_of(answers: Divided) -> int:
    """How many items are answered, each counted once."""
    return len(answers) // repeats_of(answers)


def counted(answers: Divided) -> str:
    """What answers are counted by in a message."""
    return "items" if repeats_of(answers) == 1 else "answers"


def tested_part(answers: Divided) -> str:
    """What the answered items are, in a message."""
    return "test split" if answers.folds is None else "cross-validation"


def support_of_fold(answers: Any) -> Ints:
    """(K,) items of each label in a fold, on average; where records are divided once, in all. answers: with labels."""
    folds = answers.folds
    return answers.support if folds is None else answers.support * repeats_of(answers) // len(folds.parts)


@dataclass(frozen=True)
class Undeclared:
    """How many items have a gold label, or a parsed answer, that the task does not declare."""

    gold: int
    predicted: int


#: Answers (of a kind) from a table's rows, with the labels and the positive one.
Read = Callable[[pd.DataFrame, Sequence[str], str | None], tuple[Any, Undeclared]]


@dataclass(frozen=True)
class Rows:
    """A predictions table's rows of one system and split, sorted by id (then repeat and fold), as arrays of length n.

    groups: code of each item's group. seconds, prompt_tokens: nan for null.
    """

    ids: pd.Index
    groups: Ints
    answers: Any
    undeclared: Undeclared
    seconds: Floats
    prompt_tokens: Floats

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def median_seconds(self) -> float | None:
        """Of the items whose time is known."""
        known = self.seconds[np.isfinite(self.seconds)]
        return float(np.median(known)) if len(known) else None

    @property
    def grouped(self) -> bool:
        """Whether groups repeat, so that items are not independent of each other; formulas that need one model's
        independent answers do not hold for those of the models of several folds either."""
        return self.answers.folds is not None or len(np.unique(self.groups)) < len(self.groups)

    @property
    def keys(self) -> pd.Index:
        """What stands once: an item, or in a cross-validation an item in a repeat."""
        folds = self.answers.folds
        return self.ids if folds is None else pd.MultiIndex.from_arrays([self.ids, folds.repeat])

    def divided_as(self, other: "Rows") -> bool:
        """Whether each answer is of the same fold as the other's; both have the same keys."""
        one, two = self.answers.folds, other.answers.folds
        return one is None or two is None or bool(np.array_equal(one.fold, two.fold))

    def part(self, items: Ints) -> "Rows":
        """The rows of one fold, as those of a study that divides once."""
        answers = replace(self.answers.take(items), folds=None)
        return Rows(
            self.ids[items],
            self.groups[items],
            answers,
            self.undeclared,
            self.seconds[items],
            self.prompt_tokens[items],
        )


def read_rows(table: pd.DataFrame, read: Read, labels: Sequence[str], positive: str | None) -> Rows:
    """Rows of one system and split."""
    table = in_order(table)
    answers, undeclared = read(table, labels, positive)
    return Rows(
        ids=pd.Index(table["id"]),
        groups=group_codes(table),
        answers=answers,
        undeclared=undeclared,
        seconds=numbers(table, "seconds"),
        prompt_tokens=numbers(table, "prompt_tokens"),
    )


def in_order(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of one system and split as `Rows` has them."""
    if has_folds(table):
        return table.sort_values(["id", "repeat", "fold"], kind="stable")
    return table if table["id"].is_monotonic_increasing else table.sort_values("id", kind="stable")


def read_label_answers(
    table: pd.DataFrame, labels: Sequence[str], positive: str | None
) -> tuple[LabelAnswers, Undeclared]:
    """One label an item. An answer whose status is not `ok` is unparsed, whatever `predicted` holds."""
    gold, predicted = (label_codes(pd.Series(table[name]), labels) for name in ("gold", "predicted"))
    parsed = np.asarray(table["status"] == "ok")
    undeclared = Undeclared(int((gold == UNPARSED).sum()), int((parsed & (predicted == UNPARSED)).sum()))
    answers = LabelAnswers(
        labels=tuple(labels),
        positive=None if positive is None else list(labels).index(positive),
        gold=gold,
        predicted=np.where(parsed, predicted, UNPARSED),
        probabilities=read_probabilities(table, labels),
        label_mass=numbers(table, "label_mass"),
        folds=read_folds(table),
    )
    return answers, undeclared


def has_folds(table: pd.DataFrame) -> bool:
    """Whether the rows are those of a cross-validation."""
    return "fold" in table and bool(np.asarray(table["fold"].notna()).any())


def read_folds(table: pd.DataFrame) -> Folds | None:
    """Which fold gave each answer; None in a study that divides once."""
    if not has_folds(table):
        return None
    return Folds(table["repeat"].to_numpy(dtype=np.int64), table["fold"].to_numpy(dtype=np.int64))


def label_codes(values: pd.Series | Sequence[str], labels: Sequence[str]) -> Ints:
    """Index of each value among the labels; UNPARSED for anything else. Labels match exactly: True is not 'True'."""
    place, distinct = pd.factorize(values if isinstance(values, pd.Series) else np.asarray(values, dtype=object))
    codes = pd.Index(list(labels), dtype=object).get_indexer(np.asarray(distinct, dtype=object)).astype(np.int64)
    # A missing value has place -1: the last entry.
    return np.append(codes, UNPARSED)[place]


def group_codes(table: pd.DataFrame) -> Ints:
    """(n,) code of each item's group; an item without one stands alone."""
    return pd.factorize(table["group"].where(table["group"].notna(), table["id"]))[0].astype(np.int64)


def read_probabilities(table: pd.DataFrame, labels: Sequence[str]) -> Floats:
    """(n, K) of the columns `p_<label>`, nan for null."""
    return np.column_stack([numbers(table, PROBABILITY + label) for label in labels])


def numbers(table: pd.DataFrame, column: str) -> Floats:
    """(n,) a column of numbers, nan for null."""
    return table[[column]].to_numpy(dtype=np.float64, na_value=np.nan)[:, 0]


def confusion(answers: LabelAnswers) -> Ints:
    """(K, K + 1) counts: rows gold, columns predicted and, last, unparsed."""
    k = len(answers.labels)
    column = np.where(answers.predicted == UNPARSED, k, answers.predicted)
    return np.bincount(answers.gold * (k + 1) + column, minlength=k * (k + 1)).reshape(k, k + 1)
