"""What work tells while it goes on: status.json for other terminals, bars on a terminal, plain lines in a log.

The study folder's status.json is its driver's: how it stands as a whole, and the state of every run. Each run has one
of its own, written by the process that works on it: stage, step, and how far the step is.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from clinfit.errors import ClinfitError
from clinfit.files import present, read_json, write_json
from clinfit.machine import is_alive, resident_bytes, this_host
from clinfit.runs.control.detach import log_of
from clinfit.runs.folder import RunFolder
from clinfit.runs.steps.plan import Step

#: Seconds between two plain progress lines of a log, and between two updates of a run's status.json.
LINE_EVERY = 10.0
STATUS_EVERY = 1.0

#: Last lines of the log of a run that failed, and how much of the end of a log is looked at for them.
FAILED_LINES = 5
LOG_BYTES = 1 << 16

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


class Bars:
    """The voice of a driver: lines, and a bar for each step."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._titles: dict[str, str] = {}
        self._told: dict[str, float] = {}
        self._bars: dict[str, TaskID] = {}
        self._progress: Progress | None = None

    def say(self, text: str) -> None:
        """One line for the user."""
        self.console.print(escape(text), highlight=False, soft_wrap=True)

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


class Monitor(Bars):
    """The voice of the driver of a run, and its status.json. `state` is one of running, done, failed, interrupted."""

    def __init__(self, folder: RunFolder, console: Console) -> None:
        super().__init__(console)
        self.folder, self._began = folder, time.monotonic()
        self.status: dict[str, Any] = {"state": "running", "pid": os.getpid(), "host": this_host()}
        self.status |= {"started": now(), "models": {}}

    def update(self, **values: Any) -> None:
        """Set values of status.json and write it at once."""
        self.status |= values
        self.status |= {"updated": now(), "elapsed_seconds": round(time.monotonic() - self._began, 1)}
        write_json(self.folder.status, self.status)


@contextmanager
def telling(listener: Listener, path: Path, step: Step, title: str) -> Iterator[Advance]:
    """Tell a listener and the run's status.json at `path` of a step while the block does it.

    The block gets a function (done, total, text) as `Workspace.progress` expects.
    """
    status = {"state": "running", "pid": os.getpid(), "host": this_host(), "stage": step.stage, "step": title}
    status |= {"began": now(), "done": None, "total": None, "text": None, "seconds": 0.0}
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


def status_lines(folder: RunFolder, last: int | None = None) -> list[str]:
    """What a study folder says of itself and of every run, in lines; what a process left behind that is gone is called
    killed, a folder that is only frozen not begun. last: so many lines of every log; default: a few of what failed."""
    if not folder.status.is_file():
        return [f"{folder.path}: frozen, not begun (run the study to begin)"]
    status = read_json(folder.status)
    state, seconds = status["state"], status["elapsed_seconds"]
    at_work = state == "running" and _works_on(status)
    if at_work:
        seconds = _seconds_since(status["started"])
    elif state == "running":
        state = "killed (run the study again to continue)"
    work = f"started {status['started']}, {seconds:.0f} s of work"
    lines = [f"{folder.path}: {state}", f"{work}, {_disk_megabytes(folder.path):,.0f} MB on disk"]
    known: dict[str, str] = status["models"]
    others = sorted(path.parent.name for path in folder.path.glob("models/*/status.json"))
    for name in dict.fromkeys([*known, *others]):
        lines.append(f"  {name}: {_run_line(folder, name, known.get(name))}")
        if known.get(name) == "failed":
            lines += _last_lines(folder.run(name).path / "error.log", FAILED_LINES if last is None else last)
    if not at_work and not folder.report.is_file():
        lines.append(_report_line(folder, "done" in known.values()))
    few = 0 if at_work or status["state"] in ("done", "interrupted") else FAILED_LINES
    return lines + _last_lines(log_of(folder.path), few if last is None else last)


def _report_line(folder: RunFolder, some_done: bool) -> str:
    """How a study folder without a report gets one."""
    told = "  report: not written; running the study again goes on and writes it"
    return told + (f", or of what is done: clinfit evaluate {folder.path}" if some_done else "")


def is_running(folder: RunFolder) -> bool:
    """Whether a driver of this machine, or of another host, works on a study folder."""
    status = read_json(folder.status) if folder.status.is_file() else {}
    return status.get("state") == "running" and _works_on(status)


def _works_on(status: Mapping[str, Any]) -> bool:
    """Whether the process that wrote a status is there; of another host nobody here can say that it is not."""
    return status.get("host", this_host()) != this_host() or is_alive(status["pid"])


def _disk_megabytes(path: Path) -> float:
    """What a folder takes; files that go meanwhile count nothing."""
    total = 0
    for file in present(path):
        with suppress(OSError):
            total += file.stat().st_size if file.is_file() else 0
    return total / 1e6


def _last_lines(log: Path, count: int) -> list[str]:
    """The last lines of a log below its name, each moved in; nothing where there is no log."""
    if not count or not log.is_file():
        return []
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LOG_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    return [f"    {log}:", *(f"      {line}" for line in lines[-count:])]


def _seconds_since(time: str) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(time)).total_seconds()


def _remaining(own: Mapping[str, Any]) -> str:
    """How long a step has taken, and how long it still takes at the speed that it had so far."""
    done, total, seconds = (own.get(key) or 0 for key in ("done", "total", "seconds"))
    told = f", {_seconds_since(own['began']):.0f} s so far" if "began" in own else ""
    return told + (f", about {seconds / done * (total - done):.0f} s left" if done and seconds and total > done else "")


def _memory(own: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    """What the process holds that works on a run, where it is one of this machine, and the most of its steps so far."""
    held = resident_bytes(own["pid"]) if own.get("host", this_host()) == this_host() else 0
    told = f", {held / 1e9:.2f} GB of memory" if held else ""
    peak = record.get("peak_memory_mb")
    return told + (f", at most {peak / 1e3:.2f} GB in its steps before" if peak else "")


def _run_line(folder: RunFolder, name: str, state: str | None) -> str:
    """How a run stands: the driver's word for it, and where it works, what it works at and what that takes; of one that
    failed its reason."""
    try:
        own = read_json(folder.run(name).status)
    except ClinfitError:
        return state or "unknown"
    try:
        record = folder.run(name).read_record()
    except ClinfitError:
        record = {}
    if "step" not in own or state == "failed":
        return (state or own["state"]) + _outcome(record)
    state = own["state"] if own["state"] == "interrupted" or _works_on(own) else "killed"
    count = f" {own['done']}/{own['total']}" if own.get("total") else ""
    far = _remaining(own) + _memory(own, record) if state == "running" else ""
    return f"{state}, stage {own['stage']}: {own['step']}{count} {own.get('text') or ''}".rstrip() + far


def _outcome(record: Mapping[str, Any]) -> str:
    """What the record of a run says that does no step: why it failed, or what it took."""
    if record.get("status") == "failed":
        return f": {record['reason']}"
    seconds, peak = sum(stage["seconds"] for stage in record.get("stages", {}).values()), record.get("peak_memory_mb")
    return f", {seconds:.0f} s of training, at most {peak / 1e3:.2f} GB of memory" if peak else ""
