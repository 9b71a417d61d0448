"""LoRA, rsLoRA and DoRA through PEFT, in PEFT's own format."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from transformers import PreTrainedModel

from clinfit.errors import ClinfitError, nearest
from clinfit.study import Lora
from clinfit.training.low_rank import use_low_rank_layers

#: Layer types that LoRA adapts: plain ones, GPT-2's transposed ones, 4-bit ones.
LINEAR = {"Linear", "Conv1D", "Linear4bit", "Linear8bitLt"}


def add_adapter(
    model: PreTrainedModel, lora: Lora, seed: int, *, task_type: str, base_name: str, new_modules: Sequence[str] = ()
) -> PeftModel:
    """The model with a fresh adapter around it; base weights are frozen, adapter weights are fp32.

    new_modules: modules whose weights the base did not bring; they are trained whole and saved with the adapter.

    The seed is set here, right before the adapter's weights are drawn, so that the same seed gives the same adapter
    whatever ran before. Raises ClinfitError when a target names no module.
    """
    check_targets(model, lora)
    torch.manual_seed(seed)
    config = LoraConfig(
        task_type=task_type,
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # PEFT takes any number
        lora_dropout=lora.dropout,
        target_modules=lora.targets,
        use_rslora=lora.rslora,
        use_dora=lora.dora,
        base_model_name_or_path=base_name,
        modules_to_save=list(new_modules) or None,
        exclude_modules=[f"{name}.dense" for name in new_modules] or None,
    )
    if not getattr(model, "is_quantized", False):
        use_low_rank_layers(config)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The PEFT config's `base_model_name_or_path` was renamed")
        adapted = get_peft_model(model, config)
    config.base_model_name_or_path = base_name  # not the folder it happened to be loaded from
    let_inputs_keep_their_type(adapted)
    return adapted


def load_adapter(model: PreTrainedModel, folder: Path) -> PeftModel:
    """The model with a saved adapter around it, ready to predict."""
    if not (folder / "adapter_model.safetensors").is_file():
        raise ClinfitError(f"{folder} holds no adapter", expected="adapter_model.safetensors (pickles are not loaded)")
    config: Any = LoraConfig.from_pretrained(str(folder))
    if not getattr(model, "is_quantized", False):
        use_low_rank_layers(config)
    adapted = PeftModel.from_pretrained(model, str(folder), config=config)  # type: ignore[arg-type]
    let_inputs_keep_their_type(adapted)
    return adapted.eval()


def let_inputs_keep_their_type(model: torch.nn.Module) -> None:
    """Leave the casts to autocast: PEFT would copy every layer's bf16 input to fp32 first."""
    for module in model.modules():
        if isinstance(module, LoraLayer):
            module.cast_input_dtype_enabled = False


def adapter_facts(model: torch.nn.Module) -> dict[str, Any]:
    """What the adapter really is, read back from its layers: rank, alpha, scaling, dropout, adapted modules."""
    layers = {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}
    first: Any = next(iter(layers.values()))
    return {
        "rank": first.r["default"],
        "alpha": first.lora_alpha["default"],
        "scaling": first.scaling["default"],
        "dropout": getattr(first.lora_dropout["default"], "p", 0.0),
        "dora": bool(first.use_dora.get("default", False)),
        "modules": sorted({name.rsplit(".", 1)[-1] for name in layers}),
        "layers": len(layers),
    }


def parameter_counts(model: torch.nn.Module) -> tuple[int, int]:
    """(all parameters, trainable parameters)."""
    return (
        sum(parameter.numel() for parameter in model.parameters()),
        sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad),
    )


def check_targets(model: PreTrainedModel, lora: Lora) -> None:
    """Raise ClinfitError when a target names no module of the base."""
    if lora.targets == "all-linear":
        return
    linear = sorted(
        {name.rsplit(".", 1)[-1] for name, module in model.named_modules() if type(module).__name__ in LINEAR}
    )
    names = {name for name, _ in model.named_modules() if name.rsplit(".", 1)[-1] in linear}
    unmatched = [t for t in lora.targets if not any(name == t or name.endswith("." + t) for name in names)]
    if unmatched:
        close = nearest(unmatched[0], linear)
        raise ClinfitError(
            f"lora.targets: {', '.join(unmatched)} match no module of this base",
            expected=f"all-linear, or some of {', '.join(linear)}",
            fix=f"did you mean {close}?" if close else "",
        )
