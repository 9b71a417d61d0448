"""What one item of data is, once it has been read."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

#: A value as a model may see it: text, a number, or None for missing.
Value = str | float | None

#: The answer of a record: one label, or for multilabel tasks all that hold, in the task's order; of generation a text.
Target = str | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """One item: `inputs` by the names that the study declares, `target` its answer, `task` the task's name.

    `target` is None only for new, unlabelled data; `split` is None there too. A multiple-choice target is a letter.
    `group` is what must never straddle splits (the patient, the document); it equals `id` by default.
    """

    id: str
    group: str
    inputs: dict[str, Value]
    target: Target | None = None
    split: Split | None = None
    task: str = ""


#: Why a record that holds nothing has no answer.
NOTHING = "every input is missing"


def holds_nothing(record: Record) -> bool:
    """Whether a record, as it is read, has no value at all: a command and a service alike give it no answer, since what
    a model says of nothing is said of nobody."""
    return all(value in (None, "") for value in record.inputs.values())


def labels_in(target: Target | None) -> tuple[str, ...]:
    """The labels of an answer: one, or of a multilabel task any number; none where it is not known."""
    return () if target is None else (target,) if isinstance(target, str) else target


def label_counts(labels: Iterable[str], records: Iterable[Record]) -> dict[str, int]:
    """How many records have each label, in the order of `labels`."""
    counts = Counter(label for record in records for label in labels_in(record.target))
    return {label: counts[label] for label in labels}


def in_split(records: Iterable[Record], split: Split) -> list[Record]:
    """The records of one split, in their order."""
    return [record for record in records if record.split == split]
