"""The one line in front of the models: requests before jobs, nothing waits for company, bounds instead of backlogs.

One thread asks the models. When it is free it takes at once what is there: the first of the requests, and those behind
it that ask the same model, as many as `Pace` allows; where no request waits, records of jobs. So a request waits for
one turn of a job at most, and after EVERY turns of requests a job has one even where requests never end.

What is asked together is answered together by `Pack.answer`, whose answers do not depend on the neighbours. Where
asking fails, each record is asked alone, and only those that fail alone have failed.
"""

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from clinfit.data.records import Record
from clinfit.models.base import Heard
from clinfit.packs.answer import Answer
from clinfit.serve.models import ServedModel

Priority = Literal["request", "job"]
T = TypeVar("T")

#: Seconds that a turn should take, so that a request does not wait longer for a job.
TURN = 0.25
#: Records of one turn at most, a power of two.
MOST = 64
#: Twice the records for at most so many times the seconds: most of a turn is spent on asking at all.
CHEAP = 1.5
#: After so many turns of requests a job has one.
EVERY = 8
#: Other things that may wait at most.
OTHERS = 8


class Busy(Exception):
    """More waits than may. seconds: until about when there is room again."""

    def __init__(self, seconds: float) -> None:
        super().__init__("too much is waiting")
        self.seconds = seconds


#: Called with a beginning of a text while it is written; whether anybody wants more of it.
Follow = Callable[[str], bool]


@dataclass(eq=False)
class Entry:
    """One record that waits. follow: told of its text while that is written, from the thread that asks models."""

    model: ServedModel
    record: Record
    answer: Future[Answer] = field(default_factory=Future)
    follow: Follow | None = None


class Pace:
    """How many records a turn of one model has: as many as take about TURN seconds, and more where they cost little.

    Sizes are powers of two, tried from one on. seconds: of the turns of each size, smoothed.
    """

    def __init__(self) -> None:
        self._seconds: dict[int, float] = {}

    def size(self) -> int:
        """Records of the next turn."""
        size = 1
        while size < MOST and self._grows(size):
            size *= 2
        return size

    def _grows(self, size: int) -> bool:
        """Whether twice as many are asked; where that is not known it is tried, if it may well be worth it."""
        now, twice, half = (self._seconds.get(records) for records in (size, 2 * size, size // 2))
        if now is None:
            return False
        if twice is None:
            return size == 1 or now <= TURN / 2 or (half is not None and now <= CHEAP * half)
        return twice <= TURN or twice <= CHEAP * now

    def took(self, records: int, seconds: float) -> None:
        """What a turn took. What was too slow is forgiven in time: the machine may have been busy."""
        if records & (records - 1) == 0:
            self._seconds[records] = 0.7 * self._seconds.get(records, seconds) + 0.3 * seconds
        for size in self._seconds:
            if size > records:
                self._seconds[size] *= 0.99

    def each(self) -> float:
        """Seconds of one record in a turn of this size."""
        size = self.size()
        return self._seconds.get(size, 0.05) / size


class Batcher:
    """Asks models in one thread. waiting: entries of requests that may wait."""

    def __init__(self, waiting: int) -> None:
        self._most_waiting = waiting
        self._lines: dict[Priority, deque[Entry]] = {"request": deque(), "job": deque()}
        self._other: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._room = threading.Condition()
        self._stopped = False
        self._since_job = 0
        self._was_other = False
        self._paces: defaultdict[str, Pace] = defaultdict(Pace)
        self.asked = 0
        self.turns = 0
        self._thread = threading.Thread(target=self._run, name="clinfit-models", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive() and not self._stopped

    def waiting(self, priority: Priority) -> int:
        return len(self._lines[priority])

    def submit(
        self,
        model: ServedModel,
        records: Sequence[Record],
        priority: Priority = "request",
        follow: Sequence[Follow] = (),
    ) -> list[Future[Answer]]:
        """A future answer for each record; raises Busy when too many requests wait. A cancelled future is not asked.

        follow: for each record what follows its text, or nothing.
        """
        followed = follow or [None] * len(records)
        entries = [Entry(model, record, follow=each) for record, each in zip(records, followed, strict=True)]
        with self._room:
            if self._stopped:
                raise Busy(1.0)
            line = self._lines[priority]
            if priority == "request" and line and len(line) + len(entries) > self._most_waiting:
                raise Busy(len(line) * self._paces[model.name].each())
            line.extend(entries)
            self._room.notify()
        return [entry.answer for entry in entries]

    def alone(self, work: Callable[[], T]) -> Future[T]:
        """Something else that a model is asked, in a turn of its own, every other one at most; raises Busy."""
        done: Future[T] = Future()
        with self._room:
            if self._stopped or len(self._other) >= OTHERS:
                raise Busy(1.0)
            self._other.append((work, done))
            self._room.notify()
        return done

    def stop(self, seconds: float = 30.0) -> None:
        """Answer nothing more; what waits is cancelled, and a turn that has begun is waited for so long."""
        with self._room:
            self._stopped = True
            for _, done in self._other:
                done.cancel()
            self._other.clear()
            for line in self._lines.values():
                for entry in line:
                    entry.answer.cancel()
                line.clear()
            self._room.notify()
        self._thread.join(timeout=seconds)

    def _run(self) -> None:
        while True:
            with self._room:
                while not self._stopped and not self._other and not any(self._lines.values()):
                    self._room.wait()
                if self._stopped:
                    return
                others_turn = self._other and not (self._was_other and any(self._lines.values()))
                other = self._other.popleft() if others_turn else None
                self._was_other = other is not None
                entries = self._turn() if other is None else []
            self._ask(entries)
            if other is not None:
                _do(*other)

    def _turn(self) -> list[Entry]:
        """What is asked next: entries of one line and one model, in their order."""
        jobs_turn = self._lines["job"] and (not self._lines["request"] or self._since_job >= EVERY)
        self._since_job = 0 if jobs_turn else self._since_job + 1
        line = self._lines["job" if jobs_turn else "request"]
        model = line[0].model
        most = self._paces[model.name].size()
        taken: list[Entry] = []
        kept: list[Entry] = []
        while line and len(taken) < most:
            entry = line.popleft()
            if entry.model is not model:
                kept.append(entry)
            elif entry.answer.set_running_or_notify_cancel():
                taken.append(entry)
        line.extendleft(reversed(kept))
        return taken

    def _ask(self, entries: Sequence[Entry]) -> None:
        if not entries:
            return None
        began = time.perf_counter()
        model = entries[0].model
        try:
            answers = model.answer([entry.record for entry in entries], _heard(entries))
        except Exception as error:
            if len(entries) == 1:
                return entries[0].answer.set_exception(error)
            for entry in entries:
                self._ask([entry])
            return None
        for entry, answer in zip(entries, answers, strict=True):
            entry.answer.set_result(answer)
        self.asked += len(entries)
        self.turns += 1
        self._paces[model.name].took(len(entries), time.perf_counter() - began)
        return None


def _do(work: Callable[[], T], done: Future[T]) -> None:
    if done.set_running_or_notify_cancel():
        try:
            done.set_result(work())
        except Exception as error:
            done.set_exception(error)


def _heard(entries: Sequence[Entry]) -> Heard | None:
    """Who follows the texts of records that are asked together; None where nobody does."""
    follows = [entry.follow for entry in entries]
    if not any(follows):
        return None

    def heard(index: int, text: str) -> bool:
        follow = follows[index]
        return follow is None or follow(text)

    return heard
