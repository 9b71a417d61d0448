"""The embedded base model: what the folder promises to everything that uses it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

import clinfit.models.bases

FOLDER = Path(clinfit.models.bases.__file__).parent / "tiny"
CHAT = [
    {"role": "system", "content": "You classify biomedical text."},
    {"role": "user", "content": "Age: 72 years\n\nIs the text about cancer? Answer Yes or No."},
    {"role": "assistant", "content": "Yes"},
]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(FOLDER, local_files_only=True)


def test_folder_is_small_and_complete():
    names = {file.name for file in FOLDER.iterdir() if file.is_file()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json", "README.md"} <= names
    assert sum(file.stat().st_size for file in FOLDER.rglob("*") if file.is_file()) <= 16_000_000


def test_weights_are_bf16():
    with safe_open(FOLDER / "model.safetensors", "pt") as weights:
        assert {weights.get_tensor(name).dtype for name in weights.keys()} == {torch.bfloat16}  # noqa: SIM118


def test_loads_and_answers_offline(tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    model = AutoModelForCausalLM.from_pretrained(FOLDER, local_files_only=True)
    assert model.dtype == torch.bfloat16
    assert sum(parameter.numel() for parameter in model.parameters()) < 8_000_000
    assert model.config.vocab_size == len(tokenizer)
    prompt = tokenizer.apply_chat_template(CHAT[:2], add_generation_prompt=True, return_tensors="pt", return_dict=True)
    answer = model.generate(**prompt, max_new_tokens=4)
    assert answer.shape[1] > prompt["input_ids"].shape[1]
    assert torch.isfinite(model(**prompt).logits).all()


def test_numbers_are_single_digits(tokenizer: PreTrainedTokenizerBase):
    assert tokenizer.tokenize("1984") == ["1", "9", "8", "4"]
    multiple = [token for token in tokenizer.get_vocab() if sum(character in "0123456789" for character in token) > 1]
    assert multiple == []
    text = "HbA1c 7.25 % (n=108), 12 µg/m² — naïve\n\tP<0.001"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_special_tokens_are_single_and_distinct(tokenizer: PreTrainedTokenizerBase):
    special = ["<|begin|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|pad|>"]
    ids = [tokenizer(token, add_special_tokens=False)["input_ids"] for token in special]
    assert all(len(one) == 1 for one in ids)
    assert len({one[0] for one in ids}) == len(special)
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == ("<|begin|>", "<|end|>", "<|pad|>")
    config = json.loads((FOLDER / "generation_config.json").read_text())
    assert config["eos_token_id"] == tokenizer.eos_token_id != tokenizer.pad_token_id == config["pad_token_id"]


@pytest.mark.parametrize("start", [0, 1], ids=["with system", "without system"])
@pytest.mark.parametrize("answer", ["Yes", "not related", "12.5", "  spaced\n\n", ""])
def test_prompt_is_a_prefix_of_the_full_chat(tokenizer: PreTrainedTokenizerBase, start: int, answer: str):
    messages = [*CHAT[start:2], {"role": "assistant", "content": answer}]
    prompt, full = (
        tokenizer.apply_chat_template(part, tokenize=False, add_generation_prompt=part is not messages)
        for part in (messages[:-1], messages)
    )
    assert full == f"{prompt}{answer.strip()}<|end|>\n"
    prompt_ids, full_ids = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (prompt, full))
    assert full_ids[: len(prompt_ids)] == prompt_ids
    assert tokenizer.apply_chat_template(messages, return_dict=True)["input_ids"] == full_ids
    assert full_ids[0] == tokenizer.bos_token_id
    assert full_ids[-2] == tokenizer.eos_token_id


def test_card_names_sources_licenses_and_limits():
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\n")
    for words in ("CC BY", "MIT", "Evidence Inference", "PubMedQA", "not for patient care", "bits per byte"):
        assert words.lower() in card.lower(), words
