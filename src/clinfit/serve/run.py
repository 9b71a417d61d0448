"""`clinfit serve` and `clinfit worker`: from packs to a process that answers until it is told to stop."""

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import uvicorn

from clinfit.errors import ClinfitError
from clinfit.serve.app import create_app
from clinfit.serve.batcher import Batcher
from clinfit.serve.connection import timed
from clinfit.serve.jobs import JobStore, StoreDown
from clinfit.serve.models import REFERENCE, Computing, Contents, Models, ServedModel, load_models, read_contents
from clinfit.serve.security import LOOPBACK, check_binding, keys_of
from clinfit.serve.service import Service
from clinfit.serve.settings import Settings
from clinfit.serve.stores import Names, open_store, open_stream, told
from clinfit.serve.worker import Worker, wind_down

Say = Callable[[str], None]

#: Connections that wait to be taken; uvicorn's own number.
BACKLOG = 2048


@dataclass(frozen=True)
class Place:
    """Where a service listens and keeps its jobs. hosts: names beside `host` by which it may be called.

    redis: address of a Redis server; None: jobs are in the file.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    hosts: tuple[str, ...] = ()
    redis: str | None = None
    jobs: Path | None = None
    keys: Path | None = None


def default_jobs() -> Path:
    """The file of jobs where none is named: below the user's folder for states (XDG)."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state).expanduser() / "clinfit" / "jobs.sqlite"


def serve(
    packs: Sequence[Path],
    place: Place,
    settings: Settings,
    say: Say,
    *,
    works: bool = True,
    computing: Computing = REFERENCE,
) -> None:
    """Answer over HTTP until SIGTERM or Ctrl-C. Raises ClinfitError for what the user can put right, a pack that does
    not answer as it was evaluated among it; then nothing listens."""
    server, listening = prepare(packs, place, settings, say, works=works, computing=computing)
    log_lines()
    server.run(sockets=[listening])


def prepare(
    packs: Sequence[Path],
    place: Place,
    settings: Settings,
    say: Say,
    *,
    works: bool = True,
    computing: Computing = REFERENCE,
) -> "tuple[Draining, socket.socket]":
    """A server that has only to be run, and the socket where it listens; raises as `serve` does."""
    keys = keys_of(place.keys)
    check_binding(place.host, keys)
    listening = _bound(place)
    contents, store = _contents_and_store(packs, place, settings)
    models = load_models(packs, say, computing, contents)
    for line in store.warnings():
        say(f"warning: {line}")
    service = Service(models, store, keys, settings, works=works, hosts=_hosts(place))
    for model in models.all():
        say(f"serving {model.name} (pack {model.sha256[:8]}, {model.pack.engine})")
    listening.listen(BACKLOG)  # who asks before uvicorn takes connections waits for it, and is not refused
    address = f"[{place.host}]" if ":" in place.host else place.host
    ready = f"clinfit answers on http://{address}:{listening.getsockname()[1]}, stop it with Ctrl-C"
    config = uvicorn.Config(
        create_app(service),
        http=timed(settings.body_seconds),
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=max(1, int(settings.drain)),
        timeout_keep_alive=5,
        limit_concurrency=1000,
        h11_max_incomplete_event_size=32 << 10,
    )
    return Draining(config, service, lambda: say(ready)), listening


class Draining(uvicorn.Server):
    """Says that it is ready once it can be stopped well, and that it is not any more as soon as it is told to stop, so
    that streams end and nobody begins."""

    def __init__(self, config: uvicorn.Config, service: Service, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._service, self._ready = service, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()  # not before: until its handlers are there, a signal ends the process at once

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Not uvicorn's own, which sends the signal to itself again once all is done: a stop that was asked for ends
        with 0. A second Ctrl-C waits for nothing."""
        self._service.drain()
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True


@dataclass(frozen=True)
class Flow:
    """A stream of records that one model answers. model: its name; None where one is served."""

    names: Names
    model: str | None = None


#: Seconds between two signs of life of a worker.
BEAT = 5.0


class Heartbeat:
    """A file whose time says that a worker is well: it has begun, its threads live, its store answers. Where it is
    older than a few beats, or absent, the worker is not. file: None: nothing is told."""

    def __init__(self, file: Path | None, ping: Callable[[], None]) -> None:
        """Raises ClinfitError where the file cannot be written."""
        self._file, self._ping, self._last = file, ping, float("-inf")
        try:
            if file is not None:
                file.touch()
        except OSError as error:
            raise ClinfitError(
                f"the file of the worker's health {file} cannot be written: {error.strerror}",
                expected="a file in a folder that is there, or none yet",
                fix="correct --health",
            ) from None

    def beat(self) -> None:
        """To be called often while the threads live; asks the store now and then."""
        if self._file is None or time.monotonic() - self._last < BEAT:
            return
        self._last = time.monotonic()
        try:
            self._ping()
            self._file.touch()
        except (StoreDown, OSError):  # it grows old
            pass

    def stop(self) -> None:
        if self._file is not None:
            self._file.unlink(missing_ok=True)


def work(
    packs: Sequence[Path],
    redis: str,
    settings: Settings,
    say: Say,
    computing: Computing = REFERENCE,
    flow: Flow | None = None,
    health: Path | None = None,
) -> None:
    """Work on jobs at a Redis server, or on what comes in by a stream of it, until SIGTERM or Ctrl-C.

    health: see `Heartbeat`.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    log_lines()
    # Redis before the models, whose loading takes its time.
    if flow is None:
        place = _store(Place(redis=redis), settings)
        models = load_models(packs, say, computing)
        batcher = Batcher(settings.waiting)
        worker = Worker(place, models, batcher, settings)
        does = "clinfit works on jobs"
    else:
        from clinfit.serve.streaming import StreamWorker  # imports redis

        place = open_stream(redis, flow.names)
        model = _model_of(load_models(packs, say, computing), flow)
        batcher = Batcher(settings.waiting)
        with told(redis):
            worker = StreamWorker(place, model, batcher, settings)
        does = f"{model.name} answers {flow.names.input} in {flow.names.answers}"
    say(f"{does}, stop it with Ctrl-C")
    heartbeat = Heartbeat(health, place.ping)
    try:
        while not stop.wait(0.5):
            if not worker.alive or not batcher.alive:
                raise RuntimeError("a part of the worker has died")
            heartbeat.beat()
    finally:
        heartbeat.stop()
    say("stopping: what is under way is finished or given back")
    wind_down(worker, batcher, settings.drain)
    place.close()


def _model_of(models: Models, flow: Flow) -> ServedModel:
    found = models.find(flow.model)
    if found is None:
        raise ClinfitError(
            "a stream is answered by one model, and none of several was named"
            if flow.model is None
            else f"there is no model {flow.model!r}",
            expected=f"one of {', '.join(models.by_name)}",
            fix=f"name it: --model {next(iter(models.by_name))}",
        )
    return found


def _contents_and_store(packs: Sequence[Path], place: Place, settings: Settings) -> tuple[Contents, JobStore]:
    """What the packs say of themselves, and the store, before the models, whose loading takes its time. Redis is asked
    first, which leaves nothing there; a file of jobs is made for packs alone."""
    if place.redis is None:
        contents = read_contents(packs)
        return contents, _store(place, settings)
    store = _store(place, settings)
    return read_contents(packs), store


def _store(place: Place, settings: Settings) -> JobStore:
    keep = settings.keep_days * 86_400
    return open_store(place.redis, place.jobs or default_jobs(), keep=keep)


def _hosts(place: Place) -> tuple[str, ...]:
    """Names that a Host header may hold. Behind addresses such as 0.0.0.0 any name may be right: keys guard it."""
    if place.hosts:
        return (*LOOPBACK, *(name.lower() for name in place.hosts))  # as a Host header's name is compared
    return LOOPBACK if place.host in LOOPBACK else (*LOOPBACK, "*")


def _bound(place: Place) -> socket.socket:
    """A socket at the address, before anything is loaded. Raises ClinfitError where it cannot be had."""
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((place.host, place.port))
    except OSError as error:
        raise ClinfitError(
            f"{place.host}:{place.port} cannot be listened to: {error.strerror}",
            expected="an address of this machine and a free port",
            fix="give another --port",
        ) from None
    return listening


def log_lines() -> None:
    """Lines of the service on standard error: routes, times and ids, never text."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log = logging.getLogger("clinfit.serve")
    log.handlers, log.propagate = [handler], False
    log.setLevel(logging.INFO)
