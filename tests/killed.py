"""Runs in processes of their own, in which somebody is killed as soon as they have come so far."""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from subprocess import CompletedProcess
from typing import Literal, NamedTuple

import forked
from clinfit.machine import is_alive

#: What is said on standard error of a worker that was killed.
WORKER_KILLED = "a worker was killed"
#: Watches over the process that runs it, which then does what is typed behind `clinfit run`.
PROGRAM = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from killed import obey
from clinfit.cli import main
obey(sys.argv.pop(1))
sys.argv[0] = "clinfit"
main()
"""


class Kill(NamedTuple):
    """Who is killed, so many seconds after the run's progress has reached a goal."""

    goal: int
    pause: float = 0.0
    victim: Literal["run", "worker"] = "run"


def run(study: Path, out: Path, kills: Sequence[Kill] = (), *words: str, stage: str = "*") -> CompletedProcess[str]:
    """The run of a study to a folder, through the kills. stage: whose progress they wait for; default: of all."""
    command = ["run", str(study), "--out", str(out), *words]
    if not kills:
        return forked.run(["-m", "clinfit", *command])
    return forked.run(["-c", PROGRAM, json.dumps([str(out), stage, kills]), *command])


def progress(folder: Path, stage: str = "*") -> int:
    """Grows with every step of training and every table of answers; a kill takes some of it back."""
    logs = folder.glob(f"models/*/stages/{stage}/log.jsonl")
    tables = folder.glob(f"models/*/predictions/*stage{stage}.parquet")
    return sum(log.read_bytes().count(b"\n") for log in logs) + 3 * len(list(tables))


def workers(driver: int) -> list[int]:
    """The processes that a process has started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        if int(fields[1]) == driver and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


# ---------------------------------------------------------------- in the process of the run


def obey(order: str) -> None:
    """Kill whom `run` has named, from a thread beside the run."""
    out, stage, kills = json.loads(order)
    threading.Thread(target=_kill, args=(Path(out), stage, [Kill(*kill) for kill in kills]), daemon=True).start()


def _kill(out: Path, stage: str, kills: Sequence[Kill]) -> None:
    for goal, pause, victim in kills:
        while progress(out, stage) < goal:
            time.sleep(0.02)
        time.sleep(pause)
        if victim == "run":
            os.kill(os.getpid(), signal.SIGKILL)
        while not (found := workers(os.getpid())):  # one has ended, the next has not begun
            time.sleep(0.02)
        os.kill(found[0], signal.SIGKILL)
        while is_alive(found[0]):
            time.sleep(0.02)
        print(WORKER_KILLED, file=sys.stderr, flush=True)
