"""Architectures that clinfit does not fit, known by their configuration alone: refused before any weight is fetched.

docs/architectures.md says of all others what was tried with them. What an unknown architecture does differently is
found when it is loaded (`scoring/answer_logits.py`, `check_padding` here).
"""

from typing import Any

import torch
from transformers import PretrainedConfig, PreTrainedModel

from clinfit.errors import ClinfitError
from clinfit.study.models import Neural

_HEAD = "its head is more than one product, so that single answers cannot be projected"
_BOTH_WAYS = "it reads both ways, so that an answer would be seen before it is given"
_NOT_LOADED = "PEFT does not load all weights of its adapter again"
_DOGE = "what it attends to, and its experts, are chosen among all tokens of a batch together"
_PADDING = "padding changes its answers"

#: By `model_type`, why a base cannot be a causal language model here.
NOT_CAUSAL: dict[str, str] = {
    **dict.fromkeys(
        ("bert", "big_bird", "camembert", "data2vec-text", "electra", "ernie", "megatron-bert", "modernbert-decoder",
         "rembert", "roberta", "roberta-prelayernorm", "roc_bert", "roformer", "xlm-roberta", "xlm-roberta-xl", "xmod"),
        _HEAD,
    ),
    **dict.fromkeys(("bert-generation", "cpmant", "xlm"), _BOTH_WAYS),
    **dict.fromkeys(("llama4", "llama4_text"), "its decoder gives no hidden states"),
    "doge": _DOGE,
    "inkling_text": "it divides hidden states before its head",
    "laguna": _NOT_LOADED,
}  # fmt: skip
#: By `model_type`, why a base cannot stand under a classification head here.
NOT_ENCODER: dict[str, str] = {
    "doge": _DOGE,
    **dict.fromkeys(("canine", "convbert", "fnet", "nystromformer", "yoso"), _PADDING),
    "laguna": _NOT_LOADED,
    "xmod": "it must be told the language of every text",
}


def check_architecture(spec: Neural, config: PretrainedConfig) -> None:
    """Raise ClinfitError when the base's architecture is known not to work in this family of models."""
    text = config.get_text_config()
    known = NOT_CAUSAL if spec.prompted else NOT_ENCODER
    reason = known.get(config.model_type) or known.get(text.model_type)
    if spec.prompted and getattr(text, "use_bidirectional_attention", None) is True:
        reason = _BOTH_WAYS
    if not spec.prompted and config.is_encoder_decoder:
        reason = "it is an encoder and a decoder"
    if reason:
        raise ClinfitError(
            f"base {spec.base!r} of model {spec.name} is of the architecture {config.model_type}, which clinfit does "
            f"not fit with `family: {'causal' if spec.prompted else 'encoder'}`: {reason}",
            fix="choose a base of another architecture (docs/architectures.md)",
        )


@torch.no_grad()
def check_padding(model: PreTrainedModel, ids: list[int], pad_id: int) -> None:
    """Stop where padding changes what a classifier says of a row. ids: a few tokens. Raises ClinfitError."""

    def logits(*rows: list[int]) -> torch.Tensor:
        width = max(map(len, rows))
        padded = torch.tensor([row + [pad_id] * (width - len(row)) for row in rows], device=model.device)
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=model.device)
        output: Any = model(input_ids=padded, attention_mask=mask)
        return output.logits[0].float()

    alone, beside = logits(ids), logits(ids, ids * 4)
    if not torch.allclose(alone, beside, atol=1e-3 * max(1.0, float(alone.abs().max())), rtol=1e-3):
        raise ClinfitError(
            f"{type(model).__name__} says something else of a text that stands beside a longer one: {_PADDING}",
            fix="choose a base of another architecture (docs/architectures.md)",
        )
