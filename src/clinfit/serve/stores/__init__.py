"""Where jobs are kept: `sqlite.py` for one machine, `redis.py` for many. One suite of tests holds both to jobs.py.
`streams.py`: records that others write to Redis."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from clinfit.errors import ClinfitError
from clinfit.serve.jobs import JobStore, StoreDown

if TYPE_CHECKING:
    from clinfit.serve.stores.streams import RedisStream

#: Options of an address in which an @ may stand.
WITH_AT = re.compile(r"(client_name|username|password|ssl_\w+)=.*")


@dataclass(frozen=True)
class Names:
    """The streams of one flow of records. group: workers of one group share the entries; another group has all of them
    again. output: None: `<input>:answers`."""

    input: str
    output: str | None = None
    group: str = "clinfit"

    @property
    def answers(self) -> str:
        return self.output or f"{self.input}:answers"

    @property
    def dead(self) -> str:
        """Where entries go that cannot be answered."""
        return f"{self.input}:dead"


def open_store(redis: str | None, file: Path, *, keep: float) -> JobStore:
    """The store at a Redis address, else in a SQLite file; raises ClinfitError when it cannot be used.

    keep: seconds that a job is kept at most.
    """
    if redis is None:
        from clinfit.serve.stores.sqlite import SqliteStore

        return SqliteStore(file)
    from clinfit.serve.stores.redis import RedisStore

    with told(redis):
        return RedisStore(redis, keep=keep)


def open_stream(redis: str, names: Names) -> "RedisStream":
    """A worker's place at streams of a Redis server; raises ClinfitError where it cannot be had."""
    from clinfit.serve.stores.streams import RedisStream

    with told(redis):
        return RedisStream(redis, names)


def with_password(url: str, file: Path) -> str:
    """The address of a Redis server with the password that a file holds, white space around it left out.

    Raises ClinfitError where there is none, or two.
    """
    with told(url):
        parts = urlsplit(url)
    if parts.password is not None:
        raise ClinfitError(
            "the address of the Redis server has a password, and a file of one is named as well",
            expected="one of them",
            fix="take the password out of the address",
        )
    try:
        password = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ClinfitError(
            f"the password of Redis cannot be read from {file}: {getattr(error, 'strerror', 'it is no text')}",
            expected="a file that the service's own user may read",
            fix="correct --redis-password-file",
        ) from None
    if not password:
        raise ClinfitError(f"{file} is empty", expected="the password of the Redis server")
    user, _, place = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user}:{quote(password, safe='')}@{place}").geturl()


def _check_address(url: str) -> None:
    """Raise ValueError for a password that ends the name of the server too early: what stands before would be taken for
    that name, and told."""
    parts = urlsplit(url)
    known = "@" in parts.netloc  # else what stands there may be the beginning of a password that holds a ?
    options = "".join(option for option in parts.query.split("&") if not (known and WITH_AT.fullmatch(option)))
    if parts.scheme != "unix" and "@" in parts.path + options + parts.fragment:
        raise ValueError


def place_of(url: str) -> str:
    """Where a Redis server is, without user and password."""
    from redis.connection import parse_url

    found: Mapping[str, Any] = parse_url(url)
    host = found.get("host", "localhost")
    server = found.get("path") or f"{f'[{host}]' if ':' in host else host}:{found.get('port', 6379)}"
    return f"{server}, database {found.get('db', 0)}"


@contextmanager
def told(url: str) -> Iterator[None]:
    """Redis' own errors and those of an address as errors that the user can put right."""
    try:
        _check_address(url)
        yield
    except ValueError:
        raise ClinfitError(
            "the address of the Redis server cannot be read",
            expected="redis://HOST:PORT, rediss://HOST:PORT or unix://PATH; in a password / ? # as %2F %3F %23, in an "
            "option @ as %40",
            fix="correct --redis or CLINFIT_REDIS_URL",
        ) from None
    except StoreDown as error:
        raise ClinfitError(
            f"Redis at {place_of(url)}, does not answer: {error}",
            expected="a Redis server of version 7.0 or newer",
            fix="start it, or correct --redis or CLINFIT_REDIS_URL",
        ) from None
