"""What a run ran on: versions, processor, memory, precision. No user names, host names or paths."""

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import clinfit
from clinfit.machine import library_version, memory_gb, processor_flags, processor_name

LIBRARIES = [
    "accelerate", "mlx", "mlx-lm", "numpy", "pandas", "peft", "pyarrow", "pydantic", "safetensors", "scikit-learn",
    "scipy", "skops", "tokenizers", "torch", "transformers",
]  # fmt: skip

THREAD_SETTINGS = ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"]


def describe_environment(*, neural: bool) -> dict[str, Any]:
    """The record of environment.json; torch is only asked (and imported) when the study trains a neural model."""
    return {
        "clinfit": clinfit.__version__,
        "commit": source_commit(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": {
            "name": processor_name(),
            "cores": os.cpu_count(),
            "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "bf16": "bf16" in processor_flags(),
        },
        "memory_gb": memory_gb(),
        "torch": describe_torch() if neural else None,
        "threads": {name: os.environ[name] for name in THREAD_SETTINGS if name in os.environ},
        "libraries": {name: library_version(name) for name in LIBRARIES},
    }


def describe_torch() -> dict[str, Any]:
    """Threads and accelerators as torch sees them."""
    import torch

    cuda = torch.cuda.is_available()
    return {
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())] if cuda else [],
        "cuda": torch.version.cuda if cuda else None,
        "gpu_bf16": torch.cuda.is_bf16_supported() if cuda else None,
        "mps": torch.backends.mps.is_available(),
    }


def source_commit() -> str | None:
    """The commit of a checkout that runs (with `+changes` when it was edited), None for an installed package."""
    source = Path(clinfit.__file__).parent
    tracked = _git(source, "ls-files", "--error-unmatch", "errors.py")
    commit = _git(source, "rev-parse", "HEAD") if tracked else None
    if not commit:
        return None
    return commit + ("+changes" if _git(source, "status", "--porcelain", "--", ".") else "")


def _git(folder: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
