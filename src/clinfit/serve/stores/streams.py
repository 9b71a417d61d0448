"""Records in a Redis Stream that others write, and their answers in another one.

A consumer group hands entries out: XREADGROUP those that nobody had, XAUTOCLAIM those of a worker that has been silent
for its lease. An answer is written and its entry acknowledged together, by a script, and only while the entry is still
this worker's: so each entry has one answer, unless Redis forgets what it was told (a power cut with `everysec`).
The streams belong to those who write and read them: nothing is deleted here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from redis.exceptions import ResponseError

from clinfit.errors import ClinfitError
from clinfit.serve.stores import Names
from clinfit.serve.stores.redis import GONE, connected, down, entries_of, have_group, taken_over

#: Milliseconds that an empty stream is waited at.
WAIT = 200

#: What every script begins with. Keys: the input. Arguments: group, worker.
HELD = """
local function held(entry)
  local found = redis.call('XPENDING', KEYS[1], ARGV[1], entry, entry, 1)[1]
  return found and found[2] == ARGV[2] and found
end
"""
#: Entry, then fields and values of what is written to the stream that is the second key.
PUT = """
if not held(ARGV[3]) then return 0 end
redis.call('XADD', KEYS[2], '*', unpack(ARGV, 4))
redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
return 1
"""
#: Entries: how many are still ours, whose lease begins again.
RENEW = """
local ours = 0
for at = 3, #ARGV do
  if held(ARGV[at]) then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[at], 'JUSTID')
    ours = ours + 1
  end
end
return ours
"""
#: Entries: they are free at once, and were not tried.
RELEASE = """
for at = 3, #ARGV do
  local found = held(ARGV[at])
  if found then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[at], 'IDLE', 86400000, 'RETRYCOUNT', found[4] - 1, 'JUSTID')
  end
end
return 0
"""


@dataclass(frozen=True)
class Entry:
    """One entry of the input. fields: None where they are no text in UTF-8. tries: how often it was begun, this time
    included."""

    id: str
    fields: Mapping[str, str] | None
    tries: int


class RedisStream:
    """One worker's place at the streams: nothing is made in Redis until it begins. Methods raise StoreDown where Redis
    cannot be reached."""

    @down
    def __init__(self, url: str, names: Names) -> None:
        """Raises ClinfitError for a server before 7.0, and for names that are no streams, or two of them the same."""
        self.names = names
        self._redis = connected(url, texts=False)
        put, renew, release = (self._redis.register_script(HELD + script) for script in (PUT, RENEW, RELEASE))
        self._put, self._renew, self._release = put, renew, release
        self._worker = f"worker-{uuid4().hex[:12]}"
        used = (names.input, names.answers, names.dead)
        kinds = [self._redis.type(name).decode() for name in used]
        if wrong := [name for name, kind in zip(used, kinds, strict=True) if kind not in ("none", "stream")]:
            self.close()
            raise ClinfitError(
                f"{', '.join(wrong)}: Redis holds something else under this name",
                expected="streams, or names that are free",
                fix="name others: --input-stream, --output-stream",
            )
        if len(set(used)) < len(used):
            self.close()
            raise ClinfitError("answers would be read as records", expected="an output stream of its own")

    @down
    def begin(self) -> None:
        """Make the stream and its group where they are not, and forget workers that are no more."""
        name, group = self.names.input, self.names.group
        have_group(self._redis, name, group)
        for one in self._redis.xinfo_consumers(name, group):
            if one["pending"] == 0 and one["idle"] > GONE:
                self._redis.xgroup_delconsumer(name, group, one["name"])

    @down
    def take(self, most: int, lease: float) -> list[Entry]:
        """An entry of a worker that has been silent for its lease, alone; else up to `most` that nobody had."""
        name, group = self.names.input, self.names.group
        try:
            idle = max(1, int(1000 * lease))
            if (taken := taken_over(self._redis, name, group, self._worker, idle)) is not None:
                (found,) = self._redis.xpending_range(name, group, taken[0], taken[0], 1)
                return [_entry(*taken, tries=int(found["times_delivered"]))]
            read = self._redis.xreadgroup(group, self._worker, {name: ">"}, count=most, block=WAIT)
        except ResponseError as error:
            if "NOGROUP" not in str(error):
                raise
            have_group(self._redis, name, group)  # the stream was deleted
            return []
        return [_entry(*entry, tries=1) for entry in entries_of(read)]

    @down
    def renew(self, entries: Sequence[Entry]) -> bool:
        """Hold those that are still ours for another lease; False where none is."""
        return self._run(self._renew, *(entry.id for entry in entries)) > 0

    @down
    def release(self, entries: Sequence[Entry]) -> None:
        """Give those back that are still ours, untried."""
        self._run(self._release, *(entry.id for entry in entries))

    @down
    def answer(self, entry: Entry, fields: Mapping[str, str]) -> bool:
        """Write an answer and acknowledge its entry; False, and nothing happens, where it is not ours any more."""
        return self._written(self.names.answers, entry, fields)

    @down
    def bury(self, entry: Entry, fields: Mapping[str, str]) -> bool:
        """The same of an entry that cannot be answered. fields: why."""
        return self._written(self.names.dead, entry, fields)

    def _written(self, stream: str, entry: Entry, fields: Mapping[str, str]) -> bool:
        pairs = [part for pair in fields.items() for part in pair]
        return self._run(self._put, entry.id, *pairs, keys=[stream]) > 0

    def _run(self, script: Any, *values: str, keys: Sequence[str] = ()) -> int:
        return int(script(keys=[self.names.input, *keys], args=[self.names.group, self._worker, *values]))

    @down
    def ping(self) -> None:
        """Raise StoreDown unless Redis answers."""
        self._redis.ping()

    def close(self) -> None:
        self._redis.close()


def _entry(name: bytes, fields: Mapping[bytes, bytes], tries: int) -> Entry:
    try:
        texts = {field.decode(): value.decode() for field, value in fields.items()}
    except UnicodeDecodeError:
        texts = None
    return Entry(name.decode(), texts, tries)
