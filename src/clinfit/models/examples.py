"""Examples that stand in a prompt: a few labelled records of the training split."""

import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from clinfit.data.records import Record, label_counts
from clinfit.errors import ClinfitError
from clinfit.files import read_json, write_json

FILE = "examples.json"
#: Examples that are advised where too many were asked for.
USUAL = 8


def drawn_examples(records: Sequence[Record], labels: Sequence[str], shots: int, task: str, seed: int) -> list[Record]:
    """`shots` of the records, in an order drawn with the seed; the numbers of any two labels differ by one at most as
    long as there are records of both; without labels (texts) any record will do. Records of one group (a patient) give
    one example where there are others.

    Raises ClinfitError when records are not of the training split, so that no validation or test record can ever be an
    example, or when there are fewer than asked for.
    """
    if foreign := sum(record.split != "train" for record in records):
        raise ClinfitError(
            f"{foreign} of the {len(records)} records to draw examples of {task} from are not of training"
        )
    if len(records) < shots:
        raise ClinfitError(
            f"shots: {shots}, and task {task} has {len(records)} training records",
            fix=_fewer(len(records), len(labels)),
        )
    draw = np.random.default_rng([seed, zlib.crc32(task.encode())])
    waiting: dict[str, list[Record]] = defaultdict(list)
    for position in draw.permutation(len(records)):
        waiting[str(records[position].target) if labels else ""].append(records[position])
    order = [labels[int(k)] for k in draw.permutation(len(labels))] or [""]
    found: list[Record] = []
    while len(found) < shots:
        for label in order:
            if waiting[label] and len(found) < shots:
                groups = {record.group for record in found}
                other = next((at for at, record in enumerate(waiting[label]) if record.group not in groups), 0)
                found.append(waiting[label].pop(other))
    return [found[int(k)] for k in draw.permutation(len(found))]


def _fewer(records: int, labels: int) -> str:
    """As many examples as prompts usually have, the same number of each label; they share `max_length` with the record,
    so that all records would leave none of them room."""
    each = min(USUAL, records) // max(labels, 1)
    if labels == 0 or each == 0:
        return f"shots: {min(USUAL, records)}"
    return f"shots: {each * labels}, {each} of each label"


def told_examples(examples: Sequence[Record], labels: Sequence[str]) -> str:
    """How many examples of each label there are, and that they are of training."""
    counts = ", ".join(f"{count} {label}" for label, count in label_counts(labels, examples).items())
    of_each = f" ({counts})" if labels else ""
    return f"{len(examples)} examples of the training split{of_each}, none of validation or test"


def write_examples(path: Path, examples: Mapping[str, Sequence[Record]]) -> None:
    """Write the examples of every task, with their text."""
    write_json(
        path,
        {
            task: [{"id": one.id, "group": one.group, "inputs": one.inputs, "target": one.target} for one in records]
            for task, records in examples.items()
        },
    )


def read_examples(path: Path) -> dict[str, list[Record]]:
    """The examples of every task; none where there is no file."""
    if not path.is_file():
        return {}
    return {
        task: [
            Record(one["id"], one["group"], one["inputs"], one["target"], split="train", task=task) for one in records
        ]
        for task, records in read_json(path).items()
    }
