"""Jobs in a SQLite file: durable, without a server, for the processes of one machine.

Write-ahead log, every transaction flushed to disk, claims under BEGIN IMMEDIATE, which one process at a time can hold.
What is erased is overwritten with zeros (`secure_delete`), in the log as well.
"""

import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

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
    ended_state,
)

SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, owner TEXT NOT NULL, model TEXT NOT NULL, pack TEXT NOT NULL, task TEXT NOT NULL,
    queue TEXT NOT NULL, state TEXT NOT NULL, total INTEGER NOT NULL, created REAL NOT NULL,
    done INTEGER NOT NULL, failed INTEGER NOT NULL, referred INTEGER NOT NULL,
    started REAL, ended REAL, revision INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS chunks (
    job TEXT NOT NULL, start INTEGER NOT NULL, count INTEGER NOT NULL, queue TEXT NOT NULL, created REAL NOT NULL,
    state TEXT NOT NULL,           -- waiting, held, done
    items TEXT, results TEXT,
    token INTEGER NOT NULL DEFAULT 0, tries INTEGER NOT NULL DEFAULT 0,
    due REAL NOT NULL DEFAULT 0,   -- waiting: from when on; held: end of the lease
    reason TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (job, start)
) STRICT;
CREATE INDEX IF NOT EXISTS to_claim ON chunks (queue, created, start) WHERE state != 'done';
CREATE TABLE IF NOT EXISTS keys (
    owner TEXT NOT NULL, key TEXT NOT NULL, digest TEXT NOT NULL, job TEXT NOT NULL, PRIMARY KEY (owner, key)
) STRICT;
CREATE TABLE IF NOT EXISTS dead (
    job TEXT NOT NULL, "index" INTEGER NOT NULL, reason TEXT NOT NULL, time REAL NOT NULL, PRIMARY KEY (job, "index")
) STRICT;
"""
#: Milliseconds that others are waited for: to change something, and to empty the log.
PATIENTLY, BRIEFLY = 30_000, 200
COLUMNS = [field.name for field in fields(Job)]


class SqliteStore:
    """See jobs.py."""

    def __init__(self, path: Path) -> None:
        """Raises ClinfitError when the file cannot be written, or is none of ours."""
        self._lock = threading.RLock()
        #: The log could not be emptied: somebody was reading.
        self._log_is_full = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # nobody else's to read
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON", f"busy_timeout={PATIENTLY}"):
                self._db.execute(f"PRAGMA {pragma}")
            self._db.executescript(SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise ClinfitError(
                f"{path} cannot be used for jobs: {type(error).__name__}",
                expected="a file that may be written, or a place for a new one",
                fix="name another: --jobs FILE",
            ) from None

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, and nobody else writes meanwhile."""
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    yield self._db
                except BaseException:
                    self._db.execute("ROLLBACK")
                    raise
                self._db.execute("COMMIT")
            except sqlite3.Error as error:
                if self._db.in_transaction:  # COMMIT itself failed: the next one could not even begin
                    self._db.rollback()
                raise StoreDown(type(error).__name__) from None
            if self._log_is_full:
                self._empty_log()

    def _rows(self, sql: str, *values: Any) -> list[Any]:
        with self._lock:
            try:
                return self._db.execute(sql, values).fetchall()
            except sqlite3.Error as error:
                raise StoreDown(type(error).__name__) from None

    # ------------------------------------------------------------ jobs

    def submit(self, new: Submission, most: int, most_of_owner: int) -> tuple[Job, bool]:
        job = new.job
        with self._transaction() as db:
            if new.key is not None:
                used = db.execute(
                    "SELECT digest, job FROM keys WHERE owner=? AND key=?", (job.owner, new.key)
                ).fetchone()
                if used is not None and (known := self.get(used[1])) is not None:
                    if used[0] != new.digest:
                        raise KeyReused
                    return known, True
                db.execute("INSERT OR REPLACE INTO keys VALUES (?,?,?,?)", (job.owner, new.key, new.digest, job.id))
            open_jobs = "SELECT COALESCE(SUM(total - done), 0) FROM jobs WHERE ended IS NULL"
            waiting = db.execute(open_jobs).fetchone()[0]
            of_owner = db.execute(f"{open_jobs} AND owner=?", (job.owner,)).fetchone()[0]
            if waiting + job.total > most or of_owner + job.total > most_of_owner:
                raise QueueFull
            db.execute(
                f"INSERT INTO jobs ({','.join(COLUMNS)}) VALUES ({','.join('?' * len(COLUMNS))})",
                [getattr(job, name) for name in COLUMNS],
            )
            start = 0
            for items in new.chunks:
                self._add(db, job.id, job.queue, job.created, start, items)
                start += len(items)
        return job, False

    @staticmethod
    def _add(db: sqlite3.Connection, job: str, queue: str, created: float, start: int, items: Sequence[Item]) -> None:
        db.execute(
            "INSERT INTO chunks (job, start, count, queue, created, state, items) VALUES (?,?,?,?,?,'waiting',?)",
            (job, start, len(items), queue, created, json.dumps(items)),
        )

    def get(self, job: str) -> Job | None:
        rows = self._rows(f"SELECT {','.join(COLUMNS)} FROM jobs WHERE id=?", job)
        return _job(rows[0]) if rows else None

    def list(self, owner: str, limit: int) -> Sequence[Job]:
        columns = ",".join(COLUMNS)
        rows = self._rows(f"SELECT {columns} FROM jobs WHERE owner=? ORDER BY created DESC LIMIT ?", owner, limit)
        return [_job(row) for row in rows]

    def cancel(self, job: str) -> Job | None:
        with self._transaction() as db:
            db.execute(
                "UPDATE jobs SET state='cancelled', ended=?, revision=revision+1 WHERE id=? AND ended IS NULL",
                (time.time(), job),
            )
            self._let_go(db, job)
        self._empty_log()
        return self.get(job)

    def _let_go(self, db: sqlite3.Connection, job: str) -> None:
        """Of a job that has ended: nothing waits any more, and its records go."""
        db.execute(
            "DELETE FROM chunks WHERE job=? AND state!='done' AND job IN (SELECT id FROM jobs WHERE ended>0)", (job,)
        )
        db.execute("UPDATE chunks SET items=NULL WHERE job=? AND job IN (SELECT id FROM jobs WHERE ended>0)", (job,))

    def erase(self, job: str) -> bool:
        with self._transaction() as db:
            found = self._erase(db, job)
        self._empty_log()
        return found

    @staticmethod
    def _erase(db: sqlite3.Connection, job: str) -> bool:
        found = db.execute("DELETE FROM jobs WHERE id=?", (job,)).rowcount
        for table in ("chunks", "keys", "dead"):
            db.execute(f"DELETE FROM {table} WHERE job=?", (job,))
        return found > 0

    def _empty_log(self) -> None:
        """What was overwritten still stands in the write-ahead log until that is emptied.

        Somebody who reads keeps it from that. Nobody waits for them: the next change tries again. What was changed is
        committed, so that a failure here is none of the change.
        """
        with self._lock:
            self._log_is_full = True
            try:
                self._db.execute(f"PRAGMA busy_timeout={BRIEFLY}")
                try:
                    busy = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
                finally:
                    self._db.execute(f"PRAGMA busy_timeout={PATIENTLY}")
                self._log_is_full = bool(busy)
            except sqlite3.Error:
                pass

    def results(self, job: str, start: int, limit: int) -> Sequence[Result]:
        rows = self._rows(
            "SELECT results FROM chunks WHERE job=? AND state='done' AND start+count>? AND start<? ORDER BY start",
            job, start, start + limit,
        )  # fmt: skip
        found = [result for (text,) in rows for result in json.loads(text)]
        return [result for result in found if start <= result["index"] < start + limit]

    def dead_letters(self, limit: int) -> Sequence[DeadLetter]:
        return [DeadLetter(*row) for row in self._rows("SELECT * FROM dead ORDER BY time DESC LIMIT ?", limit)]

    def sweep(self, keep: float) -> int:
        before = time.time() - keep
        with self._transaction() as db:
            late = db.execute("SELECT id FROM jobs WHERE ended IS NULL AND created<?", (before,)).fetchall()
            for (job,) in late:
                db.execute(
                    "UPDATE jobs SET state='expired', ended=?, revision=revision+1 WHERE id=?", (time.time(), job)
                )
                self._let_go(db, job)
            old = db.execute("SELECT id FROM jobs WHERE ended<?", (before,)).fetchall()
            for (job,) in old:
                self._erase(db, job)
        if late or old or self._log_is_full:
            self._empty_log()
        return len(late) + len(old)

    def waiting(self) -> int:
        return int(self._rows("SELECT COALESCE(SUM(total - done), 0) FROM jobs WHERE ended IS NULL")[0][0])

    def ping(self) -> None:
        self._rows("SELECT 1 FROM jobs LIMIT 1")

    def warnings(self) -> Sequence[str]:
        return ()

    def close(self) -> None:
        with self._lock:
            self._db.close()

    # ------------------------------------------------------------ chunks

    def claim(self, queues: Sequence[str], worker: str, lease: float) -> Claim | None:
        now = time.time()
        marks = ",".join("?" * len(queues))
        with self._transaction() as db:
            row = db.execute(
                f"SELECT chunks.job, chunks.start, items, token, tries, reason, chunks.queue, task FROM chunks "
                f"JOIN jobs ON jobs.id=chunks.job WHERE chunks.queue IN ({marks}) AND chunks.state!='done' AND due<=? "
                "AND ended IS NULL ORDER BY chunks.created, chunks.start LIMIT 1",
                (*queues, now),
            ).fetchone()
            if row is None:
                return None
            job, start, items, token, tries, reason, queue, task = row
            db.execute(
                "UPDATE chunks SET state='held', token=token+1, tries=tries+1, due=? WHERE job=? AND start=?",
                (now + lease, job, start),
            )
            db.execute(
                "UPDATE jobs SET state='running', started=COALESCE(started, ?), revision=revision+1 "
                "WHERE id=? AND state='queued'",
                (now, job),
            )
        return Claim(job, task, queue, start, json.loads(items), token + 1, tries + 1, reason)

    def renew(self, claim: Claim, lease: float) -> bool:
        return self._held(claim, "due=?", time.time() + lease)

    def retry(self, claim: Claim, reason: str, delay: float) -> None:
        self._held(claim, "state='waiting', due=?, reason=?", time.time() + delay, reason)

    def release(self, claim: Claim) -> None:
        self._held(claim, "state='waiting', due=0, tries=tries-1")

    def _held(self, claim: Claim, change: str, *values: Any) -> bool:
        """Change a chunk where this claim is the newest; whether it was."""
        with self._transaction() as db:
            done = db.execute(
                f"UPDATE chunks SET {change} WHERE job=? AND start=? AND token=? AND state='held'",
                (*values, claim.job, claim.start, claim.token),
            )
            return done.rowcount > 0

    def split(self, claim: Claim) -> None:
        with self._transaction() as db:
            held = db.execute(
                "SELECT created FROM chunks WHERE job=? AND start=? AND token=? AND state='held'",
                (claim.job, claim.start, claim.token),
            ).fetchone()
            if held is None:
                return
            db.execute(
                "UPDATE chunks SET state='waiting', due=0, tries=0, count=1, items=? WHERE job=? AND start=?",
                (json.dumps(claim.items[:1]), claim.job, claim.start),
            )
            for k, item in enumerate(claim.items[1:], start=1):
                self._add(db, claim.job, claim.queue, held[0], claim.start + k, [item])

    def write(self, claim: Claim, results: Sequence[Result]) -> bool:
        with self._transaction() as db:
            written = self._write(db, claim, results)
        if written:
            self._empty_log_of_ended(claim.job)
        return written

    def _empty_log_of_ended(self, name: str) -> None:
        """The records of a job that has ended are gone, and shall not stand in the log either."""
        job = self.get(name)
        if job is not None and job.has_ended:
            self._empty_log()

    def _write(self, db: sqlite3.Connection, claim: Claim, results: Sequence[Result]) -> bool:
        done = db.execute(
            "UPDATE chunks SET state='done', results=? WHERE job=? AND start=? AND token=? AND state='held'",
            (json.dumps(results), claim.job, claim.start, claim.token),
        )
        if not done.rowcount:
            return False
        added = counts(results)
        db.execute(
            "UPDATE jobs SET done=done+:done, failed=failed+:failed, referred=referred+:referred, revision=revision+1 "
            "WHERE id=:job",
            {**added, "job": claim.job},
        )
        job = self.get(claim.job)
        if job is not None and job.done == job.total and job.ended is None:
            state = ended_state(job.total, job.failed)
            db.execute("UPDATE jobs SET state=?, ended=? WHERE id=?", (state, time.time(), job.id))
            self._let_go(db, job.id)
        return True

    def bury(self, claim: Claim, reason: str) -> None:
        with self._transaction() as db:
            written = self._write(db, claim, buried(claim, reason))
            if written:
                for k in range(len(claim.items)):
                    db.execute(
                        "INSERT OR REPLACE INTO dead VALUES (?,?,?,?)",
                        (claim.job, claim.start + k, reason, time.time()),
                    )
        if written:
            self._empty_log_of_ended(claim.job)


def _job(row: Sequence[Any]) -> Job:
    return Job(**dict(zip(COLUMNS, row, strict=True)))
