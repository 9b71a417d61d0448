"""What the analyses of one task read: everything that is known, first without numbers and then with them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from clinfit.evaluation.claims.constant_answers import ConstantAnswer
from clinfit.evaluation.facts import TaskFacts
from clinfit.evaluation.metrics.engine import Engine, Scored
from clinfit.evaluation.metrics.metric import Metric
from clinfit.evaluation.results import Chosen, Comparison, SplitCounts
from clinfit.evaluation.systems import System
from clinfit.findings import Finding
from clinfit.study.evaluation import TaskEvaluation
from clinfit.study.tasks import Task
from clinfit.study.taught import Taught


@dataclass(frozen=True)
class Measured:
    """A system with its scores and metrics.

    system: with its recalibrated probabilities. decision: how its probabilities become answers, as its kind has it
    (decisions/). validation: the decided validation items. validation_primary: the primary metric there, larger is
    better; None where it cannot be estimated.
    """

    system: System
    decision: Any
    scored: Scored
    metrics: dict[str, Metric]
    validation: Any
    validation_primary: float | None

    @property
    def name(self) -> str:
        return self.system.name

    @property
    def answers(self) -> Any:
        return self.scored.answers

    def same_model(self, other: "Measured") -> bool:
        """Whether the two differ in nothing but the seed."""
        return (self.system.model, self.system.stage) == (other.system.model, other.system.stage)


@dataclass(frozen=True)
class Context:
    """One task before any number. settings: of this task. primary: the name under which its metric is reported.

    systems: with test rows, in the study's order. table: the predictions of this task. counts: by split. stages: of the
    study's models that answer the task, what each of their stages taught.
    """

    name: str
    task: Task
    engine: Engine
    settings: TaskEvaluation
    primary: str
    confidence: float
    bootstrap: int
    systems: Sequence[System]
    table: pd.DataFrame
    facts: TaskFacts
    counts: dict[str, SplitCounts]
    stages: Mapping[str, Sequence[Taught]]


@dataclass(frozen=True)
class MeasuredContext(Context):
    """The task with its numbers.

    measured: in the order of the study. constants: those that always say the same, the most frequent answer of training
    first. uninformative: system -> the constant answer that it is not shown to beat, for systems of which there is one.
    ranking: names, best primary value first. baseline: what others are compared with. chosen: the model, by validation.
    """

    measured: Sequence[Measured]
    constants: Mapping[str, Scored]
    uninformative: Mapping[str, ConstantAnswer]
    ranking: Sequence[str]
    baseline: System | None
    chosen: Chosen | None
    comparisons: Sequence[Comparison]

    @cached_property
    def ranked(self) -> list[Measured]:
        """The systems, best first."""
        by_name = {item.name: item for item in self.measured}
        return [by_name[name] for name in self.ranking]

    @property
    def model(self) -> Measured:
        """The chosen system; where none could be chosen (of rules alone, for one), the first of the ranking."""
        if self.chosen is None:
            return self.ranked[0]
        return next(item for item in self.measured if item.name == self.chosen["system"])

    @property
    def trained(self) -> list[Measured]:
        """The trained systems, best first."""
        return [item for item in self.ranked if item.system.trained]


#: A section of the results, None where there is nothing to say; and what a reader must know of it.
Outcome = tuple[Any, list[Finding]]
Check = Callable[[Context], Outcome]
Analysis = Callable[[MeasuredContext], Outcome]
SystemAnalysis = Callable[[MeasuredContext, Measured], Outcome]
