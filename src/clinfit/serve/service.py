"""What the parts of a running service share, from its start to its end."""

import json
import logging
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from clinfit.serve.batcher import Batcher
from clinfit.serve.jobs import JobStore, StoreDown
from clinfit.serve.metrics import Metrics
from clinfit.serve.models import Models
from clinfit.serve.security import LOOPBACK, Keys, Rates
from clinfit.serve.settings import Settings
from clinfit.serve.worker import Sweeper, Worker

log = logging.getLogger("clinfit.serve")

#: Records that are explained at a time.
EXPLAINING = 2


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
        self.explaining = ThreadPoolExecutor(EXPLAINING, "clinfit-explain")
        self.rates = Rates(settings.per_minute, settings.burst)
        self.audit = Audit(settings.audit)
        self.draining = threading.Event()
        # Who works on no jobs still keeps them, and erases them when their time has come.
        self.sweeper = Sweeper(store, settings.keep_days)
        self.worker = Worker(store, models, self.batcher, settings) if works else None

    def fault(self) -> str | None:
        """Why it is not ready, None where it is."""
        if self.draining.is_set():
            return "it is being stopped"
        if not self.batcher.alive or (self.worker is not None and not self.worker.alive):
            return "a part of it has died"
        try:
            self.store.ping()
        except StoreDown:
            return "the store of jobs does not answer"
        return None

    def now(self) -> dict[str, float]:
        """Values of `metrics.NOW`."""
        try:
            waiting = float(self.store.waiting())
        except StoreDown:
            waiting = float("nan")
        return {
            "clinfit_ready": float(self.fault() is None),
            "clinfit_requests_waiting": self.batcher.waiting("request"),
            "clinfit_job_records_waiting": waiting,
            "clinfit_chunks_done": 0 if self.worker is None else self.worker.chunks,
            "clinfit_turns": self.batcher.turns,
            "clinfit_asked": self.batcher.asked,
        }

    def close(self) -> None:
        """Finish what is under way, then let go of everything."""
        self.draining.set()
        if self.worker is not None:
            self.worker.stop(self.settings.drain)
        self.batcher.stop()
        self.explaining.shutdown(cancel_futures=True)  # what it waited for has just been cancelled
        self.sweeper.stop()
        self.store.close()
        self.audit.close()


class Audit:
    """Who asked what, and when: one JSON object a line, without text, labels and ids of records."""

    def __init__(self, path: Path | None) -> None:
        self._lock = threading.Lock()
        self._file = None if path is None else path.open("a", encoding="utf-8")
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
