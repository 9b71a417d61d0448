"""Item scores: the metrics of every written text, computed where its record is at hand.

    scores/<task>-<split>-stage<n>.parquet    id, and a column score_<metric> each; no text

What a text must rest on is in the record, which no file of a study folder holds; so a step computes the scores of each
item once, and evaluation makes means, intervals and tests of them. No model is loaded.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd

from clinfit.data.records import Record
from clinfit.evaluation.metrics.fields import OF_ITEM, columns_of, field_scores
from clinfit.evaluation.metrics.text.definitions import METRICS, item_scores, packages
from clinfit.predictions import SCORE
from clinfit.prompts.template import source_text
from clinfit.study.tasks import Extraction, TextTask

#: Raised when a metric is computed otherwise than before, so that texts are scored again.
VERSION = 1
#: Texts between two words to whoever waits.
EVERY = 20

Scores = Mapping[str, float | None]


@dataclass(frozen=True)
class Scoring:
    """How the texts of a kind of task are scored.

    deciding: what decides a score beside text and record. names: of the scores. score: (task, record, output,
    reference, why it ended) to the scores of a text.
    """

    deciding: Callable[[TextTask], dict[str, Any]]
    names: Callable[[TextTask], Sequence[str]]
    score: Callable[[TextTask, Record, str, str, str | None], Scores]


def _text_scores(task: TextTask, record: Record, output: str, reference: str, reason: str | None) -> Scores:
    return item_scores(output, [reference], source_text(task, record.inputs), reason)


def _field_scores(task: TextTask, record: Record, output: str, reference: str, reason: str | None) -> Scores:
    return field_scores(output, reference, cast(Extraction, task).declared, reason)


#: By kind of task.
SCORINGS: dict[str, Scoring] = {
    "generation": Scoring(
        lambda task: {"metrics": list(METRICS), "packages": packages(), "sources": task.sources},
        lambda task: list(METRICS),
        _text_scores,
    ),
    "extraction": Scoring(
        lambda task: {"metrics": list(OF_ITEM)},  # the fields stand in the answers that are scored
        lambda task: columns_of(cast(Extraction, task).declared),
        _field_scores,
    ),
}


def deciding(task: TextTask) -> dict[str, Any]:
    """What decides a score beside text and record: the metrics, and the packages that compute some of them."""
    return {"version": VERSION, **SCORINGS[task.kind].deciding(task)}


def score_table(
    task: TextTask,
    records: Sequence[Record],
    answers: pd.DataFrame,
    advance: Callable[[int, int, str], None] = lambda done, total, text: None,
) -> pd.DataFrame:
    """One row an item of a predictions table, in its order. records: those that were asked."""
    scoring, asked = SCORINGS[task.kind], {record.id: record for record in records}
    rows: list[Scores] = []
    for at, row in enumerate(answers.to_dict(orient="records")):
        if at % EVERY == 0:
            advance(at, len(answers), "scored")
        reason = row["finish_reason"] if isinstance(row["finish_reason"], str) else None
        rows.append(scoring.score(task, asked[str(row["id"])], str(row["predicted"]), str(row["gold"]), reason))
    columns = {
        SCORE + name: np.array([np.nan if row[name] is None else row[name] for row in rows], dtype=np.float64)
        for name in scoring.names(task)
    }
    return pd.concat([pd.DataFrame({"id": answers["id"].astype(str)}), pd.DataFrame(columns)], axis=1)


def with_scores(answers: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """A predictions table with the scores of its items beside it."""
    return answers.merge(scores, on="id", how="left", validate="one_to_one")
