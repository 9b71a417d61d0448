"""What a checkpoint belongs to."""

import hashlib
import json
from collections.abc import Mapping

from clinfit.files import hash_folder
from clinfit.models.base import Lesson
from clinfit.study.models import ModelSection
from clinfit.study.tasks import Task
from clinfit.training.precision import Precision


def fit_signature(
    spec: ModelSection, tasks: Mapping[str, Task], seed: int, lesson: Lesson, precision: Precision
) -> str:
    """SHA-256 over everything that decides the outcome of a fit: settings, tasks, seed, the precision that `auto` is
    here, the records with their weights, the model that it starts from, and how the stage is taught."""
    digest = hashlib.sha256()
    known = {name: task.model_dump(mode="json") for name, task in tasks.items()}
    start = None if lesson.start is None else hash_folder(lesson.start)
    settings = spec.model_dump(mode="json", exclude={"generate", "name", "seeds", "stages"})
    stage = None if lesson.stage is None else lesson.stage.model_dump(mode="json", exclude={"train", "start"})
    for part in (settings, list(known.items()), seed, dict(lesson.weights), start, stage, precision):
        digest.update(json.dumps(part, sort_keys=True).encode())
    for records in (lesson.train, lesson.validation):
        for record in records:
            digest.update(json.dumps([record.task, record.id, record.inputs, record.target], sort_keys=True).encode())
        digest.update(b"|")
    return digest.hexdigest()
