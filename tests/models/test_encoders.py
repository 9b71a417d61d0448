"""Encoder bases as they are found: with heads of their own, without padding, with positions of their own."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
)

from clinfit.errors import ClinfitError
from clinfit.models.base import FitSummary, Workspace
from clinfit.models.encoder import EncoderModel, head_logits
from clinfit.models.estimates.precheck import check_base
from clinfit.study.models import Encoder, Lora, Train
from kinds import dataset
from lessons import TASK, lesson
from two_layer import train_tokenizer

TEXT = dataset("text", TASK)
SIZES: dict[str, Any] = {
    "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 130, "initializer_range": 0.2, "pad_token_id": 5,
}  # fmt: skip


def made(factory: Any, kind: str, **settings: Any) -> Path:
    """Folder of a base with random weights."""
    folder = Path(tempfile.mkdtemp(prefix="clinfit-bases-")) / kind
    tokenizer = train_tokenizer()
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, vocab_size=len(tokenizer), **{**SIZES, **settings})
    factory.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def fitted(base: Path, folder: Path, method: Any = "lora", max_length: int = 64) -> tuple[EncoderModel, FitSummary]:
    train = Train(epochs=0.5, learning_rate=3e-2, batch_size=10, max_length=max_length, precision="fp32")
    spec = Encoder(name="m", family="encoder", base=str(base), method=method, lora=Lora(rank=2), train=train)
    model = EncoderModel(spec, {TASK: TEXT.task}, 1)
    return model, model.fit(lesson(TEXT.part("train")), Workspace(folder))


def answers_survive_saving(model: EncoderModel, folder: Path) -> None:
    model.save(folder / "saved")
    records = TEXT.part("test")
    expected = model.predict(TASK, records).probabilities
    np.testing.assert_array_equal(EncoderModel.load(folder / "saved").predict(TASK, records).probabilities, expected)


@pytest.mark.parametrize("labels", [2, 3])
@pytest.mark.parametrize(("kind", "method"), [("bert", "lora"), ("bert", "full"), ("roberta", "lora")])
def test_a_base_may_have_a_head_already(kind: str, method: str, labels: int, tmp_path: Path) -> None:
    """As one that was fine-tuned for sentiment has: it is trained whole, or drawn anew where its size is another."""
    base = made(AutoModelForSequenceClassification, kind, num_labels=labels)
    model, summary = fitted(base, tmp_path, method)
    assert model._loaded is not None and model._loaded.new_modules == ["classifier"]
    head = next(m for name, m in model._loaded.model.named_modules() if name.endswith(("classifier", "out_proj")))
    assert any(weight.requires_grad for weight in head.parameters()) and summary.trainable_parameters
    answers_survive_saving(model, tmp_path)


HEADS = {"eurobert": ["classifier", "dense"], "xlm": ["sequence_summary"], "flaubert": ["sequence_summary"]}


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("method", ["lora", "full"])
def test_heads_of_every_name_are_new(kind: str, method: str, tmp_path: Path) -> None:
    base = made(AutoModelForMaskedLM, kind, emb_dim=16, n_layers=2, n_heads=4, dropout=0.0)
    model, _ = fitted(base, tmp_path, method)
    assert model._loaded is not None and model._loaded.new_modules == HEADS[kind]
    answers_survive_saving(model, tmp_path)


def test_a_body_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    base = made(AutoModel, "bert")
    config = (base / "config.json").read_text().replace('"num_hidden_layers": 2', '"num_hidden_layers": 3')
    (base / "config.json").write_text(config)
    with pytest.raises(ClinfitError, match="lacks"):
        fitted(base, tmp_path)
    (base / "config.json").write_text(config.replace('"intermediate_size": 32', '"intermediate_size": 48'))
    with pytest.raises(ClinfitError, match="lacks"):
        fitted(base, tmp_path)


def test_a_decoder_without_padding_may_stand_under_a_head(tmp_path: Path) -> None:
    base = made(AutoModelForCausalLM, "llama", pad_token_id=None)
    model, _ = fitted(base, tmp_path)
    assert model._loaded is not None and model._loaded.new_modules == ["score"]
    rows = [[7] * 20, [9] * 40]
    with torch.no_grad():
        together = head_logits(model._loaded.model, rows, 5)
        alone = torch.cat([head_logits(model._loaded.model, [row], 5) for row in rows])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


def test_the_advised_length_is_one_that_can_be_read(tmp_path: Path) -> None:
    """RoBERTa counts positions from behind its padding token, here of id 5."""
    base = made(AutoModelForMaskedLM, "roberta")
    with pytest.raises(ClinfitError, match="at most 124 tokens") as error:
        fitted(base, tmp_path / "refused", max_length=130)
    assert "max_length: 124" in str(error.value)
    model, _ = fitted(base, tmp_path / "fitted", max_length=124)
    assert model._loaded is not None
    with torch.no_grad():
        assert head_logits(model._loaded.model, [[7] * 124], 5).isfinite().all()


@pytest.mark.parametrize("kind", ["fnet", "canine"])
def test_a_base_whose_answers_change_with_padding_is_refused(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its name before any weight is read, and by what it does where the name is not known."""
    base = made(AutoModel, kind)
    with pytest.raises(ClinfitError, match="which clinfit does not fit"):
        check_base(Encoder(name="m", family="encoder", base=str(base)), {TASK: TEXT.task}, {TASK: []})
    monkeypatch.setattr("clinfit.models.bases.architectures.NOT_ENCODER", {})
    with pytest.raises(ClinfitError, match="beside a longer one"):
        fitted(base, tmp_path)
