"""What every store of jobs keeps to (serve/jobs.py), held against SQLite and a real Redis."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import uuid4

import pytest

from clinfit.serve.jobs import Claim, Job, JobStore, KeyReused, QueueFull, Result, StoreDown, Submission
from clinfit.serve.stores.redis import RedisStore
from clinfit.serve.stores.sqlite import SqliteStore

from .services import needs_redis

#: Seconds: long enough that a slow machine renews in time.
LEASE = 2.0
MUCH = 10**6


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=needs_redis)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[JobStore]:
    if request.param == "sqlite":
        made: JobStore = SqliteStore(tmp_path / "jobs.sqlite")
    else:
        made = RedisStore(request.getfixturevalue("redis_server").url, keep=60)
        made._redis.flushall()  # type: ignore[attr-defined]
    yield made
    made.close()


numbers = count()


def submission(n: int = 6, chunk: int = 2, *, queue: str = "q", owner: str = "me", **more: Any) -> Submission:
    items = [{"id": f"r{k}", "inputs": {"text": f"text {k}", "age": 0.1 + k}} for k in range(n)]
    job = Job(uuid4().hex, owner, "model", "pack", "task", queue, "queued", n, time.time() + next(numbers) / 1e5)
    return Submission(job, [items[at : at + chunk] for at in range(0, n, chunk)], **more)


def sent(store: JobStore, *args: Any, **more: Any) -> Job:
    job, replayed = store.submit(submission(*args, **more), MUCH, MUCH)
    assert not replayed
    return job


def claimed(store: JobStore, queue: str = "q", worker: str = "w", lease: float = 30) -> Claim:
    claim = store.claim([queue], worker, lease)
    assert claim is not None
    return claim


def results(claim: Claim, status: str = "ok") -> list[Result]:
    return [
        {
            "index": claim.start + k,
            "id": item["id"],
            "answer": {"status": status, "p": item["inputs"]["age"]},
            "error": None,
        }
        for k, item in enumerate(claim.items)
    ]


def found(store: JobStore, job: Job) -> Job:
    read = store.get(job.id)
    assert read is not None
    return read


def test_a_job_goes_through_its_states(store: JobStore) -> None:
    job = sent(store)
    assert found(store, job) == replace(job, created=found(store, job).created) and store.waiting() == 6
    first = claimed(store)
    assert (first.job, first.start, first.tries, first.task) == (job.id, 0, 1, "task")
    assert first.items[1] == {"id": "r1", "inputs": {"text": "text 1", "age": 1.1}}
    assert found(store, job).state == "running" and found(store, job).started is not None
    assert store.write(first, results(first, "refer"))
    for _ in range(2):
        claim = claimed(store)
        assert store.write(claim, results(claim))
    ended = found(store, job)
    assert (ended.state, ended.done, ended.failed, ended.referred) == ("succeeded", 6, 0, 2)
    assert ended.has_ended and ended.ended is not None and store.waiting() == 0
    assert [result["index"] for result in store.results(job.id, 0, 100)] == list(range(6))
    assert [result["answer"]["p"] for result in store.results(job.id, 0, 100)] == [0.1 + k for k in range(6)]
    assert store.claim(["q"], "w", 30) is None


def test_results_come_in_pages_whatever_the_chunks(store: JobStore) -> None:
    job = sent(store, 7, 3)
    claims = [claimed(store) for _ in range(3)]
    for claim in reversed(claims[1:]):
        store.write(claim, results(claim))
    assert [result["index"] for result in store.results(job.id, 0, 100)] == [3, 4, 5, 6]
    store.write(claims[0], results(claims[0]))
    pages = [[result["index"] for result in store.results(job.id, at, 2)] for at in (0, 2, 4, 6, 8)]
    assert pages == [[0, 1], [2, 3], [4, 5], [6], []]


def test_only_workers_with_the_pack_get_a_chunk(store: JobStore) -> None:
    sent(store, queue="one")
    assert store.claim(["other"], "w", 30) is None
    assert claimed(store, "one").queue == "one"
    assert store.claim(["other", "one"], "w", 30) is not None


@pytest.mark.parametrize("owner", ["me", "you"])
def test_a_small_job_does_not_wait_for_a_big_one(store: JobStore, owner: str) -> None:
    sent(store, 40, 1)
    for _ in range(3):
        claimed(store)
    small = sent(store, 1, 1, owner=owner)
    assert small.id in [claimed(store).job for _ in range(3)]


def test_owners_have_turns_and_so_have_their_jobs(store: JobStore) -> None:
    mine = [sent(store, 20, 1) for _ in range(3)]
    yours = sent(store, 20, 1, owner="you")
    claims = [claimed(store) for _ in range(12)]
    assert Counter(claim.job for claim in claims) == {yours.id: 6, **{job.id: 2 for job in mine}}
    assert [claim.start for claim in claims if claim.job == yours.id] == list(range(6)), "in order"


def test_many_small_jobs_hold_up_nobody(store: JobStore) -> None:
    big, own = sent(store, 20, 1, owner="you"), sent(store, 20, 1)
    taken = []
    for _ in range(12):
        sent(store, 1, 1)
        claim = claimed(store)
        store.write(claim, results(claim))
        taken.append(claim.job)
    assert taken.count(big.id) == 6 and own.id in taken


def test_a_chunk_is_held_by_one_worker(store: JobStore) -> None:
    sent(store, 40, 1)
    taken: list[tuple[str, int]] = []

    def work(name: str) -> None:
        while (claim := store.claim(["q"], name, 30)) is not None:
            taken.append((claim.job, claim.start))

    threads = [Thread(target=work, args=(f"w{k}",)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(start for _, start in taken) == list(range(40))


def test_a_silent_worker_loses_its_chunk_on_an_idle_store_and_cannot_write(store: JobStore) -> None:
    """A worker that was stopped past its lease (SIGSTOP) wakes up: what it writes is thrown away."""
    job = sent(store, 2, 2)
    stale = claimed(store, worker="a", lease=LEASE)
    assert store.claim(["q"], "b", LEASE) is None
    time.sleep(LEASE + 0.7)
    fresh = claimed(store, worker="b", lease=LEASE)
    assert fresh.start == stale.start and fresh.token > stale.token and fresh.tries == 2
    assert not store.renew(stale, 30)
    assert not store.write(stale, results(stale, "refer"))
    store.retry(stale, "late", 0)
    store.release(stale)
    store.split(stale)
    assert found(store, job).done == 0
    assert store.write(fresh, results(fresh))
    assert not store.write(fresh, results(fresh)), "the second delivery changes nothing"
    assert (found(store, job).done, found(store, job).referred) == (2, 0)


def test_a_lease_is_its_holders(store: JobStore) -> None:
    """A worker that was started with a shorter lease takes nothing from one that is alive."""
    sent(store, n=2)
    claim = claimed(store, worker="a", lease=30)
    time.sleep(1)
    assert store.claim(["q"], "b", 0.1) is None and store.renew(claim, 30)
    time.sleep(1)
    assert store.claim(["q"], "b", 0.1) is None
    assert store.write(claim, results(claim))


def test_a_job_is_known_by_its_idempotency_key(store: JobStore) -> None:
    job, _ = store.submit(submission(key="again", digest="d"), MUCH, MUCH)
    assert store.known("me", "again", "d") == store.get(job.id)
    assert store.known("me", "other", "d") is None and store.known("you", "again", "d") is None
    with pytest.raises(KeyReused):
        store.known("me", "again", "e")


def test_a_lease_that_is_renewed_is_kept(store: JobStore) -> None:
    sent(store, 2, 2)
    claim = claimed(store, lease=LEASE)
    for _ in range(3):
        time.sleep(LEASE / 2)
        assert store.renew(claim, LEASE)
        assert store.claim(["q"], "other", LEASE) is None
    assert store.write(claim, results(claim))


def test_a_chunk_is_tried_again_after_its_time(store: JobStore) -> None:
    sent(store, 2, 2)
    first = claimed(store)
    store.retry(first, "ValueError at somewhere", 1.0)
    assert store.claim(["q"], "w", 30) is None
    time.sleep(1.1)
    second = claimed(store)
    assert (second.tries, second.reason) == (2, "ValueError at somewhere") and second.token > first.token


def test_a_chunk_that_is_given_back_untried_counts_no_try(store: JobStore) -> None:
    sent(store, 2, 2)
    for _ in range(4):
        claim = claimed(store)
        assert claim.tries == 1
        store.release(claim)


def test_a_chunk_is_divided_into_its_records(store: JobStore) -> None:
    job = sent(store, 3, 3)
    whole = claimed(store)
    store.split(whole)
    assert not store.write(whole, results(whole))
    parts = [claimed(store) for _ in range(3)]
    assert sorted((part.start, len(part.items), part.tries) for part in parts) == [(0, 1, 1), (1, 1, 1), (2, 1, 1)]
    assert min(part.token for part in parts if part.start == 0) > whole.token
    for part in parts:
        assert store.write(part, results(part))
    assert [result["id"] for result in store.results(job.id, 0, 9)] == ["r0", "r1", "r2"]
    assert found(store, job).state == "succeeded"


def test_what_is_buried_is_a_failure_with_its_reason(store: JobStore) -> None:
    job = sent(store, 2, 1)
    store.bury(claimed(store), "it kills")
    other = claimed(store)
    store.write(other, results(other))
    (failure,) = store.failures(job.id, 0, 9)
    assert (failure.index, failure.id, failure.code, failure.detail) == (0, "r0", "unanswered", "it kills")
    assert abs(failure.time - time.time()) < 60
    ended = found(store, job)
    assert (ended.state, ended.done, ended.failed) == ("succeeded", 2, 1)
    assert store.results(job.id, 0, 1)[0]["error"] == {"code": "unanswered", "detail": "it kills"}


def test_failures_are_those_of_a_job_in_pages(store: JobStore) -> None:
    job, other = sent(store, 7, 1), sent(store, 1, 1)
    for _ in range(8):
        claim = claimed(store)
        if claim.job == other.id or claim.start % 2:
            store.bury(claim, f"reason {claim.start}")
        elif claim.start == 4:
            error = {"code": "invalid-record", "detail": "input age is not a number"}
            store.write(claim, [{**results(claim)[0], "answer": None, "error": error}])
        else:
            store.write(claim, results(claim))
    assert found(store, job).failed == 4
    pages = [[failure.index for failure in store.failures(job.id, at, 2)] for at in (0, 4, 6)]
    assert pages == [[1, 3], [4, 5], []]
    assert [failure.code for failure in store.failures(job.id, 3, 2)] == ["unanswered", "invalid-record"]
    store.erase(job.id)
    assert store.failures(job.id, 0, 9) == [] and len(store.failures(other.id, 0, 9)) == 1


def test_a_job_without_one_answer_has_failed(store: JobStore) -> None:
    job = sent(store, 2, 2)
    store.bury(claimed(store), "it kills")
    assert found(store, job).state == "failed"


def test_a_cancelled_job_keeps_what_is_done_and_nothing_more(store: JobStore) -> None:
    job = sent(store)
    first, second = claimed(store), claimed(store)
    store.write(first, results(first))
    cancelled = store.cancel(job.id)
    assert cancelled is not None and cancelled.state == "cancelled" and cancelled.done == 2
    assert not store.renew(second, 30) and not store.write(second, results(second))
    assert store.claim(["q"], "w", 30) is None and store.waiting() == 0
    assert [result["index"] for result in store.results(job.id, 0, 9)] == [0, 1]
    again = store.cancel(job.id)
    assert again is not None and again.ended == cancelled.ended
    assert store.cancel("0" * 32) is None


def test_an_erased_job_is_gone(store: JobStore) -> None:
    job = sent(store, key="once", digest="d")
    claim = claimed(store)
    assert store.erase(job.id) and not store.erase(job.id)
    assert store.get(job.id) is None and store.results(job.id, 0, 9) == [] and store.waiting() == 0
    assert not store.write(claim, results(claim)) and not store.renew(claim, 30)
    assert store.claim(["q"], "w", 30) is None
    sent(store, key="once", digest="another")


def test_a_key_makes_one_job(store: JobStore) -> None:
    first, replayed = store.submit(submission(key="k", digest="d"), MUCH, MUCH)
    again, replayed_again = store.submit(submission(key="k", digest="d"), MUCH, MUCH)
    assert (replayed, replayed_again, again.id) == (False, True, first.id)
    with pytest.raises(KeyReused):
        store.submit(submission(key="k", digest="other"), MUCH, MUCH)
    other, replayed = store.submit(submission(key="k", digest="other", owner="you"), MUCH, MUCH)
    assert not replayed and other.id != first.id
    assert store.waiting() == 12


def test_too_much_is_refused(store: JobStore) -> None:
    sent(store, 6)
    with pytest.raises(QueueFull):
        store.submit(submission(5), 10, MUCH)
    with pytest.raises(QueueFull):
        store.submit(submission(5), MUCH, 10)
    job, _ = store.submit(submission(4, owner="you"), 10, 4)
    store.cancel(job.id)
    store.submit(submission(4), 10, 10)


def test_the_newest_jobs_of_an_owner(store: JobStore) -> None:
    jobs = [sent(store, owner="me") for _ in range(3)]
    sent(store, owner="you")
    assert [job.id for job in store.list("me", 2)] == [jobs[2].id, jobs[1].id]


def test_jobs_are_listed_page_by_page_also_those_of_one_moment(store: JobStore) -> None:
    moment = time.time()
    sent_jobs = [replace(submission().job, created=moment + (k // 3)) for k in range(8)]
    for job in sent_jobs:
        store.submit(replace(submission(), job=job), MUCH, MUCH)
    in_order = sorted(sent_jobs, key=lambda job: (job.created, job.id), reverse=True)
    listed, before = [], None
    while page := store.list("me", 3, before):
        listed += page
        before = (page[-1].created, page[-1].id)
        store.erase(page[-1].id)  # a page goes on behind a job that is gone
    assert [job.id for job in listed] == [job.id for job in in_order]


def test_old_jobs_go(store: JobStore) -> None:
    done, late = sent(store, 1, 1), sent(store, 1, 1, queue="nobody")
    claim = claimed(store)
    store.write(claim, results(claim))
    assert store.sweep(60) == 0
    time.sleep(0.1)
    assert store.sweep(0.05) == 2
    assert store.get(done.id) is None and found(store, late).state == "expired" and store.waiting() == 0
    assert store.claim(["nobody"], "w", 30) is None


def test_every_change_has_a_revision_of_its_own(store: JobStore) -> None:
    job = sent(store, 2, 1)
    seen = [found(store, job).revision]
    for _ in range(2):
        claim = claimed(store)
        seen.append(found(store, job).revision)
        store.write(claim, results(claim))
        seen.append(found(store, job).revision)
    assert seen == sorted(seen) and len(set(seen)) >= 4


def test_a_store_that_is_down_says_so(tmp_path: Path) -> None:
    file = SqliteStore(tmp_path / "jobs.sqlite")
    file.close()
    with pytest.raises(StoreDown):
        file.ping()
    with pytest.raises(StoreDown):
        RedisStore("redis://127.0.0.1:1/0", keep=60)
