"""What a pack says of one record, as plain data, and many of them as a table."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from clinfit.data.mentions import Mention, named_in
from clinfit.data.records import Target
from clinfit.models.base import FinishReason
from clinfit.predictions import PROBABILITY, SEPARATOR, answer_text

#: Before the name of a field: its value as JSON.
FIELD = "field_"
Status = Literal["ok", "refer", "invalid"]


@dataclass(frozen=True)
class Answer:
    """One answer.

    Of generation `predicted` and `decision` are the text that was written, finish_reason says why it ended, and there
    are no probabilities; notes then also name numbers of the text that the record does not hold. Of extraction
    likewise, and `extracted` is the object that the text is, by field; where it is none, that is None, status is
    `invalid` and notes say why.

    predicted: the most probable label; multilabel: all labels of a probability of 0.5 or more, in the task's order;
    multiple-choice: the letter of the option. decision: the same under the threshold, which is what was evaluated and
    what counts. threshold: label -> the probability from which it is decided for; empty where the most probable label
    is taken, or label weights decide (`/v1/models`, the pack's card). probabilities: by label or letter, recalibrated
    where the study recalibrates. status: `refer` when the record is for a person to decide, `invalid` for a text that
    is no object of the fields. notes: on each value of the record that training has not seen, with that value and no
    other. prediction_set: the labels of the set, where referral is by sets. dropped_tokens: tokens of the record's
    text that the model did not see, None where that is not known. pieces, rounds: that a long record was read in, 0
    of one read at once; None where all are. prompt_tokens, output_tokens: of a text, that the model read, in all pieces
    and rounds, and that the text took, both by the model's tokenizer; None where it has none. pack: SHA-256 of the
    pack. engine: what computed it. mentions: where the record's texts, as they were given, name types of the task's
    lexicon; None of tasks without one.
    """

    task: str
    id: str
    kind: str
    predicted: Target
    decision: Target
    threshold: dict[str, float]
    probabilities: dict[str, float]
    status: Status
    notes: tuple[str, ...]
    prediction_set: tuple[str, ...] | None
    dropped_tokens: int | None
    pack: str
    engine: str
    finish_reason: FinishReason | None = None
    extracted: dict[str, Any] | None = None
    mentions: tuple[Mention, ...] | None = None
    pieces: int | None = None
    rounds: int | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None

    @property
    def named(self) -> frozenset[str]:
        """The types that the record's texts name and do not deny."""
        return named_in(self.mentions or ())


def answers_table(answers: Sequence[Answer], labels: Sequence[str], *, sets: bool) -> pd.DataFrame:
    """One row an answer, in order: id, p_<label> for each label, predicted, decision, threshold, status, notes, and
    prediction_set where there are sets. Several labels of one cell are joined by `|`, notes by `; `; no label or note
    is the empty text. threshold: that of the positive label; of a multilabel task those of all labels, joined by `|`.
    """
    columns: dict[str, Any] = {"id": [answer.id for answer in answers]}
    for label in labels:
        columns[PROBABILITY + label] = np.array([answer.probabilities[label] for answer in answers], dtype=np.float64)
    columns["predicted"] = [answer_text(answer.predicted) for answer in answers]
    columns["decision"] = [answer_text(answer.decision) for answer in answers]
    columns["threshold"] = [threshold_cell(answer.threshold) for answer in answers]
    columns["status"] = [answer.status for answer in answers]
    columns["notes"] = ["; ".join(answer.notes) for answer in answers]
    if sets:
        columns["prediction_set"] = [SEPARATOR.join(answer.prediction_set or ()) for answer in answers]
    return pd.DataFrame(columns)


def texts_table(answers: Sequence[Answer]) -> pd.DataFrame:
    """One row an answer of generation, in order: id, text, finish_reason, status, notes, dropped_tokens."""
    return pd.DataFrame(
        {
            "id": [answer.id for answer in answers],
            "text": [answer_text(answer.decision) for answer in answers],
            "finish_reason": [answer.finish_reason for answer in answers],
            "status": [answer.status for answer in answers],
            "notes": ["; ".join(answer.notes) for answer in answers],
            "dropped_tokens": pd.array([answer.dropped_tokens for answer in answers], dtype="Int64"),
        }
    )


def fields_table(answers: Sequence[Answer], fields: Sequence[str]) -> pd.DataFrame:
    """One row an answer of extraction, in order: id, field_<name> for each field as JSON (null: the record has none;
    empty: the answer is invalid), then what `texts_table` shows, the text as it was written among it."""
    table = texts_table(answers)
    cells = {
        FIELD + name: [
            None if answer.extracted is None else json.dumps(answer.extracted[name], ensure_ascii=False)
            for answer in answers
        ]
        for name in fields
    }
    return pd.concat([table[["id"]], pd.DataFrame(cells, dtype=object), table.drop(columns="id")], axis=1)


def with_errors(table: pd.DataFrame, errors: Mapping[int, tuple[str, str]]) -> pd.DataFrame:
    """A table of answers with a row of status `error` for what has none. errors: place of the row -> id and reason."""
    n = len(table) + len(errors)
    told = ["id", "status", "notes"]
    answered = table.set_axis([at for at in range(n) if at not in errors])
    rows = answered.reindex(range(n)).astype(dict.fromkeys(told, object))
    cells = [(name, "error", reason) for name, reason in errors.values()]
    rows.loc[list(errors), told] = pd.DataFrame(cells, index=list(errors), columns=told, dtype=object)
    return rows


def threshold_cell(by_label: Mapping[str, float]) -> float | str | None:
    """A number where there is one, so that programs may compare; with several, a text in the order of the labels."""
    if len(by_label) > 1:
        return SEPARATOR.join(f"{value:g}" for value in by_label.values())
    return next(iter(by_label.values()), None)
