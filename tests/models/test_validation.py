"""The validation loss is in the unit of the training loss."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

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


def test_losses_of_answer_tokens_and_of_all_tokens_are_told_apart(tmp_path: Path) -> None:
    """Each is that of a plain forward, with the prompt masked and without."""
    tasks = {name: dataset(name, name).task for name in ("texts", "text", "several")}
    records = [record for name in tasks for record in in_split(dataset(name, name).records, "train")[:6]]
    spec = Causal(
        name="m", family="causal", base=str(llama_base()), lora=Lora(rank=2),
        train=Train(max_steps=1, learning_rate=1e-2, max_length=250, precision="fp32"),
    )  # fmt: skip
    made: Any = create_model(spec, tasks, 3)
    told = made.fit(Lesson(records, records, dict.fromkeys(tasks, 1.0)), Workspace(tmp_path)).details["tasks"]
    assert "validation_nats_per_token" not in told["several"], "several questions, which do not read each other"
    loaded = made.opened()
    for name in ("texts", "text"):
        items = loaded.renderers[name].encode_all([record for record in records if record.task == name])
        found: dict[str, Any] = {"records": len(items)}
        for key, labels in (("answers", [i.labels for i in items]), ("all_tokens", [i.ids for i in items])):
            nats, tokens = 0.0, 0
            for item, wanted in zip(items, labels, strict=True):
                asked = sum(token >= 0 for token in wanted[1:])
                with torch.no_grad():
                    loss = loaded.model(torch.tensor([item.ids]), labels=torch.tensor([wanted])).loss
                nats, tokens = nats + float(loss) * asked, tokens + asked
            found[key] = pytest.approx(nats / tokens, rel=1e-4)
        assert told[name]["validation_nats_per_token"] == found
    alone = create_model(spec, tasks, 3).fit(Lesson(records, [], {"text": 1.0}), Workspace(tmp_path / "alone"))
    assert "validation_nats_per_token" not in alone.details["tasks"]["text"]


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
