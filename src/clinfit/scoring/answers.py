"""The head only where the answer is: in training, validation and scoring, by one function.

For answers of a few tokens behind prompts of hundreds, most of the language-model head's work goes into positions that
nobody looks at. Here the decoder runs without its head, the hidden states at the wanted positions are gathered into one
contiguous matrix, and only those are projected.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from clinfit.errors import ClinfitError


def answer_logits(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    """Next-token logits, fp32, for gathered hidden states.

    model: a causal language model of Transformers (with LoRA layers injected or not). hidden: (n, d) final hidden
    states as the decoder returns them. Returns (n, vocabulary), scaled and capped as the architecture's own forward
    does (tests compare architecture by architecture; `check_answer_logits` compares at load).
    """
    head: Any = model.get_output_embeddings()
    return _scaled(model, head(hidden))


def token_logits(model: PreTrainedModel, hidden: Tensor, tokens: Tensor) -> Tensor:
    """(n,) logits of one token for each hidden state, computed in fp32 whatever the working precision.

    bf16 logits of a usual size differ in steps of about 0.1, so that many records would tie. The few weights that a
    label needs are cast instead of the whole head.
    """
    head: Any = model.get_output_embeddings()
    with torch.autocast(hidden.device.type, enabled=False):
        logits = (hidden.float() * head.weight[tokens].float()).sum(-1)
        if getattr(head, "bias", None) is not None:
            logits = logits + head.bias[tokens].float()
    return _scaled(model, logits)


def _scaled(model: PreTrainedModel, logits: Tensor) -> Tensor:
    """Raw logits of the head as the architecture's own forward scales and caps them, fp32."""
    config: Any = model.config.get_text_config()
    if (scale := getattr(config, "logit_scale", None)) is not None:  # Cohere
        logits = logits * scale
    if (scaling := getattr(config, "logits_scaling", None)) is not None:  # Granite
        logits = logits / scaling
    logits = logits.float()
    if (cap := getattr(config, "final_logit_softcapping", None)) is not None:  # Gemma 2 and 3
        logits = torch.tanh(logits / cap) * cap
    return logits


def decode(model: PreTrainedModel, input_ids: Tensor, **inputs: Any) -> Tensor:
    """(rows, width, d) final hidden states of the decoder, without the head."""
    return model.get_decoder()(input_ids=input_ids, use_cache=False, **inputs).last_hidden_state


@torch.no_grad()
def check_answer_logits(model: PreTrainedModel, token_ids: list[int]) -> None:
    """Stop where an architecture treats its logits in a way that `answer_logits` does not know.

    token_ids: any few tokens. Raises ClinfitError.
    """
    ids = torch.tensor([token_ids], device=model.device)
    own = model(input_ids=ids, use_cache=False).logits[0].float()
    ours = answer_logits(model, decode(model, ids)[0])
    if not torch.isfinite(own).all():
        raise ClinfitError(
            "the base's own logits are not finite numbers in this precision", fix="set train.precision: fp32"
        )
    if not torch.allclose(own, ours, atol=0.02 * float(own.abs().max()), rtol=0.02):
        raise ClinfitError(
            f"{type(model).__name__} post-processes its logits in a way that clinfit does not know",
            fix="choose a base of another architecture",
        )
