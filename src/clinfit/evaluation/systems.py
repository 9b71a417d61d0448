"""Which systems a predictions table holds, what they are called, and their rows side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from clinfit.study import Study

KEY = ["model", "seed", "stage"]


@dataclass(frozen=True)
class System:
    """One (model, seed, stage) with its test and validation rows, each sorted by item id."""

    name: str
    model: str
    seed: int
    stage: int
    moment: Literal["before", "after"] | None
    family: str | None
    test: pd.DataFrame
    validation: pd.DataFrame

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


def find_systems(study: Study, rows: pd.DataFrame) -> list[System]:
    """Every system with test rows, in the study's order of models, then by seed and stage.

    A model seen at several stages is called `tiny (before)` at stage 0 and `tiny (after)` at the last; a model with
    several seeds carries its seed in the name.
    """
    families = {spec.name: spec.family for spec in study.models}
    order = {name: place for place, name in enumerate(families)}
    tests = rows[rows["split"] == "test"]
    keys = sorted(
        {(str(model), int(seed), int(stage)) for model, seed, stage in tests[KEY].drop_duplicates().to_numpy()},
        key=lambda key: (order.get(key[0], len(order)), key),
    )
    grouped = {(str(model), int(seed), int(stage)): part for (model, seed, stage), part in rows.groupby(KEY)}
    systems = []
    for model, seed, stage in keys:
        stages = [key[2] for key in keys if key[:2] == (model, seed)]
        seeds = {key[1] for key in keys if key[0] == model}
        name, moment = _name(model, seed, stage, stages, len(seeds) > 1)
        part = grouped[model, seed, stage].sort_values("id", kind="stable")
        systems.append(
            System(
                name,
                model,
                seed,
                stage,
                moment,
                families.get(model),
                part[part["split"] == "test"],
                part[part["split"] == "validation"],
            )
        )
    return systems


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
