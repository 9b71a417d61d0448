"""What every model of a study has, whatever its family."""

from typing import ClassVar

from pydantic import Field

from clinfit.study.search import Search
from clinfit.study.section import Name, Section, Seeds
from clinfit.study.stages import Stage
from clinfit.study.tasks import Task


class ModelSection(Section):
    """What every model has."""

    #: Whether it is a neural network: needs torch, a pretrained base and `train` settings.
    neural: ClassVar[bool] = False
    #: Whether training draws anything at random, so that every seed is a run of its own.
    seeded: ClassVar[bool] = True
    #: Whether it can be asked what no stage has taught it.
    untaught: ClassVar[bool] = False
    #: Whether its answers come from a language model.
    language_model: ClassVar[bool] = False
    #: Whether adapters of several stages can be put together, beside each other or afterwards.
    merges: ClassVar[bool] = False

    name: Name = Field(description="unique name of the model, shown in every table")
    tasks: list[Name] | None = Field(
        default=None, min_length=1, description="tasks that it learns and answers; default: all that it can"
    )
    seeds: Seeds | None = Field(default=None, description="seeds of this model; default: those of the study")
    stages: list[Stage] | None = Field(
        default=None, min_length=1, description="stages of this model; default: those of the study"
    )
    refit: bool = Field(
        default=False,
        description="with `folds`: also train it once on all records, as the model to serve: a pack whose figures are "
        "those of the cross-validation",
    )

    @property
    def repeats(self) -> bool:
        """Whether every seed is a run of its own."""
        return self.seeded

    @property
    def processes(self) -> int:
        """How many processes do a fit together."""
        return 1

    @property
    def prompting(self) -> bool:
        """Whether nothing is trained: a language model is asked as it is, with examples where it is given some."""
        return False

    @property
    def searched(self) -> Search | None:
        """How its hyperparameters are searched; None where they stand in the study."""
        return None

    @property
    def chooses(self) -> bool:
        """Whether training makes a choice on validation records: a checkpoint, a penalty, a point of a search."""
        return self.searched is not None

    @property
    def named_words(self) -> bool:
        """Whether the words of texts with the largest weights are named."""
        return False

    @property
    def asked_importance(self) -> bool:
        """Whether it is asked how much it needs each input (runs/steps/importance.py)."""
        return False

    @property
    def holds_records(self) -> bool:
        """Whether the saved model holds training records as they are, so that it may not be given away."""
        return False

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of task that it can answer."""
        return frozenset({"classification"})

    def obstacle(self, task: Task) -> str | None:
        """Why it cannot learn and answer a task; None when it can."""
        if task.kind not in self.kinds:
            return f"it answers {' and '.join(sorted(self.kinds))}, and this task is {task.kind}"
        return None

    def stage_obstacle(self, stage: Stage) -> str | None:
        """Why it cannot learn in a stage of that kind; None when it can.

        Models without a base have a model for each task, so that nothing is forgotten and nothing has to be retained.
        """
        return None
