"""The one line in front of the models: requests before jobs, nothing waits for company, bounds instead of backlogs.

One thread asks the models. When it is free it takes at once what is there: the first of the requests, and those behind
it that ask the same model, up to what takes about TURN seconds; where no request waits, records of jobs. So a request
waits for one turn of a job at most, and every EVERY-th turn is a job's even where requests never end.

What is asked together is answered together by `Pack.answer`, whose answers do not depend on the neighbours. Where
asking fails, each record is asked alone, and only those that fail alone have failed.
"""

import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Literal

from clinfit.data.records import Record
from clinfit.packs.answer import Answer
from clinfit.serve.models import ServedModel

Priority = Literal["request", "job"]

#: Seconds that a turn may take, so that a request does not wait longer for a job.
TURN = 0.25
#: Records of one turn at most.
MOST = 64
#: After so many turns of requests a job has one.
EVERY = 8


class Busy(Exception):
    """More waits than may. seconds: until about when there is room again."""

    def __init__(self, seconds: float) -> None:
        super().__init__("too much is waiting")
        self.seconds = seconds


@dataclass(eq=False)
class Entry:
    """One record that waits."""

    model: ServedModel
    record: Record
    answer: Future[Answer] = field(default_factory=Future)


class Batcher:
    """Asks models in one thread. waiting: entries of requests that may wait."""

    def __init__(self, waiting: int) -> None:
        self._most_waiting = waiting
        self._lines: dict[Priority, deque[Entry]] = {"request": deque(), "job": deque()}
        self._room = threading.Condition()
        self._stopped = False
        self._since_job = 0
        self._seconds: dict[str, float] = {}
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
        self, model: ServedModel, records: Sequence[Record], priority: Priority = "request"
    ) -> list[Future[Answer]]:
        """A future answer for each record; raises Busy when too many requests wait. A cancelled future is not asked."""
        entries = [Entry(model, record) for record in records]
        with self._room:
            if self._stopped:
                raise Busy(1.0)
            line = self._lines[priority]
            if priority == "request" and line and len(line) + len(entries) > self._most_waiting:
                raise Busy(len(line) * self._seconds.get(model.name, 0.05))
            line.extend(entries)
            self._room.notify()
        return [entry.answer for entry in entries]

    def stop(self) -> None:
        """Answer nothing more; what waits is cancelled."""
        with self._room:
            self._stopped = True
            for line in self._lines.values():
                for entry in line:
                    entry.answer.cancel()
                line.clear()
            self._room.notify()
        self._thread.join(timeout=30)

    def _run(self) -> None:
        while True:
            with self._room:
                while not self._stopped and not any(self._lines.values()):
                    self._room.wait()
                if self._stopped:
                    return
                entries = self._turn()
            self._ask(entries)

    def _turn(self) -> list[Entry]:
        """What is asked next: entries of one line and one model, in their order."""
        jobs_turn = self._lines["job"] and (not self._lines["request"] or self._since_job >= EVERY)
        self._since_job = 0 if jobs_turn else self._since_job + 1
        line = self._lines["job" if jobs_turn else "request"]
        model = line[0].model
        seconds = self._seconds.get(model.name)
        most = 1 if seconds is None else max(1, min(MOST, int(TURN / seconds)))
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
            answers = model.answer([entry.record for entry in entries])
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
        seconds = (time.perf_counter() - began) / len(entries)
        self._seconds[model.name] = 0.7 * self._seconds.get(model.name, seconds) + 0.3 * seconds
        return None
