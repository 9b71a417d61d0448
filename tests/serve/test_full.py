"""Stores that can be read and not be written, as on a full disk: they say so, and so does who works on them."""

import logging
import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from clinfit.serve import worker as module
from clinfit.serve.batcher import Batcher
from clinfit.serve.jobs import StoreDown
from clinfit.serve.models import Models
from clinfit.serve.settings import Settings
from clinfit.serve.stores import sqlite
from clinfit.serve.stores.redis import RedisStore
from clinfit.serve.stores.sqlite import SqliteStore

from .services import RedisServer, needs_redis, soon
from .test_sqlite import in_files
from .test_stores import sent


@contextmanager
def nothing_can_be_written() -> Iterator[None]:
    """As on a full disk: no file of this process grows, or is written at all."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_that_can_only_be_read_is_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "PROVEN", 0.0)
    store = SqliteStore(tmp_path / "jobs.sqlite")
    store.ping()
    job = sent(store, 1, 1)
    with nothing_can_be_written():
        assert store.waiting() == 1, "it can be read"
        with pytest.raises(StoreDown, match="SQLITE_"):
            store.ping()
        with pytest.raises(StoreDown):
            store.erase(job.id)
    store.ping()
    assert store.erase(job.id)
    monkeypatch.setattr(sqlite, "ROOM", 1 << 60)
    with pytest.raises(StoreDown, match="the disk is full"):
        store.ping()
    store.close()


def test_a_file_is_not_written_each_time_it_is_asked(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "jobs.sqlite")
    store.ping()
    before = in_files(tmp_path)
    for _ in range(20):
        store.ping()
    assert in_files(tmp_path) == before
    store.close()


@needs_redis
def test_a_server_whose_memory_is_full_is_down(redis_server: RedisServer) -> None:
    store = RedisStore(redis_server.url, keep=60)
    store.ping()
    store._redis.config_set("maxmemory", 1)
    try:
        assert store.waiting() == 0, "it can be read"
        with pytest.raises(StoreDown, match="OutOfMemory"):
            store.ping()
    finally:
        store._redis.config_set("maxmemory", 0)
        store.close()


@needs_redis
@pytest.mark.parametrize("end", ["cancel", "erase"])
def test_a_job_is_ended_on_a_server_whose_memory_is_full(redis_server: RedisServer, end: str) -> None:
    store = RedisStore(redis_server.url, keep=60)
    waiting, job = store.waiting(), sent(store, 2, 1)
    store._redis.config_set("maxmemory", 1)
    try:
        assert getattr(store, end)(job.id)
        left = store._redis.keys(f"*{job.id}*")
    finally:
        store._redis.config_set("maxmemory", 0)
    assert store.waiting() == waiting and not any("items" in str(name) or "todo" in str(name) for name in left)
    assert (store.get(job.id) is None) == (end == "erase")
    store.erase(job.id)
    store.close()


class Broken:
    """A store that fails until it is let go."""

    def __init__(self) -> None:
        self.whole, self.asked = Event(), 0

    def claim(self, queues: Sequence[str], worker: str, lease: float) -> None:
        self.asked += 1
        if not self.whole.is_set():
            raise StoreDown("SQLITE_FULL")


def test_a_worker_says_once_that_its_store_fails_and_when_that_is_over(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "DOWN", 0.01)
    monkeypatch.setattr(module, "LOOK", 0.01)
    own = logging.Logger("own")  # where another test has left the service's log, pytest hears it twice
    caplog.set_level("INFO")
    own.addHandler(caplog.handler)
    monkeypatch.setattr(module, "log", own)
    store: Any = Broken()
    batcher = Batcher(1)
    worker = module.Worker(store, Models([]), batcher, Settings())
    assert soon(lambda: store.asked > 5, 20)
    store.whole.set()
    assert soon(lambda: "can be used again" in caplog.text, 20)
    worker.stop(1)
    batcher.stop()
    lines = [record.message for record in caplog.records]
    assert lines == [
        "worker: the store of jobs cannot be used: SQLITE_FULL",
        "worker: the store of jobs can be used again",
    ]
