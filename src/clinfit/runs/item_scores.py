"""Item scores: the metrics of every written text, computed where its record is at hand.

    scores/<task>-<split>-stage<n>.parquet    id, and a column score_<metric> each; no text

What a text must rest on is in the record, which no file of a study folder holds; so a step computes the scores of each
item once, and evaluation makes means, intervals and tests of them. No model is loaded.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from clinfit.data.records import Record
from clinfit.evaluation.metrics.text.definitions import METRICS, item_scores, packages
from clinfit.predictions import SCORE
from clinfit.prompts.template import source_text
from clinfit.study.tasks import Generation

#: Raised when a metric is computed otherwise than before, so that texts are scored again.
VERSION = 1
#: Texts between two words to whoever waits.
EVERY = 20


def deciding() -> dict[str, Any]:
    """What decides a score beside text and record: the metrics, and the packages that compute some of them."""
    return {"version": VERSION, "metrics": list(METRICS), "packages": packages()}


def score_table(
    task: Generation,
    records: Sequence[Record],
    answers: pd.DataFrame,
    advance: Callable[[int, int, str], None] = lambda done, total, text: None,
) -> pd.DataFrame:
    """One row an item of a predictions table, in its order. records: those that were asked."""
    sources = {record.id: source_text(task, record.inputs) for record in records}
    rows: list[Mapping[str, float | None]] = []
    for at, row in enumerate(answers.to_dict(orient="records")):
        if at % EVERY == 0:
            advance(at, len(answers), "scored")
        reason = row["finish_reason"] if isinstance(row["finish_reason"], str) else None
        rows.append(item_scores(str(row["predicted"]), [str(row["gold"])], sources[str(row["id"])], reason))
    columns = {
        SCORE + name: np.array([np.nan if row[name] is None else row[name] for row in rows], dtype=np.float64)
        for name in METRICS
    }
    return pd.concat([pd.DataFrame({"id": answers["id"].astype(str)}), pd.DataFrame(columns)], axis=1)


def with_scores(answers: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """A predictions table with the scores of its items beside it."""
    return answers.merge(scores, on="id", how="left", validate="one_to_one")
