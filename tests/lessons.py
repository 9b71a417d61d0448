"""Lessons of one task, for tests that need no more."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from clinfit.data.records import Record
from clinfit.models.base import Lesson

#: The name of the only task of a test.
TASK = "cancer"


def lesson(train: Sequence[Record], validation: Sequence[Record] = (), start: Path | None = None) -> Lesson:
    """All records as those of `TASK`, which weighs 1."""
    named = [[replace(record, task=TASK) for record in records] for records in (train, validation)]
    return Lesson(named[0], named[1], {TASK: 1.0}, start)
