"""How much memory there is where a model would be trained, and whether its estimate was ever compared with a run."""

import torch

from clinfit.machine import container_limit, memory_gb
from clinfit.study.models import Causal, Encoder, Neural

#: Bases whose estimated memory was compared with that of runs on a processor, and was within 20 % of it
#: (benchmarks/memory.py).
MEASURED = frozenset({"clinfit/tiny", "clinfit/smollm2", "clinfit/minilm"})


def verified(spec: Neural, device: torch.device) -> bool:
    """Whether the estimate of such a model was compared with what runs take: adapters, and base models that are asked
    only; neither all weights trained nor gradient checkpointing."""
    plain = isinstance(spec, Causal | Encoder) and not spec.trains_all and not spec.train.gradient_checkpointing
    return device.type == "cpu" and plain and spec.base in MEASURED


def room(device: torch.device) -> tuple[float, str]:
    """Bytes of memory that a process may hold there, all else apart, and what has them."""
    if device.type == "cuda":
        return float(torch.cuda.get_device_properties(device).total_memory), "the GPU"
    if device.type == "mps":
        return float(torch.mps.recommended_max_memory()), "Apple's GPU"
    whole = memory_gb() * 2**30
    limit = container_limit()
    return (limit, "this container") if limit is not None and limit < whole else (whole, "this machine")
