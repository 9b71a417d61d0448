"""One fit in several processes: each takes its share of every batch (DDP), and together they give the loss and weights
of one, within rounding.

The processes (member.py) are workers like others, with what torchrun and Accelerate's launcher would put into their
environment: who they are, how many, and where they meet. They end with whoever asked for them, however that ends, and
all of them with the first that fails.
"""

import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clinfit.errors import ClinfitError
from clinfit.files import DiskError
from clinfit.models.base import FitSummary, Progress
from clinfit.runs.steps.failures import Failure, StepFailed
from clinfit.runs.steps.place import Place, order_of
from clinfit.runs.steps.plan import Step
from clinfit.runs.steps.worker_process import WorkerProcess, epitaph, speaking

MODULE = "clinfit.runs.steps.member"
#: Seconds in which the others may say why they end, once one has failed: of a process that is killed, its neighbours
#: only know that a connection is closed, and may say so first.
LAST_WORDS = 3.0
#: The loopback interface, by system: nobody else has a business with these processes.
LOOPBACK = {"linux": "lo", "darwin": "lo0"}


@dataclass(frozen=True)
class Together:
    """What came out. memory: the most that the processes took, added up, in MB."""

    summary: FitSummary
    memory: float


def fit_together(place: Place, step: Step, processes: int, saved: Path, progress: Progress) -> Together:
    """Do a fit in so many processes; the first writes the trained model into the folder `saved`.

    Raises ClinfitError where this machine has no device for each, and StepFailed as soon as one of them fails.
    """
    check_devices(processes)
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # open until all are done
    order = order_of(place, [step.run])
    members = [
        _Member(rank, WorkerProcess(order, settings(rank, processes, store.port), quiet=True, module=MODULE))
        for rank in range(processes)
    ]
    try:
        for member, message in _messages(members):
            match message:
                case {"event": "ready"}:
                    member.process.send({"step": asdict(step), "saved": str(saved)})
                case {"event": "tell", "how": "advance", "what": [_, done, total, text]}:
                    progress(done, total, text)
                case {"event": "disk", "found": found, "expected": expected, "fix": fix}:
                    raise DiskError(found, expected=expected, fix=fix)
                case {"event": "unable" | "done", "failure": dict()} | {"event": "ended"}:
                    raise StepFailed(_reason(member, message, members))
                case {"event": "done"}:
                    member.outcome = message
                    if all(one.outcome is not None for one in members):
                        break
    finally:
        for member in members:
            member.process.stop() if member.outcome is None else member.process.dismiss()
        for member in members:
            member.process.wait()
    outcomes = [member.outcome for member in members if member.outcome is not None]
    return Together(FitSummary(**outcomes[0]["summary"]), round(sum(one["memory"] for one in outcomes), 1))


def check_devices(processes: int) -> None:
    """Raise ClinfitError where this machine has accelerators, and not one for each process."""
    import torch

    from clinfit.training.precision import default_device

    kind, there = default_device().type, torch.cuda.device_count()
    if kind == "mps" or (kind == "cuda" and there < processes):
        found = "Apple's GPU, which one process uses" if kind == "mps" else f"{there} GPU{'s' if there > 1 else ''}"
        raise ClinfitError(
            f"train.processes is {processes}, and this machine has {found}",
            expected="a GPU for each process, or a machine without any",
            fix="lower train.processes" if kind == "cuda" and there > 1 else "leave train.processes out",
        )


def settings(rank: int, processes: int, port: int) -> dict[str, str]:
    """Environment variables of one process: those of torchrun, whose meeting point is here; and its share of the
    threads that this process has."""
    import torch

    number, count = str(rank), str(processes)
    found = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    found |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_USE_AGENT_STORE": "True"}
    found |= {"OMP_NUM_THREADS": str(max(1, torch.get_num_threads() // processes))}
    if not torch.cuda.is_available():
        found |= {"ACCELERATE_USE_CPU": "true"}
        if sys.platform in LOOPBACK:
            found |= {"GLOO_SOCKET_IFNAME": os.environ.get("GLOO_SOCKET_IFNAME", LOOPBACK[sys.platform])}
    return found


@dataclass
class _Member:
    """outcome: its last message, once it is done."""

    rank: int
    process: WorkerProcess
    outcome: dict[str, Any] | None = None


def _messages(members: Sequence[_Member], seconds: float | None = None) -> Iterator[tuple[_Member, dict[str, Any]]]:
    """What they say, and `ended` of each that does; until so many seconds have passed."""
    until = None if seconds is None else time.monotonic() + seconds
    while open_ones := [member for member in members if not member.process.ended]:
        left = None if until is None else max(0.0, until - time.monotonic())
        heard = speaking([member.process for member in open_ones], left)
        if not heard:
            return
        for member in (member for member in open_ones if member.process in heard):
            yield from ((member, message) for message in member.process.receive())
            if member.process.ended:
                yield member, {"event": "ended"}


def _reason(first: _Member, message: dict[str, Any], members: Sequence[_Member]) -> Failure:
    """Why a fit failed: of a process that was killed, then of one that ended otherwise, then of one that says what the
    user can fix, before others, which may only have lost their neighbour."""
    told = [(first, message), *_messages(members, LAST_WORDS)]
    ended = [(member, member.process.wait()) for member, heard in told if heard["event"] == "ended"]
    if ended:
        member, code = min(ended, key=lambda one: one[1] != -signal.SIGKILL)
        where = f"process {member.rank + 1} of {len(members)} of train.processes"
        return Failure(f"{where}: {epitaph(code)}", False)
    failures = [Failure(**heard["failure"]) for _, heard in told if heard.get("failure")]
    return next((failure for failure in failures if failure.fixable), failures[0])
