"""What causal models say, computed by hand: a plain forward for each question and answer."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clinfit.data.records import Record
from clinfit.errors import ClinfitError
from clinfit.models.base import Lesson, Workspace
from clinfit.models.causal import CausalModel, LoadedCausal
from clinfit.prompts.encode import Encoded
from clinfit.study.models import Causal, Lora, Train
from clinfit.study.tasks import Task
from clinfit.training.answer_loss import AnswerLoss
from kinds import dataset
from lessons import TASK, lesson
from two_layer import llama_base

TRAIN = Train(
    epochs=6, learning_rate=3e-2, batch_size=10, batch_tokens=900, max_length=300, precision="fp32", warmup=0
)  # fmt: skip
SPEC = Causal(name="m", family="causal", base=str(llama_base()), lora=Lora(rank=4), train=TRAIN)
SEVERAL, OPTIONS = dataset("several", TASK), dataset("options", TASK)


def opened(task: Task) -> LoadedCausal:
    return CausalModel(SPEC, {TASK: task}, 1).opened()


def encoded(loaded: LoadedCausal, records: Sequence[Record]) -> list[Encoded]:
    return loaded.renderers[TASK].encode_all(records)


def log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@torch.no_grad()
def plain(loaded: LoadedCausal, before: Sequence[int], answer: Sequence[int]) -> float:
    """Log-likelihood of an answer behind all that stands before it, in a row of its own."""
    logits = loaded.model(torch.tensor([[*before, *answer]])).logits[0].float().log_softmax(-1)
    return sum(logits[len(before) - 1 + i, token].item() for i, token in enumerate(answer))


# ---------------------------------------------------------------- probabilities


def test_a_label_holds_with_the_share_of_yes(tmp_path: Path) -> None:
    loaded, records = opened(SEVERAL.task), SEVERAL.part("test")[:4]
    outputs = CausalModel(SPEC, {TASK: SEVERAL.task}, 1).predict(TASK, records)
    assert outputs.label_mass is None and outputs.scorings is None and outputs.prompt_tokens is not None
    for row, item in enumerate(encoded(loaded, records)):
        read = len(item.prompt_ids) + sum(len(branch.context) for branch in item.branches)
        assert outputs.prompt_tokens[row] == read
        for k, branch in enumerate(item.branches):
            no, yes = (plain(loaded, item.prompt_ids + branch.context, answer) for answer in branch.answers)
            assert outputs.probabilities[row, k] == pytest.approx(1 / (1 + np.exp(no - yes)), abs=1e-4)


@pytest.mark.parametrize("answer", ["letters", "texts", "texts-normalised"])
def test_options_are_scored_as_letters_and_as_texts(answer: str) -> None:
    """Also where texts are equal, or one begins another, as in some of these records."""
    task = OPTIONS.task.model_copy(update={"answer": answer})
    loaded, records = opened(task), OPTIONS.part("test")[:5]
    outputs = CausalModel(SPEC, {TASK: task}, 1).predict(TASK, records)
    assert outputs.scorings is not None and list(outputs.scorings) == ["letters", "texts", "texts-normalised"]
    np.testing.assert_array_equal(outputs.probabilities, outputs.scorings[answer])
    for row, (record, item) in enumerate(zip(records, encoded(loaded, records), strict=True)):
        letters, texts = (
            np.array([plain(loaded, item.prompt_ids, ids + (b.end if b.overlapping else [])) for ids in b.answers])
            for b in item.branches
        )
        sizes = np.array([len(str(record.inputs[name]).encode()) for name in ("first", "second", "third")])
        for scoring, scores in {"letters": letters, "texts": texts, "texts-normalised": texts / sizes}.items():
            expected = np.exp(scores) / np.exp(scores).sum()
            np.testing.assert_allclose(outputs.scorings[scoring][row], expected, atol=1e-4)
        mass = np.exp(letters if answer == "letters" else texts).sum()
        assert outputs.label_mass is not None and outputs.label_mass[row] == pytest.approx(min(mass, 1), rel=1e-3)
    assert any(branch.overlapping for item in encoded(loaded, records) for branch in item.branches)


# ---------------------------------------------------------------- training


def by_hand(loaded: LoadedCausal, item: Encoded) -> float:
    """Mean negative log-likelihood of a record's answers."""
    return -float(np.mean([plain(loaded, item.prompt_ids + part.context, part.answer) for part in item.trained]))


@pytest.mark.parametrize("side_by_side", [True, False])
def test_the_loss_of_a_record_with_several_labels_is_the_mean_over_its_questions(side_by_side: bool) -> None:
    loaded = opened(SEVERAL.task)
    items = encoded(loaded, SEVERAL.part("train")[:5])
    with torch.no_grad():
        losses = AnswerLoss(loaded.model, items, 5, side_by_side)([0, 1, 2, 3, 4])
    for item, loss in zip(items, losses, strict=True):
        assert loss.item() == pytest.approx(by_hand(loaded, item), abs=1e-4)


def test_records_of_different_kinds_may_share_a_batch() -> None:
    tasks = {TASK: SEVERAL.task, "choice": OPTIONS.task}
    loaded = CausalModel(SPEC, tasks, 1).opened()
    items = [
        *loaded.renderers[TASK].encode_all(SEVERAL.part("train")[:2]),
        *loaded.renderers["choice"].encode_all(OPTIONS.part("train")[:2]),
    ]
    with torch.no_grad():
        losses = AnswerLoss(loaded.model, items, 5)([3, 0, 2, 1])
    for i, loss in zip([3, 0, 2, 1], losses, strict=True):
        assert loss.item() == pytest.approx(by_hand(loaded, items[i]), abs=1e-4)


def test_side_by_side_and_in_rows_of_their_own_questions_teach_the_same() -> None:
    gradients = []
    for side_by_side in (True, False):
        loaded = opened(SEVERAL.task)
        loaded.model.requires_grad_(True)
        AnswerLoss(loaded.model, encoded(loaded, SEVERAL.part("train")[:3]), 5, side_by_side)(
            [0, 1, 2]
        ).sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in loaded.model.parameters() if p.grad is not None]))
    torch.testing.assert_close(*gradients, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(("answer", "part"), [("letters", 0), ("texts", 1), ("texts-normalised", 1)])
def test_what_the_task_names_is_what_is_trained(answer: str, part: int) -> None:
    task = OPTIONS.task.model_copy(update={"answer": answer})
    loaded = opened(task)
    records = OPTIONS.part("train")[:4]
    items = encoded(loaded, records)
    with torch.no_grad():
        losses = AnswerLoss(loaded.model, items, 5)([0, 1, 2, 3])
    for record, item, loss in zip(records, items, losses, strict=True):
        branch = item.branches[part]
        gold = branch.answers[task.labels.index(str(record.target))] + branch.end
        assert item.trained[0].answer == gold
        assert loss.item() == pytest.approx(-plain(loaded, item.prompt_ids, gold), abs=1e-4)


@pytest.mark.parametrize("data", [SEVERAL, OPTIONS], ids=["several", "options"])
def test_the_validation_loss_is_the_loss_of_training(data: Any, tmp_path: Path) -> None:
    """With a learning rate of nearly nothing, one epoch in one step: both see the same weights and records."""
    still = TRAIN.model_copy(update={"learning_rate": 1e-12, "epochs": 1.0, "batch_size": 64})
    model = CausalModel(SPEC.model_copy(update={"train": still}), {TASK: data.task}, 1)
    records = data.part("train")[:12]
    model.fit(lesson(records, records), Workspace(tmp_path))
    (row,) = log(tmp_path)
    assert row["validation_loss"] == pytest.approx(row["loss"], abs=1e-4)


@pytest.mark.parametrize("data", [SEVERAL, OPTIONS], ids=["several", "options"])
def test_a_few_epochs_teach_what_the_records_say(data: Any, tmp_path: Path) -> None:
    CausalModel(SPEC, {TASK: data.task}, 1).fit(lesson(data.part("train")), Workspace(tmp_path))
    losses = [row["loss"] for row in log(tmp_path)]
    assert losses[-1] < 0.5 * losses[0]


# ---------------------------------------------------------------- writing


def test_a_letter_is_written_and_questions_are_not(tmp_path: Path) -> None:
    model = CausalModel(SPEC, {TASK: SEVERAL.task, "choice": OPTIONS.task}, 1)
    written = model.generate("choice", OPTIONS.part("test")[:2], 3)
    assert len(written.texts) == 2 and written.tokens.max() <= 3
    with pytest.raises(ClinfitError, match="question for each label"):
        model.generate(TASK, SEVERAL.part("test")[:2], 3)


def test_records_know_no_answer_in_new_data() -> None:
    new = [replace(record, target=None) for record in OPTIONS.part("test")[:2]]
    assert CausalModel(SPEC, {TASK: OPTIONS.task}, 1).predict(TASK, new).probabilities.shape == (2, 3)


@pytest.mark.parametrize("data", ["three", "several", "options"])
def test_checkpoints_are_chosen_by_the_probabilities_that_are_predicted(data: str, tmp_path: Path) -> None:
    """The end of turn, which the loss counts, is no part of them where no answer begins another."""
    case = dataset(data)
    spec = Causal(
        name="m", family="causal", base=str(llama_base()), lora=Lora(rank=2),
        train=Train(epochs=0.2, learning_rate=1e-2, batch_size=8, precision="fp32", max_length=250),
    )  # fmt: skip
    model = CausalModel(spec, {"finding": case.task}, 3)
    seen: list[np.ndarray] = []

    def primary(task: str, gold: np.ndarray, probabilities: np.ndarray) -> float:
        seen.append(probabilities)
        return float(len(seen))

    validation = case.part("validation")
    model.fit(Lesson(case.part("train"), validation, {"finding": 1.0}), Workspace(tmp_path, primary=primary))
    np.testing.assert_allclose(seen[-1], model.predict("finding", validation).probabilities, atol=1e-6)
