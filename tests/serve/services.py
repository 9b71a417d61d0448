"""Servers and services for the tests: Redis, `clinfit` in processes of its own, waiting for them."""

import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

import clinfit
from clinfit.cli import app
from clinfit.errors import ClinfitError
from clinfit.serve.run import Place, prepare
from clinfit.serve.settings import Settings

REDIS = shutil.which("redis-server")
SOURCE = Path(clinfit.__file__).parents[1]
#: For all that tests ask of services: a new client reads the certificates of the machine, and that takes its time.
HTTP = httpx2.Client(timeout=120)
needs_redis = pytest.mark.skipif(
    REDIS is None and os.environ.get("CI") != "true",
    reason="no redis-server on the path (apt-get install redis-server)",
)


def ended(client: TestClient, job: str) -> dict[str, Any]:
    """The job once it has ended."""
    found: dict[str, Any] = {}
    for _ in range(400):
        found = client.get(f"/v1/jobs/{job}").json()
        if found["ended"]:
            return found
        time.sleep(0.05)
    raise AssertionError(f"the job has not ended: {found}")


def soon(holds: Callable[[], bool], seconds: float = 1.0) -> bool:
    """Whether it holds, now or within a while."""
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


class Faults(logging.Handler):
    """Keeps what was logged with a traceback."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.found.append(self.format(record))


@contextmanager
def answering(
    folder: Path, *packs: Path, keys: Path | None = None, works: bool = True, **settings: Any
) -> Iterator[str]:
    """The address of a service in a thread of this process, where a process of its own is not the point."""
    place = Place(port=0, jobs=folder / "jobs.sqlite", keys=keys)
    server, listening = prepare(packs, place, Settings(**settings), lambda line: None, works=works)
    faults, logs = Faults(), [logging.getLogger(name) for name in ("uvicorn.error", "clinfit.serve")]
    for log in logs:
        log.addHandler(faults)
    thread = Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.handle_exit(signal.SIGTERM, None)
        thread.join(60)
        for log in logs:
            log.removeHandler(faults)
    assert not thread.is_alive() and faults.found == []


def refused(*words: object, **environment: str) -> str:
    """What a command that is refused says; here in this process, whose signals and logs stay as they were."""
    numbers, log = (signal.SIGINT, signal.SIGTERM), logging.getLogger("clinfit.serve")
    signals, handlers, propagate = [signal.getsignal(number) for number in numbers], log.handlers, log.propagate
    try:
        done = CliRunner().invoke(app, [str(word) for word in words], env=environment)
    finally:
        log.handlers, log.propagate = handlers, propagate
        for number, handler in zip(numbers, signals, strict=True):
            signal.signal(number, handler)
    assert isinstance(done.exception, ClinfitError), (done.output, done.exception)
    return "\n".join([done.output, *done.exception.lines()])


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@dataclass
class RedisServer:
    """A real server with an append-only file, that can be killed and started again."""

    folder: Path
    port: int = field(default_factory=free_port)
    password: str = ""
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        assert REDIS is not None, "CI must have redis-server"
        words = [REDIS, "--port", str(self.port), "--dir", str(self.folder), "--appendonly", "yes", "--save", ""]
        words += ["--maxmemory-policy", "noeviction", "--bind", "127.0.0.1"]
        words += ["--requirepass", self.password] if self.password else []
        self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(200):
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1) as one:
                    one.sendall(b"PING\r\n")
                    if one.recv(20).startswith((b"+PONG", b"-NOAUTH")):
                        return
            except OSError:
                pass
            time.sleep(0.05)
        raise AssertionError("redis-server does not start")

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()


@dataclass
class Program:
    """`clinfit` in a process of its own."""

    words: list[str]
    log: Path
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "clinfit", *self.words],
                stdout=log,
                stderr=log,
                env=os.environ | {"PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"} | self.environment,
            )

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(timeout=60)


def wait_until_ready(program: Program, url: str) -> None:
    for _ in range(3000):
        assert program.process.poll() is None, program.log.read_text()
        try:
            if HTTP.get(f"{url}/ready").status_code == 200:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(program.log.read_text())
