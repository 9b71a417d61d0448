"""The table of per-item outputs: with the item scores of texts, the only input of every metric, comparison and report.

One parquet file holds one run's outputs on one split of one task at one stage. Columns of every kind of task:

    run, model, seed, stage      which run wrote it; stage 0 is the base model before any training
    repeat, fold                 of a cross-validation alone: which division of the records, from 1
    task, kind, split, id, group which item of what
    gold, predicted, status      answers as text; status is ok, unparsed or error
    raw, finish_reason           generated text, which may quote the record, and why it ended (stop, length); else null
    prompt_tokens, output_tokens
    dropped_tokens               tokens of the record's text that the model did not see, else null
    seconds

    rung, bounded                of remote models with labels alone: how labels are scored, and whether a probability of
                                 the item rests on a bound (models/remote/tree.py)

Then the kind's own:

    classification   gold, predicted: a label. p_<label>: probability of each declared label, in label order; a row sums
                     to 1. label_mass: total probability of all labels (causal models), else null
    multilabel       gold, predicted: labels joined by `|` in the task's order, '' for none; predicted are those with a
                     probability of 0.5 or more. p_<label>: each by itself in [0, 1]
    multiple-choice  gold, predicted: a letter. p_<letter> and label_mass as for classification, by the scoring that the
                     task's `answer` names; letters_<L>, texts_<L>, texts-normalised_<L>: probabilities by each scoring,
                     null where the family gives none
    generation       gold: the reference. raw: the text that was written. predicted: the same without the reasoning that
                     it may begin with (prompts/reasoning.py), '' where that has no end. nats, nats_tokens, nats_bytes:
                     how unlikely the reference is (scoring/likelihood.py), null where the family gives no likelihood.
                     pieces, rounds: that a long record was read in, 0 of one read at once; null where all are read at
                     once or shortened. cut_pieces: of how many the text reached the limit
                     score_<metric>: of the text, joined from the run's item scores (item_scores.py); null where a
                     metric is undefined. A table that no step has scored yet has no such columns
    extraction       as generation. gold: the canonical JSON of the fields (data/fields.py)
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clinfit.data.records import Record, Split, Target
from clinfit.errors import ClinfitError
from clinfit.models.base import LabelOutputs, Outputs, TextOutputs
from clinfit.study.data import Fold
from clinfit.study.tasks import HOLDS, SCORINGS, Task

PROBABILITY = "p_"
#: Before the name of a metric: its score of one item.
SCORE = "score_"
#: How unlikely a reference text is.
NATS = ("nats", "nats_tokens", "nats_bytes")
COLUMNS = [
    "run", "model", "seed", "stage", "task", "kind", "split", "id", "group", "gold", "predicted", "status",
    "raw", "finish_reason", "prompt_tokens", "output_tokens", "dropped_tokens", "seconds",
]  # fmt: skip
#: Between the labels of a multilabel answer.
SEPARATOR = "|"


@dataclass(frozen=True)
class Source:
    """Which run, at which stage, answered."""

    run: str
    model: str
    seed: int
    stage: int
    fold: Fold | None = None


def predictions_table(
    source: Source, name: str, task: Task, split: Split, records: Sequence[Record], outputs: Outputs
) -> pd.DataFrame:
    """Outputs for the records of the task called `name`, as the table described above."""
    n = len(records)
    nothing: list[None] = [None] * n
    said = SAID[task.kind](task, n, outputs)
    table = pd.DataFrame(
        {
            "run": source.run,
            "model": source.model,
            "seed": source.seed,
            "stage": source.stage,
            **({} if source.fold is None else {"repeat": source.fold.repeat, "fold": source.fold.fold}),
            "task": name,
            "kind": task.kind,
            "split": split,
            "id": [record.id for record in records],
            "group": [record.group for record in records],
            "gold": [answer_text(record.target) for record in records],
            "predicted": said.predicted,
            "status": ["unparsed" if answer is None else "ok" for answer in said.predicted],
            "raw": nothing if said.raw is None else said.raw,
            "finish_reason": nothing if outputs.finish_reasons is None else outputs.finish_reasons,
        }
    )
    counted = (outputs.prompt_tokens, said.output_tokens, outputs.dropped_tokens)
    for column, counts in zip(("prompt_tokens", "output_tokens", "dropped_tokens"), counted, strict=True):
        table[column] = pd.array(nothing if counts is None else counts, dtype="Int64")
    table["seconds"] = outputs.seconds
    return pd.concat([table, pd.DataFrame(said.own)], axis=1)


def joined(labels: Sequence[str], rows: Iterable[Iterable[bool]]) -> list[str]:
    """Sets of labels as the table shows them. rows: for each set whether each label is in it."""
    return [SEPARATOR.join(label for label, there in zip(labels, row, strict=True) if there) for row in rows]


def answer_text(target: Target | None) -> str | None:
    """A record's target as the table shows it."""
    return SEPARATOR.join(target) if isinstance(target, tuple) else target


def predicted_texts(task: Task, probabilities: NDArray[np.float64]) -> list[str]:
    """The most probable label of each row (ties: the first declared); of a multilabel task all labels that hold."""
    if task.kind == "multilabel":
        return joined(task.labels, (probabilities >= HOLDS).tolist())
    return [task.labels[k] for k in probabilities.argmax(axis=1)]


def check_probabilities(probabilities: NDArray[np.float64], n: int, task: Task) -> None:
    """Stop the run when a model broke its contract; better no numbers than wrong ones."""
    if probabilities.shape != (n, len(task.labels)):
        raise ValueError(f"probabilities have shape {probabilities.shape}, expected {(n, len(task.labels))}")
    if not np.isfinite(probabilities).all() or (probabilities < 0).any():
        raise ClinfitError(
            "the model gave probabilities that are negative or not finite",
            expected="finite numbers between 0 and 1 for every record",
            fix="lower train.learning_rate or set train.precision: fp32, then run again",
        )
    if task.kind == "multilabel":
        if (probabilities > 1).any():
            raise ValueError("a probability is larger than 1")
    elif not np.allclose(probabilities.sum(axis=1), 1, atol=1e-6):
        raise ValueError("probability rows do not sum to 1")


# ---------------------------------------------------------------- by kind

Columns = dict[str, Any]


@dataclass(frozen=True)
class Said:
    """What stands in the columns that depend on the kind. predicted: None where no answer could be read. own: its own
    columns."""

    predicted: Sequence[str | None]
    raw: Sequence[str] | None
    output_tokens: NDArray[np.int64] | None
    own: Columns


def _labels(task: Task, n: int, outputs: Outputs) -> Said:
    """Of every kind with labels: the most probable ones, and all probabilities."""
    assert isinstance(outputs, LabelOutputs)
    known = [k for k in range(n) if k not in outputs.read]
    check_probabilities(outputs.probabilities[known], len(known), task)
    predicted: list[str | None] = [*predicted_texts(task, outputs.probabilities)]
    for k, answer in outputs.read.items():
        predicted[k] = answer_text(answer)
    own: Columns = {PROBABILITY + label: outputs.probabilities[:, k] for k, label in enumerate(task.labels)}
    own |= OWN_COLUMNS[task.kind](task, outputs)
    if outputs.rung is not None:
        own |= {"rung": outputs.rung, "bounded": outputs.bounded}
    return Said(predicted, outputs.raw, outputs.output_tokens, own)


def _written(task: Task, n: int, outputs: Outputs) -> Said:
    """Of generation: the text as it was written, and its answer."""
    assert isinstance(outputs, TextOutputs)
    if len(outputs.texts) != n:
        raise ValueError(f"{len(outputs.texts)} texts for {n} records")
    losses = outputs.losses
    if losses is not None and not np.isfinite(losses.nats).all():
        raise ClinfitError(
            "the model gave likelihoods that are not finite",
            expected="a finite log-likelihood of every reference",
            fix="lower train.learning_rate or set train.precision: fp32, then run again",
        )
    own: Columns = {"nats": np.full(n, np.nan) if losses is None else losses.nats}
    for column, counts in (
        ("nats_tokens", None if losses is None else losses.tokens),
        ("nats_bytes", None if losses is None else losses.bytes),
        ("pieces", outputs.pieces),
        ("rounds", outputs.rounds),
        ("cut_pieces", outputs.cut_pieces),
    ):
        own[column] = pd.array([None] * n if counts is None else counts, dtype="Int64")
    return Said(outputs.answers, outputs.texts, outputs.tokens, own)


def _label_mass(task: Task, outputs: LabelOutputs) -> Columns:
    missing = np.full(len(outputs.probabilities), np.nan)
    return {"label_mass": missing if outputs.label_mass is None else outputs.label_mass}


def _scorings(task: Task, outputs: LabelOutputs) -> Columns:
    columns = _label_mass(task, outputs)
    missing = np.full(outputs.probabilities.shape, np.nan)
    for scoring in SCORINGS:
        scores = (outputs.scorings or {}).get(scoring, missing)
        columns |= {f"{scoring}_{label}": scores[:, k] for k, label in enumerate(task.labels)}
    return columns


#: What a model says, as the table shows it.
SAID: dict[str, Callable[[Task, int, Outputs], Said]] = {
    "classification": _labels,
    "multilabel": _labels,
    "multiple-choice": _labels,
    "generation": _written,
    "extraction": _written,
}

#: Kinds whose answers are texts.
WRITTEN_KINDS = [kind for kind, said in SAID.items() if said is _written]

#: Columns of a kind with labels beside the probabilities.
OWN_COLUMNS: dict[str, Callable[[Task, LabelOutputs], Columns]] = {
    "classification": _label_mass,
    "multilabel": lambda task, outputs: {},
    "multiple-choice": _scorings,
}


# ---------------------------------------------------------------- reading


def labels_of(table: pd.DataFrame) -> list[str]:
    """The declared labels, in order, read from the table's probability columns."""
    return [name.removeprefix(PROBABILITY) for name in table.columns if name.startswith(PROBABILITY)]


def probabilities_of(table: pd.DataFrame) -> NDArray[np.float64]:
    """(n, K) probabilities in label order."""
    return table[[PROBABILITY + label for label in labels_of(table)]].to_numpy(dtype=np.float64)


def read_predictions(path: Path) -> pd.DataFrame:
    """One predictions file; raises ClinfitError when it is not one."""
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise ClinfitError(f"{path} cannot be read as a predictions table ({type(error).__name__})") from error
    missing = [name for name in COLUMNS if name not in table.columns]
    if not missing and bool(table["kind"].isin(WRITTEN_KINDS).all()):
        missing = [name for name in NATS if name not in table.columns]
    elif not missing and not labels_of(table):
        missing = ["probability columns"]
    if missing:
        raise ClinfitError(
            f"{path} is not a predictions table: it lacks {', '.join(missing)}",
            expected=f"the columns {', '.join(COLUMNS)} and those of its kind: one p_<label> for each label, or of "
            f"generation {', '.join(NATS)}",
        )
    return table
