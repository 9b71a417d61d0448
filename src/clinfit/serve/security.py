"""Who may ask, and how much: API keys with scopes, rates by key, names and origins of the service itself.

A key is `clinfit_<id>_<secret>` with a secret of 256 random bits. The file of keys holds the SHA-256 of each key and
never the key: from so many random bits a fast hash gives nothing away.
"""

import hashlib
import hmac
import secrets
import shlex
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from clinfit.errors import ClinfitError
from clinfit.files import read_json, write_json

Scope = Literal["classify", "jobs", "metrics"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
PREFIX = "clinfit"
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Key:
    """An API key as it is kept. sha256: of the key. expires: a date (2026-12-31), None for never."""

    id: str
    name: str
    scopes: tuple[Scope, ...]
    sha256: str
    created: str
    expires: str | None = None

    @property
    def expired(self) -> bool:
        return self.expires is not None and datetime.now(UTC).date().isoformat() > self.expires


#: Who asks a service without keys, which listens to its own machine only.
LOCAL = Key("local", "local", SCOPES, "", "")


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _date(text: str) -> str:
    """A date as dates are compared, 2027-02-05 for 2027-2-5. Raises ValueError where it is none."""
    year, month, day = text.split("-")
    return date(int(year), int(month), int(day)).isoformat()


def key_command(file: Path | str, name: str, scopes: str = "", expires: str = "") -> str:
    """`clinfit key` as a shell reads it; what was typed once is not lost where it is typed again."""
    options = {"--keys": str(file), "--scopes": scopes, "--expires": expires}
    return shlex.join(["clinfit", "key", name, *(word for pair in options.items() if pair[1] for word in pair)])


def new_key(file: Path, name: str, scopes: Sequence[Scope], expires: str | None = None) -> str:
    """Add a key to the file and return it; it is shown this once. Raises ClinfitError for a date that is none, or has
    been."""
    today = datetime.now(UTC).date()
    if expires is not None:
        try:
            expires = _date(expires)
        except ValueError:
            raise ClinfitError(f"--expires {expires} is no date", expected="a date such as 2026-12-31") from None
        if expires < today.isoformat():
            raise ClinfitError(
                f"--expires {expires} is in the past: nobody could use the key",
                expected=f"its last day, {today} (UTC) or later",
                fix=key_command(file, name, ",".join(scopes), str(today + timedelta(days=365))),
            )
    keys = read_keys(file) if file.exists() else []
    key_id = secrets.token_hex(4)
    key = f"{PREFIX}_{key_id}_{secrets.token_urlsafe(32)}"
    added = Key(key_id, name, tuple(scopes), _digest(key), today.isoformat(), expires)
    write_json(file, [asdict(entry) for entry in [*keys, added]])
    file.chmod(0o600)
    return key


def read_keys(file: Path) -> list[Key]:
    """The keys of a file; raises ClinfitError when it cannot be read, or is none of keys."""
    try:
        content = read_json(file)
    except OSError as error:
        raise ClinfitError(
            f"{file} cannot be read: {error.strerror}",
            expected="a file of API keys that the service's own user may read",
            fix=f"{key_command(file, 'NAME')}, or change whose file it is",
        ) from None
    try:
        if not isinstance(content, list):
            raise ValueError
        return [_key(entry) for entry in content]
    except (AttributeError, TypeError, ValueError):
        raise ClinfitError(
            f"{file} is no file of API keys",
            expected="what `clinfit key` writes",
            fix=f"name another file, or move this one away and make keys anew: {key_command(file, 'NAME')}",
        ) from None


def _key(entry: Mapping[str, Any]) -> Key:
    """A key of a file. Raises ValueError and TypeError where it is none."""
    key = Key(**entry)
    if not set(key.scopes) <= set(SCOPES) or len(key.sha256) != 64:
        raise ValueError
    expires = None if key.expires is None else _date(key.expires)
    return replace(key, scopes=tuple(key.scopes), expires=expires)


class Keys:
    """Recognises keys. Without any, everybody is LOCAL."""

    def __init__(self, keys: Sequence[Key]) -> None:
        self._keys = list(keys)

    def __bool__(self) -> bool:
        return bool(self._keys)

    def holder(self, authorization: str | None) -> Key | None:
        """Whose key an Authorization header carries; None where it carries none that is known and not expired.

        Every key is compared, in a time that does not depend on what agrees.
        """
        if not self._keys:
            return LOCAL
        scheme, _, given = (authorization or "").partition(" ")
        digest = _digest(given.strip() if scheme.lower() == "bearer" else "")
        found: Key | None = None
        for key in self._keys:
            if hmac.compare_digest(digest, key.sha256):
                found = key
        return None if found is None or found.expired else found


class Rates:
    """A bucket of items for each key: it holds `burst` and fills by `per_minute`."""

    def __init__(self, per_minute: float | None, burst: int) -> None:
        self._per_second = None if per_minute is None else per_minute / 60
        self._burst = float(burst)
        self._left: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def take(self, key: str, items: int) -> float:
        """Take items out; the seconds to wait where there are too few, which takes none. More than a bucket holds are
        let through where it is full, and owed."""
        if self._per_second is None:
            return 0.0
        with self._lock:
            left, now = self._now(key, self._per_second)
            needed = min(float(items), self._burst)
            if left < needed:
                self._left[key] = (left, now)
                return (needed - left) / self._per_second
            self._left[key] = (left - items, now)
            return 0.0

    def charge(self, key: str, items: int) -> None:
        """Take items out, owed where there are too few."""
        if self._per_second is not None:
            with self._lock:
                left, now = self._now(key, self._per_second)
                self._left[key] = (left - items, now)

    def _now(self, key: str, per_second: float) -> tuple[float, float]:
        """What a bucket holds, and when."""
        now = time.monotonic()
        left, at = self._left.get(key, (self._burst, now))
        return min(self._burst, left + (now - at) * per_second), now


def check_binding(host: str, keys: Keys) -> None:
    """Raise ClinfitError where other machines could ask without a key."""
    if host not in LOOPBACK and not keys:
        raise ClinfitError(
            f"--host {host} lets other machines ask, and there are no API keys",
            expected="127.0.0.1, or keys",
            fix="make a key with `clinfit key NAME --keys keys.json`, then add --keys keys.json",
        )


def is_own_host(header: str, allowed: Sequence[str]) -> bool:
    """Whether a Host header names the service; else a page elsewhere has given its own name our address."""
    if "*" in allowed:
        return True
    try:
        name = urlsplit(f"//{header}").hostname
    except ValueError:
        return False
    return name in allowed


def is_own_origin(headers: Mapping[str, str]) -> bool:
    """Whether a request comes from the service's own page, or from no page at all."""
    origin = headers.get("origin")
    if origin is None:
        return True
    try:
        return urlsplit(origin).netloc == headers.get("host")
    except ValueError:
        return False


def keys_of(file: Path | None) -> Keys:
    """The keys of a service. Raises ClinfitError for a file without any: no keys would let everybody ask."""
    if file is None:
        return Keys([])
    keys = read_keys(file)
    if not keys:
        raise ClinfitError(
            f"{file} holds no API key",
            expected="at least one; without keys everybody may ask",
            fix=key_command(file, "NAME"),
        )
    return Keys(keys)
