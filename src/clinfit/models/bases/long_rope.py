"""LongRoPE (Ding et al., 2024; Phi-3 and later with 128k tokens): one set of frequencies for all that a model reads.

Such a base has two sets: one for rows up to the length that it was trained on first, one for longer rows. Its own
forward chooses by the longest row of the batch, so that a record's answer would change with its neighbours, and with
the row that it was trained in. Here `train.max_length` chooses once, for training, scoring and serving alike: the short
set where no row can be longer than that first length, else the long set for every row.
"""

from typing import Any, Literal

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

RopeSet = Literal["short", "long"]


def short_length(config: PretrainedConfig) -> int | None:
    """Tokens of the longest row that the base reads with its short set; None where there is one set only."""
    settings = getattr(config.get_text_config(), "rope_parameters", None) or {}
    kinds = [settings, *(value for value in settings.values() if isinstance(value, dict))]  # some differ by layer
    lengths = [kind["original_max_position_embeddings"] for kind in kinds if kind.get("rope_type") == "longrope"]
    return min(lengths, default=None)


def fix_frequencies(model: PreTrainedModel, max_length: int) -> RopeSet | None:
    """Have the model use one set for every row, and say which; None where it has one only.

    The long set is asked for by a position behind all others, whose rotation is dropped again: every architecture
    chooses by its largest position, in its own way.
    """
    length = short_length(model.config)
    if length is None or max_length <= length:
        return None if length is None else "short"

    def with_last(_: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        positions = named["position_ids"] if "position_ids" in named else inputs[1]
        longer = torch.cat([positions, torch.full_like(positions[..., :1], max_length - 1)], dim=-1)
        if "position_ids" in named:
            return inputs, named | {"position_ids": longer}
        return (inputs[0], longer, *inputs[2:]), named

    def without_last(_: nn.Module, __: tuple[Any, ...], rotations: Any) -> Any:
        return tuple(rotation[..., :-1, :] for rotation in rotations)

    for module in model.modules():
        kind: Any = getattr(module, "rope_type", None)
        if "longrope" in (kind.values() if isinstance(kind, dict) else [kind]):
            module.register_forward_pre_hook(with_last, with_kwargs=True)
            module.register_forward_hook(without_last)
            for name, buffer in module.named_buffers(recurse=False):
                setattr(module, name, buffer.clone())  # written to in every pass; shared with models of other lengths
    return "long"
