"""Models of every family that learn two tasks, for tests of mixtures and stages."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clinfit.data.records import Record
from clinfit.models.base import FitSummary, Lesson, Model, Workspace
from clinfit.models.families import create_model
from clinfit.study.models import Baseline, Causal, Classical, Encoder, Lora, ModelSpec, Train
from clinfit.study.tasks import Task
from kinds import dataset
from two_layer import bert_base, llama_base

TRAIN = Train(
    epochs=1, learning_rate=1e-2, batch_size=8, batch_tokens=600, max_length=250, precision="fp32",
    checkpoint_every=2, evaluate_every=2,
)  # fmt: skip
SPECS: dict[str, ModelSpec] = {
    "majority": Baseline(name="m", family="baseline", kind="majority"),
    "lasso": Classical(name="m", family="classical", kind="lasso", c_grid=[0.1, 1.0]),
    "causal": Causal(name="m", family="causal", base=str(llama_base()), lora=Lora(rank=2, dropout=0.1), train=TRAIN),
    "encoder-lora": Encoder(name="m", family="encoder", base=str(bert_base()), lora=Lora(rank=2), train=TRAIN),
    "encoder-full": Encoder(name="m", family="encoder", base=str(bert_base()), method="full", train=TRAIN),
}
NEURAL = ["causal", "encoder-lora", "encoder-full"]
each = pytest.mark.parametrize("model", SPECS)
each_neural = pytest.mark.parametrize("model", NEURAL)

ONE, OTHER = "finding", "topics"
TASKS: dict[str, Task] = {ONE: dataset("three", ONE).task, OTHER: dataset("several", OTHER).task}


def records(split: str, *tasks: str) -> list[Record]:
    of_task = {ONE: dataset("three", ONE), OTHER: dataset("several", OTHER)}
    return [record for task in tasks for record in of_task[task].part(split)[:12]]  # type: ignore[arg-type]


def lesson(weights: Mapping[str, float], *tasks: str, start: Path | None = None) -> Lesson:
    """Records of the named tasks, or of both."""
    tasks = tasks or (ONE, OTHER)
    return Lesson(records("train", *tasks), records("validation", *tasks), weights, start)


def fitted(
    model: str, taught: Lesson, folder: Path, tasks: Mapping[str, Task] = TASKS, seed: int = 3, **workspace: object
) -> tuple[Model, FitSummary]:
    made = create_model(SPECS[model], tasks, seed)
    folder.mkdir(parents=True, exist_ok=True)
    return made, made.fit(taught, Workspace(folder, **workspace))  # type: ignore[arg-type]


def answers(model: Model, task: str) -> np.ndarray:
    return model.predict(task, records("test", task)).probabilities


def log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
