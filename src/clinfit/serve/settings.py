"""What a service allows and keeps. All limits stand here, and the documents name them."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """body_bytes: of a request; table_bytes: of a table that is sent as a job. items: of a request that is answered at
    once; job_items: of a job. characters: of one text. explained: items of a request that may be explained. seconds:
    that a request may wait for its answers.

    waiting: items of requests that wait at most; queued: items of jobs that are not done; queued_by_owner: of one key.
    per_minute: items a minute and key, None without a limit; burst: how many of them at once.

    chunk: items that a worker takes at a time. lease: seconds after which a silent worker's chunk goes to another.
    tries: how often a chunk is begun before it counts as poison. back_off: seconds before the first retry; each further
    one waits twice as long. keep_days: how long results are kept once a job has ended, and unfinished jobs at all.
    drain: seconds that what is under way has when the service is stopped.
    """

    body_bytes: int = 1 << 20
    table_bytes: int = 32 << 20
    items: int = 64
    job_items: int = 50_000
    characters: int = 100_000
    explained: int = 4
    seconds: float = 60.0
    waiting: int = 256
    queued: int = 200_000
    queued_by_owner: int = 100_000
    per_minute: float | None = None
    burst: int = 256
    chunk: int = 32
    lease: float = 30.0
    tries: int = 5
    back_off: float = 1.0
    keep_days: float = 7.0
    drain: float = 20.0
    audit: Path | None = None
