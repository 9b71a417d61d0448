"""Jobs in Redis, for services and workers on many machines.

Streams with a consumer group deliver chunks: XREADGROUP hands one out, XAUTOCLAIM takes it from a worker that has been
silent for its lease, and an entry is acknowledged and deleted once the chunk has a result. An entry is a job's id and a
position; records and results lie beside it. What has to happen together is a script, which Redis runs alone.

    {clinfit}:jobs          job ids by time of creation        {clinfit}:waiting            owner -> records not done
    {clinfit}:job:<id>      the job's fields                   {clinfit}:dead               dead letters
    {clinfit}:items:<id>    position -> records                {clinfit}:later              entries to try again
    {clinfit}:results:<id>  position -> results                {clinfit}:key:<owner>:<key>  job id and digest
    {clinfit}:chunks:<id>   position -> token, tries, reason   {clinfit}:queue:<queue>      the stream

All keys have one hash tag, so that a cluster keeps them together. Leases are measured by the server's clock.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar, get_type_hints

import redis
from redis.exceptions import RedisError, ResponseError

from clinfit.errors import ClinfitError
from clinfit.serve.jobs import (
    Claim,
    DeadLetter,
    Item,
    Job,
    KeyReused,
    QueueFull,
    Result,
    StoreDown,
    Submission,
    buried,
    counts,
)
from clinfit.serve.stores.redis_scripts import HEAD, SCRIPTS

TAG = "{clinfit}"
GROUP = "workers"
#: Milliseconds after which a worker that holds nothing is forgotten.
GONE = 86_400_000

P = ParamSpec("P")
T = TypeVar("T")


def _down(method: "Callable[Concatenate[RedisStore, P], T]") -> "Callable[Concatenate[RedisStore, P], T]":
    """Redis' own errors as StoreDown, without what they quote."""

    @wraps(method)
    def told(self: "RedisStore", *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(self, *args, **kwargs)
        except RedisError as error:
            raise StoreDown(type(error).__name__) from None

    return told


def _too_old(version: str) -> bool:
    """Whether a server lacks what is used: before 7.0 XAUTOCLAIM does not leave out what has been deleted."""
    major = version.partition(".")[0]
    return major.isdecimal() and int(major) < 7


class RedisStore:
    """See jobs.py. Raises ClinfitError for a server before 7.0.

    keep: seconds that a job is kept, which `sweep` sees to; where nobody sweeps, Redis forgets it after twice as long.
    """

    @_down
    def __init__(self, url: str, *, keep: float) -> None:
        self._redis: Any = redis.Redis.from_url(
            url, decode_responses=True, socket_timeout=10, socket_connect_timeout=5, health_check_interval=15
        )
        self._keep = str(int(2 * keep) + 3600)
        self._scripts = {name: self._redis.register_script(HEAD + text) for name, text in SCRIPTS.items()}
        self._groups: set[str] = set()
        if (version := str(self._redis.info("server").get("redis_version", ""))) and _too_old(version):
            self._redis.close()
            raise ClinfitError(
                f"the Redis server has version {version}", expected="7.0 or newer", fix="start a newer one"
            )

    def _run(self, script: str, *values: Any) -> Any:
        return self._scripts[script](keys=[TAG], args=[str(value) for value in values])

    def warnings(self) -> list[str]:
        """Settings of the server with which jobs can be lost."""
        found = []
        try:
            if self._redis.config_get("appendonly").get("appendonly") == "no":
                found.append("Redis keeps jobs in memory only: start it with --appendonly yes")
            if self._redis.config_get("maxmemory-policy").get("maxmemory-policy") != "noeviction":
                found.append("Redis may throw jobs away when its memory is full: set maxmemory-policy noeviction")
        except RedisError:
            found.append(
                "Redis does not tell its settings: see that it has appendonly yes, maxmemory-policy noeviction"
            )
        return found

    # ------------------------------------------------------------ jobs

    @_down
    def submit(self, new: Submission, most: int, most_of_owner: int) -> tuple[Job, bool]:
        values = {name: "" if value is None else value for name, value in asdict(new.job).items()}
        values["created"] = f"{new.job.created:.6f}"
        chunks: list[Any] = []
        start = 0
        for items in new.chunks:
            chunks += [start, json.dumps(items)]
            start += len(items)
        said = self._run(
            "submit",
            new.job.id,
            new.key or "",
            new.digest,
            most,
            most_of_owner,
            self._keep,
            json.dumps(values),
            *chunks,
        )
        if said == "full":
            raise QueueFull
        if said == "reused":
            raise KeyReused
        job = self.get(said or new.job.id)
        if job is None:
            raise StoreDown("the job is gone")
        return job, bool(said)

    @_down
    def get(self, job: str) -> Job | None:
        values = self._redis.hgetall(f"{TAG}:job:{job}")
        return _job(values) if values.get("id") else None

    @_down
    def list(self, owner: str, limit: int) -> Sequence[Job]:
        index = f"{TAG}:jobs:{owner}"
        found: list[Job] = []
        for job_id in self._redis.zrevrange(index, 0, limit - 1):
            job = self.get(job_id)
            if job is None:
                self._redis.zrem(index, job_id)
            else:
                found.append(job)
        return found

    @_down
    def cancel(self, job: str) -> Job | None:
        self._run("end", job, "cancelled", self._keep)
        return self.get(job)

    @_down
    def erase(self, job: str) -> bool:
        return bool(self._run("erase", job))

    @_down
    def results(self, job: str, start: int, limit: int) -> Sequence[Result]:
        name = f"{TAG}:results:{job}"
        starts = sorted(map(int, self._redis.hkeys(name)))
        # A chunk begins before the first record that is wanted, or with one that is.
        first = max((at for at in starts if at <= start), default=0)
        wanted = [at for at in starts if first <= at < start + limit]
        texts = self._redis.hmget(name, wanted) if wanted else []
        found = [result for text in texts if text for result in json.loads(text)]
        return [result for result in found if start <= result["index"] < start + limit]

    @_down
    def dead_letters(self, limit: int) -> Sequence[DeadLetter]:
        return [DeadLetter(**json.loads(text)) for text in self._redis.lrange(f"{TAG}:dead", 0, limit - 1)]

    @_down
    def sweep(self, keep: float) -> int:
        for queue in list(self._groups):
            self._forget_workers(queue)
        index = f"{TAG}:jobs"
        before = time.time() - keep
        changed = 0
        for job_id in self._redis.zrangebyscore(index, "-inf", before):
            job = self.get(job_id)
            if job is None:
                self._redis.zrem(index, job_id)
            elif job.ended is None:
                changed += int(self._run("end", job_id, "expired", self._keep))
            elif job.ended < before:
                changed += int(self._run("erase", job_id))
        return changed

    def _forget_workers(self, queue: str) -> None:
        stream = f"{TAG}:queue:{queue}"
        try:
            for one in self._redis.xinfo_consumers(stream, GROUP):
                if one["pending"] == 0 and one["idle"] > GONE:
                    self._redis.xgroup_delconsumer(stream, GROUP, one["name"])
        except ResponseError:  # the stream is gone, and its workers with it; the next claim makes it again
            self._groups.discard(queue)

    @_down
    def waiting(self) -> int:
        return sum(map(int, self._redis.hvals(f"{TAG}:waiting")))

    @_down
    def ping(self) -> None:
        self._redis.ping()

    def close(self) -> None:
        self._redis.close()

    # ------------------------------------------------------------ chunks

    @_down
    def claim(self, queues: Sequence[str], worker: str, lease: float) -> Claim | None:
        self._run("due")
        for queue in queues:
            self._have_group(queue)
            while (entry := self._handed(queue, worker, lease)) is not None:
                name, values = entry
                begun = self._run("begin", values["job"], values["start"], queue, name, self._keep)
                if begun:
                    items, token, tries, reason, task = begun
                    start = int(values["start"])
                    handle = json.dumps([name, worker])
                    return Claim(
                        values["job"], task, queue, start, json.loads(items), int(token), int(tries), reason, handle
                    )
        return None

    def _handed(self, queue: str, worker: str, lease: float) -> tuple[str, dict[str, str]] | None:
        """An entry of a silent worker, else one that nobody had."""
        stream = f"{TAG}:queue:{queue}"
        idle = max(1, int(1000 * lease))
        try:
            if (taken := self._taken(stream, worker, idle)) is not None:
                return taken
            read = self._redis.xreadgroup(GROUP, worker, {stream: ">"}, count=1)
        except ResponseError as error:
            if "NOGROUP" in str(error):
                self._groups.discard(queue)
                return None
            raise
        if not read:
            return None
        ((_, entries),) = read.items() if isinstance(read, dict) else read
        entries = entries[0] if entries and isinstance(entries[0], list) else entries
        return entries[0]

    def _taken(self, stream: str, worker: str, idle: int) -> tuple[str, dict[str, str]] | None:
        """An entry of a silent worker. One call looks at a few entries, so it goes on behind those that are held."""
        at = "0-0"
        while True:
            at, taken, *_ = self._redis.xautoclaim(stream, GROUP, worker, idle, at, count=1)
            if taken:
                return taken[0]
            if at == "0-0":
                return None

    def _have_group(self, queue: str) -> None:
        """The group sees everything that was ever sent, also before it was made."""
        if queue in self._groups:
            return
        try:
            self._redis.xgroup_create(f"{TAG}:queue:{queue}", GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise
        self._groups.add(queue)

    def _held(self, claim: Claim) -> tuple[Any, ...]:
        """What every script on a held chunk begins with."""
        entry, _ = json.loads(claim.handle)
        return claim.job, claim.start, claim.token, claim.queue, entry

    @_down
    def renew(self, claim: Claim, lease: float) -> bool:
        _, worker = json.loads(claim.handle)
        return bool(self._run("renew", *self._held(claim), worker))

    @_down
    def retry(self, claim: Claim, reason: str, delay: float) -> None:
        self._run("back", *self._held(claim), delay, reason, 0)

    @_down
    def release(self, claim: Claim) -> None:
        self._run("back", *self._held(claim), 0, "", 1)

    @_down
    def split(self, claim: Claim) -> None:
        records: list[Any] = []
        for k, item in enumerate(claim.items):
            records += [claim.start + k, json.dumps([item])]
        self._run("split", *self._held(claim), *records)

    @_down
    def write(self, claim: Claim, results: Sequence[Result]) -> bool:
        return self._write(claim, results, [])

    def _write(self, claim: Claim, results: Sequence[Result], dead: Sequence[Item]) -> bool:
        added = counts(results)
        return bool(
            self._run(
                "write", *self._held(claim), json.dumps(results), added["done"], added["failed"], added["referred"],
                self._keep, json.dumps(dead),
            )
        )  # fmt: skip

    @_down
    def bury(self, claim: Claim, reason: str) -> None:
        dead = [{"job": claim.job, "index": claim.start + k, "reason": reason} for k in range(len(claim.items))]
        self._write(claim, buried(claim, reason), dead)


TYPES = get_type_hints(Job)
NUMBERS = (float, float | None)


def _job(values: dict[str, str]) -> Job:
    """A job from its fields, which Redis keeps as text; the empty text is None."""
    read: dict[str, Any] = {}
    for field in fields(Job):
        text = values[field.name]
        kind = TYPES[field.name]
        read[field.name] = int(text) if kind is int else (float(text) if text else None) if kind in NUMBERS else text
    return Job(**read)
