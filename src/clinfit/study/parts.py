"""The sections of a study that are valid by themselves: what checks of several sections look at."""

from collections.abc import Mapping
from dataclasses import dataclass

from clinfit.study.evaluation import Evaluation
from clinfit.study.models import ModelSpec
from clinfit.study.schema import Stage, tasks_of
from clinfit.study.tasks import Task


@dataclass(frozen=True)
class Parts:
    """models, stages: by their position in the list. task_names, model_names: of the ill-formed ones too."""

    tasks: Mapping[str, Task]
    models: Mapping[int, ModelSpec]
    stages: Mapping[int, Stage]
    evaluation: Evaluation | None
    task_names: list[str]
    model_names: list[str]

    @property
    def all_tasks(self) -> bool:
        """Whether every task is well-formed, so that what is absent is absent."""
        return len(self.tasks) == len(self.task_names)

    @property
    def all_models(self) -> bool:
        """Whether every model is well-formed."""
        return len(self.models) == len(self.model_names)

    def answered(self, model: ModelSpec) -> dict[str, Task]:
        """The well-formed tasks that a model learns and answers."""
        return tasks_of(model, self.tasks)

    def answered_by(self, name: str) -> set[str]:
        """The names of the tasks that the model of this name answers; of an ill-formed model, all."""
        return next(
            (set(self.answered(model)) for model in self.models.values() if model.name == name), set(self.tasks)
        )
