"""Commands as processes of their own, forked from one that has imported what they need: each begins in no time.

`run` is `subprocess.run` for the command line and for Python's `-c`: a command has its own process, arguments, folder,
environment and streams, and ends as any program ends. The process that is forked, one for all tests of a worker, holds
no threads of Python's and has done nothing but import. What a command loads, and when, is shown by real processes
(test_start.py). Where forking is not safe (macOS), commands are started in the usual way.
"""

import atexit
import gc
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import IO, Any, NoReturn

SOURCE = str(Path(__file__).parents[1] / "src")
#: What nearly every command ends up with, torch and transformers included.
IMPORTED = (
    "clinfit.cli", "clinfit.runs.execute", "clinfit.runs.finish", "clinfit.models.bases.pretrained",
    "clinfit.models.causal", "clinfit.models.classical", "clinfit.packs.read", "clinfit.packs.write",
    "clinfit.report.build", "matplotlib.backends.backend_svg", "peft", "transformers.models.llama.modeling_llama",
    "sklearn.linear_model", "sklearn.ensemble", "skops.io",
)  # fmt: skip
#: Seconds after which a command is ended: far more than any needs.
PATIENCE = 1800


def run(
    words: Sequence[object], cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """What `python WORDS...` prints and its exit code; words begin with `-m clinfit` or `-c CODE`."""
    program = [str(word) for word in words]
    environment = dict(os.environ if env is None else env) | {"PYTHONPATH": SOURCE}
    if sys.platform != "linux":
        return subprocess.run(
            [sys.executable, *program], cwd=cwd, env=environment, capture_output=True, text=True,
            stdin=subprocess.DEVNULL, timeout=PATIENCE,
        )  # fmt: skip
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as error:
        order = {"words": program, "folder": str(cwd or Path.cwd()), "environment": environment}
        code = _parent().do(order, out.fileno(), error.fileno())
        return subprocess.CompletedProcess(program, code, written(out), written(error))


def written(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


class _Parent:
    """The process that is forked, as the tests see it: it ends when its line is closed."""

    def __init__(self) -> None:
        self._line, its_own = socket.socketpair()
        words = [sys.executable, __file__, str(its_own.fileno())]
        environment = os.environ | {"PYTHONPATH": SOURCE, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._process = subprocess.Popen(words, env=environment, pass_fds=[its_own.fileno()], stdin=subprocess.DEVNULL)
        its_own.close()
        atexit.register(self.end)

    def end(self) -> None:
        self._line.close()
        self._process.wait()

    def do(self, order: Mapping[str, object], out: int, error: int) -> int:
        text = json.dumps(order).encode()
        socket.send_fds(self._line, [f"{len(text):8}".encode()], [out, error])
        self._line.sendall(text)
        told = self._line.recv(16)
        assert told, f"the process that is forked ended with {self._process.wait()}"
        return int(told)


@cache
def _parent() -> _Parent:
    return _Parent()


# ---------------------------------------------------------------- in the process that is forked


def serve(line: socket.socket) -> None:
    """Fork a child for every order and say how it ended; returns when nobody asks any more."""
    while True:
        size, streams, _, _ = socket.recv_fds(line, 8, 2)
        if not size:
            return
        order = json.loads(line.recv(int(size), socket.MSG_WAITALL))
        child = os.fork()
        if child == 0:
            line.close()
            end_as(order, streams)
        for stream in streams:
            os.close(stream)
        _, status = os.waitpid(child, 0)
        line.sendall(str(os.waitstatus_to_exitcode(status)).encode())


def become(order: dict[str, Any], streams: list[int]) -> None:
    """Be the program that was asked for."""
    for stream, own in zip(streams, (1, 2), strict=True):
        os.dup2(stream, own)
        os.close(stream)
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    tempfile.tempdir = None  # what an import has asked for
    if (threads := os.environ.get("OMP_NUM_THREADS")) is not None and "torch" in sys.modules:
        # torch has read it when it was imported; with other threads the last digits are others.
        sys.modules["torch"].set_num_threads(int(threads))
    signal.alarm(PATIENCE)
    flag, text, *rest = order["words"]
    sys.argv = [flag, *rest]
    if flag == "-c":
        sys.path.insert(0, "")
        exec(compile(text, "<string>", "exec"), {"__name__": "__main__"})
    else:
        runpy.run_module(text, run_name="__main__", alter_sys=True)


def end_as(order: dict[str, Any], streams: list[int]) -> NoReturn:
    """Be a program, and end the process as Python does, but for taking thousands of modules to pieces."""
    code: Any = 1
    try:
        become(order, streams)
        code = 0
    except SystemExit as end:
        code = end.code
        if isinstance(code, str):
            print(code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    threading._shutdown()  # type: ignore[attr-defined]  # as Python ends: threads that are no daemons are waited for
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1 if isinstance(code, str) else int(code or 0))


def main() -> None:
    for module in IMPORTED:
        import_module(module)
    assert threading.active_count() == 1, "a lock that another thread holds would be held forever in a child"
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)  # pyarrow's allocator's
    gc.freeze()  # a collection in a child need not look at what was imported, and copy it
    serve(socket.socket(fileno=int(sys.argv[1])))


if __name__ == "__main__":
    main()
