"""A small table of numbers that is cross-validated."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console

from small_study import numbers_task, write_study

MODELS = [
    {"name": "majority", "family": "baseline", "kind": "majority"},
    {"name": "lasso", "family": "classical", "kind": "lasso", "c_grid": [0.1, 1.0]},
    {"name": "forest", "family": "classical", "kind": "random-forest", "trees": 30},
]


def write(folder: Path, split: dict[str, Any] | None = None, **changes: Any) -> Path:
    """A table of numbers with 90 rows, some missing. split: default: three folds, twice."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((90, 3))
    outcome = x[:, 0] + 0.8 * rng.standard_normal(90) > 0.4
    x[rng.random(x.shape) < 0.05] = np.nan
    table = pd.DataFrame(x, columns=["a", "b", "c"]).assign(id=[f"r{k}" for k in range(90)], label=outcome.astype(int))
    folds = {"folds": 3, "repeats": 2, "validation_of_train": 0.25} if split is None else split
    task = numbers_task(folder, table, folds)
    evaluation = {"bootstrap": 100, "primary": "auroc", "threshold": {"rule": "youden"}}
    return write_study(folder, **{"tasks": {"t": task}, "models": MODELS, "evaluation": evaluation, **changes})


def quiet() -> Console:
    return Console(file=io.StringIO(), width=200)
