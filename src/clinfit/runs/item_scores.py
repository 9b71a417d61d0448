"""Item scores: the metrics of every written text, computed where its record is at hand.

    scores/<task>-<split>-stage<n>.parquet    id, and a column score_<metric> each; no text

What a text must rest on is in the record, which no file of a study folder holds; so a step computes the scores of each
item once, and evaluation makes means, intervals and tests of them. No model under test is loaded; of others only those
that the study names for a metric (models/judges.py).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clinfit.data.records import Record
from clinfit.evaluation.metrics.text.definitions import METRICS, item_scores, packages
from clinfit.evaluation.metrics.text.normalise import sentences
from clinfit.predictions import SCORE
from clinfit.prompts.template import source_text
from clinfit.study.evaluation import GenerationEvaluation
from clinfit.study.tasks import Generation

#: Raised when a metric is computed otherwise than before, so that texts are scored again.
VERSION = 1
#: The same of the metrics that need weights of their own.
JUDGES = 1
#: Texts between two words to whoever waits.
EVERY = 20


def deciding(settings: GenerationEvaluation, identity: Callable[[str, None], Mapping[str, Any]]) -> dict[str, Any]:
    """What decides a score beside text and record: the metrics, the packages that compute some of them, and the weights
    that the study names for others. identity: of a base, by its name."""
    found: dict[str, Any] = {"version": VERSION, "metrics": list(METRICS), "packages": packages()}
    if settings.bertscore is not None:
        found["bertscore"] = [JUDGES, settings.bertscore.layer, identity(settings.bertscore.encoder, None)]
    if settings.nli is not None:
        found["nli"] = [JUDGES, identity(settings.nli.classifier, None)]
    return found


def score_table(
    task: Generation,
    settings: GenerationEvaluation,
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
    columns |= {SCORE + name: scores for name, scores in judged(settings, answers, sources).items()}
    return pd.concat([pd.DataFrame({"id": answers["id"].astype(str)}), pd.DataFrame(columns)], axis=1)


def judged(
    settings: GenerationEvaluation, answers: pd.DataFrame, sources: Mapping[str, str]
) -> dict[str, NDArray[np.float64]]:
    """Metric -> a score of each answer, of the metrics that need weights of their own and that the study asks for.

    sources: by the records' ids. Raises ClinfitError where the weights are not on this machine, or of another kind.
    """
    found: dict[str, NDArray[np.float64]] = {}
    texts = answers["predicted"].astype(str).tolist()
    if settings.bertscore is not None:
        from clinfit.models.judges import BertScorer

        found["bertscore"] = BertScorer(settings.bertscore).scores(texts, answers["gold"].astype(str).tolist())
    if settings.nli is not None:
        from clinfit.models.judges import NliScorer

        judge = NliScorer(settings.nli)
        given = [sources[str(record)] for record in answers["id"]]
        scores = [judge.score(sentences(a), sentences(b)) for a, b in zip(texts, given, strict=True)]
        found["nli"] = np.array(scores, dtype=np.float64)
    return found


def check_judges(settings: GenerationEvaluation) -> None:
    """Raise ClinfitError where such a metric cannot be computed, before anything is trained."""
    judged(settings, pd.DataFrame({"id": [], "predicted": [], "gold": []}), {})


def with_scores(answers: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """A predictions table with the scores of its items beside it."""
    return answers.merge(scores, on="id", how="left", validate="one_to_one")
