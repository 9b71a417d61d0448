"""Workers of this machine: a process each, which ends with the one that asked."""

from collections.abc import Mapping
from typing import Any

from clinfit.runs.batch.answerer import MODULE
from clinfit.runs.batch.crew import Heard
from clinfit.runs.steps.failures import Failure
from clinfit.runs.steps.worker_process import LAST_BREATH, WorkerProcess, epitaph, speaking


class Processes:
    """See `Crew`. order: the first of each process (answerer.py)."""

    def __init__(self, order: Mapping[str, Any], room: int) -> None:
        self.room, self._order = room, order
        self._workers: list[WorkerProcess] = []

    def begin(self) -> WorkerProcess:
        self._workers.append(WorkerProcess(self._order, module=MODULE))
        return self._workers[-1]

    def give(self, worker: WorkerProcess, order: Mapping[str, Any]) -> None:
        worker.send(order)  # one that is gone says so by the end of its output

    def hear(self) -> list[Heard]:
        return [heard for worker in speaking(self._workers) for heard in self._said(worker)]

    def dismiss(self, worker: WorkerProcess) -> None:
        self._workers.remove(worker)
        worker.dismiss()
        worker.wait(LAST_BREATH)

    def leave(self) -> None:
        for worker in self._workers:
            worker.stop()
        for worker in self._workers:
            worker.wait()
        self._workers = []

    def _said(self, worker: WorkerProcess) -> list[Heard]:
        found = [heard_of(worker, message) for message in worker.receive()]
        if worker.ended and not any(heard.event == "unable" for heard in found):
            self._workers.remove(worker)
            found.append(Heard(worker, "gone", failure=Failure(epitaph(worker.wait(LAST_BREATH)), False)))
        return found


def heard_of(worker: Any, message: Mapping[str, Any]) -> Heard:
    """A message of an answering process (answerer.py)."""
    failure = message.get("failure")
    return Heard(worker, message["event"], message.get("answers", ()), failure and Failure(**failure))
