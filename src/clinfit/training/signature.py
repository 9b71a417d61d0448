"""What a checkpoint belongs to."""

import hashlib
import json
from collections.abc import Sequence

from clinfit.data.records import Record
from clinfit.study import ModelSpec, Task


def fit_signature(spec: ModelSpec, task: Task, seed: int, train: Sequence[Record], validation: Sequence[Record]) -> str:
    """SHA-256 over everything that decides the outcome of a fit: settings, task, seed and the records themselves."""
    digest = hashlib.sha256()
    for part in (spec.model_dump(mode="json", exclude={"generate"}), task.model_dump(mode="json"), seed):
        digest.update(json.dumps(part, sort_keys=True).encode())
    for records in (train, validation):
        for record in records:
            digest.update(json.dumps([record.id, record.inputs, record.target], sort_keys=True).encode())
        digest.update(b"|")
    return digest.hexdigest()
