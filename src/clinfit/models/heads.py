"""An encoder's records as ids, and the outputs of its head as probabilities: what does not depend on who computes."""

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinfit.data.records import Record
from clinfit.prompts.template import document
from clinfit.scoring.probabilities import sigmoid, softmax
from clinfit.study.tasks import Task
from clinfit.study.train import Train

#: Probabilities from logits (n, K), by kind of task.
PROBABILITIES: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "classification": softmax,
    "multilabel": sigmoid,
}


def slices(tasks: Mapping[str, Task]) -> dict[str, slice]:
    """The outputs of the head that belong to each task."""
    ends = list(accumulate(len(task.labels) for task in tasks.values()))
    return {name: slice(end - len(task.labels), end) for (name, task), end in zip(tasks.items(), ends, strict=True)}


def ids_of(tokenizer: Any, settings: Train, task: Task, records: Sequence[Record]) -> tuple[list[list[int]], list[int]]:
    """Ids of each record's document, special tokens included, and how many tokens of it were left out."""
    if not records:
        return [], []
    texts = [document(task, record.inputs) for record in records]
    plain = tokenizer(texts, add_special_tokens=False, return_attention_mask=False)["input_ids"]
    before, after = special_frame(tokenizer)
    room = settings.max_length - len(before) - len(after)
    dropped = [max(len(ids) - room, 0) for ids in plain]
    return [[*before, *shortened(ids, room, settings.shorten), *after] for ids in plain], dropped


def special_frame(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The special tokens that this tokenizer puts before and after a text."""
    framed, plain = (tokenizer("a", add_special_tokens=special)["input_ids"] for special in (True, False))
    start = next(i for i in range(len(framed)) if framed[i : i + len(plain)] == plain)
    return framed[:start], framed[start + len(plain) :]


def shortened(ids: list[int], room: int, where: str) -> list[int]:
    """At most `room` ids, less the middle or the end of the document."""
    if len(ids) <= room:
        return ids
    if where == "end":
        return ids[:room]
    first = (room + 1) // 2
    return ids[:first] + ids[len(ids) - (room - first) :]
