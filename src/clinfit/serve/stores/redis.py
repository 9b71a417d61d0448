"""Jobs in Redis, for services and workers on many machines.

A chunk waits until the turn of its owner and its job has come. Then it is an entry of a stream, whose consumer group
delivers it: XREADGROUP hands it out, XAUTOCLAIM takes it from a worker that has been silent for its lease, and it is
acknowledged and deleted once the chunk has a result. An entry is a job's id and a position; records and results lie
beside it. What has to happen together is a script, which Redis runs alone.

    {clinfit}:jobs           <id>:<owner> by time of creation   {clinfit}:waiting            owner -> records not done
    {clinfit}:jobs:<owner>   ids by time of creation            {clinfit}:later              chunks to try again
    {clinfit}:job:<id>       the job's fields                   {clinfit}:key:<owner>:<key>  job id and digest
    {clinfit}:items:<id>     position -> records                {clinfit}:queue:<queue>      the stream
    {clinfit}:results:<id>   position -> results                {clinfit}:queues             those that are there
    {clinfit}:failures:<id>  failures by position
    {clinfit}:todo:<id>      positions that wait                {clinfit}:owners:<queue>     by their turns
                                                        {clinfit}:turns:<queue>:<owner>  ids by their turns
    {clinfit}:chunks:<id>    position -> token, tries, reason   {clinfit}:alive              there while it is asked for

What belongs to a job goes with it; what is left of jobs and workers that are no more goes when somebody sweeps.
All keys have one hash tag, so that a cluster keeps them together. Leases are measured by the server's clock.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar, get_type_hints

import redis
from redis.connection import parse_url
from redis.exceptions import RedisError, ResponseError

from clinfit.errors import ClinfitError
from clinfit.serve.jobs import (
    Claim,
    Failure,
    Job,
    KeyReused,
    QueueFull,
    Result,
    StoreDown,
    Submission,
    buried,
    counts,
    failed,
)
from clinfit.serve.stores import place_of
from clinfit.serve.stores.redis_scripts import HEAD, SCRIPTS

TAG = "{clinfit}"
GROUP = "workers"
#: Jobs and entries that a sweep looks at in one call.
MANY = 1000
#: Milliseconds after which a worker that holds nothing is forgotten.
GONE = 86_400_000
#: What an address may say of the connection, beside ssl_*: numbers and words.
OPTIONS = frozenset(
    "db username password host port path connection_class client_name encoding socket_timeout socket_connect_timeout "
    "socket_read_size socket_keepalive retry_on_timeout max_connections health_check_interval protocol".split()
)

P = ParamSpec("P")
T = TypeVar("T")


S = TypeVar("S")


def down(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """Redis' own errors as StoreDown, without what they quote: their kind, and the word that the server begins with."""

    @wraps(method)
    def told(self: S, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(self, *args, **kwargs)
        except RedisError as error:
            word = str(error).partition(" ")[0]
            said = f" {word}" if isinstance(error, ResponseError) and word.isupper() and word.isalpha() else ""
            raise StoreDown(type(error).__name__ + said) from None

    return told


def connected(url: str, *, texts: bool = True) -> Any:
    """A connection to a server, which is asked its version. texts: what it says is text in UTF-8, not bytes.

    Raises ClinfitError for a server before 7.0 or without the database, and for options that no connection has.
    """
    found: Any = redis.Redis.from_url(
        url, decode_responses=texts, socket_timeout=10, socket_connect_timeout=5, health_check_interval=15
    )
    _check_options(url, found.connection_pool)
    try:
        version = str(found.info("server").get("redis_version", ""))
    except ResponseError as error:
        if "DB index" not in str(error):
            raise
        raise ClinfitError(
            f"there is no such database: Redis at {place_of(url)}",
            expected="a number from 0 to 15, unless the server's setting `databases` says otherwise",
            fix="correct the number in --redis or CLINFIT_REDIS_URL",
        ) from None
    if version and _too_old(version):
        found.close()
        raise ClinfitError(f"the Redis server has version {version}", expected="7.0 or newer", fix="start a newer one")
    return found


def _check_options(url: str, pool: Any) -> None:
    """Raise ClinfitError for options of an address that no connection takes. redis-py takes those that have to be
    objects, such as `retry`, as the text that they are, and ends in errors of every kind later: OPTIONS has none."""
    try:
        if any(name not in OPTIONS and not name.startswith("ssl_") for name in parse_url(url)):
            raise ValueError
        pool.connection_class(**pool.connection_kwargs)  # made, not opened: it tells of values that cannot be
    except (TypeError, ValueError, RedisError):
        raise ClinfitError(
            "the address of the Redis server has an option (behind the ?) that there is not, or not with this value",
            expected="options of redis-py that are numbers or words, such as socket_timeout=5 or client_name=ward; "
            "those of TLS (ssl_...) with rediss:// alone",
            fix="correct --redis or CLINFIT_REDIS_URL",
        ) from None


def entries_of(read: Any) -> list[Any]:
    """The entries that XREADGROUP of one stream hands out, whichever protocol the connection speaks."""
    if not read:
        return []
    ((_, entries),) = read.items() if isinstance(read, dict) else read
    return entries[0] if entries and isinstance(entries[0], list) else entries


def have_group(server: Any, stream: str, group: str) -> None:
    """A consumer group sees everything that is in a stream, also what was sent before it was made."""
    try:
        server.xgroup_create(stream, group, id="0", mkstream=True)
    except ResponseError as error:
        if "BUSYGROUP" not in str(error):
            raise


def taken_over(server: Any, stream: str, group: str, worker: str, idle: int) -> Any:
    """An entry of a worker that has been silent for `idle` ms, as (id, fields); None where there is none. One call
    looks at a few entries, so it goes on behind those that are held."""
    at: Any = "0-0"
    while True:
        at, taken, *_ = server.xautoclaim(stream, group, worker, idle, at, count=1)
        if taken:
            return taken[0]
        if at in ("0-0", b"0-0"):
            return None


def _too_old(version: str) -> bool:
    """Whether a server lacks what is used: before 7.0 XAUTOCLAIM does not leave out what has been deleted."""
    major = version.partition(".")[0]
    return major.isdecimal() and int(major) < 7


class RedisStore:
    """See jobs.py. Raises ClinfitError for a server before 7.0.

    keep: seconds that a job is kept, which `sweep` sees to; where nobody sweeps, Redis forgets it after twice as long.
    """

    @down
    def __init__(self, url: str, *, keep: float) -> None:
        self._redis: Any = connected(url)
        self._keep = str(int(2 * keep) + 3600)
        self._scripts = {name: self._redis.register_script(HEAD + text) for name, text in SCRIPTS.items()}
        self._groups: set[str] = set()
        self._first = 0  # the queue that is looked at first, each in its turn

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

    @down
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

    @down
    def known(self, owner: str, key: str, digest: str) -> Job | None:
        used = self._redis.hgetall(f"{TAG}:key:{owner}:{key}")
        job = self.get(used["job"]) if used else None
        if job is not None and used["digest"] != digest:
            raise KeyReused
        return job

    @down
    def get(self, job: str) -> Job | None:
        values = self._redis.hgetall(f"{TAG}:job:{job}")
        return _job(values) if values.get("id") else None

    @down
    def list(self, owner: str, limit: int, before: tuple[float, str] | None = None) -> Sequence[Job]:
        index = f"{TAG}:jobs:{owner}"
        if before is None:
            ids = self._redis.zrevrange(index, 0, limit - 1)
        else:  # members of one score stand in the order of their ids
            created, last = before
            alike = [job for job in self._redis.zrevrangebyscore(index, created, created) if job < last]
            ids = [*alike, *self._redis.zrevrangebyscore(index, f"({created!r}", "-inf", start=0, num=limit)][:limit]
        found: list[Job] = []
        for job_id in ids:
            job = self.get(job_id)
            if job is None:
                self._redis.zrem(index, job_id)
            else:
                found.append(job)
        return found

    @down
    def cancel(self, job: str) -> Job | None:
        self._run("end", job, "cancelled", self._keep)
        return self.get(job)

    @down
    def erase(self, job: str) -> bool:
        return bool(self._run("erase", job))

    @down
    def results(self, job: str, start: int, limit: int) -> Sequence[Result]:
        name = f"{TAG}:results:{job}"
        starts = sorted(map(int, self._redis.hkeys(name)))
        # A chunk begins before the first record that is wanted, or with one that is.
        first = max((at for at in starts if at <= start), default=0)
        wanted = [at for at in starts if first <= at < start + limit]
        texts = self._redis.hmget(name, wanted) if wanted else []
        found = [result for text in texts if text for result in json.loads(text)]
        return [result for result in found if start <= result["index"] < start + limit]

    @down
    def failures(self, job: str, start: int, limit: int) -> Sequence[Failure]:
        texts = self._redis.zrange(f"{TAG}:failures:{job}", start, "+inf", byscore=True, offset=0, num=limit)
        return [Failure(**json.loads(text)) for text in texts]

    @down
    def sweep(self, keep: float) -> int:
        before = time.time() - keep
        changed, gone = 0, list[str]()
        members = self._redis.zrange(f"{TAG}:jobs", 0, -1)
        for member, (ended, created) in zip(members, self._told(members, "ended", "created"), strict=True):
            job_id = member.partition(":")[0]
            if created is None:
                gone.append(member)
            elif ended == "" and float(created) <= before:
                changed += int(self._run("end", job_id, "expired", self._keep))
            elif ended and float(ended) < before:
                changed += int(self._run("erase", job_id))
        if gone:
            self._run("gone", *gone)
        self._run("due")
        for queue in self._redis.smembers(f"{TAG}:queues"):
            self._sweep_queue(queue)
        return changed

    def _told(self, jobs: Sequence[str], *names: str) -> Sequence[Sequence[str | None]]:
        """These fields of many jobs, of which each may be followed by `:` and its owner."""
        found: list[list[str | None]] = []
        for at in range(0, len(jobs), MANY):
            asked = self._redis.pipeline(transaction=False)
            for job in jobs[at : at + MANY]:
                asked.hmget(f"{TAG}:job:{job.partition(':')[0]}", *names)
            found += asked.execute()
        return found

    def _sweep_queue(self, queue: str) -> None:
        """Entries of jobs that have ended, which no worker may ever come for; workers that are gone; then the queue
        itself, where nothing is left of it. A worker that has had nothing to do for so long makes it again."""
        stream = f"{TAG}:queue:{queue}"
        after = "-"
        while entries := self._redis.xrange(stream, after, "+", count=MANY):
            after = f"({entries[-1][0]}"
            jobs = list({values["job"] for _, values in entries})
            open_jobs = {job for job, (ended,) in zip(jobs, self._told(jobs, "ended"), strict=True) if ended == ""}
            if unwanted := [name for name, values in entries if values["job"] not in open_jobs]:
                self._redis.xack(stream, GROUP, *unwanted)
                self._redis.xdel(stream, *unwanted)
        try:
            for one in self._redis.xinfo_consumers(stream, GROUP):
                if one["pending"] == 0 and one["idle"] > GONE:
                    self._redis.xgroup_delconsumer(stream, GROUP, one["name"])
        except ResponseError:  # no worker has ever been there, or the stream is gone
            pass
        self._run("close", queue)

    @down
    def waiting(self) -> int:
        return sum(map(int, self._redis.hvals(f"{TAG}:waiting")))

    @down
    def ping(self) -> None:
        self._redis.set(f"{TAG}:alive", "", px=1)  # a server that is full, or a copy, would answer a ping

    def close(self) -> None:
        self._redis.close()

    # ------------------------------------------------------------ chunks

    @down
    def claim(self, queues: Sequence[str], worker: str, lease: float) -> Claim | None:
        self._run("due")
        self._first += 1
        turn = self._first % max(1, len(queues))
        for queue in (*queues[turn:], *queues[:turn]):
            self._have_group(queue)
            while (entry := self._handed(queue, worker, lease)) is not None:
                name, values = entry
                begun = self._run("begin", values["job"], values["start"], queue, name, self._keep, lease)
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
        # Later than the lease: whoever comes sooner finds the chunk held, and would have to wait for another lease.
        idle = max(1, int(1000 * lease) + 500)
        try:
            if (taken := taken_over(self._redis, stream, GROUP, worker, idle)) is not None:
                return taken
            entry = self._run("take", queue, worker)
        except ResponseError as error:
            if "NOGROUP" in str(error):
                self._groups.discard(queue)
                return None
            raise
        return (entry[0], dict(zip(entry[1][::2], entry[1][1::2], strict=True))) if entry else None

    def _have_group(self, queue: str) -> None:
        if queue not in self._groups:
            have_group(self._redis, f"{TAG}:queue:{queue}", GROUP)
            self._redis.sadd(f"{TAG}:queues", queue)
            self._groups.add(queue)

    def _held(self, claim: Claim) -> tuple[Any, ...]:
        """What every script on a held chunk begins with."""
        entry, _ = json.loads(claim.handle)
        return claim.job, claim.start, claim.token, claim.queue, entry

    @down
    def renew(self, claim: Claim, lease: float) -> bool:
        _, worker = json.loads(claim.handle)
        return bool(self._run("renew", *self._held(claim), worker, lease))

    @down
    def retry(self, claim: Claim, reason: str, delay: float) -> None:
        self._run("back", *self._held(claim), delay, reason, 0)

    @down
    def release(self, claim: Claim) -> None:
        self._run("back", *self._held(claim), 0, "", 1)

    @down
    def split(self, claim: Claim) -> None:
        records: list[Any] = []
        for k, item in enumerate(claim.items):
            records += [claim.start + k, json.dumps([item])]
        self._run("split", *self._held(claim), *records)

    @down
    def write(self, claim: Claim, results: Sequence[Result]) -> bool:
        added = counts(results)
        return bool(
            self._run(
                "write", *self._held(claim), json.dumps(results), added["done"], added["failed"], added["referred"],
                self._keep, json.dumps(failed(results)),
            )
        )  # fmt: skip

    def bury(self, claim: Claim, reason: str) -> None:
        self.write(claim, buried(claim, reason))


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
