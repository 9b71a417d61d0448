"""What stands on a node of the cluster: a temporary folder, and in it a worker process such as a local run has, too.

A Ray actor between the driver, whose words come as calls, and the worker, which reads and writes JSON lines. It knows
nothing of steps: it puts files where it is told, passes orders on, and brings files back. Little is imported here, so
that a node without clinfit, or with another version, can say so quickly.
"""

import platform
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import clinfit
from clinfit.errors import ClinfitError
from clinfit.runs.cluster.parcels import pack, unpack
from clinfit.runs.steps.worker_process import LAST_BREATH, WorkerProcess, speaking

#: Seconds that a call waits for a word of the worker.
PATIENCE = 2.0
#: Removes a folder once whoever started it is gone, however it went: that closes the pipe. The second time is for what
#: a process wrote that was just about to end. It stands apart from the actor, whose children Ray ends with it.
SWEEPER = 'exec 3<&0; (cat <&3 >/dev/null; rm -rf "$0"; sleep 3; rm -rf "$0") >/dev/null 2>&1 &'


#: Messages of a worker; what its step brought, when it is done; its exit code, once it has ended.
Heard = tuple[list[dict[str, Any]], bytes | None, int | None]


class SweptFolder:
    """A new temporary folder that vanishes when this process does, however that ends."""

    def __init__(self, prefix: str) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=prefix))
        words = ["sh", "-c", SWEEPER, str(self.path)]
        self._pipe = subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True)
        self._pipe.wait()  # what sweeps is its child, which nobody waits for

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        with suppress(BrokenPipeError):
            assert self._pipe.stdin is not None
            self._pipe.stdin.close()


def bases_below(folder: Path, bases: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Bases as a process here finds them, whose folders were named relative to one of this node."""
    return {
        name: {**known, "folder": known["folder"] and str(folder / known["folder"])} for name, known in bases.items()
    }


class Station:
    """A worker on this node. Its folders: `study` as a run folder, `records`, `bases`."""

    def __init__(self) -> None:
        self._swept: SweptFolder | None = None
        self._worker: WorkerProcess | None = None
        self._outcome: tuple[str, Sequence[str]] = ("", ())

    def settle(self, order: dict[str, Any], settings: Mapping[str, str], *parcels: bytes) -> dict[str, str]:
        """Unpack what all steps need and start the worker. Gives the versions of this node.

        order: the worker's first, with paths relative to this folder.
        """
        self._swept = SweptFolder("clinfit-")  # not earlier: a full disk is told by a call, and not by the end of all
        for parcel in parcels:
            unpack(parcel, self._folder)
        brought = order["brought"]
        here = {name: str(self._folder / order[name]) for name in ("folder", "study_folder")}
        bases = bases_below(self._folder, brought["bases"])
        placed = order | here | {"brought": {"records": str(self._folder / brought["records"]), "bases": bases}}
        self._worker = WorkerProcess(placed, settings, self._folder / order["study_folder"], quiet=True)
        return versions()

    def give(self, step: dict[str, Any], models: str, outcome: Sequence[str], *parcels: bytes) -> Heard:
        """Let the worker do a step, and hear it. models: the folder of its run. parcels: the record of the run, and
        what the step needs. outcome: what is brought back when it is done, relative to the folder of its run."""
        assert self._worker is not None
        for parcel in parcels:
            unpack(parcel, self._folder)
        self._outcome = (models, outcome)
        if not self._worker.send(step):  # it has died meanwhile, and never held the step
            return [{"event": "untaken"}], None, self._worker.wait(LAST_BREATH)
        return self.hear()

    def hear(self) -> Heard:
        """What the worker has said, within a while; what a step brought; its exit code, once it has ended."""
        assert self._worker is not None
        messages = self._worker.receive() if speaking([self._worker], PATIENCE) else []
        done = next((message for message in messages if message["event"] == "done"), None)
        code = self._worker.wait(LAST_BREATH) if self._worker.ended else None
        return messages, None if done is None else self._brought(done["failure"] is not None), code

    def close(self) -> None:
        """End the worker and remove what it had."""
        if self._worker is not None and not self._worker.ended:
            self._worker.stop()
            self._worker.wait()
        if self._swept is not None:
            self._swept.remove()

    @property
    def _folder(self) -> Path:
        assert self._swept is not None
        return self._swept.path

    def _brought(self, failed: bool) -> bytes:
        models, names = self._outcome
        run = self._folder / models
        found = {name: run / name for name in (["error.log"] if failed else names) if (run / name).exists()}
        parcel = pack(found)
        (run / "error.log").unlink(missing_ok=True)
        return parcel


def check_versions(found: Mapping[str, str]) -> None:
    """Raise ClinfitError where those of a node are not those of this machine."""
    own = versions()
    if found != own:
        others = ", ".join(f"{name} {version}" for name, version in found.items())
        raise ClinfitError(
            f"a node of the cluster has {others}",
            expected=", ".join(f"{name} {version}" for name, version in own.items()) + ", as this machine has",
            fix="install the same on every node",
        )


def versions() -> dict[str, str]:
    """What must be the same on all machines of a run."""
    return {"clinfit": clinfit.__version__, "Python": ".".join(platform.python_version_tuple()[:2])}
