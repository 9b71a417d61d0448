"""Who does the steps of a plan: this process, or one process for each worker key.

Both do the same steps through the same `Worker`, in the plan's order, and leave the same files. A step that fails takes
those along that need it, and nothing else.
"""

import selectors
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Protocol

from clinfit.files import DiskError
from clinfit.models.remote.egress import egress_allowed
from clinfit.runs.control.status import Listener
from clinfit.runs.steps.failures import Failure
from clinfit.runs.steps.place import Place
from clinfit.runs.steps.plan import Step
from clinfit.runs.steps.worker import Worker
from clinfit.runs.steps.worker_process import WorkerProcess, epitaph

#: Seconds that one gets between its last word and its end.
LAST_BREATH = 60.0


class Observer(Listener, Protocol):
    """Who is told of steps that begin and end, beside how far they are."""

    def began(self, step: Step) -> None: ...

    def ended(self, step: Step, failure: Failure | None) -> None: ...


class Executor(Protocol):
    """Does all steps; how those failed that did, by id. Raises DiskError when the disk refuses. elsewhere: whether on
    other machines than this one."""

    elsewhere: bool

    def run(self, steps: Sequence[Step], place: Place, observer: Observer) -> dict[str, Failure]: ...


class Inline:
    """One step after the other, in this process. debug: let a step's exception through."""

    elsewhere = False

    def __init__(self, debug: bool = False) -> None:
        self.debug = debug

    def run(self, steps: Sequence[Step], place: Place, observer: Observer) -> dict[str, Failure]:
        worker, failures = Worker(place, observer), dict[str, Failure]()
        for step in steps:
            failure = inherited(step, failures)
            if failure is None:
                observer.began(step)
                failure = worker.do(step) if self.debug else worker.attempt(step)
            note(step, failure, failures, observer)
        return failures


class Processes:
    """One process for each worker key, so that a base is in memory once and goes when its models are done.

    at_once: how many of them work at the same time. A process that dies fails the step that it held; the steps that are
    left go to a new one.
    """

    elsewhere = False

    def __init__(self, at_once: int = 1) -> None:
        self.at_once = at_once

    def run(self, steps: Sequence[Step], place: Place, observer: Observer) -> dict[str, Failure]:
        failures: dict[str, Failure] = {}
        waiting = [deque(step for step in steps if step.worker == key) for key in _keys(steps)]
        working: list[_Process] = []
        try:
            while waiting or working:
                while waiting and len(working) < self.at_once:
                    working.append(_Process(place, waiting.pop(0)))
                for process in _heard(working):
                    for message in process.receive():
                        _hear(process, message, failures, observer)
                    if process.ended:
                        working.remove(process)
                        _bury(process, failures, observer)
                        if process.left:
                            waiting.insert(0, process.left)
        finally:
            _stop(working)
        return failures


def inherited(step: Step, failures: dict[str, Failure]) -> Failure | None:
    """The failure of a step that this one needs, None when nothing stands in its way."""
    return next((failures[need] for need in step.needs if need in failures), None)


def note(step: Step, failure: Failure | None, failures: dict[str, Failure], observer: Observer) -> None:
    if failure is not None:
        failures[step.id] = failure
    observer.ended(step, failure)


# ---------------------------------------------------------------- processes


class _Process(WorkerProcess):
    """A worker process. left: the steps that wait for it. held: the one that it does now."""

    def __init__(self, place: Place, steps: deque[Step]) -> None:
        self.left, self.ready = steps, False
        self.held: Step | None = None
        super().__init__(
            {
                "folder": str(place.folder.path.resolve()),
                "study_folder": str(place.study.folder.resolve()),
                "siblings": str(place.siblings.resolve()) if place.siblings else None,
                "runs": sorted({step.run for step in steps}),
                "egress": egress_allowed(),
            }
        )

    def next(self, step: Step) -> None:
        """Give it a step; one that has died meanwhile never held it."""
        if self.send(asdict(step)):
            self.held = step
        else:
            self.left.appendleft(step)


def _keys(steps: Sequence[Step]) -> list[str]:
    return list(dict.fromkeys(step.worker for step in steps))


def _heard(working: Sequence[_Process]) -> list[_Process]:
    """Those who have said something, or ended; waits for one."""
    with selectors.DefaultSelector() as selector:
        for process in working:
            selector.register(process.out, selectors.EVENT_READ, process)
        return [key.data for key, _ in selector.select()]


def _hear(process: _Process, message: dict[str, Any], failures: dict[str, Failure], observer: Observer) -> None:
    match message:
        case {"event": "tell", "how": how, "what": what}:
            getattr(observer, how)(*what)
        case {"event": "disk", "found": found, "expected": expected, "fix": fix}:
            raise DiskError(found, expected=expected, fix=fix)
        case {"event": "ready"}:
            process.ready = True
            _go_on(process, failures, observer)
        case {"event": "done", "failure": failure}:
            assert process.held is not None
            step, process.held = process.held, None
            note(step, Failure(**failure) if failure else None, failures, observer)
            _go_on(process, failures, observer)
        case {"event": "unable", "failure": failure}:
            while process.left:
                note(process.left.popleft(), Failure(**failure), failures, observer)


def _go_on(process: _Process, failures: dict[str, Failure], observer: Observer) -> None:
    """Give a process its next step, past those that can no longer be done."""
    while process.left and process.held is None:
        step = process.left.popleft()
        if failure := inherited(step, failures):
            note(step, failure, failures, observer)
            continue
        observer.began(step)
        process.next(step)
        return
    process.dismiss()


def _bury(process: _Process, failures: dict[str, Failure], observer: Observer) -> None:
    """What a process leaves behind that ended: the step that it held has failed, or its first, if it never held one."""
    code = process.wait(LAST_BREATH)
    step = process.held
    if step is None and not process.ready and process.left:
        step = process.left.popleft()
    if step is not None:
        observer.end(step.id)
        note(step, Failure(epitaph(code), False), failures, observer)


def _stop(working: Sequence[_Process]) -> None:
    for process in working:
        process.stop()
    for process in working:
        process.wait()
