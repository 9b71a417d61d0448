"""Made-up out-of-fold predictions of a repeated cross-validation."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from clinfit.study.data import Data, SplitRule
from clinfit.study.evaluation import Evaluation
from clinfit.study.models import Classical
from clinfit.study.schema import Study
from clinfit.study.tasks import Classification

K, REPEATS, N = 4, 3, 80
LABELS = ["no", "yes"]


def study(*, refit: bool = False, **evaluation: Any) -> Study:
    data = Data(path="unused.csv", inputs={"x": "x"}, split=SplitRule(folds=K, repeats=REPEATS))
    models = [Classical(name=name, family="classical", kind="lasso", refit=refit) for name in ("one", "other")]
    settings = {"bootstrap": 200, "primary": "auroc", "baseline": "one", **evaluation}
    return Study(
        name="folds",
        tasks={"t": Classification(labels=LABELS, positive="yes", data=data)},
        models=list(models),
        evaluation=Evaluation(**settings),
    )


def table(repeats: int = REPEATS, models: Sequence[str] = ("one", "other"), seed: int = 0) -> pd.DataFrame:
    """Out-of-fold answers of models whose scores have another level in each fold, so that pooling would spoil ranks."""
    rng = np.random.default_rng(seed)
    gold = np.arange(N) % 3 == 0
    own_noise = rng.standard_normal((2, N))  # of an item, whatever the fold's model: most of the noise
    rows = []
    for repeat in range(1, repeats + 1):
        fold_of = rng.permutation(N) % K + 1
        for m, (model, noise) in enumerate(zip(models, (0.5, 1.0), strict=False)):
            for fold in range(1, K + 1):
                level = (-1.5, -0.5, 0.5, 1.5)[fold - 1]
                for split in ("validation", "test"):
                    own = (
                        np.flatnonzero(fold_of == fold) if split == "test" else np.flatnonzero(fold_of == fold % K + 1)
                    )
                    p = 1 / (
                        1
                        + np.exp(
                            -(level + gold[own] - 0.5 + noise * own_noise[m, own] - 0.1 * rng.standard_normal(len(own)))
                        )
                    )
                    for at, value in zip(own, p, strict=True):
                        rows.append(
                            {
                                "run": f"{model}-seed42-repeat{repeat}-fold{fold}",
                                "model": model,
                                "seed": 42,
                                "stage": 1,
                                "repeat": repeat,
                                "fold": fold,
                                "task": "t",
                                "kind": "classification",
                                "split": split,
                                "id": f"r{at}",
                                "group": f"r{at}",
                                "gold": LABELS[int(gold[at])],
                                "predicted": LABELS[int(value >= 0.5)],
                                "status": "ok",
                                "raw": None,
                                "finish_reason": None,
                                "prompt_tokens": np.nan,
                                "output_tokens": np.nan,
                                "dropped_tokens": np.nan,
                                "seconds": 0.001,
                                "p_no": 1 - value,
                                "p_yes": value,
                                "label_mass": np.nan,
                            }
                        )
    return pd.DataFrame(rows)
