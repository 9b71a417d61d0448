"""Which layers of a base an adapter can stand around. PEFT is not needed to know."""

import torch
from transformers import PreTrainedModel

from clinfit.errors import ClinfitError, nearest
from clinfit.study.models import Lora

#: Layer types that LoRA adapts: plain ones, GPT-2's transposed ones, Falcon's, 4-bit ones.
LINEAR = {"Linear", "Conv1D", "FalconLinear", "Linear4bit", "Linear8bitLt"}
#: Layers whose weights recurrent mixers read past any adapter, themselves or in fused kernels.
READ_PAST_ADAPTERS = {
    "mamba": {"x_proj", "dt_proj", "out_proj"},
    "falcon_mamba": {"x_proj", "dt_proj", "out_proj"},
    "jamba": {"dt_proj"},
    "bamba": {"out_proj"},
    "falcon_h1": {"out_proj"},
    "granitemoehybrid": {"out_proj"},
    "mamba2": {"out_proj"},
    "nemotron_h": {"out_proj"},
    "zamba2": {"out_proj"},
}


def not_adaptable(model: PreTrainedModel) -> list[str]:
    """Names of the linear layers that no adapter can stand around: routers, which return more than a product, and what
    is read past an adapter. all-linear leaves them as they are."""
    past = READ_PAST_ADAPTERS.get(model.config.get_text_config().model_type, set())
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
        and (type(module).__name__ not in LINEAR or name.rsplit(".", 1)[-1] in past)
    ]


def check_targets(model: PreTrainedModel, lora: Lora) -> None:
    """Raise ClinfitError when a target names no module of the base, or one that cannot be adapted."""
    left_out = set(not_adaptable(model))
    names = {name for name, module in model.named_modules() if type(module).__name__ in LINEAR} - left_out
    if lora.targets == "all-linear":
        body = model.base_model_prefix + "." if hasattr(model, model.base_model_prefix) else ""
        if not any(name.startswith(body) for name in names):
            raise ClinfitError(
                f"{type(model).__name__} has no layers that an adapter can stand around",
                fix="method: full where the model is an encoder, or another base",
            )
        return
    linear = sorted({name.rsplit(".", 1)[-1] for name in names})
    unmatched = [t for t in lora.targets if not any(_matches(t, name) for name in names)]
    wrapped = [t for t in lora.targets if any(_matches(t, name) for name in left_out)]
    if unmatched or wrapped:
        close = nearest(unmatched[0], linear) if not wrapped else None
        raise ClinfitError(
            f"lora.targets: {', '.join(wrapped)} of this base cannot be adapted"
            if wrapped
            else f"lora.targets: {', '.join(unmatched)} match no module of this base",
            expected=f"all-linear, or some of {', '.join(linear)}",
            fix=f"did you mean {close}?" if close else "",
        )


def _matches(target: str, name: str) -> bool:
    return name == target or name.endswith(f".{target}")
