"""Texts of which declared fields are asked, as aligned arrays of their item scores. No value of a field is in them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from clinfit.evaluation.answers import Bools, Floats, Undeclared, numbers, read_folds
from clinfit.evaluation.metrics.fields import OF_ITEM
from clinfit.evaluation.text_answers import TextAnswers
from clinfit.predictions import NATS, SCORE

#: The score that is 1 for a text whose fields are all right.
ALL = "all_fields"
_RIGHT = "right:"


@dataclass(frozen=True)
class FieldAnswers(TextAnswers):
    """n texts. names: the scores of metrics/fields.py."""

    @property
    def right(self) -> Bools:
        """Whether every field is right."""
        return self.score(ALL) == 1

    @property
    def fields(self) -> list[str]:
        """The declared fields, in their order."""
        return [name.removeprefix(_RIGHT) for name in self.names if name.startswith(_RIGHT)]


def read_field_answers(
    table: pd.DataFrame, labels: Sequence[str], positive: str | None
) -> tuple[FieldAnswers, Undeclared]:
    """The items of a predictions table with their scores, which a text that is no object has too."""
    scored = [str(column).removeprefix(SCORE) for column in table.columns if str(column).startswith(SCORE)]
    names = tuple(name for name in scored if name in OF_ITEM or ":" in name)
    scores: Floats = np.column_stack([numbers(table, SCORE + name) for name in names]) if names else _none(len(table))
    nats, tokens, size = (
        numbers(table, column) if column in table.columns else np.full(len(table), np.nan) for column in NATS
    )
    parsed = np.asarray(table["status"] == "ok")
    gold = np.asarray(table["gold"], dtype=object)
    return FieldAnswers(gold, parsed, names, scores, nats, tokens, size, read_folds(table)), Undeclared(0, 0)


def _none(n: int) -> Floats:
    return np.zeros((n, 0))
