"""A causal language model in MLX, with a low-rank adapter around its layers.

The adapter itself is PEFT's. It stands around a torch model of the same architecture that holds no weights, the
skeleton: names, shapes, scaling, initial values and files of an adapter come from the very code that family `causal`
uses, and a step of the optimizer changes PEFT's own parameters. MLX reads them from there.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import torch
from mlx.utils import tree_flatten
from mlx_lm.models.cache import make_prompt_cache
from mlx_lm.utils import load_model
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from transformers import AutoModelForCausalLM, GenerationConfig, PretrainedConfig, PreTrainedModel
from transformers.utils.hub import cached_file

from clinfit.errors import ClinfitError
from clinfit.models.bases.pretrained import Base, check_causal
from clinfit.training.adapters import FIRST
from clinfit.training.precision import Precision

MLX_TYPES = {"fp32": mx.float32, "bf16": mx.bfloat16}
#: What PEFT puts before the names of a base's modules.
PREFIX = "base_model.model."


class LowRank(nn.Module):
    """base(x) + scaling B A dropout(x), for x (..., in), A (r, in), B (out, r); A and B are fp32 and are used in the
    base's format. Without A and B it is the base."""

    def __init__(self, base: nn.Module, scaling: float, dropout: float) -> None:
        super().__init__()
        self.base, self.scaling = base, scaling
        self.a: mx.array | None = None
        self.b: mx.array | None = None
        self.dropout = nn.Dropout(dropout)

    def __call__(self, x: mx.array) -> mx.array:
        out = self.base(x)
        if self.a is None or self.b is None:
            return out
        reduced = self.dropout(x) @ self.a.astype(x.dtype).T
        return out + reduced @ (self.b.astype(x.dtype) * self.scaling).T


@dataclass(frozen=True)
class Weights:
    """A base's weights in memory, which the networks of a process share. made: a network's modules, without weights."""

    made: Callable[[], Any]
    arrays: list[tuple[str, mx.array]]


class Network:
    """One base with room for one adapter. The head is applied where it is asked for (`logits`)."""

    def __init__(self, weights: Weights) -> None:
        self.model: Any = weights.made()
        self.model.load_weights(weights.arrays)
        self.model.eval()
        self.layers: list[LowRank] = []
        self._tied = "lm_head" not in self.model

    # ------------------------------------------------------------ passes

    def memory(self) -> list[Any]:
        """Empty keys and values."""
        return make_prompt_cache(self.model)

    def states(self, ids: mx.array, memory: list[Any] | None = None) -> mx.array:
        """(rows, width, d) final hidden states of (rows, width) token ids behind what is in the memory."""
        return self.model.model(ids, memory)

    def logits(self, states: mx.array) -> mx.array:
        """(n, vocabulary) fp32 logits of (n, d) hidden states."""
        head = self.model.model.embed_tokens.as_linear if self._tied else self.model.lm_head
        return head(states).astype(mx.float32)

    def token_logits(self, states: mx.array, tokens: mx.array) -> mx.array:
        """(n,) logits of one token for each hidden state, in fp32 whatever the working precision."""
        head = self.model.model.embed_tokens if self._tied else self.model.lm_head
        return (states.astype(mx.float32) * head.weight[tokens].astype(mx.float32)).sum(-1)

    # ------------------------------------------------------------ adapter

    def wrap(self, adapted: PeftModel) -> None:
        """Put low-rank layers where the adapter has them. Raises ClinfitError where the base has no such layer here."""
        self.layers = []
        for name, layer in adapter_layers(adapted):
            holder: Any = self.model
            *path, last = name.split(".")
            try:
                for step in path:
                    holder = holder[int(step)] if step.isdigit() else holder[step]
                base = holder[last]
            except (KeyError, IndexError, TypeError) as error:
                raise _otherwise(name) from error
            expected: Any = layer.get_base_layer()
            if not isinstance(base, nn.Linear) or base.weight.shape != tuple(expected.weight.shape):
                raise _otherwise(name)
            dropout = float(getattr(layer.lora_dropout[FIRST], "p", 0.0))
            holder[last] = LowRank(base, float(layer.scaling[FIRST]), dropout)
            self.layers.append(holder[last])

    def use(self, factors: Sequence[mx.array], *, training: bool = False) -> None:
        """Let the layers use these factors: A and B of each, one behind the other; none: the base alone. training:
        with dropout."""
        for number, layer in enumerate(self.layers):
            layer.a, layer.b = factors[2 * number : 2 * number + 2] if factors else (None, None)
            layer.train(training)

    def check(self, ids: Sequence[int]) -> None:
        """Raise ClinfitError where the architecture makes its logits otherwise than `logits` does. ids: any few."""
        tokens = mx.array([list(ids)])
        own, found = self.model(tokens)[0].astype(mx.float32), self.logits(self.states(tokens)[0])
        if not mx.allclose(found, own, rtol=1e-3, atol=1e-3 * float(mx.abs(own).max())).item():
            raise ClinfitError(
                f"{type(self.model).__module__} makes its logits in a way that clinfit does not know",
                fix="another base, or family: causal",
            )


#: The network as it is to answer now, with the newest adapter.
Ready = Callable[[], Network]


def adapter_layers(adapted: PeftModel) -> Iterator[tuple[str, Any]]:
    """Name in the base, and PEFT's layer, of each layer with an adapter."""
    for name, module in adapted.named_modules():
        if isinstance(module, LoraLayer):
            yield name.removeprefix(PREFIX), module


def factors_of(adapted: PeftModel) -> list[torch.nn.Parameter]:
    """A (r, in) and B (out, r) of each layer, one behind the other."""
    return [matrix[FIRST].weight for _, layer in adapter_layers(adapted) for matrix in (layer.lora_A, layer.lora_B)]


def as_mlx(values: torch.Tensor) -> mx.array:
    """A copy of an fp32 tensor."""
    return mx.array(values.detach().cpu().numpy())


def as_torch(values: mx.array) -> torch.Tensor:
    """A copy of an fp32 array."""
    return torch.from_numpy(np.array(values))


# ---------------------------------------------------------------- loading


def load_weights(base: Base, config: PretrainedConfig, precision: Precision) -> Weights:
    """The base's weights in the precision; raises ClinfitError when they are not a whole causal language model."""
    check_causal(base, config)
    folder = Path(base.source)
    if not folder.is_dir():
        folder = Path(
            str(cached_file(base.source, "config.json", revision=base.revision, local_files_only=True))
        ).parent
    try:
        model = load_model(folder, lazy=True, model_config=_settings(config))[0]
    except (ValueError, OSError, KeyError, TypeError) as error:
        raise ClinfitError(f"MLX cannot load base {base.name!r}: {str(error).splitlines()[0]}") from error
    model.set_dtype(MLX_TYPES[precision])
    arrays = cast(list[tuple[str, mx.array]], tree_flatten(model.parameters()))
    mx.eval([array for _, array in arrays])
    kind, arguments = cast(Callable[[Any], Any], type(model)), model.args
    return Weights(lambda: kind(arguments), arrays)


def load_skeleton(base: Base, config: PretrainedConfig) -> PreTrainedModel:
    """The base's modules in torch with weights that take no memory: every one of them is the same single zero."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    nothing: dict[int, torch.nn.Parameter] = {}  # tied weights stay one parameter
    for module in model.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            zero = torch.nn.Parameter(torch.zeros(()).expand(weight.shape), requires_grad=False)
            setattr(module, name, nothing.setdefault(id(weight), zero))
    with suppress(OSError):  # where there is none beside the weights, it is made from the configuration
        model.generation_config = GenerationConfig.from_pretrained(
            base.source, revision=base.revision or "main", local_files_only=True
        )
    return model.eval()


def _settings(config: PretrainedConfig) -> dict[str, Any]:
    """The configuration with every default of Transformers filled in, since MLX's differ, and the frequencies of
    positions as MLX names them."""
    settings = config.to_dict()
    rope = settings.get("rope_parameters") or {}
    kind = rope.get("rope_type", "default")
    settings["rope_theta"] = rope.get("rope_theta", settings.get("rope_theta", 10000.0))
    settings["rope_scaling"] = None if kind == "default" else rope
    return settings


def _otherwise(name: str) -> ClinfitError:
    return ClinfitError(
        f"the adapter has a layer {name}, which the base does not have in MLX, or has in another form",
        fix="other `lora.targets`, or family: causal",
    )
