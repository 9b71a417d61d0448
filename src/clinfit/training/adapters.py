"""LoRA, rsLoRA and DoRA through PEFT, in PEFT's own format."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from transformers import PreTrainedModel

from clinfit.errors import ClinfitError
from clinfit.study.models import Lora
from clinfit.training.adaptable import check_targets, not_adaptable
from clinfit.training.lora_layer import use_low_rank_layers

#: Names of adapters in a model: PEFT's own for the only one, and that of one that stands on it.
FIRST, ON_TOP = "default", "stacked"


def add_adapter(
    model: PreTrainedModel, lora: Lora, seed: int, *, task_type: str, base_name: str, new_modules: Sequence[str] = ()
) -> PeftModel:
    """The model with a fresh adapter around it; base weights are frozen, adapter weights are fp32.

    new_modules: modules whose weights the base did not bring; they are trained whole and saved with the adapter.

    The seed is set here, right before the adapter's weights are drawn, so that the same seed gives the same adapter
    whatever ran before. Raises ClinfitError when a target names no module.
    """
    check_targets(model, lora)
    excluded = [f"{name}.dense" for name in new_modules]
    if lora.targets == "all-linear":
        excluded += not_adaptable(model)
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
        exclude_modules=excluded or None,
    )
    if not getattr(model, "is_quantized", False):
        use_low_rank_layers(config)
    with _without_renamings():
        adapted = get_peft_model(model, config)
    config.base_model_name_or_path = base_name  # not the folder it happened to be loaded from
    put_in_order(config)
    let_inputs_keep_their_type(adapted)
    return adapted


def add_on_top(adapted: PeftModel, lora: Lora, seed: int) -> None:
    """A fresh adapter around the same layers as the one that is there: both act, and only the new one is trained."""
    first: Any = adapted.peft_config[FIRST]
    config = replace(first, r=lora.rank, lora_alpha=lora.alpha, use_rslora=lora.rslora, inference_mode=False)
    torch.manual_seed(seed)
    with _without_renamings():
        adapted.add_adapter(ON_TOP, config)
    adapted.base_model.set_adapter([FIRST, ON_TOP])  # type: ignore[operator]  # PeftModel's own takes a single one
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            parameter.requires_grad_(f".{ON_TOP}." in name)
    let_inputs_keep_their_type(adapted)


def load_adapter(model: PreTrainedModel, folder: Path, trainable: bool = False) -> PeftModel:
    """The model with a saved adapter around it, in evaluation mode; trainable: to be trained further."""
    if not (folder / "adapter_model.safetensors").is_file():
        raise ClinfitError(f"{folder} holds no adapter", expected="adapter_model.safetensors (pickles are not loaded)")
    config: Any = LoraConfig.from_pretrained(str(folder))
    if not getattr(model, "is_quantized", False):
        use_low_rank_layers(config)
    with _without_renamings():
        warnings.filterwarnings("error", message="Found missing adapter keys")
        try:
            adapted = PeftModel.from_pretrained(model, str(folder), config=config, is_trainable=trainable)  # type: ignore[arg-type]
        except UserWarning as error:
            raise ClinfitError(
                f"the adapter in {folder} lacks weights of its layers in {type(model).__name__}",
                expected="an adapter that was saved from this very architecture",
            ) from error
    put_in_order(config)
    let_inputs_keep_their_type(adapted)
    return adapted.eval()


def load_adapter_as(adapted: PeftModel, folder: Path, name: str) -> None:
    """A further saved adapter in a model, under a name of its own; it is neither active nor trained."""
    with _without_renamings():
        adapted.load_adapter(str(folder), name, is_trainable=False)


@contextmanager
def _without_renamings() -> Iterator[None]:
    """Without PEFT's warnings of what is called otherwise by now, by itself or in Transformers."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The PEFT config's `base_model_name_or_path` was renamed")
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated")
        yield


def put_in_order(config: LoraConfig) -> None:
    """Sorted lists for PEFT's sets, which each process would save in another order: an adapter is known by its hash."""
    for name, value in vars(config).items():
        if isinstance(value, set):
            setattr(config, name, sorted(value))


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
