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

#: Where the system tells what this container may hold (control groups, version 2).
CONTAINER = Path("/sys/fs/cgroup")


def processor_name() -> str:
    """The processor's marketing name where the system tells it."""
    return _cpuinfo("model name") or _sysctl("machdep.cpu.brand_string") or platform.processor() or platform.machine()


def processor_flags() -> str:
    """Instruction sets, one line of words; holds `bf16` where the processor multiplies bf16 itself."""
    return _cpuinfo("flags") or _cpuinfo("Features") or ("bf16" if _sysctl("hw.optional.arm.FEAT_BF16") == "1" else "")


def _cpuinfo(key: str) -> str:
    lines = _read(Path("/proc/cpuinfo")).splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == key), "")


def _sysctl(key: str) -> str:
    if platform.system() != "Darwin":
        return ""
    return subprocess.run(["sysctl", "-n", key], capture_output=True, text=True).stdout.strip()


@cache
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


def container_limit() -> float | None:
    """Bytes that the container may hold in which this runs; None without a limit."""
    told = _read(CONTAINER / "memory.max")
    return float(told) if told.isdigit() else None


def available_memory_bytes() -> float:
    """What programs may still take before the system swaps, or the container is ended: free memory, and pages of files
    that can go. Where the system does not tell (macOS), all the memory there is."""
    told = [line.split() for line in _read(Path("/proc/meminfo")).splitlines()]
    free = next((float(words[1]) * 1024 for words in told if words[0] == "MemAvailable:"), memory_gb() * 2**30)
    limit = container_limit()
    return free if limit is None else min(free, limit - _container_holds())


def _container_holds() -> float:
    """Bytes of the container without those of files that nobody has read lately."""
    told = [line.split() for line in _read(CONTAINER / "memory.stat").splitlines()]
    files = next((float(words[1]) for words in told if words[0] == "inactive_file"), 0.0)
    return float(_read(CONTAINER / "memory.current") or 0) - files


def _read(path: Path) -> str:
    """A file in which the system tells of itself; empty where there is none."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


@cache
def cpu_has_bf16() -> bool:
    """Whether a Linux processor multiplies bf16 matrices in hardware (AVX512-BF16 or AMX on x86, BF16 on Arm)."""
    return platform.system() == "Linux" and bool({"avx512_bf16", "amx_bf16", "bf16"} & set(processor_flags().split()))


def peak_memory_bytes() -> int:
    """The most memory that this process held so far.

    A peak cannot be set back, so that what ran before in the same process counts too: an upper limit for one model.
    """
    if (told := _own_status("VmHWM")) is not None:
        return told
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in KiB on Linux and in bytes on macOS
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _own_status(name: str) -> int | None:
    """Bytes of an entry of Linux's account of this process; None elsewhere. Its VmHWM begins at 0 with a program, where
    ru_maxrss begins with what the process held that started it."""
    lines = _read(Path("/proc/self/status")).splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), None)


def resident_bytes(pid: int) -> int:
    """The memory that a process of this machine holds now; 0 when it is gone."""
    if platform.system() == "Darwin":
        told = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
        return int(told or 0) * 1024
    told = _read(Path(f"/proc/{pid}/statm")).split()
    return int(told[1]) * os.sysconf("SC_PAGE_SIZE") if told else 0


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
    told = _read(Path(f"/proc/{pid}/stat"))
    return told.rpartition(")")[2].strip()  # the name before it, in brackets, may hold anything
