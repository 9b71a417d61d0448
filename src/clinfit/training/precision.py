"""The number format that a model computes in, and the device that it computes on."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import nn

from clinfit.machine import cpu_has_bf16
from clinfit.study.models import Mlx, Neural

Precision = Literal["fp32", "bf16", "fp16"]
DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def default_device() -> torch.device:
    """CUDA where there is one, then Apple's GPU, else the processor."""
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("mps") if torch.backends.mps.is_available() else torch.device("cpu")


def precision_of(spec: Neural, device: torch.device) -> Precision:
    """What a model computes in on a machine with this device; MLX's own default is bf16 on Apple's GPU, else fp32."""
    if isinstance(spec, Mlx) and spec.train.precision == "auto":
        return "bf16" if device.type == "mps" else "fp32"
    return resolve_precision(spec.train.precision, device)


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


@contextmanager
def in_fp32(model: nn.Module) -> Iterator[None]:
    """The model with its weights in fp32, and behind it as it was, to the bit.

    A pass that adds one token to each text has few rows, and a processor's bf16 product arranges its weights anew for
    each: to write 32 tokens behind 16 prompts took clinfit/smollm2 four times as long as in fp32, reading them apart.
    """
    rounded = [(weight, weight.dtype) for weight in model.parameters() if weight.dtype != torch.float32]
    try:
        for weight, _ in rounded:
            weight.data = weight.data.float()
        yield
    finally:
        for weight, dtype in rounded:
            weight.data = weight.data.to(dtype)
