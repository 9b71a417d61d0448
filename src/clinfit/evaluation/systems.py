"""Which systems a predictions table holds, what they are called, and their rows side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clinfit.evaluation.answers import Rows, read_rows
from clinfit.study import Study, Task

KEY = ["model", "seed", "stage"]
Key = tuple[str, int, int]


@dataclass(frozen=True)
class System:
    """One (model, seed, stage) with its test and validation rows."""

    name: str
    model: str
    seed: int
    stage: int
    moment: Literal["before", "after"] | None
    family: str | None
    test: Rows
    validation: Rows

    @property
    def run(self) -> str:
        """Name of the run folder."""
        return f"{self.model}-seed{self.seed}"

    @property
    def trained(self) -> bool:
        """Whether its answers are those of a model that has learned from the study's records."""
        return self.family != "baseline" and self.moment != "before"

    @property
    def language_model(self) -> bool:
        return self.family in ("causal", "encoder")

    @property
    def simple(self) -> bool:
        return self.family in ("baseline", "classical")


def find_systems(study: Study, task: Task, table: pd.DataFrame) -> list[System]:
    """Every system with test rows, in the study's order of models, then by seed and stage.

    A model seen at several stages is called `tiny (before)` at stage 0 and `tiny (after)` at the last; a model with
    several seeds carries its seed in the name.
    """
    families = {spec.name: spec.family for spec in study.models}
    order = {name: place for place, name in enumerate(families)}
    parts: dict[Key, dict[str, Rows]] = {}
    # Positions, and one part at a time: iterating over the groups would copy the whole table first.
    for values, places in table.groupby([*KEY, "split"]).indices.items():
        model, seed, stage, split = cast(tuple[str, int, int, str], values)
        parts.setdefault((str(model), int(seed), int(stage)), {})[split] = read_rows(_take(table, places), task.labels)
    keys = [key for key, splits in parts.items() if "test" in splits]
    nothing = read_rows(table.iloc[:0], task.labels)
    systems = []
    for model, seed, stage in sorted(keys, key=lambda key: (order.get(key[0], len(order)), key)):
        stages = [key[2] for key in keys if key[:2] == (model, seed)]
        seeds = {key[1] for key in keys if key[0] == model}
        name, moment = _name(model, seed, stage, stages, len(seeds) > 1)
        splits = parts[model, seed, stage]
        test, validation = splits["test"], splits.get("validation", nothing)
        systems.append(System(name, model, seed, stage, moment, families.get(model), test, validation))
    return systems


def _take(table: pd.DataFrame, places: NDArray[np.intp]) -> pd.DataFrame:
    """Rows at ascending positions; neighbouring ones without a copy."""
    first, end = int(places[0]), int(places[-1]) + 1
    return table.iloc[first:end] if end - first == len(places) else table.iloc[places]


def _name(
    model: str, seed: int, stage: int, stages: Sequence[int], several_seeds: bool
) -> tuple[str, Literal["before", "after"] | None]:
    moment: Literal["before", "after"] | None = None
    note = ""
    if len(stages) > 1:
        if stage == 0:
            moment, note = "before", "before"
        elif stage == max(stages):
            moment, note = "after", "after"
        else:
            note = f"after stage {stage}"
    parts = [note] if note else []
    if several_seeds:
        parts.append(f"seed {seed}")
    return (f"{model} ({', '.join(parts)})" if parts else model), moment
