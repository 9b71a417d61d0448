"""A run whose fits in several processes (`train.processes`) are done by processes that are forked, not started: they
have imported what they need. The run is a process of its own, forked as well (forked.py), that has trained nothing."""

import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

import forked
from clinfit.runs.steps import worker_process
from executed import run, without_report

TESTS = Path(__file__).parent
PROGRAM = f"import sys; sys.path.insert(0, {str(TESTS)!r}); import members; members.main(*sys.argv[1:])"


def run_forked(study: Path, out: Path | str, spoil: str = "") -> tuple[dict[str, str], str]:
    """Why the runs failed that did, and what was said. spoil: what a member does before anything else."""
    done = forked.run(["-c", PROGRAM, study, out, spoil])
    assert done.returncode == 0, done.stderr
    said, _, failed = done.stdout.strip().rpartition("\n")
    return json.loads(failed), said


def main(study: str, out: str, spoil: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if sys.platform == "linux":
            started = {"Popen": lambda words, **more: Member(words[-1], spoil, **more)}
            patch.setattr(worker_process, "subprocess", SimpleNamespace(**vars(subprocess) | started))
        else:  # as in forked.py
            site = Path(tempfile.mkdtemp())
            (site / "sitecustomize.py").write_text(spoil)
            patch.setenv("PYTHONPATH", str(site))
        without_report(patch)
        result, said = run(Path(study), None, out=out)
    print(said)
    print(json.dumps({name: failure.reason for name, failure in result.failed.items()}))


class Member:
    """What `subprocess.Popen` is for a process that is started."""

    def __init__(self, module: str, spoil: str, env: Mapping[str, str], **_: Any) -> None:
        (its_input, our_output), (our_input, its_output) = os.pipe(), os.pipe()
        self.code: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            os.setsid()
            os.dup2(its_input, 0)
            os.dup2(its_output, 1)
            become(module, spoil, env)
        os.close(its_input)
        os.close(its_output)
        self.stdin, self.stdout = os.fdopen(our_output, "wb"), os.fdopen(our_input, "rb")

    def send_signal(self, number: int) -> None:
        if self.code is None:  # an id that is not waited for any more may be somebody else's
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self, seconds: float | None = None) -> int:
        until = None if seconds is None else time.monotonic() + seconds
        while self.code is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            if ended:
                self.code = os.waitstatus_to_exitcode(status)
            elif until is not None and time.monotonic() > until:
                raise subprocess.TimeoutExpired(str(self.pid), seconds or 0)
            else:
                time.sleep(0.02)
        return self.code


def become(module: str, spoil: str, env: Mapping[str, str]) -> NoReturn:
    """Be the process that was asked for; nobody else's pipes stay open."""
    code = 1
    try:
        os.closerange(3, 1024)
        os.environ.clear()
        os.environ.update(env)
        exec(spoil, {})
        runpy.run_module(module, run_name="__main__")
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        os._exit(code)
