"""The study file: one YAML as typed, validated data.

Every key that a study may hold is a field here, with its default and its meaning; the JSON Schema and
the reference page are generated from these classes. Unknown keys are errors. Values of one section that only
make sense together are checked here; what spans sections is checked in `study.checks`. A study that
`load_study` returns can be run.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from clinfit.study.blocks import BLOCKS
from clinfit.study.data import Fold
from clinfit.study.evaluation import Evaluation, TaskEvaluation, settings_of
from clinfit.study.models import ModelSpec
from clinfit.study.section import Name, Section, Seeds
from clinfit.study.stages import Stage
from clinfit.study.tasks import Task


class Study(Section):
    """A whole study."""

    name: Name = Field(description="name of the study; its runs go to runs/<name>")
    description: str = Field(default="", description="what the study asks, in a sentence; shown in the report")
    tasks: dict[Name, Task] = Field(min_length=1, description="task name -> task")
    models: list[ModelSpec] = Field(min_length=1, description="the models that are compared, each with its `family`")
    stages: list[Stage] = Field(
        default_factory=list,
        description="default: one stage over all tasks, equally; a model may have stages of its own",
    )
    seeds: Seeds = Field(
        default_factory=lambda: [42],
        description="every trained model is trained once with each seed; a model may have seeds of its own",
    )
    evaluation: Evaluation = Field(default_factory=Evaluation, description="what is reported, and against what")
    track: list[Literal["tensorboard", "mlflow", "wandb"]] = Field(
        default_factory=list, description="experiment trackers to write to, beside log.jsonl"
    )
    folder: SkipJsonSchema[Path] = Field(
        default=Path(), exclude=True, description="folder of the study file; set when it is loaded"
    )

    def settings(self, task: str) -> TaskEvaluation:
        """The evaluation settings of a task: its own block, else what its kind takes from the study's."""
        own = self.tasks[task].evaluation
        return own if own is not None else settings_of(self.tasks[task].kind, self.evaluation)

    def tasks_of(self, model: ModelSpec) -> dict[str, Task]:
        """The tasks that a model learns and answers, in the study's order."""
        return tasks_of(model, self.tasks)

    def seeds_of(self, model: ModelSpec) -> list[int]:
        """The seeds of a model; one of them says all where it draws nothing at random."""
        seeds = model.seeds or self.seeds
        return seeds if model.repeats else seeds[:1]

    def stages_of(self, model: ModelSpec) -> list[Stage]:
        """The stages of a model: its own, else the study's, else one over all tasks, equally."""
        return model.stages or self.stages or [Stage(train=dict.fromkeys(self.tasks, 1.0))]

    @property
    def folds(self) -> list[Fold]:
        """The divisions of a cross-validation, the same in every task; none where records are divided once."""
        return next(iter(self.tasks.values())).data.split.divisions

    @property
    def quick(self) -> bool:
        """Whether this is a quick run: a look at what a run gives, on too few records for any figure to mean much."""
        return any(task.data.quick for task in self.tasks.values())

    @property
    def staged(self) -> bool:
        """Whether some model learns in several stages."""
        return any(len(self.stages_of(model)) > 1 for model in self.models)


def tasks_of(model: ModelSpec, tasks: Mapping[str, Task]) -> dict[str, Task]:
    """The tasks that a model learns and answers: those that it names, else all that it can; in the order of `tasks`."""
    return {
        name: task
        for name, task in tasks.items()
        if (model.obstacle(task) is None if model.tasks is None else name in model.tasks)
    }


def study_hash(study: Study) -> str:
    """SHA-256 (hex) of the resolved study: the identity of its runs.

    Formatting, key order and the file's folder do not count; the full path of a local base does, and the order of the
    inputs, in which `{{ record }}` and models see them.
    """
    content = study.model_dump(mode="json")
    for task in content["tasks"].values():
        data = task["data"]
        data["inputs"] = list(data["inputs"].items())
        if isinstance(data["label"], dict) and isinstance(data["label"].get("map"), list):
            data["label"]["map"].sort(key=json.dumps)
    canonical = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def section_schema() -> dict[str, Any]:
    """JSON Schema of a resolved study, in which no model uses a block."""
    return Study.model_json_schema()


def json_schema() -> dict[str, Any]:
    """JSON Schema of the study file, for editors that check and complete YAML."""
    schema = section_schema()
    models = schema["properties"]["models"]
    models["items"] = {"anyOf": [_block_schema(schema), models["items"]]}
    ignored = {"^x-": {"description": "ignored: blocks that other places repeat by their anchor, &defaults"}}
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return head | schema | {"title": "clinfit study", "patternProperties": ignored}


def _block_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """A model that uses a block: every key of causal models, none of which it needs."""
    text = "model block that fills in what is left out (clinfit models list)"
    use = {"type": "string", "enum": list(BLOCKS), "description": text}
    keys = schema["$defs"]["Causal"]["properties"]
    return {
        "type": "object",
        "required": ["use"],
        "properties": {"use": use, **{key: value for key, value in keys.items() if key != "family"}},
    }
