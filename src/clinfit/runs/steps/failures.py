"""How an unexpected exception is told: never its message, which may hold a value of a record."""

import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import clinfit
from clinfit.errors import ClinfitError
from clinfit.files import DiskError, disk_errors, write_text

Result = TypeVar("Result")

PACKAGE = Path(clinfit.__file__).parent


def chain(error: BaseException) -> list[BaseException]:
    """The exception and what led to it, the first cause first."""
    causes = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None and cause not in causes:
        causes.append(cause)
    return causes[::-1]


def traceback_text(error: BaseException) -> str:
    """The traceback with types and source lines but without messages."""
    parts = []
    for cause in chain(error):
        parts += ["Traceback (most recent call last):\n", *traceback.format_tb(cause.__traceback__)]
        parts += [f"{type(cause).__module__}.{type(cause).__qualname__} (message left out: it may hold patient text)\n"]
    return "".join(parts)


@dataclass(frozen=True)
class Failure:
    """Why something failed, in one line. fixable: it is the user's to fix, and the line says how."""

    reason: str
    fixable: bool


#: What gives a model less memory to ask for.
SMALLER = "lower train.batch_tokens or train.max_length, or choose a smaller base"


def too_much_memory(held: float, limit: float) -> Failure:
    """Of a worker that was killed since it held more than its limit, both in GB."""
    return Failure(f"its worker held {held:.2f} GB of memory, and --memory allows {limit:g} GB: {SMALLER}", True)


class StepFailed(Exception):
    """A step failed in another process, which has told how and kept its traceback."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure
        super().__init__(failure.reason)


def failure_of(error: BaseException) -> Failure:
    """What kind of failure and where in clinfit, such as `ValueError at models/causal.py:120`."""
    if isinstance(error, StepFailed):
        return error.failure
    if isinstance(error, ClinfitError):
        return Failure("; ".join(error.lines()), True)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return Failure(f"out of memory: {SMALLER}", True)
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(PACKAGE)]
    where = f" at {Path(ours[-1].filename).relative_to(PACKAGE)}:{ours[-1].lineno}" if ours else ""
    return Failure(type(error).__name__ + where, False)


def attempted(folder: Path, act: Callable[[], Result]) -> tuple[Result | None, Failure | None]:
    """What was done for the run of a folder, or how it failed; the traceback of what nobody can fix is kept there.

    Raises DiskError, after which nothing can go on.
    """
    try:
        with disk_errors(folder):
            return act(), None
    except DiskError:
        raise
    except Exception as error:
        failure = failure_of(error)
        if not failure.fixable and not isinstance(error, StepFailed):
            write_text(folder / "error.log", traceback_text(error))
        return None, failure


def save_traceback(error: BaseException) -> Path | None:
    """The traceback in a new temporary file, None when no such file can be written."""
    try:
        with tempfile.NamedTemporaryFile("w", prefix="clinfit-", suffix=".log", delete=False, encoding="utf-8") as file:
            file.write(traceback_text(error))
    except OSError:
        return None
    return Path(file.name)
