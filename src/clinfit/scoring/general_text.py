"""Perplexity of general text: whether a language model that was trained on records can still do what its base could.

A probe and no benchmark: sixteen passages (scoring/passages.py) on which no base has been trained. What counts is the
change from the base, not the level.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from clinfit.scoring.answer_logits import answer_logits, states_at
from clinfit.scoring.likelihood import Likelihood
from clinfit.scoring.passages import passages

#: Tokens of a text whose logits are in memory at once.
ROWS = 256


def general_text(tokenizer: Any, nats_of: Callable[[list[int]], float]) -> Likelihood:
    """How likely the model finds the probe; each passage by itself, behind the token that begins a text where the
    tokenizer has one, so that the first token is predicted too where it can be.

    nats_of: negative log-likelihood of every token of a text but the first, given those before it.
    """
    ids = [tokenizer(passage)["input_ids"] for passage in passages()]
    return Likelihood(
        nats=np.array([nats_of(each) for each in ids]),
        tokens=np.array([len(each) - 1 for each in ids], dtype=np.int64),
        bytes=np.array([len(passage.encode()) for passage in passages()], dtype=np.int64),
    )


@torch.inference_mode()
def negative_log_likelihood(model: PreTrainedModel, text: list[int]) -> float:
    """Of every token but the first, given those before it; the logits of ROWS tokens at a time, since those of a whole
    record may be larger than the model."""
    ids, n = torch.tensor([text], device=model.device), len(text) - 1
    rows, places = torch.zeros(n, dtype=torch.long, device=ids.device), torch.arange(n, device=ids.device)
    parts = zip(states_at(model, ids, rows, places).split(ROWS), ids[0, 1:].split(ROWS), strict=True)
    losses = (
        torch.nn.functional.cross_entropy(answer_logits(model, states).float(), tokens, reduction="sum")
        for states, tokens in parts
    )
    return sum(map(float, losses))
