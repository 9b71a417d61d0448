"""Class weights, focal loss and sampling reach causal models and encoder heads alike, and the training split only."""

from pathlib import Path

import numpy as np
import pytest

from clinfit.data.records import Record
from clinfit.models.base import Workspace
from clinfit.models.families import create_model
from clinfit.study.models import Causal, Encoder, Lora, Train
from clinfit.study.tasks import Task
from lessons import TASK, lesson
from two_layer import bert_base, llama_base

TRAIN = Train(epochs=6, learning_rate=3e-2, batch_size=6, batch_tokens=600, max_length=200, precision="fp32", warmup=0)
SPECS = {
    "causal": Causal(name="m", family="causal", base=str(llama_base()), lora=Lora(rank=4), train=TRAIN),
    "encoder": Encoder(name="m", family="encoder", base=str(bert_base()), lora=Lora(rank=4), train=TRAIN),
}
families = pytest.mark.parametrize("family", SPECS)


def answers(family: str, task: Task, records: list[Record], folder: Path, **changes: object):
    model = create_model(SPECS[family].model_copy(update=changes), {TASK: task}, 5)
    folder.mkdir()
    summary = model.fit(lesson(records[:18], records[18:]), Workspace(folder))
    return model.predict(TASK, records[18:]).probabilities, summary


@families
def test_a_label_of_weight_zero_is_answered_less(
    family: str, text_task: Task, text_records: list[Record], tmp_path: Path
) -> None:
    share = {}
    for k, label in enumerate(text_task.labels):
        model = create_model(SPECS[family].model_copy(update={"class_weights": {label: 0.0}}), {TASK: text_task}, 5)
        (tmp_path / label).mkdir()
        model.fit(lesson(text_records[:18]), Workspace(tmp_path / label))  # no validation: the last weights are kept
        share[k] = model.predict(TASK, text_records[18:]).probabilities[:, k].mean()
    assert share[0] + share[1] < 0.8  # each label's mean probability when it weighs nothing; 1 if weights did nothing


@families
def test_balanced_weights_count_each_class_alike(
    family: str, text_task: Task, text_records: list[Record], tmp_path: Path
) -> None:
    """Three to one in training: balanced weights equal the same weights given by hand."""
    uneven = [r for i, r in enumerate(text_records[:18]) if r.target == "Cancer" or i % 6 == 1] + text_records[18:]
    targets = [r.target for r in uneven[:-6]]
    by_hand = {label: len(targets) / (2 * targets.count(label)) for label in text_task.labels}
    model_of = {}
    for name, weights in {"balanced": "balanced", "by hand": by_hand, "none": "none"}.items():
        model = create_model(SPECS[family].model_copy(update={"class_weights": weights}), {TASK: text_task}, 5)
        (tmp_path / name).mkdir()
        model.fit(lesson(uneven[:-6], uneven[-6:]), Workspace(tmp_path / name))
        model_of[name] = model.predict(TASK, uneven[-6:]).probabilities
    np.testing.assert_array_equal(model_of["balanced"], model_of["by hand"])
    assert not np.array_equal(model_of["balanced"], model_of["none"])


@families
def test_focal_loss_changes_what_is_learnt(
    family: str, text_task: Task, text_records: list[Record], tmp_path: Path
) -> None:
    plain, _ = answers(family, text_task, text_records, tmp_path / "plain")
    focal, _ = answers(family, text_task, text_records, tmp_path / "focal", focal_gamma=2.0)
    assert not np.array_equal(plain, focal)


@families
def test_oversampling_lengthens_the_epoch_and_balanced_does_not(
    family: str, text_task: Task, text_records: list[Record], tmp_path: Path
) -> None:
    uneven = [r for i, r in enumerate(text_records) if r.target == "Cancer" or i % 6 == 1]  # 12 to 4
    steps = {}
    for sampling in ("none", "balanced", "oversample"):
        model = create_model(SPECS[family].model_copy(update={"sampling": sampling}), {TASK: text_task}, 5)
        (tmp_path / sampling).mkdir()
        steps[sampling] = model.fit(lesson(uneven), Workspace(tmp_path / sampling)).details["steps"]
    assert steps == {"none": 6 * 3, "balanced": 6 * 3, "oversample": 6 * 4}


@families
def test_gradient_checkpointing_learns_the_same(
    family: str, text_task: Task, text_records: list[Record], tmp_path: Path
) -> None:
    plain, _ = answers(family, text_task, text_records, tmp_path / "plain")
    saving = TRAIN.model_copy(update={"gradient_checkpointing": True})
    checkpointed, _ = answers(family, text_task, text_records, tmp_path / "saving", train=saving)
    np.testing.assert_allclose(checkpointed, plain, atol=1e-3)
