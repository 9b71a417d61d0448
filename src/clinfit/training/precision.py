"""The number format that a model computes in, and the device that it computes on."""

from typing import Literal

import torch

from clinfit.machine import cpu_has_bf16

Precision = Literal["fp32", "bf16", "fp16"]
DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def default_device() -> torch.device:
    """CUDA where there is one, then Apple's GPU, else the processor."""
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("mps") if torch.backends.mps.is_available() else torch.device("cpu")


def resolve_precision(wanted: str, device: torch.device) -> Precision:
    """`auto` as what this device does well: bf16 where it computes in bf16, else fp32."""
    if wanted in DTYPES:
        return wanted  # type: ignore[return-value]
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if device.type == "cpu" and cpu_has_bf16() else "fp32"


def torch_engine(device: torch.device) -> str:
    """How torch computes answers on a device, as every answer names it."""
    if device.type == "cpu":
        return "torch, one record at a time"
    return f"torch on {device.type}, records of like length together"
