"""Perplexity of general text: whether a language model that was trained on records can still do what its base could.

A probe and no benchmark: sixteen short everyday passages that were written for this project, so that no base has been
trained on them. What counts is the change from the base, not the level.
"""

from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from clinfit.scoring.answer_logits import answer_logits, states_at
from clinfit.scoring.likelihood import Likelihood


@cache
def passages() -> list[str]:
    """The probe."""
    text = resources.files("clinfit.scoring").joinpath("general_text.txt").read_text(encoding="utf-8")
    return [passage.strip() for passage in text.split("\n\n") if passage.strip()]


@torch.inference_mode()
def general_text(model: PreTrainedModel, tokenizer: Any) -> Likelihood:
    """How likely the model finds the probe; each passage by itself, behind the token that begins a text where the
    tokenizer has one, so that the first token is predicted too where it can be."""
    ids = [tokenizer(passage)["input_ids"] for passage in passages()]
    nats = [_negative_log_likelihood(model, torch.tensor([each], device=model.device)) for each in ids]
    return Likelihood(
        nats=np.array(nats),
        tokens=np.array([len(each) - 1 for each in ids], dtype=np.int64),
        bytes=np.array([len(passage.encode()) for passage in passages()], dtype=np.int64),
    )


def _negative_log_likelihood(model: PreTrainedModel, ids: Tensor) -> float:
    """Of every token but the first, given those before it."""
    n = ids.shape[1] - 1
    rows, places = torch.zeros(n, dtype=torch.long, device=ids.device), torch.arange(n, device=ids.device)
    logits = answer_logits(model, states_at(model, ids, rows, places))
    return float(torch.nn.functional.cross_entropy(logits.float(), ids[0, 1:], reduction="sum"))
