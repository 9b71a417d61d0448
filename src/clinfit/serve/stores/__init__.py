"""Where jobs are kept: `sqlite.py` for one machine, `redis.py` for many. One suite of tests holds both to jobs.py."""

from pathlib import Path

from clinfit.errors import ClinfitError
from clinfit.serve.jobs import JobStore, StoreDown


def open_store(redis: str | None, file: Path, *, keep: float) -> JobStore:
    """The store at a Redis address, else in a SQLite file; raises ClinfitError when it cannot be used.

    keep: seconds that a job is kept at most.
    """
    if redis is None:
        from clinfit.serve.stores.sqlite import SqliteStore

        return SqliteStore(file)
    from clinfit.serve.stores.redis import RedisStore

    try:
        return RedisStore(redis, keep=keep)
    except StoreDown as error:
        raise ClinfitError(
            f"Redis does not answer: {error}",
            expected="a Redis server of version 7.0 or newer",
            fix="start it, or correct --redis",
        ) from None
