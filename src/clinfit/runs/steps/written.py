"""Texts and answers that a step has so far, kept until its table is whole, so that a killed step goes on where it was.

    predictions/.<table>.written-<key>/<number>.jsonl

A file holds the texts of half a minute, and is whole or not there. The key stands for all that decides a text, so that
those of another model or of other data are never taken. They may quote records, as the table may.
"""

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from clinfit.data.records import Record
from clinfit.files import write_text
from clinfit.models.base import Each, LabelOutputs, Progress, TextOutputs, Writer, WrittenText

#: Seconds between two files: a kill loses no more, beside the texts that were not finished.
EVERY = 30.0


def remove_written(table: Path, but: Path | None = None) -> None:
    """Take the texts of a table off the disk, whoever wrote it; those of the folder `but` stay."""
    for folder in table.parent.glob(f".{table.stem}.written-*"):
        if folder != but:
            shutil.rmtree(folder, ignore_errors=True)


Row = TypeVar("Row")


class Kept(Generic[Row]):
    """What one step was answered, by the ids of the records. row: the class of an answer, a dataclass that JSON holds.
    table: what the step writes. key: a hash."""

    def __init__(self, row: type[Row], table: Path, key: str) -> None:
        self._folder = table.parent / f".{table.stem}.written-{key[:16]}"
        remove_written(table, but=self._folder)
        paths = sorted(self._folder.glob("*.jsonl"))
        self._files, self._new, self._saved = len(paths), dict[str, Row](), time.monotonic()
        rows = [json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").split("\n") if line]
        self._rows = {content.pop("id"): row(**content) for content in rows}

    def __contains__(self, record: str) -> bool:
        return record in self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, record: str) -> Row:
        return self._rows[record]

    def add(self, record: str, answer: Row) -> None:
        """Take in an answer; now and then all new ones are put on the disk."""
        self._rows[record] = self._new[record] = answer
        if time.monotonic() - self._saved >= EVERY:
            self.save()

    def save(self) -> None:
        """Put all new answers on the disk."""
        if self._new:
            rows = [{"id": record} | asdict(cast(Any, answer)) for record, answer in self._new.items()]
            lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
            write_text(self._folder / f"{self._files:06}.jsonl", "".join(lines))
            self._files += 1
        self._new, self._saved = {}, time.monotonic()


class WrittenTexts(Kept[WrittenText]):
    """The texts of one step."""

    def __init__(self, table: Path, key: str) -> None:
        super().__init__(WrittenText, table, key)

    def outputs(self, records: Sequence[str]) -> TextOutputs:
        """The texts of these records, in order."""
        return TextOutputs.of([self[record] for record in records])


def write_texts(
    model: Writer, task: str, records: Sequence[Record], limit: int, written: WrittenTexts, advance: Progress
) -> TextOutputs:
    """What the model writes, and how unlikely it finds the references: that first, since a reference may be longer than
    the base reads, and writing takes hours."""
    losses = model.likelihood(task, records)
    write_left(model, task, records, limit, written, advance)
    return replace(written.outputs([record.id for record in records]), losses=losses)


def write_left(
    model: Writer, task: str, records: Sequence[Record], limit: int, written: WrittenTexts, advance: Progress
) -> None:
    """Let the model write what is not written yet."""
    left = [record for record in records if record.id not in written]

    def keep(index: int, text: WrittenText) -> None:
        written.add(left[index].id, text)
        advance(len(written), len(records), "written")

    try:
        model.generate(task, left, limit, done=keep)
    finally:
        written.save()


def answer_left(model: Each, task: str, records: Sequence[Record], kept: Kept[Any], advance: Progress) -> LabelOutputs:
    """Let the model answer what is not answered yet, one record by one; the outputs of all."""
    left = [record for record in records if record.id not in kept]

    def keep(index: int, answered: Any) -> None:
        kept.add(left[index].id, answered)
        advance(len(kept), len(records), "answered")

    try:
        model.answer_each(task, left, done=keep)
    finally:
        kept.save()
    return model.put_together(task, [kept[record.id] for record in records])
