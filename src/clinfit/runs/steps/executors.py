"""Who does the steps of a plan: this process, or one process for each worker key.

Both do the same steps through the same `Worker`, in the plan's order, and leave the same files. A step that fails takes
those along that need it, and nothing else.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from functools import cache, partial
from typing import Any, Protocol

from clinfit.files import DiskError
from clinfit.runs.control.status import Listener
from clinfit.runs.steps.demands import Room
from clinfit.runs.steps.failures import Failure, too_much_memory
from clinfit.runs.steps.place import Place, order_of
from clinfit.runs.steps.plan import Step
from clinfit.runs.steps.worker import Worker
from clinfit.runs.steps.worker_process import LAST_BREATH, WorkerProcess, epitaph, speaking

#: Seconds between two looks at the memory of workers that may hold so much only.
LOOK_EVERY = 0.1


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

    at_once: how many of them work at the same time, where there is memory for all of them: one waits that is estimated
    not to fit beside those at work; one alone always may. memory: GB (10^9 bytes) that each may hold; one that holds
    more is killed. A process that dies fails the step that it held; the steps that are left go to a new one.
    """

    elsewhere = False

    def __init__(self, at_once: int = 1, memory: float | None = None) -> None:
        self.at_once, self.memory = at_once, memory

    def run(self, steps: Sequence[Step], place: Place, observer: Observer) -> dict[str, Failure]:
        failures: dict[str, Failure] = {}
        waiting = [deque(step for step in steps if step.worker == key) for key in _keys(steps)]
        working: list[_Process] = []
        room = cache(partial(Room, place, steps))
        told: set[str] = set()
        try:
            while waiting or working:
                while (at := self._next(waiting, working, room)) is not None:
                    working.append(_Process(place, waiting.pop(at)))
                if waiting and len(working) < self.at_once:
                    _tell_who_waits(waiting, told, observer)
                if self.memory is not None:
                    for process in working:
                        process.keep_within(self.memory)
                for process in speaking(working, None if self.memory is None else LOOK_EVERY):
                    for message in process.receive():
                        _hear(process, message, failures, observer)
                    if process.ended:
                        working.remove(process)
                        _bury(process, failures, observer)
                        if left := _still_to_do(process.left, failures, observer):
                            waiting.insert(0, left)
        finally:
            _stop(working)
        return failures

    def _next(
        self, waiting: Sequence[deque[Step]], working: Sequence["_Process"], room: Callable[[], Room]
    ) -> int | None:
        """Whose turn it is of those that wait: the first that fits beside those at work."""
        if not waiting or len(working) >= self.at_once:
            return None
        if not working:
            return 0
        held = {process.key: process.memory for process in working}
        return next((at for at, steps in enumerate(waiting) if room().fits(steps[0].worker, held)), None)


def inherited(step: Step, failures: dict[str, Failure]) -> Failure | None:
    """The failure of a step that this one needs, None when nothing stands in its way."""
    return next((failures[need] for need in step.needs if need in failures), None)


def note(step: Step, failure: Failure | None, failures: dict[str, Failure], observer: Observer) -> None:
    if failure is not None:
        failures[step.id] = failure
    observer.ended(step, failure)


# ---------------------------------------------------------------- processes


class _Process(WorkerProcess):
    """A worker process. key: of its steps. left: those that wait for it. held: the one that it does now. excess: why it
    was killed, where it held too much memory."""

    def __init__(self, place: Place, steps: deque[Step]) -> None:
        self.key, self.left, self.ready = steps[0].worker, steps, False
        self.held: Step | None = None
        self.excess: Failure | None = None
        super().__init__(order_of(place, [step.run for step in steps]))

    def next(self, step: Step) -> None:
        """Give it a step; one that has died meanwhile never held it."""
        if self.send(asdict(step)):
            self.held = step
        else:
            self.left.appendleft(step)

    def keep_within(self, limit: float) -> None:
        """Kill it where it holds more than `limit` GB."""
        held = self.memory / 1e9
        if held > limit and self.excess is None:
            self.excess = too_much_memory(held, limit)
            self.kill()


def _keys(steps: Sequence[Step]) -> list[str]:
    return list(dict.fromkeys(step.worker for step in steps))


def _tell_who_waits(waiting: Sequence[deque[Step]], told: set[str], observer: Observer) -> None:
    """Say once of each key that there is no room for it yet."""
    for key in [steps[0].worker for steps in waiting if steps[0].worker not in told]:
        told.add(key)
        observer.say(f"{key} waits until there is memory for it beside what is at work")


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
    """Give a process its next step, or send it home."""
    process.left = _still_to_do(process.left, failures, observer)
    if not process.left:
        process.dismiss()
        return
    step = process.left.popleft()
    observer.began(step)
    process.next(step)


def _still_to_do(steps: Iterable[Step], failures: dict[str, Failure], observer: Observer) -> deque[Step]:
    """The steps without those that need a failed one, which have failed with it. Steps stand behind what they need."""
    left = deque[Step]()
    for step in steps:
        if failure := inherited(step, failures):
            note(step, failure, failures, observer)
        else:
            left.append(step)
    return left


def _bury(process: _Process, failures: dict[str, Failure], observer: Observer) -> None:
    """What a process leaves behind that ended: the step that it held has failed, or its first, if it never held one."""
    code = process.wait(LAST_BREATH)
    step = process.held
    if step is None and not process.ready and process.left:
        step = process.left.popleft()
    if step is not None:
        observer.end(step.id)
        note(step, process.excess or Failure(epitaph(code), False), failures, observer)


def _stop(working: Sequence[_Process]) -> None:
    for process in working:
        process.stop()
    for process in working:
        process.wait()
