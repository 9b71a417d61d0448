"""Written texts as aligned arrays: the scores of each item, and how unlikely its reference is. No text is in them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clinfit.evaluation.answers import Bools, Floats, Folds, Ints, Undeclared, numbers, read_folds
from clinfit.evaluation.metrics.text.definitions import KNOWN
from clinfit.predictions import NATS, SCORE

#: The metric that is 1 for a text that says just what its reference says.
EXACT = "exact_match"


@dataclass(frozen=True)
class TextAnswers:
    """n texts.

    gold: (n,) the references, only ever compared with those of another system. parsed: (n,) whether there is an answer
    at all. names: the M metrics that were computed. scores_of: (n, M), nan where an item has none. nats, tokens, bytes:
    (n,) of the references, nan where the system gives no likelihood. folds: of a cross-validation, in which a text is
    written for each item once a repeat.
    """

    gold: NDArray[Any]
    parsed: Bools
    names: tuple[str, ...]
    scores_of: Floats
    nats: Floats
    tokens: Floats
    bytes: Floats
    folds: Folds | None = None

    def __len__(self) -> int:
        return len(self.gold)

    @property
    def labels(self) -> tuple[str, ...]:
        return ()

    @property
    def positive(self) -> None:
        return None

    @property
    def right(self) -> Bools:
        """Whether a text is the reference, token by token."""
        return self.score(EXACT) == 1

    @property
    def has_probabilities(self) -> Bools:
        return np.zeros(len(self), dtype=bool)

    @property
    def has_likelihood(self) -> Bools:
        return np.isfinite(self.nats)

    @property
    def predicted_shares(self) -> Floats:
        return np.array([1 - float(self.parsed.mean())]) if len(self) else np.zeros(1)

    @property
    def strata(self) -> Ints:
        """One: no two references are alike."""
        return np.zeros(len(self), dtype=np.int64)

    @property
    def support(self) -> Ints:
        return np.zeros(0, dtype=np.int64)

    def score(self, metric: str) -> Floats:
        """(n,) scores of one metric; all nan for one that was not computed."""
        if metric not in self.names:
            return np.full(len(self), np.nan)
        return self.scores_of[:, self.names.index(metric)]

    def only(self, metric: str, items: Bools) -> Self:
        """The same items with this metric alone, of these items."""
        scores = np.where(items, self.score(metric), np.nan)[:, None]
        nothing = np.full(len(self), np.nan)
        return replace(self, names=(metric,), scores_of=scores, nats=nothing, tokens=nothing, bytes=nothing)

    def has_label(self, label: int) -> Bools:
        raise IndexError("texts have no labels")

    def scores(self, label: int) -> Floats:
        raise IndexError("texts have no labels")

    def take(self, items: Ints | Bools) -> Self:
        return replace(
            self,
            gold=self.gold[items],
            parsed=self.parsed[items],
            scores_of=self.scores_of[items],
            nats=self.nats[items],
            tokens=self.tokens[items],
            bytes=self.bytes[items],
            folds=None if self.folds is None else self.folds.take(items),
        )


def read_text_answers(
    table: pd.DataFrame, labels: Sequence[str], positive: str | None
) -> tuple[TextAnswers, Undeclared]:
    """The items of a predictions table with their scores; a metric that no item of any system has is left out."""
    names = tuple(name for name in KNOWN if SCORE + name in table.columns)
    scores = np.column_stack([numbers(table, SCORE + name) for name in names]) if names else np.zeros((len(table), 0))
    nats, tokens, size = (
        numbers(table, column) if column in table.columns else np.full(len(table), np.nan) for column in NATS
    )
    parsed = np.asarray(table["status"] == "ok")
    gold = np.asarray(table["gold"], dtype=object)
    scores = np.where(parsed[:, None], scores, _lost(names))
    answers = TextAnswers(gold, parsed, names, scores, nats, tokens, size, read_folds(table))
    return answers, Undeclared(0, 0)


def _lost(names: Sequence[str]) -> Floats:
    """(M,) what an answer that is not there scores: nothing shared with the reference, and no text otherwise."""
    return np.array([worst(name) for name in names], dtype=np.float64)


def worst(metric: str) -> float:
    """The score of no text at all."""
    if metric == "empty":
        return 1.0
    known = KNOWN[metric]
    return 0.0 if known.needs == "reference" and known.better == "higher" else np.nan
