"""Workers on the nodes of a Ray cluster. Pack, base and shards travel through its object store; no folder is shared."""

import time
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from clinfit.errors import ClinfitError
from clinfit.runs.batch.answerer import MODULE, first_order
from clinfit.runs.batch.crew import GO_ON, Heard
from clinfit.runs.batch.processes import heard_of
from clinfit.runs.cluster.demands import Demand, seats
from clinfit.runs.cluster.executor import GOODBYE, LOOK_EVERY, cannot_import, options_of, without_clinfit
from clinfit.runs.cluster.parcels import unpack
from clinfit.runs.cluster.station import SweptFolder, bases_below, check_versions, versions
from clinfit.runs.steps.failures import Failure
from clinfit.runs.steps.worker_process import LAST_BREATH, WorkerProcess, epitaph

#: Where a desk has its pack, below its folder.
PACK = "pack"


class Desk:
    """An answering process on this node, with a folder of its own. A Ray actor between it and the driver."""

    def __init__(self) -> None:
        self._swept: SweptFolder | None = None
        self._process: WorkerProcess | None = None

    def settle(
        self, bases: Mapping[str, Any], self_test: bool, settings: Mapping[str, str], *parcels: bytes
    ) -> tuple[dict[str, str], dict[str, Any]]:
        """Unpack what is needed and start the process; versions of this node, and what the process says first."""
        self._swept = SweptFolder("clinfit-")
        folder = self._swept.path
        for parcel in parcels:
            unpack(parcel, folder)
        order = first_order(folder / PACK, bases_below(folder, bases), self_test=self_test)
        self._process = WorkerProcess(order, settings, folder, quiet=True, module=MODULE)
        return versions(), self._next()

    def answer(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """What the process says to a shard."""
        assert self._process is not None
        self._process.send(order)
        return self._next()

    def close(self) -> None:
        """End the process and remove what it had."""
        if self._process is not None and not self._process.ended:
            self._process.stop()
            self._process.wait()
        if self._swept is not None:
            self._swept.remove()

    def _next(self) -> dict[str, Any]:
        """The next message; how the process ended, where it did."""
        assert self._process is not None
        while not self._process.ended:
            if messages := self._process.receive():
                return messages[0]  # it says one thing to each order
        return {"event": "gone", "failure": {"reason": epitaph(self._process.wait(LAST_BREATH)), "fixable": False}}


class _Worker:
    """A desk, as the driver knows it. answer: what it was asked last; None while it waits for a shard."""

    def __init__(self, actor: Any, answer: Any) -> None:
        self.actor, self.answer, self.settled = actor, answer, False


class Nodes:
    """See `Crew`. parcels: pack and bases. bases: as `first_order` has them, with folders below that of a desk."""

    def __init__(
        self,
        ray: ModuleType,
        demand: Demand,
        parcels: Sequence[bytes],
        bases: Mapping[str, Any],
        settings: Mapping[str, str],
        at_once: int | None,
        *,
        self_test: bool,
    ) -> None:
        self._ray, self._demand = ray, demand
        self.room = at_once or seats([demand], ray.nodes())
        self._parcels = [ray.put(parcel) for parcel in parcels]
        self._given = (dict(bases), self_test, dict(settings))
        self._workers: list[_Worker] = []
        self._looked = time.monotonic()

    def begin(self) -> _Worker:
        self._check_room()
        actor = self._ray.remote(Desk).options(**options_of(self._demand)).remote()
        worker = _Worker(actor, actor.settle.remote(*self._given, *self._parcels))
        self._workers.append(worker)
        return worker

    def give(self, worker: _Worker, order: Mapping[str, Any]) -> None:
        worker.answer = worker.actor.answer.remote(dict(order))

    def hear(self) -> list[Heard]:
        asked = {worker.answer: worker for worker in self._workers if worker.answer is not None}
        ready, _ = self._ray.wait(list(asked), num_returns=1, timeout=LOOK_EVERY)
        if time.monotonic() - self._looked >= LOOK_EVERY:
            self._looked = time.monotonic()
            self._check_room()
        return [self._said(asked[answer]) for answer in ready]

    def dismiss(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        if worker.settled:
            self._ray.wait([worker.actor.close.remote()], timeout=GOODBYE)
        self._ray.kill(worker.actor)

    def leave(self) -> None:
        closing = [worker.actor.close.remote() for worker in self._workers if worker.settled and worker.answer is None]
        if closing:
            self._ray.wait(closing, num_returns=len(closing), timeout=GOODBYE)
        for worker in self._workers:
            self._ray.kill(worker.actor)
        self._workers = []

    def _said(self, worker: _Worker) -> Heard:
        errors, answer = self._ray.exceptions, worker.answer
        worker.answer = None
        try:
            found = self._ray.get(answer)
        except errors.RayTaskError as error:
            cause = type(getattr(error, "cause", None) or error).__name__
            return Heard(worker, "unable", failure=Failure(f"{cause} on a node, where it unpacks", False))
        except errors.RayError as error:
            if cannot_import(error):
                raise without_clinfit() from error
            self._workers.remove(worker)
            self._ray.kill(worker.actor)
            return Heard(worker, "gone", failure=Failure("its node, or its process there, is lost", False))
        if not worker.settled:
            there, found = found
            check_versions(there)
            worker.settled = True
        heard = heard_of(worker, found)
        if heard.event == "gone":
            self.dismiss(worker)
        return heard

    def _check_room(self) -> None:
        """Raise ClinfitError where no node is large enough, such as after the only one has gone."""
        if not any(self._demand.fits(node) for node in self._ray.nodes()):
            raise ClinfitError(f"no node of the cluster has {self._demand}, which a worker needs", fix=GO_ON)
