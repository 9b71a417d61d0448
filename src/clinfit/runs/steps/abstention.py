"""Whether a model declines when what it should answer from is not there: some test records, asked again.

    abstention/<task>-stage<n>.parquet    condition, id, group, context, declined, empty, nats, tokens; no text

`given`: every test record as it was answered, with how unlikely the model finds its own text, which evaluation ranks
the items by (not known where the text was written behind another prompt than the record's: of a record that was read in
pieces, and behind a reasoning); `context` says whether it has one of its own. `removed`: records whose context was
taken away. `swapped`: others that have the context of a record of another group. What is kept of a text that is written
here is whether it declines, from the moment it is written.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clinfit.data.records import Record
from clinfit.evaluation.answers import numbers
from clinfit.evaluation.metrics.text.declining import declines
from clinfit.evaluation.metrics.text.form import empty
from clinfit.models.base import Writer, WrittenText
from clinfit.prompts.reasoning import answer_in, reasons
from clinfit.runs.steps.written import WrittenTexts
from clinfit.study.evaluation import Abstention
from clinfit.study.tasks import Generation

#: Raised when texts are read otherwise than before.
VERSION = 3

Condition = Literal["removed", "swapped"]
#: What an answer is, in the place of its text.
DECLINED, EMPTY, ANSWERED = "declined", "empty", "answered"


def without_context(records: Sequence[Record], asked: Abstention) -> list[tuple[Condition, Record]]:
    """The records as they are asked again: a seeded choice whose context is removed, and as many others whose context
    is another record's. Records without a context are left out, and so are swaps that no other group has one for."""
    known = [record for record in records if _has_context(record, asked)]
    order = sorted(known, key=lambda record: _draw(asked.seed, record.id))
    items = min(asked.items, len(order) // 2)
    found: list[tuple[Condition, Record]] = [
        ("removed", replace(record, inputs=record.inputs | dict.fromkeys(asked.inputs))) for record in order[:items]
    ]
    for record in order[items : 2 * items]:
        donors = [
            other
            for other in known
            if other.group != record.group and _context(other, asked) != _context(record, asked)
        ]
        if donors:
            donor = min(donors, key=lambda other: _draw(asked.seed, f"{record.id} {other.id}"))
            found.append(("swapped", replace(record, inputs=record.inputs | _context(donor, asked))))
    return found


def abstention_table(
    model: Writer,
    name: str,
    task: Generation,
    asked: Abstention,
    records: Sequence[Record],
    answers: pd.DataFrame,
    written: WrittenTexts,
    advance: Callable[[int, int, str], None],
) -> pd.DataFrame:
    """Ask what is not asked yet, and tell of all answers whether they decline.

    records: of the test split; answers: its predictions table. written: what was asked before this process began.
    """
    again = without_context(records, asked)
    left = [record for _, record in again if record.id not in written]

    def keep(index: int, text: WrittenText) -> None:
        written.add(left[index].id, replace(text, text=_said(answer_in(text.text), asked)))
        advance(len(written), len(again), "asked again")

    try:
        model.generate(name, left, task.max_new_tokens, done=keep)
    finally:
        written.save()
    said = written.outputs([record.id for _, record in again]).texts
    rows = [_row(condition, record, what, True) for (condition, record), what in zip(again, said, strict=True)]
    return pd.DataFrame([*_given_rows(model, name, asked, records, answers), *rows])


def _given_rows(
    model: Writer, name: str, asked: Abstention, records: Sequence[Record], answers: pd.DataFrame
) -> list[dict[str, Any]]:
    """The answers as they are, with their likelihood; end of turn included, as in training."""
    texts = dict(zip(answers["id"].astype(str), answers["predicted"].astype(str), strict=True))
    losses = model.likelihood(name, [replace(record, target=texts[record.id]) for record in records])
    unknown = np.full(len(records), np.nan)
    nats, tokens = (unknown, unknown) if losses is None else (losses.nats, losses.tokens.astype(np.float64))
    elsewhere = _behind_other_prompts(answers.set_index(answers["id"].astype(str)), [record.id for record in records])
    nats, tokens = (np.where(elsewhere, np.nan, counts) for counts in (nats, tokens))
    return [
        _row("given", record, _said(texts[record.id], asked), _has_context(record, asked))
        | {"nats": nats[at], "tokens": tokens[at]}
        for at, record in enumerate(records)
    ]


def _behind_other_prompts(answers: pd.DataFrame, ids: Sequence[str]) -> NDArray[np.bool_]:
    """(n,) whether the text of a record was written behind more, or other text, than its prompt. answers: by id."""
    rows = answers.loc[list(ids)]
    return (numbers(rows, "pieces") > 0) | rows["raw"].astype(str).map(reasons).to_numpy(dtype=np.bool_)


def _row(condition: str, record: Record, said: str, context: bool) -> dict[str, Any]:
    """context: whether the record has one of its own, as it stands in the data."""
    kept = {"condition": condition, "id": record.id, "group": record.group, "context": context}
    return kept | {"declined": said == DECLINED, "empty": said == EMPTY, "nats": np.nan, "tokens": np.nan}


def _said(text: str, asked: Abstention) -> str:
    return EMPTY if empty(text) else DECLINED if declines(text, asked.phrases) else ANSWERED


def _has_context(record: Record, asked: Abstention) -> bool:
    values = [record.inputs.get(name) for name in asked.inputs]
    return any(value is not None and str(value).strip() for value in values)


def _context(record: Record, asked: Abstention) -> dict[str, Any]:
    return {name: record.inputs.get(name) for name in asked.inputs}


def _draw(seed: int, what: str) -> bytes:
    return hashlib.sha256(f"{seed} {what}".encode()).digest()
