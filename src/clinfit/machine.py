"""What this machine is: processor, bf16, memory, host, installed versions, and whether a process is alive."""

import hashlib
import os
import platform
import resource
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path


def processor_name() -> str:
    """The processor's marketing name where the system tells it."""
    return _cpuinfo("model name") or _sysctl("machdep.cpu.brand_string") or platform.processor() or platform.machine()


def processor_flags() -> str:
    """Instruction sets, one line of words; holds `bf16` where the processor multiplies bf16 itself."""
    return _cpuinfo("flags") or _cpuinfo("Features") or ("bf16" if _sysctl("hw.optional.arm.FEAT_BF16") == "1" else "")


def _cpuinfo(key: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == key), "")


def _sysctl(key: str) -> str:
    if platform.system() != "Darwin":
        return ""
    return subprocess.run(["sysctl", "-n", key], capture_output=True, text=True).stdout.strip()


def library_version(name: str) -> str | None:
    """Version of an installed package, None when it is not there."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def mlx_installed() -> bool:
    """Whether MLX and its language models are here."""
    return all(library_version(name) is not None for name in ("mlx", "mlx-lm"))


def memory_gb() -> float:
    """Physical memory in GiB."""
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)


@cache
def cpu_has_bf16() -> bool:
    """Whether a Linux processor multiplies bf16 matrices in hardware (AVX512-BF16 or AMX on x86, BF16 on Arm)."""
    return platform.system() == "Linux" and bool({"avx512_bf16", "amx_bf16", "bf16"} & set(processor_flags().split()))


def peak_memory_bytes() -> int:
    """The most memory that this process held so far.

    A peak cannot be set back, so that what ran before in the same process counts too: an upper limit for one model.
    """
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in KiB on Linux and in bytes on macOS
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@cache
def this_host() -> str:
    """Eight hexadecimal digits that tell this host from others without naming it."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def is_alive(pid: int) -> bool:
    """Whether a process of this machine runs.

    One that has ended and waits for a parent to take note (a zombie) does not: in a container nobody may ever do so.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return not _state(pid).startswith("Z")


def _state(pid: int) -> str:
    """The letter that the system gives a process's state, empty when it is gone."""
    if platform.system() == "Darwin":
        return subprocess.run(["ps", "-o", "state=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return stat.rpartition(")")[2].strip()  # the name before it, in brackets, may hold anything
