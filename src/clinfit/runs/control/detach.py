"""A run in a process of its own, which goes on when the terminal is closed; what it says goes to a log."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from clinfit.errors import ClinfitError
from clinfit.files import disk_errors
from clinfit.locks import holder


def log_of(folder: Path) -> Path:
    """The log of a run folder: beside it, since a folder with anything in it would be taken for another run."""
    return folder.parent / f"{folder.name}.log"


def start(folder: Path, words: Sequence[str]) -> tuple[int, Path]:
    """Start `clinfit` with these words; its process id, and the log that its output is appended to.

    folder: of the run. Raises ClinfitError when another process works on it.
    """
    if (pid := holder(folder)) is not None:
        raise ClinfitError(
            f"{folder} is being written by another process (pid {pid})", fix=f"clinfit status {folder} --watch"
        )
    log = log_of(folder)
    with disk_errors(log.parent):
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "clinfit", *words],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    return process.pid, log
