"""The steps of a study as work of a Ray cluster, by the contract of `Executor`.

A worker holds one base, so an actor stands for a worker key, and takes one run of it after the other; where the cluster
has room, several share a key. An actor that is lost, with its node or alone, costs the step that it held, which begins
again elsewhere. Ray itself repeats nothing.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from types import ModuleType
from typing import Any

from clinfit.errors import ClinfitError
from clinfit.files import DiskError
from clinfit.runs.cluster import shipping
from clinfit.runs.cluster.connect import check_installed, connected
from clinfit.runs.cluster.demands import Demand, demands, seats, thread_settings
from clinfit.runs.cluster.station import Station, check_versions, versions
from clinfit.runs.cluster.told import Told
from clinfit.runs.steps.executors import Observer, inherited, note
from clinfit.runs.steps.failures import Failure, attempted
from clinfit.runs.steps.place import Place
from clinfit.runs.steps.plan import Step
from clinfit.runs.steps.worker_process import epitaph

#: Seconds between two looks at the nodes while nothing is heard.
LOOK_EVERY = 5.0
#: How often a step may be lost with its node before it has failed.
LOSSES = 3
#: Seconds that a worker is waited for when it is dismissed.
GOODBYE = 10.0


class Ray:
    """Does steps on a cluster: one of this machine alone, `auto`, or HOST:PORT (connect.py).

    at_once: how many workers at the same time; None: as many as the cluster holds. Raises ClinfitError when Ray is not
    installed.
    """

    elsewhere = True

    def __init__(self, address: str | None = None, at_once: int | None = None) -> None:
        check_installed()
        self.address, self.at_once = address, at_once

    def run(self, steps: Sequence[Step], place: Place, observer: Observer) -> dict[str, Failure]:
        if not steps:
            return {}
        with connected(self.address) as ray:
            work = _Work(ray, list(steps), place, observer, self.at_once)
            try:
                work.do()
            except (
                ConnectionError
            ) as error:  # only a client server can be lost so; without it nobody can be told to end
                raise ClinfitError(
                    f"the connection to the cluster ({self.address}) is lost",
                    fix="run it again to go on; what is finished is kept",
                ) from error
            finally:
                work.leave()
            return work.failures


@dataclass
class _Seat:
    """An actor, and what the driver knows of it. left: the steps of the run that it has. has: ids of outcomes there.
    answer: what it was asked last; None while it waits for a step."""

    key: str
    actor: Any
    answer: Any
    settled: bool = False
    ready: bool = False
    left: deque[Step] = field(default_factory=deque)
    held: Step | None = None
    has: set[str] = field(default_factory=set)


class _Work:
    """All steps of a run of `clinfit run`, from the first to the last. waiting: by worker key, the runs that no actor
    has, with the steps that are left of each."""

    def __init__(
        self, ray: ModuleType, steps: list[Step], place: Place, observer: Observer, at_once: int | None
    ) -> None:
        self.ray, self.steps, self.place, self.observer = ray, steps, place, observer
        self.failures: dict[str, Failure] = {}
        self.told = Told(place, observer)
        self._planned = {step.id: step for step in steps}
        self._waiting: dict[str, deque[deque[Step]]] = {}
        for run in dict.fromkeys(step.run for step in steps):
            own = deque(step for step in steps if step.run == run)
            self._waiting.setdefault(own[0].worker, deque()).append(own)
        self._seats: list[_Seat] = []
        self._losses: Counter[str] = Counter()
        nodes = ray.nodes()
        self._demands = demands(place, steps, nodes)
        self._at_once = at_once or seats(self._demands.values(), nodes)
        self._bases = {
            key: shipping.bases_of(place, [step for step in steps if step.worker == key]) for key in self._waiting
        }
        self._parcels: dict[str, Any] = {}

    # ------------------------------------------------------------ the loop

    def do(self) -> None:
        """Until no step is left."""
        looked = time.monotonic()
        while self._fill() or self._seats:
            answers = [seat.answer for seat in self._seats if seat.answer is not None]
            heard, _ = self.ray.wait(answers, num_returns=1, timeout=LOOK_EVERY)
            for seat in [seat for seat in self._seats if seat.answer is not None and seat.answer in heard]:
                self._hear(seat)
            if time.monotonic() - looked >= LOOK_EVERY:
                looked = time.monotonic()
                self._look()

    def leave(self) -> None:
        """End all workers, whatever they do."""
        self.told.end_all()
        with suppress(ConnectionError):
            closing = [seat.actor.close.remote() for seat in self._seats if seat.settled]
            if closing:
                self.ray.wait(closing, num_returns=len(closing), timeout=GOODBYE)
            for seat in self._seats:
                self.ray.kill(seat.actor)

    def _fill(self) -> bool:
        """Begin actors where there is room and work, and give work to those that have none; whether any work waits."""
        for seat in self._seats:
            if seat.ready and seat.held is None:
                self._go_on(seat)
        self._seats, idle = [s for s in self._seats if not self._idle(s)], [s for s in self._seats if self._idle(s)]
        for seat in idle:
            self._dismiss(seat)
        while len(self._seats) < self._at_once and (key := self._next_key()) is not None:
            self._begin(key)
        return any(self._waiting.values())

    def _idle(self, seat: _Seat) -> bool:
        """Whether there is nothing for an actor to do, now or later."""
        return seat.held is None and not seat.left and not self._waiting[seat.key]

    def _next_key(self) -> str | None:
        """The key with the most runs an actor; None where each waiting run has an actor on its way."""
        on_their_way = Counter(seat.key for seat in self._seats if not seat.left and seat.held is None)
        actors = Counter(seat.key for seat in self._seats)
        keys = [key for key, runs in self._waiting.items() if len(runs) > on_their_way[key]]
        return max(keys, key=lambda key: len(self._waiting[key]) / (1 + actors[key]), default=None)

    def _look(self) -> None:
        """Give up what no node can do any more, such as after the only large one has gone."""
        nodes = self.ray.nodes()
        for seat in [seat for seat in self._seats if not seat.settled]:
            if not any(self._demands[seat.key].fits(node) for node in nodes):
                self._seats.remove(seat)
                self.ray.kill(seat.actor)
        for key in list(self._waiting):
            if not any(seat.key == key for seat in self._seats):
                self._refuse(key, nodes)

    def _refuse(self, key: str, nodes: Sequence[Any]) -> bool:
        """Fail the steps of a key that fits on no node; whether it is so."""
        demand = self._demands[key]
        if any(demand.fits(node) for node in nodes):
            return False
        while self._waiting[key]:
            for step in self._waiting[key].popleft():
                failure = Failure(f"no node of the cluster has {demand}, which it needs", True)
                note(step, failure, self.failures, self.observer)
        return True

    # ------------------------------------------------------------ actors

    def _begin(self, key: str) -> None:
        """Let an actor come up for a key, where a node has room."""
        if self._refuse(key, self.ray.nodes()):
            return
        demand, bases = self._demands[key], self._bases[key]
        runs = sorted({step.run for step in self.steps if step.worker == key})
        actor = self.ray.remote(Station).options(**options_of(demand)).remote()
        parcels = [self._put("study", lambda: shipping.study_parcel(self.place))]
        for name, base in bases.items():
            if base["folder"]:
                parcels.append(self._put(name, lambda base=base: shipping.base_parcel(base)))
        order = shipping.first_order(runs, bases)
        answer = actor.settle.remote(order, thread_settings(self.place.environment), *parcels)
        self._seats.append(_Seat(key, actor, answer))

    def _put(self, name: str, make: Any) -> Any:
        """A parcel in the object store, put there once."""
        if name not in self._parcels:
            self._parcels[name] = self.ray.put(make())
        return self._parcels[name]

    def _hear(self, seat: _Seat) -> None:
        """Take in what an actor answered, and ask it for more."""
        errors = self.ray.exceptions
        try:
            answer = self.ray.get(seat.answer)
            if not seat.settled:
                self._settled(seat, answer)
                messages, parcel, code = [], None, None
            else:
                messages, parcel, code = answer
        except errors.RayTaskError as error:
            self._broken(seat, error)
            return
        except errors.RayError as error:
            if cannot_import(error):
                raise without_clinfit() from error
            self._lost(seat)
            return
        for message in messages:
            self._take(seat, message, parcel)
        if code is not None:
            self._end_seat(seat, Failure(epitaph(code), False))
        else:
            seat.answer = seat.actor.hear.remote() if seat.held or not seat.ready else None

    def _settled(self, seat: _Seat, found: dict[str, str]) -> None:
        """An actor is up. Raises ClinfitError where it is of another version."""
        check_versions(found)
        seat.settled = True

    def _take(self, seat: _Seat, message: dict[str, Any], parcel: bytes | None) -> None:
        match message:
            case {"event": "tell", "how": how, "what": what}:
                self.told.hear(seat.held, how, what)
            case {"event": "disk", "found": found, "expected": expected, "fix": fix}:
                raise DiskError(f"on a node of the cluster: {found}", expected=expected, fix=fix)
            case {"event": "ready"}:
                seat.ready = True
                self._losses.pop(seat.key, None)
            case {"event": "untaken"}:
                assert seat.held is not None
                self.told.end(seat.held)
                seat.left.appendleft(seat.held)
                seat.held = None
            case {"event": "done", "failure": failure}:
                assert seat.held is not None and parcel is not None
                step, seat.held = seat.held, None
                self._done(seat, step, parcel, Failure(**failure) if failure else None)
            case {"event": "unable", "failure": failure}:
                while self._waiting[seat.key]:
                    for step in self._waiting[seat.key].popleft():
                        note(step, Failure(**failure), self.failures, self.observer)

    def _done(self, seat: _Seat, step: Step, parcel: bytes, failure: Failure | None) -> None:
        """A step is done, or failed: what it wrote goes into the study folder."""
        if failure is None:
            _, failure = self._attempt(step, partial(shipping.take_in, step, parcel, self.place))
            seat.has.add(step.id)
        else:
            self._attempt(step, partial(shipping.keep_trace, step, parcel, failure, self.place))
        note(step, failure, self.failures, self.observer)

    def _go_on(self, seat: _Seat) -> None:
        """Give an actor its next step, past those that are done or can no longer be done; then another run."""
        while seat.held is None and (seat.left or self._waiting[seat.key]):
            if not seat.left:
                seat.left = self._waiting[seat.key].popleft()
                continue
            if any(seat.left[0].inputs == other.held.inputs for other in self._seats if other.held):
                return  # another actor is at the very same; its outcome is taken over
            step = seat.left.popleft()
            if failure := inherited(step, self.failures):
                note(step, failure, self.failures, self.observer)
                continue
            self.observer.began(step)
            done, failure = self._attempt(step, partial(shipping.done_already, step, self.place, self.observer.say))
            if done or failure:
                note(step, failure, self.failures, self.observer)
                continue
            self._give(seat, step)

    def _attempt(self, step: Step, act: Callable[[], Any]) -> tuple[Any, Failure | None]:
        """What the driver does for a step itself fails that step alone, such as when another process holds its run."""
        return attempted(self.place.folder.run(step.run).path, act)

    def _give(self, seat: _Seat, step: Step) -> None:
        missing = [id for id in shipping.needed(step, self._planned) if id not in seat.has]
        parcels = [shipping.record_parcel(step, self.place)]
        parcels += [shipping.outcome_parcel(id, self.place) for id in missing]
        refs = [self.ray.put(parcel) for parcel in parcels]
        seat.has |= set(missing)
        seat.held = step
        seat.answer = seat.actor.give.remote(
            asdict(step), shipping.models_folder(step), shipping.brought_back(step), *refs
        )

    def _lost(self, seat: _Seat) -> None:
        """An actor is gone, with its node or alone: what it held is to be done once more, elsewhere."""
        step = seat.held
        key = seat.key if step is None else step.id
        self._losses[key] += 1
        if self._losses[key] >= LOSSES:
            reason = f"the node that held it was lost {LOSSES} times, as it is where memory runs out"
            self._end_seat(seat, Failure(reason, False))
            return
        self._seats.remove(seat)
        if step is not None:
            self.told.end(step)
            seat.left.appendleft(step)
            self.observer.say(f"{step.run}: the node that worked on it is gone; the step begins again on another")
        self._requeue(seat)

    def _broken(self, seat: _Seat, error: Exception) -> None:
        """An actor could not do its own part, such as when the disk of its node is full."""
        cause = type(getattr(error, "cause", None) or error).__name__
        self._end_seat(seat, Failure(f"{cause} on the node, where it unpacks and packs", False))

    def _end_seat(self, seat: _Seat, failure: Failure) -> None:
        """Let an actor go that cannot go on: the step that it held has failed, or its first, if it never held one."""
        self._seats.remove(seat)
        self._requeue(seat)
        step, runs = seat.held, self._waiting[seat.key]
        if step is None and not seat.ready and runs:
            step = runs[0].popleft()
            if not runs[0]:
                runs.popleft()
        if step is not None:
            self.told.end(step)
            note(step, failure, self.failures, self.observer)
        self._dismiss(seat)

    def _requeue(self, seat: _Seat) -> None:
        if seat.left:
            self._waiting[seat.key].appendleft(seat.left)
            seat.left = deque()

    def _dismiss(self, seat: _Seat) -> None:
        """Let an actor go that has nothing to do; what it had is removed there."""
        if seat.settled:
            self.ray.wait([seat.actor.close.remote()], timeout=GOODBYE)
        self.ray.kill(seat.actor)


def options_of(demand: Demand) -> dict[str, Any]:
    options: dict[str, Any] = {"num_cpus": demand.cpus, "num_gpus": demand.gpus}
    return options | ({"memory": demand.memory} if demand.memory else {}) | {"max_restarts": 0, "max_task_retries": 0}


def cannot_import(error: Exception) -> bool:
    said = str(error)
    return "failed to import" in said or "No module named 'clinfit" in said


def without_clinfit() -> ClinfitError:
    found = versions()
    return ClinfitError(
        "a node of the cluster cannot import clinfit",
        expected=", ".join(f"{name} {version}" for name, version in found.items()) + " on every node",
        fix=f"pip install 'clinfit[ray]=={found['clinfit']}' on every node",
    )
