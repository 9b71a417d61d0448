"""Item scores: the metrics of every written text, computed where its record is at hand.

    scores/<task>-<split>-stage<n>.parquet    id, and a column score_<metric> each; no text

What a text must rest on is in the record, which no file of a study folder holds; so a step computes the scores of each
item once, and evaluation makes means, intervals and tests of them. No model under test is loaded; of others only those
that the study names for a metric (models/texts/judges.py).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clinfit.data.records import Record
from clinfit.errors import ClinfitError
from clinfit.evaluation.metrics.fields import OF_ITEM, columns_of, field_scores
from clinfit.evaluation.metrics.text.definitions import METRICS, item_scores, packages
from clinfit.evaluation.metrics.text.normalise import sentences
from clinfit.predictions import SCORE
from clinfit.prompts.template import source_text
from clinfit.study.evaluation import GenerationEvaluation, Judge, TaskEvaluation
from clinfit.study.schema import Study
from clinfit.study.tasks import Extraction, TextTask

#: Raised when a metric is computed otherwise than before, so that texts are scored again.
VERSION = 3
#: The same of the metrics that need weights of their own.
JUDGES = 2
#: Texts between two words to whoever waits.
EVERY = 20

Scores = Mapping[str, float | None]


Identity = Callable[[str, str | None], Mapping[str, Any]]


@dataclass(frozen=True)
class Scoring:
    """How the texts of a kind of task are scored.

    deciding: (task, its settings, identity of a base by its name) to what decides a score beside text and record.
    names: of the scores. score: (task, record, output, reference, why it ended) to the scores of a text. judge: (task,
    its settings, records, answers) to the scores of all texts at once that need weights of their own, by metric.
    """

    deciding: Callable[[TextTask, TaskEvaluation, Identity], dict[str, Any]]
    names: Callable[[TextTask], Sequence[str]]
    score: Callable[[TextTask, Record, str, str, str | None], Scores]
    judge: Callable[[TextTask, TaskEvaluation, Sequence[Record], pd.DataFrame], Mapping[str, NDArray[np.float64]]]


def _text_deciding(task: TextTask, settings: TaskEvaluation, identity: Identity) -> dict[str, Any]:
    """The metrics, the packages that compute some of them, and the weights that the study names for others."""
    found: dict[str, Any] = {"metrics": list(METRICS), "packages": packages(), "sources": task.sources}
    for metric, judge in cast(GenerationEvaluation, settings).judges.items():
        found[metric] = [JUDGES, judge.model_dump(), identity(judge.weights, None)]
    return found


def _text_scores(task: TextTask, record: Record, output: str, reference: str, reason: str | None) -> Scores:
    return item_scores(output, [reference], source_text(task, record.inputs), reason)


def _text_judge(
    task: TextTask, settings: TaskEvaluation, records: Sequence[Record], answers: pd.DataFrame
) -> dict[str, NDArray[np.float64]]:
    sources = {record.id: source_text(task, record.inputs) for record in records}
    return judged(cast(GenerationEvaluation, settings), answers, sources)


def _field_scores(task: TextTask, record: Record, output: str, reference: str, reason: str | None) -> Scores:
    return field_scores(output, reference, cast(Extraction, task).declared, reason)


#: By kind of task.
SCORINGS: dict[str, Scoring] = {
    "generation": Scoring(_text_deciding, lambda task: list(METRICS), _text_scores, _text_judge),
    "extraction": Scoring(
        lambda task, settings, identity: {"metrics": list(OF_ITEM)},  # the fields stand in the answers that are scored
        lambda task: columns_of(cast(Extraction, task).declared),
        _field_scores,
        lambda task, settings, records, answers: {},
    ),
}


def deciding(task: TextTask, settings: TaskEvaluation, identity: Identity) -> dict[str, Any]:
    """What decides a score beside text and record. identity: of a base, by its name."""
    return {"version": VERSION, **SCORINGS[task.kind].deciding(task, settings, identity)}


def score_table(
    task: TextTask,
    settings: TaskEvaluation,
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
    columns |= {SCORE + name: scores for name, scores in scoring.judge(task, settings, records, answers).items()}
    return pd.concat([pd.DataFrame({"id": answers["id"].astype(str)}), pd.DataFrame(columns)], axis=1)


def judged(
    settings: GenerationEvaluation, answers: pd.DataFrame, sources: Mapping[str, str]
) -> dict[str, NDArray[np.float64]]:
    """Metric -> a score of each answer, of the metrics that need weights of their own and that the study asks for.

    sources: by the records' ids. Raises ClinfitError where the weights are not on this machine, or of another kind.
    """
    if not settings.judges:
        return {}
    from clinfit.models.texts.judges import JudgedText, judge_of

    texts = [
        JudgedText(
            str(row["predicted"]),
            str(row["gold"]),
            sentences(str(row["predicted"])),
            sentences(sources[str(row["id"])]),
        )
        for row in answers.to_dict(orient="records")
    ]
    return {metric: judge_of(judge).scores(texts) for metric, judge in settings.judges.items()}


def missing_judges(study: Study) -> list[ClinfitError]:
    """Why such metrics cannot be computed, one error for each key that names weights which are not there or are of
    another kind; asked before anything is trained."""
    asked: dict[str, Judge] = {}
    for name, task in study.tasks.items():
        if isinstance(settings := study.settings(name), GenerationEvaluation):
            block = "evaluation" if task.evaluation is None else f"tasks.{name}.evaluation"
            asked |= {f"{block}.{metric}.{judge.key}": judge for metric, judge in settings.judges.items()}
    if not asked:
        return []
    from clinfit.models.texts.judges import judge_of

    found = []
    for place, judge in asked.items():
        try:
            judge_of(judge)
        except ClinfitError as error:
            found.append(ClinfitError(f"{place}: {error.found}", expected=error.expected, fix=error.fix))
    return found


def with_scores(answers: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """A predictions table with the scores of its items beside it."""
    return answers.merge(scores, on="id", how="left", validate="one_to_one")
