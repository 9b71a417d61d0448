"""A worker in a process of its own, as whoever started it sees it: orders go in, messages come out, it ends."""

import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import clinfit
from clinfit.machine import resident_bytes

#: Seconds that a worker gets to clean up when it is stopped.
GRACE = 5.0
#: Seconds that one gets between its last word and its end.
LAST_BREATH = 60.0


class WorkerProcess:
    """`python -m <module>`, which was given its first order.

    module: what it runs; channel.py is its end. settings: environment variables beside those of this process. folder:
    where it works. quiet: what libraries print is thrown away. ended: it has said its last word.
    """

    def __init__(
        self,
        order: Mapping[str, Any],
        settings: Mapping[str, str] | None = None,
        folder: Path | None = None,
        quiet: bool = False,
        module: str = "clinfit.runs.steps.worker",
    ) -> None:
        self.ended = False
        self._buffer = b""
        source = str(Path(clinfit.__file__).parents[1])
        paths = [source, *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if quiet else None,
            cwd=folder,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)} | dict(settings or {}),
            start_new_session=True,  # Ctrl-C is for the process that asked, which stops its workers itself
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._in, self.out = self._process.stdin, self._process.stdout
        self.send(order)

    def send(self, message: Mapping[str, Any]) -> bool:
        """False when it is gone."""
        try:
            self._in.write(json.dumps(message).encode() + b"\n")
            self._in.flush()
        except BrokenPipeError:
            return False
        return True

    def receive(self) -> list[dict[str, Any]]:
        """The messages that have come in; at the end of all, `ended` is set."""
        found = os.read(self.out.fileno(), 1 << 16)
        self.ended = not found
        *lines, self._buffer = (self._buffer + found).split(b"\n")
        return [json.loads(line) for line in lines]

    @property
    def memory(self) -> int:
        """Bytes of memory that it holds now."""
        return resident_bytes(self._process.pid)

    def kill(self) -> None:
        """End it at once, whatever it does."""
        self._process.kill()

    def dismiss(self) -> None:
        """Nothing is left to do: it ends when its input does."""
        with suppress(BrokenPipeError):
            self._in.close()

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float = GRACE) -> int:
        """Its exit code, once it has ended; after so many seconds it is killed."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()
        finally:
            self.dismiss()
            self.out.close()


P = TypeVar("P", bound=WorkerProcess)


def speaking(processes: Sequence[P], seconds: float | None = None) -> list[P]:
    """Those who have said something, or ended; waits for one, so many seconds at most."""
    with selectors.DefaultSelector() as selector:
        for process in processes:
            selector.register(process.out, selectors.EVENT_READ, process)
        return [key.data for key, _ in selector.select(seconds)]


def epitaph(code: int) -> str:
    """How a worker ended that was not asked to, in words. code: its exit code, of a signal negative."""
    if code >= 0:
        return f"its worker process ended with code {code}"
    name = signal.Signals(-code).name
    return f"its worker process was killed by {name}" + (
        ", as the system does when memory runs out" if name == "SIGKILL" else ""
    )
