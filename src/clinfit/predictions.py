"""The table of per-item outputs: the only input of every metric, comparison and report.

One parquet file holds one run's outputs on one split of one task at one stage. Columns:

    run, model, seed, stage      which run wrote it; stage 0 is the base model before any training
    task, split, id, group       which item
    gold, predicted, status      labels; status is ok, unparsed or error
    p_<label>                    probability of each declared label (float64), columns in label order
    label_mass                   total probability of all labels (causal models), else null
    raw                          generated text, which may quote the record; else null
    prompt_tokens, output_tokens, seconds
    dropped_tokens               tokens of the record's text that the model did not see, else null; absent from tables
                                 that older versions wrote
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clinfit.data.records import Record, Split
from clinfit.errors import ClinfitError
from clinfit.models.base import Outputs

PROBABILITY = "p_"
COLUMNS = [
    "run", "model", "seed", "stage", "task", "split", "id", "group", "gold", "predicted", "status",
    "label_mass", "raw", "prompt_tokens", "output_tokens", "seconds",
]  # fmt: skip


@dataclass(frozen=True)
class Source:
    """Which run, at which stage, answered."""

    run: str
    model: str
    seed: int
    stage: int


def predictions_table(
    source: Source, task: str, labels: Sequence[str], split: Split, records: Sequence[Record], outputs: Outputs
) -> pd.DataFrame:
    """Outputs as the table described above; `predicted` is the most probable label (ties: the first declared)."""
    n = len(records)
    check_probabilities(outputs.probabilities, n, len(labels))
    best = outputs.probabilities.argmax(axis=1)
    table = pd.DataFrame(
        {
            "run": source.run,
            "model": source.model,
            "seed": source.seed,
            "stage": source.stage,
            "task": task,
            "split": split,
            "id": [record.id for record in records],
            "group": [record.group for record in records],
            "gold": [record.target for record in records],
            "predicted": [labels[k] for k in best],
            "status": "ok",
        }
    )
    for k, label in enumerate(labels):
        table[PROBABILITY + label] = outputs.probabilities[:, k]
    nothing: list[None] = [None] * n
    table["label_mass"] = outputs.label_mass if outputs.label_mass is not None else np.full(n, np.nan)
    table["raw"] = outputs.raw if outputs.raw is not None else nothing
    for name in ("prompt_tokens", "output_tokens", "dropped_tokens"):
        counts = getattr(outputs, name)
        table[name] = pd.array(nothing if counts is None else counts, dtype="Int64")
    table["seconds"] = outputs.seconds
    return table


def check_probabilities(probabilities: NDArray[np.float64], n: int, k: int) -> None:
    """Stop the run when a model broke its contract; better no numbers than wrong ones."""
    if probabilities.shape != (n, k):
        raise ValueError(f"probabilities have shape {probabilities.shape}, expected {(n, k)}")
    if not np.isfinite(probabilities).all() or (probabilities < 0).any():
        raise ClinfitError(
            "the model gave probabilities that are negative or not finite",
            expected="finite numbers that sum to 1 for every record",
            fix="lower train.learning_rate or set train.precision: fp32, then run again",
        )
    if not np.allclose(probabilities.sum(axis=1), 1, atol=1e-6):
        raise ValueError("probability rows do not sum to 1")


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
    if missing or not labels_of(table):
        raise ClinfitError(
            f"{path} is not a predictions table: it lacks {', '.join(missing) or 'probability columns'}",
            expected=f"the columns {', '.join(COLUMNS)} and one p_<label> for each label",
        )
    return table
