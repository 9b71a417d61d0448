"""What one item of data is, once it has been read."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

#: A value as a model may see it: text, a number, or None for missing.
Value = str | float | None


@dataclass(frozen=True, slots=True)
class Record:
    """One item: `inputs` by the names that the study declares, `target` one of the task's labels.

    `target` is None only for new, unlabelled data; `split` is None there too.
    `group` is what must never straddle splits (the patient, the document); it equals `id` by default.
    """

    id: str
    group: str
    inputs: dict[str, Value]
    target: str | None = None
    split: Split | None = None


def in_split(records: Iterable[Record], split: Split) -> list[Record]:
    """The records of one split, in their order."""
    return [record for record in records if record.split == split]
