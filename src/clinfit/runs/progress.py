"""What a run tells while it works: status.json for other terminals, a bar on a terminal, plain lines in a log."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from clinfit.runs.folder import RunFolder, read_json, write_json

#: Seconds between two plain progress lines of a log, and between two updates of status.json.
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


@dataclass
class Monitor:
    """The run's voice. `state` is one of running, done, failed, interrupted."""

    folder: RunFolder
    console: Console
    status: dict[str, Any] = field(default_factory=dict)
    _began: float = field(default_factory=time.monotonic)
    _written: float = 0.0

    def __post_init__(self) -> None:
        self.status = {"state": "running", "pid": os.getpid(), "started": now(), "models": {}}

    def say(self, text: str) -> None:
        """One line for the user."""
        self.console.print(escape(text), highlight=False, soft_wrap=True)

    def update(self, **values: Any) -> None:
        """Set values of status.json and write it at once."""
        self.status |= values
        self.status |= {"updated": now(), "elapsed_seconds": round(time.monotonic() - self._began, 1)}
        write_json(self.folder.status, self.status)
        self._written = time.monotonic()

    @contextmanager
    def step(self, title: str, **where: Any) -> Iterator[Advance]:
        """Show a step; the block gets a function (done, total, text) as `Workspace.progress` expects."""
        self.update(**where, step=title, done=None, total=None, text=None)
        if self.console.is_terminal:
            with self._bar(title) as advance:
                yield advance
        else:
            self.say(f"{title} ...")
            yield self._lines(title)

    def _tell(self, done: int, total: int, text: str) -> None:
        if time.monotonic() - self._written >= STATUS_EVERY:
            self.update(done=done, total=total, text=text)

    @contextmanager
    def _bar(self, title: str) -> Iterator[Advance]:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, TextColumn("{task.fields[text]}"), console=self.console, transient=True) as progress:
            bar = progress.add_task(escape(title), total=None, text="")

            def advance(done: int, total: int, text: str) -> None:
                progress.update(bar, completed=done, total=total, text=escape(text))
                self._tell(done, total, text)

            yield advance

    def _lines(self, title: str) -> Advance:
        last = time.monotonic()

        def advance(done: int, total: int, text: str) -> None:
            nonlocal last
            self._tell(done, total, text)
            if time.monotonic() - last >= LINE_EVERY:
                last = time.monotonic()
                self.say(f"{title}: {done}/{total} {text}".rstrip())

        return advance


def status_lines(folder: RunFolder) -> list[str]:
    """What status.json says, in lines; a run whose process is gone is called killed, one only frozen not begun."""
    if not folder.status.is_file():
        return [f"{folder.path}: frozen, not begun (run the study to begin)"]
    status = read_json(folder.status)
    state = status["state"]
    if state == "running" and not is_alive(status["pid"]):
        state = "killed (run the study again to continue)"
    lines = [f"{folder.path}: {state}", f"started {status['started']}, {status['elapsed_seconds']:.0f} s of work"]
    if status["state"] == "running" and status.get("step"):
        count = f" {status['done']}/{status['total']}" if status.get("total") else ""
        lines.append(f"now: {status['step']}{count} {status.get('text') or ''}".rstrip())
    lines += [f"  {name}: {model}" for name, model in status["models"].items()]
    return lines


def is_alive(pid: int) -> bool:
    """Whether a process of this machine runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
