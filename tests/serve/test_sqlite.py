"""What holds of SQLite alone: erased texts are in no file, commits fail, clocks go back, files are from before."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

import clinfit
from clinfit.serve.jobs import Job, StoreDown, Submission
from clinfit.serve.stores.sqlite import SqliteStore, _bring_up

from .test_stores import MUCH, claimed, found, results, sent

SOURCE = str(Path(clinfit.__file__).parents[1])
WORDS = b"A tumour that nobody shall read"


def told(store: SqliteStore) -> Job:
    items = [{"id": "a", "inputs": {"text": WORDS.decode()}}]
    job = Job(uuid4().hex, "me", "model", "pack", "task", "q", "queued", 1, time.time())
    store.submit(Submission(job, [items]), MUCH, MUCH)
    return job


def in_files(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


@pytest.mark.parametrize("end", ["bury", "sweep", "cancel", "erase"])
def test_what_is_erased_is_not_in_the_log_of_writes(tmp_path: Path, end: str) -> None:
    store = SqliteStore(tmp_path / "jobs.sqlite")
    job = told(store)
    claim = claimed(store)
    assert WORDS in in_files(tmp_path)
    if end == "bury":
        store.bury(claim, "it kills")
    elif end == "sweep":
        time.sleep(0.05)
        assert store.sweep(0.01) == 1
    else:
        getattr(store, end)(job.id)
    assert WORDS not in in_files(tmp_path)
    store.close()


def test_a_log_that_somebody_reads_is_emptied_later(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "jobs.sqlite")
    job = told(store)
    reader = sqlite3.connect(tmp_path / "jobs.sqlite", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM jobs").fetchall()
    began = time.monotonic()
    assert store.erase(job.id) and time.monotonic() - began < 5, "nobody waits for who reads"
    assert WORDS in in_files(tmp_path)
    reader.execute("ROLLBACK")
    assert store.claim(["q"], "w", 30) is None, "a worker looks all the time"
    assert WORDS not in in_files(tmp_path)
    reader.close()
    store.close()


@pytest.mark.parametrize("then", ["claim", "close"])
def test_a_log_that_a_killed_process_left_is_emptied(tmp_path: Path, then: str) -> None:
    """Between the end of an erasure and the emptying of the log."""
    killed = (
        "import os, signal, sys; from pathlib import Path; from clinfit.serve.stores.sqlite import SqliteStore\n"
        "store = SqliteStore(Path(sys.argv[1]))\n"
        "store._empty_log = lambda: os.kill(os.getpid(), signal.SIGKILL)\n"
        "store.erase(sys.argv[2])\n"
    )
    path = tmp_path / "jobs.sqlite"
    store = SqliteStore(path)
    job = told(store)
    reader = sqlite3.connect(path)  # so that the log stays when the store is closed
    reader.execute("SELECT * FROM jobs").fetchall()
    store.close()
    done = subprocess.run([sys.executable, "-c", killed, str(path), job.id], env=os.environ | {"PYTHONPATH": SOURCE})
    assert done.returncode == -signal.SIGKILL and WORDS in in_files(tmp_path)
    again = SqliteStore(path)
    assert again.get(job.id) is None
    if then == "claim":
        assert again.claim(["q"], "w", 30) is None
    else:
        again.close()
    assert WORDS not in in_files(tmp_path)
    reader.close()
    again.close()


def as_before_turns(path: Path) -> Job:
    """A file as an earlier version has left it, with a job of two chunks."""
    store = SqliteStore(path)
    job = sent(store, 2, 1)
    for change in (
        "ALTER TABLE chunks DROP COLUMN since",
        "DROP INDEX turns", "DROP TABLE owners", "ALTER TABLE jobs DROP COLUMN turn",
        "ALTER TABLE chunks ADD COLUMN created REAL NOT NULL DEFAULT 1",
        "CREATE INDEX to_claim ON chunks (queue, created, start) WHERE state != 'done'",
    ):  # fmt: skip
        store._db.execute(change)
    store.close()
    return job


def test_a_file_from_before_jobs_had_turns(tmp_path: Path) -> None:
    job = as_before_turns(tmp_path / "jobs.sqlite")
    store = SqliteStore(tmp_path / "jobs.sqlite")
    other = sent(store, 1, 1, owner="you")
    assert {claimed(store).job for _ in range(3)} == {job.id, other.id}
    store.close()


class StopsAt:
    """A connection whose nth change of the tables does not come to pass."""

    def __init__(self, db: sqlite3.Connection, left: int) -> None:
        self.db, self.left = db, left

    def execute(self, sql: str) -> Any:
        if sql.startswith(("ALTER", "DROP")):
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
        return self.db.execute(sql)


@pytest.mark.parametrize("at", range(4))
def test_a_change_of_the_file_that_is_broken_off_has_changed_nothing(tmp_path: Path, at: int) -> None:
    job = as_before_turns(tmp_path / "jobs.sqlite")
    db = sqlite3.connect(tmp_path / "jobs.sqlite", isolation_level=None)
    with pytest.raises(KeyboardInterrupt):
        _bring_up(StopsAt(db, at))  # type: ignore[arg-type]
    db.close()
    store = SqliteStore(tmp_path / "jobs.sqlite")
    assert [claimed(store).job for _ in range(2)] == [job.id] * 2
    store.close()


def test_a_clock_that_goes_back_keeps_no_chunk_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, other = SqliteStore(tmp_path / "jobs.sqlite"), SqliteStore(tmp_path / "jobs.sqlite")
    job, clock = sent(store, 2, 1), time.time
    dead, failed = claimed(store, "q", "dead"), claimed(store)
    store.retry(failed, "it failed", 60)
    monkeypatch.setattr(time, "time", lambda: clock() - 1)
    assert other.claim(["q"], "w", 30) is None, "as clocks do that are kept right"
    monkeypatch.setattr(time, "time", lambda: clock() - 3600)
    taken = [claimed(other), claimed(other)]
    assert sorted(claim.start for claim in taken) == [0, 1] and not store.write(dead, results(dead))
    assert all(other.renew(claim, 30) for claim in taken) and store.claim(["q"], "w", 30) is None
    assert all(other.write(claim, results(claim)) for claim in taken) and found(store, job).has_ended
    other.close()
    store.close()


class FailsOnce:
    """A connection whose next COMMIT fails."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db, self.failed = db, False

    def execute(self, sql: str, *values: Any) -> Any:
        if sql == "COMMIT" and not self.failed:
            self.failed = True
            raise sqlite3.OperationalError("disk I/O error")
        return self.db.execute(sql, *values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.db, name)


def test_a_commit_that_fails_leaves_the_store_usable(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "jobs.sqlite")
    store._db = FailsOnce(store._db)  # type: ignore[assignment]
    with pytest.raises(StoreDown):
        told(store)
    assert store.waiting() == 0
    told(store)
    assert store.waiting() == 1
    store.close()
