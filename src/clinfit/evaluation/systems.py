"""Which systems a predictions table holds, what they are called, and their rows side by side."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clinfit.evaluation.answers import Rows, read_rows
from clinfit.evaluation.metrics.engine import Engine
from clinfit.study.data import Fold
from clinfit.study.models import WRITING_RULES, Baseline, ModelSpec
from clinfit.study.tasks import Task

KEY = ["model", "seed", "stage"]
Key = tuple[str, int, int]

#: What the majority answer is called where the study has none, the second where a model has the first name.
MAJORITY = ("majority", "majority (reference)")


@dataclass(frozen=True)
class System:
    """One (model, seed, stage) with its test and validation rows. spec: the study's model, None where it has none."""

    name: str
    model: str
    seed: int
    stage: int
    moment: Literal["before", "after"] | None
    spec: ModelSpec | None
    test: Rows
    validation: Rows

    @property
    def run(self) -> str:
        """Name of the run folder; of a cross-validation what those of all folds begin with."""
        return f"{self.model}-seed{self.seed}"

    @cached_property
    def parts(self) -> "dict[Fold, System]":
        """Of a cross-validation: the system as each fold's model made it, as in a study that divides once."""
        test, validation = self.test.answers.folds, self.validation.answers.folds
        nothing = np.arange(0)
        chosen = {} if validation is None else validation.parts
        return {
            fold: replace(self, test=self.test.part(items), validation=self.validation.part(chosen.get(fold, nothing)))
            for fold, items in ({} if test is None else test.parts).items()
        }

    def with_answers(self, change: Callable[[Any], Any]) -> "System":
        """The system as if it had answered otherwise, on both splits."""
        test, validation = (replace(rows, answers=change(rows.answers)) for rows in (self.test, self.validation))
        return replace(self, test=test, validation=validation)

    @property
    def family(self) -> str | None:
        return None if self.spec is None else self.spec.family

    @property
    def rule(self) -> bool:
        """Whether it is a rule that nothing is fitted for."""
        return isinstance(self.spec, Baseline)

    @property
    def majority(self) -> bool:
        """Whether this is the answer that is most frequent in training, always."""
        if self.spec is None:
            return self.model in MAJORITY
        return isinstance(self.spec, Baseline) and self.spec.kind == "majority"

    @property
    def constant(self) -> bool:
        """Whether it says the same of every item, whatever the item is."""
        if self.spec is None:
            return self.model in MAJORITY
        return isinstance(self.spec, Baseline) and self.spec.kind in ("majority", "always-positive")

    @property
    def writing_rule(self) -> bool:
        """Whether it is a rule that writes: a yardstick, and never the model of a task, since it answers with what
        stands in the record, or in somebody else's."""
        return isinstance(self.spec, Baseline) and self.spec.kind in WRITING_RULES

    @property
    def trained(self) -> bool:
        """Whether its answers are those of a model that has learned from the study's records."""
        return not self.rule and self.stage > 0

    @property
    def language_model(self) -> bool:
        return self.spec is not None and self.spec.language_model

    @property
    def simple(self) -> bool:
        return self.spec is not None and not self.spec.language_model


def find_systems(engine: Engine, task: Task, models: Sequence[ModelSpec], table: pd.DataFrame) -> list[System]:
    """Every system with test rows, in the study's order of models, then by seed and stage.

    A model is called `tiny (before)` at stage 0, and `tiny (after)` at the last where it is seen at several; a model
    with several seeds carries its seed in the name.
    """
    specs = {spec.name: spec for spec in models}
    order = {name: place for place, name in enumerate(specs)}

    def read(rows: pd.DataFrame) -> Rows:
        return read_rows(rows, engine.read, task.labels, task.positive_label)

    splits: dict[Key, dict[str, Rows]] = {}
    # Positions, and one split at a time: iterating over the groups would copy the whole table first.
    for values, places in table.groupby([*KEY, "split"]).indices.items():
        model, seed, stage, split = cast(tuple[str, int, int, str], values)
        splits.setdefault((str(model), int(seed), int(stage)), {})[split] = read(_take(table, places))
    keys = [key for key, rows in splits.items() if "test" in rows]
    nothing = read(table.iloc[:0])
    systems = []
    for model, seed, stage in sorted(keys, key=lambda key: (order.get(key[0], len(order)), key)):
        stages = [key[2] for key in keys if key[:2] == (model, seed)]
        seeds = {key[1] for key in keys if key[0] == model}
        name, moment = name_of(model, seed, stage, stages, len(seeds) > 1)
        rows = splits[model, seed, stage]
        validation = rows.get("validation", nothing)
        test = _with_ratio(rows["test"], validation)
        systems.append(System(name, model, seed, stage, moment, specs.get(model), test, validation))
    return systems


def _with_ratio(test: Rows, validation: Rows) -> Rows:
    """Of a cross-validation: the test rows with how many of them each training record stands for."""
    folds = test.answers.folds
    if folds is None:
        return test
    return replace(test, answers=replace(test.answers, folds=folds.beside(validation.answers.folds)))


def _take(table: pd.DataFrame, places: NDArray[np.intp]) -> pd.DataFrame:
    """Rows at ascending positions; neighbouring ones without a copy."""
    first, end = int(places[0]), int(places[-1]) + 1
    return table.iloc[first:end] if end - first == len(places) else table.iloc[places]


def name_of(
    model: str, seed: int, stage: int, stages: Sequence[int], several_seeds: bool
) -> tuple[str, Literal["before", "after"] | None]:
    """What a system is called, and when it was asked. stages: all at which the model is seen. several_seeds: whether
    its seed is named."""
    moment: Literal["before", "after"] | None = None
    note = ""
    if stage == 0:
        moment, note = "before", "before"
    elif len(stages) > 1 and stage == max(stages):
        moment, note = "after", "after"
    elif len(stages) > 1:
        note = f"after stage {stage}"
    notes = [note] if note else []
    if several_seeds:
        notes.append(f"seed {seed}")
    return (f"{model} ({', '.join(notes)})" if notes else model), moment
