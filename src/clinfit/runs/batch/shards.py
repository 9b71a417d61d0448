"""A file of records in shards, and the answers that are there: each shard's in a file, so that a killed command goes on
where it was.

    .<output>.shards-<key>/000012.json     the answers to the 13th shard, whole or not there

The key is a hash of all that decides an answer: pack, task, records, and the size of a shard.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from clinfit.data.records import Record
from clinfit.files import hash_json, read_json, remove_leftovers, write_text
from clinfit.packs.answer import Answer

_ANSWERS: TypeAdapter[list[Answer]] = TypeAdapter(list[Answer])


@dataclass(frozen=True)
class Shards:
    """records: in the order of the file. size: records of a shard."""

    folder: Path
    task: str
    records: Sequence[Record]
    size: int

    @classmethod
    def beside(cls, output: Path, pack: str, task: str, records: Sequence[Record], size: int) -> "Shards":
        """Of an output file; pack: SHA-256 of the pack that answers."""
        key = hash_json([pack, task, size, [[record.id, record.inputs] for record in records]])[:16]
        shards = cls(output.with_name(f".{output.name}.shards-{key}"), task, records, size)
        remove_leftovers(shards.folder)
        return shards

    @property
    def count(self) -> int:
        return -(-len(self.records) // self.size)

    def left(self) -> list[int]:
        """Numbers of the shards that are not answered, from 0."""
        return [k for k in range(self.count) if not self._file(k).is_file()]

    def order(self, k: int) -> dict[str, Any]:
        """What a worker is asked: the records of a shard, without answers that the file may hold."""
        given = [[record.id, record.group, record.inputs] for record in self._records(k)]
        return {"task": self.task, "records": given}

    def keep(self, k: int, answers: Sequence[dict[str, Any]]) -> None:
        """Write the answers to a shard. answers: as `answers_as_json`."""
        write_text(self._file(k), json.dumps(answers, ensure_ascii=False, allow_nan=False))

    def answers(self) -> list[Answer]:
        """The answers to all records, in order."""
        return [answer for k in range(self.count) for answer in _ANSWERS.validate_python(read_json(self._file(k)))]

    def words(self, k: int) -> str:
        """Which of the records that are asked a shard holds, counted from 1."""
        first = k * self.size
        return f"records {first + 1} to {first + len(self._records(k))}"

    def remove(self) -> None:
        """Nothing of the shards is needed any more; nor of those of an earlier command for the same output."""
        for folder in self.folder.parent.glob(f"{self.folder.name.rpartition('-')[0]}-*"):
            shutil.rmtree(folder, ignore_errors=True)

    def _records(self, k: int) -> Sequence[Record]:
        return self.records[k * self.size : (k + 1) * self.size]

    def _file(self, k: int) -> Path:
        return self.folder / f"{k:06d}.json"


def records_of(order: dict[str, Any]) -> list[Record]:
    """The records of an order, to the bit: JSON keeps text and numbers."""
    return [Record(id, group, inputs, task=order["task"]) for id, group, inputs in order["records"]]


def answers_as_json(answers: Sequence[Answer]) -> list[dict[str, Any]]:
    """Answers as they travel and are kept."""
    return [asdict(answer) for answer in answers]
