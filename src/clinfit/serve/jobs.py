"""Jobs: many records that are answered while nobody waits, and the contract of the stores that keep them.

A job is divided into chunks. A chunk is what a worker claims, answers and writes; it is called by the position of its
first record. Delivery is at least once: a chunk whose worker is silent for longer than its lease is given to another.
Its results count once all the same: each claim has a token that is larger than those before, results are written for
the newest token only, and only where the chunk has none yet.

    queued -> running -> succeeded | failed | cancelled | expired        failed: not one record was answered

Stores keep records and results as JSON; only ids travel. Policy (how often, after how long) stands in worker.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

State = Literal["queued", "running", "succeeded", "failed", "cancelled", "expired"]
ENDED: frozenset[str] = frozenset({"succeeded", "failed", "cancelled", "expired"})

#: A record as it waits (`records.as_item`), and what was said of it: {"index", "id", "answer" or "error"}.
Item = dict[str, Any]
Result = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """What is known of a job, without its records.

    owner: id of the key that sent it. model, pack, task: who answers. queue: see `ServedModel.queue`. total, done,
    failed, referred: records. created, started, ended: seconds since 1970. revision: grows with every change.
    """

    id: str
    owner: str
    model: str
    pack: str
    task: str
    queue: str
    state: State
    total: int
    created: float
    done: int = 0
    failed: int = 0
    referred: int = 0
    started: float | None = None
    ended: float | None = None
    revision: int = 0

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Submission:
    """A job to be. chunks: the records, divided. key: idempotency key, digest: of the request that used it."""

    job: Job
    chunks: Sequence[Sequence[Item]]
    key: str | None = None
    digest: str = ""


@dataclass(frozen=True)
class Claim:
    """A chunk that a worker holds. token: of this claim. tries: how often the chunk was begun, this time included.

    reason: why it failed before. handle: the store's own.
    """

    job: str
    task: str
    queue: str
    start: int
    items: Sequence[Item]
    token: int
    tries: int
    reason: str = ""
    handle: str = ""


@dataclass(frozen=True)
class Failure:
    """A record without an answer, and why: it was given up (`unanswered`), or could not be read. time: seconds since
    1970."""

    index: int
    id: str
    code: str
    detail: str
    time: float


class QueueFull(Exception):
    """More records wait than may."""


class KeyReused(Exception):
    """The idempotency key belongs to another request."""


class StoreDown(Exception):
    """The store cannot be reached, or not be written. Its words say why, and hold nothing of records."""


class JobStore(Protocol):
    """Keeps jobs over crashes of everybody else. Every method is atomic; threads may share a store.

    Raises StoreDown where the store cannot be reached, or not be written.
    """

    def submit(self, new: Submission, most: int, most_of_owner: int) -> tuple[Job, bool]:
        """Keep a new job; True where its idempotency key had been used for the same request, whose job it is then.

        most, most_of_owner: records that may wait. Raises QueueFull and KeyReused.
        """
        ...

    def known(self, owner: str, key: str, digest: str) -> Job | None:
        """The job that an idempotency key was used for; None where it was not. Raises KeyReused where that was another
        request."""
        ...

    def get(self, job: str) -> Job | None: ...

    def list(self, owner: str, limit: int, before: tuple[float, str] | None = None) -> Sequence[Job]:
        """The newest jobs of an owner, or the newest of those that come behind one.

        before: `created` and `id` of that one, which may have been erased since.
        """
        ...

    def claim(self, queues: Sequence[str], worker: str, lease: float) -> Claim | None:
        """A chunk of these queues that nobody holds, or whose holder's lease has run out; None where there is none.

        Owners have chunks in turn, and so have the jobs of one owner, so that a small job does not wait for a big one.
        """
        ...

    def renew(self, claim: Claim, lease: float) -> bool:
        """Hold it for another lease (seconds from now); False where it is not ours any more, or no longer wanted."""
        ...

    def write(self, claim: Claim, results: Sequence[Result]) -> bool:
        """Write the results of a chunk and give it back; False, and nothing happens, where it is not ours any more."""
        ...

    def retry(self, claim: Claim, reason: str, delay: float) -> None:
        """Give it back unanswered, to be claimed after `delay` seconds."""
        ...

    def release(self, claim: Claim) -> None:
        """Give it back untried."""
        ...

    def split(self, claim: Claim) -> None:
        """Make each of its records a chunk and give them back, so that one cannot hurt the others."""
        ...

    def bury(self, claim: Claim, reason: str) -> None:
        """Give its records up: each has an error for a result, and is a failure."""
        ...

    def cancel(self, job: str) -> Job | None:
        """Answer no more of it. What is done stays. None where there is no such job."""
        ...

    def erase(self, job: str) -> bool:
        """Remove records, results and all that is known of it; False where there is no such job."""
        ...

    def results(self, job: str, start: int, limit: int) -> Sequence[Result]:
        """Results of the records from position `start` on, `limit` positions far, as far as they are there."""
        ...

    def failures(self, job: str, start: int, limit: int) -> Sequence[Failure]:
        """The first `limit` records from position `start` on that have no answer, in order."""
        ...

    def sweep(self, keep: float) -> int:
        """Erase jobs that ended more than `keep` seconds ago, let unfinished ones as old expire; how many."""
        ...

    def waiting(self) -> int:
        """Records that are neither done nor given up."""
        ...

    def ping(self) -> None:
        """Raise StoreDown unless it can be written."""
        ...

    def warnings(self) -> Sequence[str]:
        """Settings with which jobs can be lost."""
        ...

    def close(self) -> None: ...


def counts(results: Sequence[Result]) -> Mapping[str, int]:
    """done, failed and referred of a chunk's results."""
    answers = [result["answer"] for result in results if result.get("answer")]
    referred = sum(answer["status"] == "refer" for answer in answers)
    return {"done": len(results), "failed": len(results) - len(answers), "referred": referred}


def failed(results: Sequence[Result]) -> list[dict[str, Any]]:
    """What `Failure` says, but for the time, of a chunk's results."""
    return [
        {"index": result["index"], "id": result["id"], **result["error"]} for result in results if result.get("error")
    ]


def ended_state(total: int, failed: int) -> State:
    """How a job ends of which every record has a result."""
    return "failed" if failed == total else "succeeded"


def buried(claim: Claim, reason: str) -> list[Result]:
    """The results of records that are given up."""
    return [
        {"index": claim.start + k, "id": item["id"], "answer": None, "error": {"code": "unanswered", "detail": reason}}
        for k, item in enumerate(claim.items)
    ]
