"""What the parts of a running service share, from its start to its end."""

import asyncio
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from clinfit.errors import ClinfitError
from clinfit.serve.batcher import Batcher
from clinfit.serve.jobs import JobStore, StoreDown
from clinfit.serve.metrics import Metrics
from clinfit.serve.models import Models
from clinfit.serve.security import LOOPBACK, Keys, Rates
from clinfit.serve.settings import Settings
from clinfit.serve.worker import Sweeper, Worker, wind_down

log = logging.getLogger("clinfit.serve")

#: Records that are explained at a time, calls of the store, jobs that are read, and requests that are.
EXPLAINING, STORING, RECEIVING, READING = 2, 8, 2, 4
#: Seconds that the store has to say that it is there.
PATIENCE = 3.0

T = TypeVar("T")


class Service:
    """Models, line, jobs and keys of one process. hosts: names by which it may be called."""

    def __init__(
        self,
        models: Models,
        store: JobStore,
        keys: Keys,
        settings: Settings,
        *,
        works: bool = True,
        hosts: tuple[str, ...] = LOOPBACK,
    ) -> None:
        self.models, self.store, self.keys, self.settings, self.hosts = models, store, keys, settings, hosts
        self.batcher = Batcher(settings.waiting)
        self.metrics = Metrics()
        # Pools apart: neither a store that hangs nor a long table holds up the reading of what is asked at once.
        self.explaining = ThreadPoolExecutor(EXPLAINING, "clinfit-explain")
        self.storing = ThreadPoolExecutor(STORING, "clinfit-store")
        self.receiving = ThreadPoolExecutor(RECEIVING, "clinfit-receive")
        self.reading = ThreadPoolExecutor(READING, "clinfit-read")
        self.rates = Rates(settings.per_minute, settings.burst)
        self.audit = Audit(settings.audit)
        self.draining = threading.Event()
        self._drained = float("inf")  # by the monotonic clock
        # Who works on no jobs still keeps them, and erases them when their time has come.
        self.sweeper = Sweeper(store, settings.keep_days)
        self.worker = Worker(store, models, self.batcher, settings) if works else None

    async def stored(self, work: Callable[..., T], *values: Any) -> T:
        """Ask the store, in threads of its own: who waits for it holds up nobody who does not. Raises StoreDown."""
        return await asyncio.get_running_loop().run_in_executor(self.storing, work, *values)

    async def fault(self) -> str | None:
        """Why it is not ready, None where it is."""
        if self.draining.is_set():
            return "it is being stopped"
        if not self.batcher.alive or (self.worker is not None and not self.worker.alive):
            return "a part of it has died"
        try:
            await asyncio.wait_for(self.stored(self.store.ping), PATIENCE)
        except (StoreDown, TimeoutError):
            return "the store of jobs does not answer, or cannot be written"
        return None

    async def now(self) -> dict[str, float]:
        """Values of `metrics.NOW`."""
        try:
            waiting = float(await asyncio.wait_for(self.stored(self.store.waiting), PATIENCE))
        except (StoreDown, TimeoutError):
            waiting = float("nan")
        return {
            "clinfit_ready": float(await self.fault() is None),
            "clinfit_requests_waiting": self.batcher.waiting("request"),
            "clinfit_job_records_waiting": waiting,
            "clinfit_chunks_done_total": 0 if self.worker is None else self.worker.chunks,
            "clinfit_turns_total": self.batcher.turns,
            "clinfit_asked_total": self.batcher.asked,
        }

    def drain(self) -> None:
        """Begin nothing more. Requests and chunks that are under way have the same seconds from now on."""
        self._drained = min(self._drained, time.monotonic() + self.settings.drain)
        self.draining.set()
        if self.worker is not None:
            self.worker.take_no_more()

    def close(self) -> None:
        """Finish what is under way, then let go of everything."""
        self.drain()
        wind_down(self.worker, self.batcher, max(0.0, self._drained - time.monotonic()))
        for pool in (self.explaining, self.receiving, self.reading, self.storing):
            pool.shutdown(cancel_futures=True)  # what it waited for has just been cancelled
        self.sweeper.stop()
        self.store.close()
        self.audit.close()


class Audit:
    """Who asked what, and when: one JSON object a line, without text, labels and ids of records."""

    def __init__(self, path: Path | None) -> None:
        self._lock = threading.Lock()
        try:
            self._file = None if path is None else path.open("a", encoding="utf-8")
        except OSError as error:
            raise ClinfitError(
                f"the audit file {path} cannot be written: {error.strerror}",
                expected="a file in a folder that is there, or none yet",
                fix="correct --audit",
            ) from None
        if path is not None:
            path.chmod(0o600)

    def write(self, entry: Mapping[str, Any]) -> None:
        if self._file is None:
            return
        line = json.dumps(
            {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **entry}, separators=(",", ":")
        )
        with self._lock:
            self._file.write(line + "\n")
            self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
