"""Perplexity of general text: whether a language model that was trained on records can still do what its base could.

A probe and no benchmark: sixteen short everyday passages that were written for this project, so that no base has been
trained on them. What counts is the change from the base, not the level.
"""

from dataclasses import dataclass
from functools import cache
from importlib import resources
from math import exp, log
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from clinfit.scoring.answer_logits import answer_logits, states_at


@dataclass(frozen=True)
class Likelihood:
    """nats: negative log-likelihood of the texts. tokens: that were predicted. bytes: of the texts, in UTF-8."""

    nats: float
    tokens: int
    bytes: int

    @property
    def perplexity(self) -> float:
        """exp(nats / tokens): weighted by token; comparable between models with one tokenizer only."""
        return exp(self.nats / self.tokens)

    @property
    def bits_per_byte(self) -> float:
        """nats / (bytes log 2): comparable between tokenizers."""
        return self.nats / (self.bytes * log(2))


@cache
def passages() -> list[str]:
    """The probe."""
    text = resources.files("clinfit.scoring").joinpath("general_text.txt").read_text(encoding="utf-8")
    return [passage.strip() for passage in text.split("\n\n") if passage.strip()]


@torch.inference_mode()
def general_text(model: PreTrainedModel, tokenizer: Any) -> Likelihood:
    """How likely the model finds the probe; each passage by itself, behind the token that begins a text where the
    tokenizer has one, so that the first token is predicted too where it can be."""
    nats, tokens, size = 0.0, 0, 0
    for passage in passages():
        ids: list[int] = tokenizer(passage)["input_ids"]
        nats += _negative_log_likelihood(model, torch.tensor([ids], device=model.device))
        tokens += len(ids) - 1
        size += len(passage.encode())
    return Likelihood(nats, tokens, size)


def _negative_log_likelihood(model: PreTrainedModel, ids: Tensor) -> float:
    """Of every token but the first, given those before it."""
    n = ids.shape[1] - 1
    rows, places = torch.zeros(n, dtype=torch.long, device=ids.device), torch.arange(n, device=ids.device)
    logits = answer_logits(model, states_at(model, ids, rows, places))
    return float(torch.nn.functional.cross_entropy(logits.float(), ids[0, 1:], reduction="sum"))
