"""Jobs in a SQLite file: durable, without a server, for the processes of one machine.

Write-ahead log, every transaction flushed to disk, claims under BEGIN IMMEDIATE, which one process at a time can hold.
Owners have chunks in turn, and so have the jobs of one: each turn is the number after all that were, kept with both.
What is erased is overwritten with zeros (`secure_delete`), in the log as well.
"""

import json
import os
import shutil
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
    Failure,
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
    failed,
)

SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, owner TEXT NOT NULL, model TEXT NOT NULL, pack TEXT NOT NULL, task TEXT NOT NULL,
    queue TEXT NOT NULL, state TEXT NOT NULL, total INTEGER NOT NULL, created REAL NOT NULL,
    done INTEGER NOT NULL, failed INTEGER NOT NULL, referred INTEGER NOT NULL,
    started REAL, ended REAL, revision INTEGER NOT NULL,
    turn INTEGER NOT NULL DEFAULT 0   -- when it had its last one, as owners count them
) STRICT;
CREATE TABLE IF NOT EXISTS owners (owner TEXT PRIMARY KEY, turn INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS chunks (
    job TEXT NOT NULL, start INTEGER NOT NULL, count INTEGER NOT NULL, queue TEXT NOT NULL,
    state TEXT NOT NULL,           -- waiting, held, done
    items TEXT, results TEXT,
    token INTEGER NOT NULL DEFAULT 0, tries INTEGER NOT NULL DEFAULT 0,
    due REAL NOT NULL DEFAULT 0,   -- waiting: from when on; held: end of the lease
    since REAL NOT NULL DEFAULT 0, -- when that was said
    reason TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (job, start)
) STRICT;
CREATE TABLE IF NOT EXISTS keys (
    owner TEXT NOT NULL, key TEXT NOT NULL, digest TEXT NOT NULL, job TEXT NOT NULL, PRIMARY KEY (owner, key)
) STRICT;
CREATE TABLE IF NOT EXISTS alive (one INTEGER PRIMARY KEY, times INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS failures (
    job TEXT NOT NULL, "index" INTEGER NOT NULL, id TEXT NOT NULL, code TEXT NOT NULL, detail TEXT NOT NULL,
    time REAL NOT NULL, PRIMARY KEY (job, "index")
) STRICT;
"""
INDEXES = """
CREATE INDEX IF NOT EXISTS turns ON jobs (owner, turn, created) WHERE ended IS NULL;
CREATE INDEX IF NOT EXISTS undone ON chunks (job, start) WHERE state != 'done';
INSERT OR IGNORE INTO owners SELECT DISTINCT owner, 0 FROM jobs;
"""
#: Milliseconds that others are waited for: to change something, and to empty the log.
PATIENTLY, BRIEFLY = 30_000, 200
#: Bytes that the disk must have left, and seconds for which a proof holds that it can be written.
ROOM, PROVEN = 1 << 20, 1.0
#: Seconds that the clock may go back, as a clock that is kept right does, before what it said is taken for nothing.
STEP = 5.0
#: What of a job may be claimed. What was said in the future was said before the clock was put back: its time may be
#: hours away, and who held it may be dead; who is alive writes if nobody else was faster. Its parameters: now, twice.
TO_CLAIM = f"state!='done' AND (due<=? OR since>?+{STEP})"
COLUMNS = [field.name for field in fields(Job)]


class SqliteStore:
    """See jobs.py."""

    def __init__(self, path: Path) -> None:
        """Raises ClinfitError when the file cannot be written, or is none of ours."""
        self._lock = threading.RLock()
        #: The log could not be emptied, since somebody was reading; or who emptied it before may have been killed.
        self._log_is_due = True
        self._folder, self._proven = path.parent, float("-inf")
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # nobody else's to read
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON", f"busy_timeout={PATIENTLY}"):
                self._db.execute(f"PRAGMA {pragma}")
            self._db.executescript(SCHEMA)
            _bring_up(self._db)
            self._db.executescript(INDEXES)
        except (OSError, sqlite3.Error) as error:
            raise ClinfitError(
                f"{path} cannot be used for jobs: {error.strerror if isinstance(error, OSError) else error}",
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
                    self._db.execute("COMMIT")
                except BaseException:
                    self._db.rollback()  # also where COMMIT itself failed: the next one could not even begin
                    raise
            except sqlite3.Error as error:
                raise StoreDown(_cause(error)) from None
            if self._log_is_due:
                self._empty_log()

    def _rows(self, sql: str, *values: Any) -> list[Any]:
        with self._lock:
            try:
                return self._db.execute(sql, values).fetchall()
            except sqlite3.Error as error:
                raise StoreDown(_cause(error)) from None

    # ------------------------------------------------------------ jobs

    def submit(self, new: Submission, most: int, most_of_owner: int) -> tuple[Job, bool]:
        job = new.job
        with self._transaction() as db:
            if new.key is not None:
                if (known := self.known(job.owner, new.key, new.digest)) is not None:
                    return known, True
                db.execute("INSERT OR REPLACE INTO keys VALUES (?,?,?,?)", (job.owner, new.key, new.digest, job.id))
            open_jobs = "SELECT COALESCE(SUM(total - done), 0) FROM jobs WHERE ended IS NULL"
            waiting = db.execute(open_jobs).fetchone()[0]
            of_owner = db.execute(f"{open_jobs} AND owner=?", (job.owner,)).fetchone()[0]
            if waiting + job.total > most or of_owner + job.total > most_of_owner:
                raise QueueFull
            # A new job's turn comes when all others have had theirs; so does that of a new owner.
            db.execute("INSERT OR IGNORE INTO owners SELECT ?, COALESCE(MAX(turn), 0) FROM owners", (job.owner,))
            db.execute(
                f"INSERT INTO jobs ({','.join(COLUMNS)}, turn) "
                f"SELECT {','.join('?' * len(COLUMNS))}, MAX(turn) FROM owners",
                [getattr(job, name) for name in COLUMNS],
            )
            start = 0
            for items in new.chunks:
                self._add(db, job.id, job.queue, start, items)
                start += len(items)
        return job, False

    @staticmethod
    def _add(db: sqlite3.Connection, job: str, queue: str, start: int, items: Sequence[Item]) -> None:
        db.execute(
            "INSERT INTO chunks (job, start, count, queue, state, items) VALUES (?,?,?,?,'waiting',?)",
            (job, start, len(items), queue, json.dumps(items)),
        )

    def known(self, owner: str, key: str, digest: str) -> Job | None:
        used = self._rows("SELECT digest, job FROM keys WHERE owner=? AND key=?", owner, key)
        job = self.get(used[0][1]) if used else None
        if job is not None and used[0][0] != digest:
            raise KeyReused
        return job

    def get(self, job: str) -> Job | None:
        rows = self._rows(f"SELECT {','.join(COLUMNS)} FROM jobs WHERE id=?", job)
        return _job(rows[0]) if rows else None

    def list(self, owner: str, limit: int, before: tuple[float, str] | None = None) -> Sequence[Job]:
        behind, place = ("", ()) if before is None else ("AND (created, id) < (?, ?)", before)
        rows = self._rows(
            f"SELECT {','.join(COLUMNS)} FROM jobs WHERE owner=? {behind} ORDER BY created DESC, id DESC LIMIT ?",
            owner, *place, limit,
        )  # fmt: skip
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
        for table in ("chunks", "keys", "failures"):
            db.execute(f"DELETE FROM {table} WHERE job=?", (job,))
        return found > 0

    def _empty_log(self) -> None:
        """What was overwritten still stands in the write-ahead log until that is emptied.

        Somebody who reads keeps it from that. Nobody waits for them: the next change tries again. What was changed is
        committed, so that a failure here is none of the change.
        """
        with self._lock:
            self._log_is_due = True
            try:
                self._db.execute(f"PRAGMA busy_timeout={BRIEFLY}")
                try:
                    busy = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
                finally:
                    self._db.execute(f"PRAGMA busy_timeout={PATIENTLY}")
                self._log_is_due = bool(busy)
            except sqlite3.Error:
                pass

    def results(self, job: str, start: int, limit: int) -> Sequence[Result]:
        rows = self._rows(
            "SELECT results FROM chunks WHERE job=? AND state='done' AND start+count>? AND start<? ORDER BY start",
            job, start, start + limit,
        )  # fmt: skip
        found = [result for (text,) in rows for result in json.loads(text)]
        return [result for result in found if start <= result["index"] < start + limit]

    def failures(self, job: str, start: int, limit: int) -> Sequence[Failure]:
        rows = self._rows(
            'SELECT "index", id, code, detail, time FROM failures WHERE job=? AND "index">=? ORDER BY "index" LIMIT ?',
            job, start, limit,
        )  # fmt: skip
        return [Failure(*row) for row in rows]

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
        if late or old or self._log_is_due:
            self._empty_log()
        return len(late) + len(old)

    def waiting(self) -> int:
        return int(self._rows("SELECT COALESCE(SUM(total - done), 0) FROM jobs WHERE ended IS NULL")[0][0])

    def ping(self) -> None:
        """A write that reaches the disk: one that is rolled back would not, and a full disk can still be read. A small
        one may find room in the log where a job would not, so that some must be left on the disk too."""
        with self._lock:
            if time.monotonic() - self._proven < PROVEN:
                return
            try:
                left = shutil.disk_usage(self._folder).free
            except OSError as error:
                raise StoreDown(type(error).__name__) from None
            if left < ROOM:
                raise StoreDown("the disk is full")
            with self._transaction() as db:
                db.execute("INSERT INTO alive VALUES (1, 1) ON CONFLICT DO UPDATE SET times=times+1")
            self._proven = time.monotonic()

    def warnings(self) -> Sequence[str]:
        return ()

    def close(self) -> None:
        with self._lock:
            if self._log_is_due:
                self._empty_log()
            self._db.close()

    # ------------------------------------------------------------ chunks

    def claim(self, queues: Sequence[str], worker: str, lease: float) -> Claim | None:
        now = time.time()
        with self._transaction() as db:
            row = self._next(db, queues, now)
            if row is None:
                return None
            job, owner, task, queue, start, items, token, tries, reason = row
            db.execute(
                "UPDATE chunks SET state='held', token=token+1, tries=tries+1, due=?, since=? WHERE job=? AND start=?",
                (now + lease, now, job, start),
            )
            db.execute("UPDATE owners SET turn=(SELECT MAX(turn)+1 FROM owners) WHERE owner=?", (owner,))
            db.execute("UPDATE jobs SET turn=(SELECT MAX(turn) FROM owners) WHERE id=?", (job,))
            db.execute(
                "UPDATE jobs SET state='running', started=COALESCE(started, ?), revision=revision+1 "
                "WHERE id=? AND state='queued'",
                (now, job),
            )
        return Claim(job, task, queue, start, json.loads(items), token + 1, tries + 1, reason)

    @staticmethod
    def _next(db: sqlite3.Connection, queues: Sequence[str], now: float) -> Any:
        """The first chunk that may be claimed, of the owner and the job of theirs that had a turn longest ago."""
        marks = ",".join("?" * len(queues))
        for (owner,) in db.execute("SELECT owner FROM owners ORDER BY turn").fetchall():
            job = db.execute(
                f"SELECT id, owner, task, queue FROM jobs WHERE owner=? AND ended IS NULL AND queue IN ({marks}) "
                f"AND EXISTS (SELECT 1 FROM chunks WHERE job=id AND {TO_CLAIM}) ORDER BY turn, created LIMIT 1",
                (owner, *queues, now, now),
            ).fetchone()
            if job is not None:
                chunk = "SELECT start, items, token, tries, reason FROM chunks WHERE job=? AND "
                return (*job, *db.execute(f"{chunk}{TO_CLAIM} ORDER BY start LIMIT 1", (job[0], now, now)).fetchone())
        return None

    def renew(self, claim: Claim, lease: float) -> bool:
        now = time.time()
        return self._held(claim, "due=?, since=?", now + lease, now)

    def retry(self, claim: Claim, reason: str, delay: float) -> None:
        now = time.time()
        self._held(claim, "state='waiting', due=?, since=?, reason=?", now + delay, now, reason)

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
                "UPDATE chunks SET state='waiting', due=0, tries=0, count=1, items=? "
                "WHERE job=? AND start=? AND token=? AND state='held'",
                (json.dumps(claim.items[:1]), claim.job, claim.start, claim.token),
            )
            if held.rowcount:
                for k, item in enumerate(claim.items[1:], start=1):
                    self._add(db, claim.job, claim.queue, claim.start + k, [item])

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
        db.executemany(
            "INSERT INTO failures VALUES (:job, :index, :id, :code, :detail, :time)",
            [{"job": claim.job, "time": time.time(), **failure} for failure in failed(results)],
        )
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
        self.write(claim, buried(claim, reason))


def _bring_up(db: sqlite3.Connection) -> None:
    """A file that was made before jobs had turns. All or nothing, whoever else opens the file or kills this process."""
    db.execute("BEGIN IMMEDIATE")
    try:
        if any(column[1] == "created" for column in db.execute("PRAGMA table_info(chunks)")):
            db.execute("DROP INDEX IF EXISTS to_claim")
            db.execute("ALTER TABLE jobs ADD COLUMN turn INTEGER NOT NULL DEFAULT 0")
            db.execute("ALTER TABLE chunks DROP COLUMN created")
            db.execute("ALTER TABLE chunks ADD COLUMN since REAL NOT NULL DEFAULT 0")
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise


def _cause(error: sqlite3.Error) -> str:
    """SQLite's own name for it, such as SQLITE_FULL, without what the message quotes."""
    return getattr(error, "sqlite_errorname", type(error).__name__)


def _job(row: Sequence[Any]) -> Job:
    return Job(**dict(zip(COLUMNS, row, strict=True)))
