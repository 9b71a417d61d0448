"""Workers that answer shards: the contract of those of this machine and of a cluster, and who gives them work."""

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from clinfit.errors import ClinfitError
from clinfit.runs.batch.shards import Shards
from clinfit.runs.steps.failures import Failure

#: How often a shard may be lost with its worker before the command gives up.
LOSSES = 3
GO_ON = "run the same command again to go on; finished shards are kept"


@dataclass(frozen=True)
class Heard:
    """What a worker said. ready: it has the pack. done: answers to the shard that it was given (as JSON), or how they
    failed. unable: it cannot begin, and no other one could. gone: why it is no more."""

    worker: Any
    event: Literal["ready", "done", "unable", "gone"]
    answers: Sequence[dict[str, Any]] = ()
    failure: Failure | None = None


class Crew(Protocol):
    """Workers that hold a pack. room: how many at the same time."""

    room: int

    def begin(self) -> Any:
        """A new worker, which says that it is ready later."""
        ...

    def give(self, worker: Any, order: Mapping[str, Any]) -> None:
        """Ask a worker that waits for the answers to a shard (`Shards.order`)."""
        ...

    def hear(self) -> list[Heard]:
        """What was said since; waits for a word, but not for ever."""
        ...

    def dismiss(self, worker: Any) -> None:
        """There is nothing left for a worker to do."""
        ...

    def leave(self) -> None:
        """End all workers, whatever they do."""
        ...


def answer_shards(crew: Crew, shards: Shards, advance: Callable[[int], None], say: Callable[[str], None]) -> None:
    """Answer the shards that are left, and keep each as it comes. advance: told of the records that are done.

    A worker that is gone costs the shard that it held, which another one answers. Raises ClinfitError where that
    happens LOSSES times to one shard, and where records cannot be answered.
    """
    waiting, losses = deque(shards.left()), Counter[int | None]()
    held: dict[Any, int | None] = {}
    done = shards.count - len(waiting)
    advance(min(done * shards.size, len(shards.records)))

    def next_for(worker: Any) -> None:
        if not waiting:
            del held[worker]
            crew.dismiss(worker)
            return
        k = waiting.popleft()
        held[worker] = k
        crew.give(worker, shards.order(k))

    try:
        while waiting or held:
            wanted = min(crew.room, len(waiting) + sum(k is not None for k in held.values()))
            for _ in range(wanted - len(held)):
                held[crew.begin()] = None
            for heard in crew.hear():
                k = held[heard.worker]
                if heard.event == "gone":
                    del held[heard.worker]
                    reason = heard.failure.reason if heard.failure else ""
                    _note_loss(losses, k, reason, shards)
                    if k is not None:
                        waiting.appendleft(k)
                        say(f"a worker is gone ({reason}); {shards.words(k)} are asked again")
                    continue
                if heard.failure is not None:
                    raise _told(heard.failure, "" if k is None else f"{shards.words(k)}: ")
                if heard.event == "done" and k is not None:
                    shards.keep(k, heard.answers)
                    done += 1
                    advance(min(done * shards.size, len(shards.records)))
                next_for(heard.worker)
    finally:
        crew.leave()


def _note_loss(losses: Counter[int | None], k: int | None, reason: str, shards: Shards) -> None:
    losses[k] += 1
    if losses[k] < LOSSES:
        return
    if k is None:
        raise ClinfitError(f"{LOSSES} workers ended before they had the pack: {reason}", fix=GO_ON)
    raise ClinfitError(
        f"{shards.words(k)} were lost with their worker {LOSSES} times: {reason}",
        expected="workers that live as long as their shard",
        fix=f"{GO_ON}; a smaller --shard-size or fewer --workers need less memory",
    )


def _told(failure: Failure, where: str) -> ClinfitError:
    return ClinfitError(f"{where}{failure.reason}", fix=GO_ON)
