"""The validation loss is in the unit of the training loss."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from clinfit.data.records import in_split
from clinfit.models.base import Lesson, Workspace
from clinfit.models.families import create_model
from clinfit.models.validation import Judged, Looked, validation
from clinfit.study.models import Causal, Lora, Train
from kinds import dataset
from two_layer import llama_base
from two_tasks import log

PER = pytest.mark.parametrize("per", ["record", "token"])


@PER
def test_of_the_same_records_both_losses_are_the_same(per: Literal["record", "token"], tmp_path: Path) -> None:
    """One step over all records that moves nothing: what is looked at then is what was trained on."""
    names = ["texts", "text", "several"]
    tasks = {name: dataset(name, name).task for name in names}
    records = [record for name in names for record in in_split(dataset(name, name).records, "train")[:4]]
    train = Train(
        epochs=1, learning_rate=1e-12, batch_size=len(records), max_length=250, precision="fp32", loss_per=per
    )  # fmt: skip
    made = create_model(
        Causal(name="m", family="causal", base=str(llama_base()), lora=Lora(rank=2), train=train), tasks, 3
    )
    made.fit(Lesson(records, records, dict.fromkeys(names, 1.0)), Workspace(tmp_path))
    (row,) = log(tmp_path)
    assert row["validation_loss"] == pytest.approx(row["loss"], rel=1e-4)


@PER
def test_a_task_weighs_as_its_records_or_tokens_do(per: str) -> None:
    losses = {"short": np.array([2.0, 4.0]), "long": np.array([30.0])}
    counts = {"short": np.array([1.0, 2.0]), "long": np.array([20.0])}
    tasks = {name: dataset("texts", name).task for name in losses}
    looked = {
        name: Looked([], [], np.array([]), counts[name] if per == "token" else np.ones(len(losses[name])), weight)
        for name, weight in (("short", 1.0), ("long", 0.5))
    }
    found = validation(tasks, looked, lambda name, _: Judged(losses[name], None), lambda *_: None)
    assert {name: task.loss for name, task in found.tasks.items()} == (
        {"short": 3.0, "long": 30.0} if per == "record" else {"short": 2.0, "long": 1.5}
    )
    assert found.loss == pytest.approx((6 + 15) / (2 + 0.5) if per == "record" else (6 + 15) / (3 + 10))
