"""Models that share a base in memory: one copy of its weights, and each answers what it answers alone."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from clinfit.models.base import Workspace
from clinfit.models.bases.pretrained import Bases, find_base
from clinfit.models.families import create_model, load_model
from clinfit.models.neural import NeuralModel
from clinfit.study.models import Causal, Encoder, Lora, Neural, Train
from clinfit.training.lora_layer import LowRankLinear
from kinds import dataset
from lessons import TASK, lesson
from two_layer import bert_base, llama_base

TRAIN = Train(epochs=0.5, learning_rate=1e-2, batch_size=10, batch_tokens=400, max_length=250, precision="fp32")
SPECS: dict[str, Neural] = {
    "causal": Causal(name="m", family="causal", base=str(llama_base()), lora=Lora(rank=2), train=TRAIN),
    "dora": Causal(name="m", family="causal", base=str(llama_base()), lora=Lora(rank=2, dora=True), train=TRAIN),
    "encoder": Encoder(name="m", family="encoder", base=str(bert_base()), lora=Lora(rank=2), train=TRAIN),
    "full": Encoder(name="m", family="encoder", base=str(bert_base()), method="full", train=TRAIN),
}
each = pytest.mark.parametrize("family", ["causal", "dora", "encoder"])
TEXT, THREE = dataset("text", TASK), dataset("three", TASK)


def fitted(family: str, folder: Path, seed: int, data: str = "text", bases: Bases | None = None) -> NeuralModel:
    case = dataset(data, TASK)
    folder.mkdir()
    model = create_model(SPECS[family], {TASK: case.task}, seed, bases)
    model.fit(lesson(case.part("train"), case.part("validation")), Workspace(folder))
    assert isinstance(model, NeuralModel)
    return model


def answers(model: NeuralModel, data: str = "text") -> np.ndarray:
    return model.predict(TASK, dataset(data, TASK).part("test")).probabilities


def weights(model: NeuralModel) -> dict[str, nn.Parameter]:
    """The weights that the base brought, by the name that they have without an adapter."""
    assert model._loaded is not None
    return {
        name.replace(".base_layer", ""): weight
        for name, weight in model._loaded.model.named_parameters()
        if "lora_" not in name and "modules_to_save" not in name and "original_module" not in name
    }


@each
def test_two_models_hold_one_copy_of_the_weights_and_answer_as_alone(family: str, tmp_path: Path) -> None:
    bases = Bases()
    shared = [fitted(family, tmp_path / f"shared-{seed}", seed, bases=bases) for seed in (1, 2)]
    alone = [fitted(family, tmp_path / f"alone-{seed}", seed) for seed in (1, 2)]
    for _ in range(2):  # in turns
        for ours, theirs in zip(shared, alone, strict=True):
            np.testing.assert_array_equal(answers(ours), answers(theirs))
    first, second = (weights(model) for model in shared)
    assert first.keys() == second.keys() and first
    assert all(first[name].data_ptr() == second[name].data_ptr() for name in first)
    assert all(first[name].data_ptr() != weight.data_ptr() for name, weight in weights(alone[0]).items())


@each
def test_models_of_different_tasks_and_modes_do_not_see_each_other(family: str, tmp_path: Path) -> None:
    """One is loaded and answers while the other, with another number of labels, is trained."""
    bases = Bases()
    fitted(family, tmp_path / "first", 1).save(tmp_path / "saved")
    loaded = load_model(SPECS[family].family, tmp_path / "saved", bases)
    assert isinstance(loaded, NeuralModel)
    expected, heard = answers(loaded), []

    def during(done: int, total: int, text: str) -> None:
        heard.append(answers(loaded))

    model = create_model(SPECS[family], {TASK: THREE.task}, 2, bases)
    (tmp_path / "second").mkdir()
    model.fit(lesson(THREE.part("train")), Workspace(tmp_path / "second", during))
    assert isinstance(model, NeuralModel)
    assert len(heard) > 1 and all(np.array_equal(found, expected) for found in heard)
    np.testing.assert_array_equal(
        answers(model, "three"), answers(fitted(family, tmp_path / "alone", 2, "three"), "three")
    )


def test_a_base_answers_as_before_while_a_model_on_it_is_adapted(tmp_path: Path) -> None:
    bases = Bases()
    base = create_model(SPECS["causal"], {TASK: TEXT.task}, 1, bases)
    assert isinstance(base, NeuralModel)
    before = answers(base)
    adapted = fitted("causal", tmp_path / "fit", 1, bases=bases)
    np.testing.assert_array_equal(answers(base), before)
    assert not np.array_equal(answers(adapted), before)
    assert adapted._loaded is not None
    layers = [module for module in adapted._loaded.model.modules() if isinstance(module, LowRankLinear)]
    assert layers and all(layer._plain_adapter() == "default" for layer in layers), "on the fast path"


def test_who_trains_all_weights_has_a_copy(tmp_path: Path) -> None:
    bases = Bases()
    beside = fitted("encoder", tmp_path / "beside", 1, bases=bases)
    expected, kept = answers(beside), {name: weight.clone() for name, weight in weights(beside).items()}
    full = fitted("full", tmp_path / "full", 1, bases=bases)
    np.testing.assert_array_equal(answers(full), answers(fitted("full", tmp_path / "alone", 1)))
    np.testing.assert_array_equal(answers(beside), expected)
    assert all(torch.equal(kept[name], weight) for name, weight in weights(beside).items())


def test_tied_weights_stay_tied() -> None:
    bases, base = Bases(), find_base(str(llama_base()))
    for _ in range(2):
        model = bases.causal(base, "fp32", torch.device("cpu"))
        assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
        assert not any(weight.requires_grad for weight in model.parameters())
