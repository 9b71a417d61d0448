"""What holds of Redis alone, a real one: leases, queues, settings; and that nothing grows in it: what a job leaves goes
with it or at the next sweep, whatever became of its workers."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from clinfit.errors import ClinfitError
from clinfit.serve.stores import redis as module
from clinfit.serve.stores.redis import RedisStore

from .services import RedisServer, needs_redis
from .test_stores import claimed, found, results, sent

pytestmark = needs_redis


@pytest.fixture
def store(redis_server: RedisServer) -> Iterator[RedisStore]:
    made = RedisStore(redis_server.url, keep=60)
    made._redis.flushall()
    yield made
    made.close()


def names(store: RedisStore) -> set[str]:
    """Every key, without the tag that all have."""
    return {name.removeprefix("{clinfit}:") for name in store._redis.scan_iter()}


def consumers(store: RedisStore) -> list[str]:
    return [one["name"] for one in store._redis.xinfo_consumers("{clinfit}:queue:q", "workers")]


@pytest.mark.parametrize("end", ["cancel", "erase"])
def test_a_job_that_nobody_works_on_leaves_no_entries(store: RedisStore, end: str) -> None:
    """As after an upgrade of a pack: no worker looks at the queue of the old one any more."""
    before = names(store)
    job = sent(store, 6, 2, key="once", digest="d")
    getattr(store, end)(job.id)
    store.sweep(60)
    if end == "cancel":
        assert store._redis.exists("{clinfit}:queue:q") == 0 and found(store, job).state == "cancelled"
        store.erase(job.id)
    store.sweep(60)
    assert names(store) == before == set()


def test_a_retry_of_an_erased_job_is_not_put_back(store: RedisStore) -> None:
    job, other = sent(store, 1, 1), sent(store, 1, 1)
    for claim in (claimed(store), claimed(store)):
        store.retry(claim, "it failed", 0.05)
    store.erase(job.id)
    time.sleep(0.1)
    store.sweep(60)
    assert {f"todo:{other.id}", "owners:q"} <= names(store) and not {f"todo:{job.id}", "later"} & names(store)
    assert claimed(store).job == other.id


def test_a_job_that_redis_forgot_waits_no_more(store: RedisStore) -> None:
    """Where nobody swept for long, its keys have run out; what was counted for it must not fill the queue for ever."""
    lost, kept = sent(store, 6, 2), sent(store, 3, 1, owner="you")
    for name in store._redis.scan_iter(f"*{lost.id}*"):
        store._redis.delete(name)
    assert store.waiting() == 9
    store.sweep(60)
    assert store.waiting() == 3 and store._redis.hgetall("{clinfit}:waiting") == {"you": "3"}
    assert not {"jobs:me", "turns:q:me"} & names(store)
    claim = claimed(store)
    assert claim.job == kept.id and store.write(claim, results(claim)) and store.waiting() == 2
    store.erase(kept.id)
    store.sweep(60)
    assert "waiting" not in names(store)


def test_a_service_without_a_worker_forgets_dead_workers(
    store: RedisStore, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GONE", 200)
    job = sent(store, 3, 1)
    for worker in ("dead", "alive"):
        claim = claimed(store, worker=worker)
        store.write(claim, results(claim))
    assert sorted(consumers(store)) == ["alive", "dead"]
    claim = claimed(store, worker="alive")
    time.sleep(0.3)
    service = RedisStore(redis_server.url, keep=60)
    service.sweep(60)
    assert consumers(store) == ["alive"], "whoever holds a chunk is not forgotten"
    assert store.write(claim, results(claim))
    time.sleep(0.3)
    service.erase(job.id)
    service.sweep(60)
    assert names(service) == set()
    again = sent(service, 1, 1)
    assert store.claim(["q"], "alive", 30) is None, "the queue was closed meanwhile"
    assert claimed(store, worker="alive").job == again.id
    service.close()


def test_a_held_chunk_and_a_waiting_one_outlive_the_sweep(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GONE", 1)
    job = sent(store, 2, 1)
    held = claimed(store)
    time.sleep(0.05)
    store.sweep(60)
    assert store.write(held, results(held))
    rest = claimed(store)
    assert store.write(rest, results(rest)) and found(store, job).state == "succeeded"


def test_failures_and_all_else_go_with_their_job(store: RedisStore) -> None:
    job = sent(store, 2, 1)
    store.bury(claimed(store), "it kills")
    claim = claimed(store)
    store.write(claim, results(claim))
    time.sleep(0.05)
    assert store.sweep(0.01) == 1
    assert not any(job.id in name for name in names(store))
    assert names(store) <= {"queue:q", "queues"}


# ---------------------------------------------------------------- leases, queues, settings


def test_redis_tells_settings_that_lose_jobs(redis_server: Any) -> None:
    store = RedisStore(redis_server.url, keep=60)
    assert store.warnings() == []
    store._redis.config_set("maxmemory-policy", "allkeys-lru")
    assert "noeviction" in store.warnings()[0]
    store._redis.config_set("maxmemory-policy", "noeviction")
    store.close()


def test_redis_before_7_is_refused(redis_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis.Redis, "info", lambda self, section=None: {"redis_version": "6.2.14"})
    with pytest.raises(ClinfitError, match=r"6\.2\.14"):
        RedisStore(redis_server.url, keep=60)


def test_a_silent_worker_behind_many_that_work_is_found(store: RedisStore) -> None:
    sent(store, 26, 1)
    held = [claimed(store, worker=f"w{k}", lease=30 if k < 25 else 0.01) for k in range(26)]
    entry = json.loads(held[-1].handle)[0]
    store._redis.xclaim("{clinfit}:queue:q", "workers", "silent", 0, [entry], idle=60_000)
    time.sleep(0.05)  # its lease is over
    assert claimed(store, worker="other").start == held[-1].start


def test_no_queue_waits_until_another_is_empty(store: RedisStore) -> None:
    """The jobs of two packs: a long one of the first does not hold up those of the second."""
    sent(store, n=20, chunk=1, queue="long")
    sent(store, n=2, chunk=1, queue="short")
    taken = []
    for _ in range(6):
        claim = store.claim(["long", "short"], "w", 30)
        assert claim is not None
        taken.append(claim.queue)
    assert taken.count("short") == 2


def test_a_queue_that_is_gone_stops_no_sweep(store: RedisStore) -> None:
    job = sent(store, 1, 1)
    claimed(store)
    store._redis.delete("{clinfit}:queue:q")
    time.sleep(0.05)
    assert store.sweep(0.01) == 1
    assert found(store, job).state == "expired"


def test_a_job_is_kept_as_its_service_says(store: RedisStore, redis_server: Any) -> None:
    worker = RedisStore(redis_server.url, keep=1)
    job = sent(RedisStore(redis_server.url, keep=10**6), 1, 1)
    claim = claimed(worker)
    assert worker.write(claim, results(claim))
    assert all(store._redis.ttl(f"{{clinfit}}:{part}:{job.id}") > 10**6 for part in ("job", "results", "chunks"))
    worker.close()
