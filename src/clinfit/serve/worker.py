"""Workers: each takes chunks of jobs from a store, lets the models answer them, and writes the results.

What is policy stands here. A chunk that failed or whose worker fell silent is tried again; its second try divides it
into its records, so that one that kills workers does so alone; a record that has been begun `tries` times is buried
with the reason. A lease is renewed three times while it lasts, from a thread that no model can hold up.
"""

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, wait
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from uuid import uuid4

from clinfit.errors import ClinfitError
from clinfit.packs.answer import Answer
from clinfit.runs.steps.failures import failure_of
from clinfit.serve.batcher import Batcher, Busy
from clinfit.serve.jobs import Claim, Item, JobStore, Result, StoreDown
from clinfit.serve.models import Models
from clinfit.serve.records import from_item
from clinfit.serve.settings import Settings

log = logging.getLogger("clinfit.serve")

#: Seconds between looks at an empty store.
LOOK = 0.2
#: Seconds before a store that was down is asked again.
DOWN = 1.0
#: Seconds between two looks for jobs that are too old.
SWEEP = 600.0
#: Seconds after a drain in which everything that was not done is given back and stops.
REST = 10.0
UNUSABLE = "the store of jobs cannot be used"
SILENT = "its workers died or fell silent while they had it"


class Stopped(Exception):
    """The worker is to stop, or the chunk is not its own any more."""


class Sweeper:
    """One thread that erases jobs that are too old, now and then."""

    def __init__(self, store: JobStore, keep_days: float) -> None:
        self._store, self._keep = store, keep_days * 86_400
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="clinfit-sweep", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._store.sweep(self._keep)
            except StoreDown as error:
                log.error("sweep: %s: %s", UNUSABLE, error)
            except Exception as error:
                log.error("sweep: %s", failure_of(error).reason)
            self._stop.wait(SWEEP)


class Working(ABC):
    """One thread that works on what waits in Redis or in a file, until it is stopped."""

    def __init__(self, name: str) -> None:
        self._stop = threading.Event()
        self._hurry = threading.Event()
        self._store_is_down = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def take_no_more(self) -> None:
        self._stop.set()

    def stop(self, drain: float) -> None:
        """Take nothing more; what is under way has `drain` seconds, then it is given back untried."""
        self.take_no_more()
        self._thread.join(timeout=drain)
        self._hurry.set()
        self._thread.join(timeout=REST)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                worked = self._once()
                self._store_answers()
                if not worked:
                    self._stop.wait(LOOK)
            except StoreDown as error:
                self._store_fails(error)
                self._stop.wait(DOWN)
            except Exception as error:
                log.error("worker: %s", failure_of(error).reason)
                self._stop.wait(DOWN)

    def _store_fails(self, error: StoreDown) -> None:
        """Told once, until it works again."""
        if not self._store_is_down:
            log.error("worker: %s: %s", UNUSABLE, error)
        self._store_is_down = True

    def _store_answers(self) -> None:
        if self._store_is_down:
            log.info("worker: the store of jobs can be used again")
        self._store_is_down = False

    @abstractmethod
    def _once(self) -> bool:
        """Work on what comes next; False where nothing waits."""

    def _wait_for(self, futures: "Sequence[Future[Answer]]", lost: threading.Event) -> None:
        """Until all are answered. Cancels them and raises Stopped where there is no time left, or `lost` is set."""
        while wait(futures, timeout=0.1).not_done:
            if lost.is_set() or self._hurry.is_set():
                for future in futures:
                    future.cancel()
                raise Stopped

    def _surely(self, write: Callable[[], object]) -> None:
        """Once more and once more while the store is down: the answers are here, and the lease may still be ours."""
        while True:
            try:
                write()
                return self._store_answers()
            except StoreDown as error:
                self._store_fails(error)
                if self._stop.wait(DOWN):
                    return None


def wind_down(worker: Working | None, batcher: Batcher, drain: float) -> None:
    """What is under way has `drain` seconds; then both have REST together, whatever a model is doing."""
    late = time.monotonic() + drain + REST
    if worker is not None:
        worker.stop(drain)
    batcher.stop(max(0.0, late - time.monotonic()))


@contextmanager
def renewed(renew: Callable[[], bool], lease: float) -> Iterator[threading.Event]:
    """Renew a lease three times while it lasts. Yields what is set when that is refused, since somebody else holds it.

    lease: seconds.
    """
    done, lost = threading.Event(), threading.Event()

    def run() -> None:
        while not done.wait(lease / 3):
            try:
                if not renew():
                    lost.set()
                    return
            except StoreDown:
                continue

    threading.Thread(target=run, daemon=True).start()
    try:
        yield lost
    finally:
        done.set()


class Worker(Working):
    """Works on jobs."""

    def __init__(self, store: JobStore, models: Models, batcher: Batcher, settings: Settings) -> None:
        super().__init__("clinfit-jobs")
        self._store, self._batcher, self._settings = store, batcher, settings
        self._models = {model.queue: model for model in models.all()}
        self._name = f"worker-{uuid4().hex[:12]}"
        self.chunks = 0
        self._thread.start()

    def _once(self) -> bool:
        claim = self._store.claim(list(self._models), self._name, self._settings.lease)
        if claim is not None:
            self._work(claim)
        return claim is not None

    # ------------------------------------------------------------ one chunk

    def _work(self, claim: Claim) -> None:
        if claim.tries > self._settings.tries:
            log.error("job %s: records from %d on are given up", claim.job, claim.start)
            return self._store.bury(claim, claim.reason or SILENT)
        if claim.tries > 1 and len(claim.items) > 1:
            return self._store.split(claim)
        with renewed(partial(self._store.renew, claim, self._settings.lease), self._settings.lease) as lost:
            try:
                results = self._answered(claim, lost)
            except (Stopped, Busy):
                if not lost.is_set():
                    self._store.release(claim)
                return None
            except Exception as error:
                reason = failure_of(error).reason
                log.error("job %s: chunk %d, try %d: %s", claim.job, claim.start, claim.tries, reason)
                delay = self._settings.back_off * 2 ** (claim.tries - 1)
                return self._store.retry(claim, reason, delay)
        self._surely(partial(self._store.write, claim, results))
        self.chunks += 1
        return None

    def _answered(self, claim: Claim, lost: threading.Event) -> list[Result]:
        """A result for each record. Raises Stopped, and what the model raises when it can answer none of several."""
        model = self._models[claim.queue]
        wanted = [(k, item) for k, item in enumerate(claim.items) if "error" not in item]
        records = [from_item(claim.task, item) for _, item in wanted]
        futures = self._batcher.submit(model, records, "job")
        self._wait_for(futures, lost)
        answered = dict(zip([k for k, _ in wanted], futures, strict=True))
        return [result_of(claim.start + k, item, answered.get(k)) for k, item in enumerate(claim.items)]


def result_of(index: int, item: Item, future: "Future[Answer] | None") -> Result:
    """What was said of one record; future: None where it could not even be read.

    Raises what the model raised, so that the chunk is tried again, but for what the record itself is to blame for.
    """
    result: Result = {"index": index, "id": item["id"], "answer": None, "error": None}
    if future is None:
        return result | {"error": item["error"]}
    try:
        return result | {"answer": asdict(future.result())}
    except CancelledError:
        raise Stopped from None
    except ClinfitError:
        return result | {"error": {"code": "invalid-record", "detail": "the record is not what the task asks for"}}
