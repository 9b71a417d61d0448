"""Which a model finds likelier: a reference, or the same text with one fault in it.

    contrast/<task>-stage<n>.parquet    fault, id, group, and nats and tokens of both texts; no text

The faults (evaluation/metrics/text/faults.py) are drawn by the record's id, so that every model is asked the same.
"""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from clinfit.data.records import Record
from clinfit.evaluation.metrics.text.faults import FAULTS, names_in
from clinfit.models.base import Writer
from clinfit.prompts.template import source_text
from clinfit.study.tasks import Generation

#: Raised when faults are made otherwise than before.
VERSION = 3


@dataclass(frozen=True)
class Pair:
    """A record, and the fault that stands in `text`."""

    record: Record
    fault: str
    text: str


def pairs(task: Generation, records: Sequence[Record], items: int) -> list[Pair]:
    """Every fault in every reference that it fits, of a choice of `items` records that does not depend on their order.

    Names that are put in come from the references of all records.
    """
    chosen = sorted(records, key=lambda record: hashlib.sha256(record.id.encode()).digest())[:items]
    names = names_in(sorted({str(record.target) for record in records}))
    return [
        Pair(record, fault, text)
        for record in chosen
        for fault, make in FAULTS.items()
        if (text := make(str(record.target), source_text(task, record.inputs), names, _drawn(record.id, fault)))
    ]


def contrast_table(model: Writer, name: str, task: Generation, records: Sequence[Record], items: int) -> pd.DataFrame:
    """How unlikely the model finds both texts of each pair; no rows where the family cannot say."""
    found = pairs(task, records, items)
    true = list({pair.record.id: pair.record for pair in found}.values())
    losses = model.likelihood(name, [*true, *(replace(pair.record, target=pair.text) for pair in found)])
    place = {record.id: at for at, record in enumerate(true)}
    columns = ["fault", "id", "group", "nats", "tokens", "faulty_nats", "faulty_tokens"]
    if losses is None:
        return pd.DataFrame(columns=columns)
    rows = [
        (
            pair.fault,
            pair.record.id,
            pair.record.group,
            losses.nats[place[pair.record.id]],
            losses.tokens[place[pair.record.id]],
            losses.nats[len(true) + at],
            losses.tokens[len(true) + at],
        )
        for at, pair in enumerate(found)
    ]
    return pd.DataFrame(rows, columns=columns)


def _drawn(record: str, fault: str) -> random.Random:
    return random.Random(f"{record} {fault}")
