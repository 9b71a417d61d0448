"""Small data sets of every kind of task, for tests of models. A new kind is one entry of `DATA`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np

from clinfit.data.fields import canonical
from clinfit.data.records import SPLITS, Record, Split, Target, Value, in_split
from clinfit.study.data import Data, InputColumn
from clinfit.study.tasks import Extraction, Task, task_from

TWO = ["Non-Cancer", "Krebs, gesichert ≥ T2"]
THREE = ["no finding", "non-tumour", "tumör"]
#: Of which a record has any; no training record has the third, and every one has the last.
SEVERAL = ["renal", "tumour", "never trained", "human study"]
LEXICON = {"name": "own", "types": {label: {"names": [label]} for label in SEVERAL}}
COLUMNS = {
    "title": InputColumn(column="title"),
    "abstract": InputColumn(column="abstract"),
    "age": InputColumn(column="age", type="number", unit="years"),
    "haemoglobin": InputColumn(column="hb", type="number", unit="g/dl"),
    "sex": InputColumn(column="sex", type="category"),
    "first": InputColumn(column="first"),
    "second": InputColumn(column="second"),
    "third": InputColumn(column="third"),
}
TEXT, TABLE, OPTIONS = ["title", "abstract"], ["age", "haemoglobin", "sex"], ["first", "second", "third"]
WORDS = ["renal cohort", "tumour growth", "biopsy staging"]


@dataclass(frozen=True)
class Dataset:
    task: Task
    records: list[Record]

    def part(self, split: Split) -> list[Record]:
        return in_split(self.records, split)

    @property
    def other_target(self) -> Target:
        """One answer that every record may have."""
        if isinstance(self.task, Extraction):
            return _fields(0, 0, False)
        if not self.task.labels:
            return "Another text."
        label = self.task.labels[0]
        return (label,) if self.task.kind == "multilabel" else label


@dataclass(frozen=True)
class Shape:
    """A data set: its kind, its inputs, what else its task says, and the answer of a record by its number, the hint
    that its text holds and whether it is trained on."""

    kind: str
    inputs: list[str]
    more: Mapping[str, Any]
    target: Callable[[int, int, bool], Target]


def _labels(k: int, i: int, trained: bool) -> Target:
    holds = [k == 0 or i % 3 == 0, k == 1, not trained and i % 2 == 0, trained or i % 5 > 0]
    return tuple(label for label, does in zip(SEVERAL, holds, strict=True) if does)


def _one(labels: list[str], k: int, i: int, trained: bool) -> Target:
    return labels[k]


def _text(k: int, i: int, trained: bool) -> Target:
    return f"On {WORDS[k]}, in {i} patients"


FIELDS = {"part": {"values": WORDS}, "patients": "integer", "note": {"required": False}}


def _fields(k: int, i: int, trained: bool) -> Target:
    return canonical({"part": WORDS[k], "patients": i, "note": None if i % 3 else f"seen {k}"})


DATA: dict[str, Shape] = {
    "text": Shape("classification", TEXT, {"labels": TWO}, partial(_one, TWO)),
    "table": Shape("classification", TABLE, {"labels": TWO}, partial(_one, TWO)),
    "mixed": Shape("classification", TEXT + TABLE, {"labels": TWO}, partial(_one, TWO)),
    "three": Shape("classification", TEXT + TABLE, {"labels": THREE}, partial(_one, THREE)),
    "several": Shape("multilabel", TEXT + TABLE, {"labels": SEVERAL, "lexicon": LEXICON}, _labels),
    "options": Shape("multiple-choice", TEXT + OPTIONS, {"options": OPTIONS}, partial(_one, ["A", "B", "C"])),
    "texts": Shape("generation", TEXT, {"max_new_tokens": 6}, _text),
    "fields": Shape("extraction", TEXT, {"max_new_tokens": 6, "fields": FIELDS}, _fields),
}


@cache
def dataset(name: str, task: str = "finding") -> Dataset:
    """56 records whose inputs hint at the label, with missing values and a category that only test holds.

    task: the name that the records know their task by.
    """
    shape = DATA[name]
    block = {"kind": shape.kind, **shape.more, "data": {"path": "unused.csv", "inputs": {}}}
    inputs = {key: COLUMNS[key] for key in shape.inputs}
    block["data"] = Data(path="unused.csv", inputs=dict(inputs))
    made = task_from(block)
    rng = np.random.default_rng(7)
    records = []
    for i in range(56):
        k = int(rng.integers(min(len(made.labels) or 3, 3)))
        split = SPLITS[0 if i < 40 else 1 if i < 48 else 2]
        hint = WORDS[k] if rng.random() < 0.85 else WORDS[0]
        values: dict[str, Value] = {
            "title": None if i % 9 == 0 else f"A study of {hint}",
            "abstract": f"We saw {hint} in {int(rng.integers(5, 90))} patients, no more.",
            "age": float(rng.integers(20, 90)),
            "haemoglobin": None if i % 7 == 0 else float(10 + 2 * k + rng.normal()),
            "sex": None
            if i % 11 == 0
            else ["female", "male"][int(rng.integers(2))]
            if i < 52
            else "unknown to training",
            "first": f"kidneys of {i}",
            "second": "growth",
            "third": "growth of a tumour" if i % 4 else "growth",
        }
        target = shape.target(k, i, split == "train")
        records.append(Record(f"r{i}", f"g{i}", {key: values[key] for key in shape.inputs}, target, split, task))
    return Dataset(made, records)


def unlabelled(records: list[Record]) -> list[Record]:
    """The records as new ones, whose answers are not known."""
    return [replace(record, target=None, split=None) for record in records]
