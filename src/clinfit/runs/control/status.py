"""What work tells while it goes on: status.json for other terminals, bars on a terminal, plain lines in a log.

The study folder's status.json is its driver's: how it stands as a whole, and the state of every run. Each run has one
of its own, written by the process that works on it: stage, step, and how far the step is.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from clinfit.errors import ClinfitError
from clinfit.files import read_json, write_json
from clinfit.machine import is_alive, this_host
from clinfit.runs.folder import RunFolder
from clinfit.runs.steps.plan import Step

#: Seconds between two plain progress lines of a log, and between two updates of a run's status.json.
LINE_EVERY = 10.0
STATUS_EVERY = 1.0

#: Columns of a log.
LOG_WIDTH = 140

Advance = Callable[[int, int, str], None]


def new_console() -> Console:
    """Standard output; a log is given room for a table, since it has no width of its own."""
    return Console(width=None if sys.stdout.isatty() else LOG_WIDTH)


def now() -> str:
    """UTC time to the second, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class Listener(Protocol):
    """Who hears of the work as it goes on: the terminal, or the process that asked for it. step: its id."""

    def say(self, text: str) -> None: ...

    def begin(self, step: str, title: str) -> None: ...

    def advance(self, step: str, done: int, total: int, text: str) -> None: ...

    def end(self, step: str) -> None: ...


@dataclass
class Monitor:
    """The voice of a driver, and its status.json. `state` is one of running, done, failed, interrupted."""

    folder: RunFolder
    console: Console
    status: dict[str, Any] = field(default_factory=dict)
    _began: float = field(default_factory=time.monotonic)
    _titles: dict[str, str] = field(default_factory=dict)
    _told: dict[str, float] = field(default_factory=dict)
    _bars: dict[str, TaskID] = field(default_factory=dict)
    _progress: Progress | None = None

    def __post_init__(self) -> None:
        self.status = {"state": "running", "pid": os.getpid(), "host": this_host(), "started": now(), "models": {}}

    def say(self, text: str) -> None:
        """One line for the user."""
        self.console.print(escape(text), highlight=False, soft_wrap=True)

    def update(self, **values: Any) -> None:
        """Set values of status.json and write it at once."""
        self.status |= values
        self.status |= {"updated": now(), "elapsed_seconds": round(time.monotonic() - self._began, 1)}
        write_json(self.folder.status, self.status)

    def begin(self, step: str, title: str) -> None:
        """Show a step: by a bar on a terminal, else by a line."""
        self._titles[step], self._told[step] = title, time.monotonic()
        if not self.console.is_terminal:
            self.say(f"{title} ...")
            return
        if self._progress is None:
            what, count, said = map(TextColumn, ("{task.description}", "{task.fields[count]}", "{task.fields[text]}"))
            columns = (what, BarColumn(), count, TimeRemainingColumn(), said)
            self._progress = Progress(*columns, console=self.console, transient=True)
            self._progress.start()
        self._bars[step] = self._progress.add_task(escape(title), total=None, count="", text="")

    def advance(self, step: str, done: int, total: int, text: str) -> None:
        """Show how far a step is; a log gets a line now and then."""
        if self._progress is not None:
            bar, count = self._bars[step], f"{done}/{total}"
            self._progress.update(bar, completed=done, total=total, count=count, text=escape(text))
        elif time.monotonic() - self._told[step] >= LINE_EVERY:
            self._told[step] = time.monotonic()
            self.say(f"{self._titles[step]}: {done}/{total} {text}".rstrip())

    def end(self, step: str) -> None:
        """Take a step off the terminal; one that is not shown is no error."""
        if self._progress is None or step not in self._bars:
            return
        self._progress.remove_task(self._bars.pop(step))
        if not self._bars:
            self._progress.stop()
            self._progress = None


@contextmanager
def telling(listener: Listener, path: Path, step: Step, title: str) -> Iterator[Advance]:
    """Tell a listener and the run's status.json at `path` of a step while the block does it.

    The block gets a function (done, total, text) as `Workspace.progress` expects.
    """
    status = {"state": "running", "pid": os.getpid(), "stage": step.stage, "step": title}
    status |= {"done": None, "total": None, "text": None, "seconds": 0.0}
    began = written = time.monotonic()
    write_json(path, status | {"updated": now()})

    def advance(done: int, total: int, text: str) -> None:
        nonlocal written
        listener.advance(step.id, done, total, text)
        if time.monotonic() - written >= STATUS_EVERY:
            written = time.monotonic()
            far = {"done": done, "total": total, "text": text, "seconds": round(written - began, 1)}
            write_json(path, status | far | {"updated": now()})

    listener.begin(step.id, f"{step.run}: {title}")
    try:
        yield advance
    finally:
        listener.end(step.id)


def set_state(path: Path, state: str) -> None:
    """Write a run's status.json: it is waiting, done, failed or interrupted. What it did last is kept of an interrupted
    one."""
    known = read_json(path) if state == "interrupted" and path.is_file() else {}
    write_json(path, known | {"state": state, "updated": now()})


def status_lines(folder: RunFolder) -> list[str]:
    """What a study folder says of itself and of every run, in lines; what a process left behind that is gone is called
    killed, a folder that is only frozen not begun."""
    if not folder.status.is_file():
        return [f"{folder.path}: frozen, not begun (run the study to begin)"]
    status = read_json(folder.status)
    state = status["state"]
    if state == "running" and not is_alive(status["pid"]):
        state = "killed (run the study again to continue)"
    work = f"started {status['started']}, {status['elapsed_seconds']:.0f} s of work"
    lines = [f"{folder.path}: {state}", f"{work}, {_disk_megabytes(folder.path):,.0f} MB on disk"]
    known: dict[str, str] = status["models"]
    others = sorted(path.parent.name for path in folder.path.glob("models/*/status.json"))
    return lines + [
        f"  {name}: {_run_line(folder, name, known.get(name))}" for name in dict.fromkeys([*known, *others])
    ]


def is_running(folder: RunFolder) -> bool:
    """Whether a driver of this machine, or of another host, works on a study folder."""
    status = read_json(folder.status) if folder.status.is_file() else {}
    elsewhere = status.get("host", this_host()) != this_host()
    return status.get("state") == "running" and (elsewhere or is_alive(status["pid"]))


def _disk_megabytes(path: Path) -> float:
    """What a folder takes; files that go meanwhile count nothing."""
    total = 0
    for file in path.rglob("*"):
        with suppress(OSError):
            total += file.stat().st_size if file.is_file() else 0
    return total / 1e6


def _remaining(own: Mapping[str, Any]) -> str:
    """How long a step still takes, at the speed that it had so far."""
    done, total, seconds = (own.get(key) or 0 for key in ("done", "total", "seconds"))
    return f", about {seconds / done * (total - done):.0f} s left" if done and seconds and total > done else ""


def _run_line(folder: RunFolder, name: str, state: str | None) -> str:
    """How a run stands: the driver's word for it, and where it works, what it works at."""
    try:
        own = read_json(folder.run(name).status)
    except ClinfitError:
        return state or "unknown"
    if "step" not in own or state == "failed":
        return state or own["state"]
    state = own["state"] if own["state"] == "interrupted" or is_alive(own["pid"]) else "killed"
    count = f" {own['done']}/{own['total']}" if own.get("total") else ""
    left = _remaining(own) if state == "running" else ""
    return f"{state}, stage {own['stage']}: {own['step']}{count} {own.get('text') or ''}".rstrip() + left
