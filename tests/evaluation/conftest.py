"""Small made-up studies and predictions tables."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from clinfit.study import Baseline, Causal, Classical, Data, Evaluation, Study, Task


def make_study(labels: Sequence[str] = ("No", "Yes"), positive: str | None = None, **evaluation: object) -> Study:
    """Models: majority, lasso, forest (classical), tiny (causal); all tests share it."""
    data = Data(path="items.csv", inputs={"text": "text"})
    return Study(
        name="made-up",
        tasks={"outcome": Task(labels=list(labels), positive=positive, data=data)},
        models=[
            Baseline(name="majority", family="baseline", kind="majority"),
            Classical(name="forest", family="classical", kind="random-forest"),
            Causal(name="tiny", family="causal", base="clinfit/tiny"),
        ],
        evaluation=Evaluation(**{"bootstrap": 200} | evaluation),
    )


def rows(
    model: str,
    gold: Sequence[str],
    predicted: Sequence[str | None],
    labels: Sequence[str] = ("No", "Yes"),
    *,
    probabilities: np.ndarray | None = None,
    stage: int = 1,
    seed: int = 42,
    split: str = "test",
    groups: Sequence[str] | None = None,
) -> pd.DataFrame:
    """A predictions table; without probabilities the predicted label has 1, and an unparsed answer has none."""
    n = len(gold)
    if probabilities is None:
        codes = [labels.index(p) if p in labels else None for p in predicted]
        empty = np.full(len(labels), np.nan)
        probabilities = np.array([empty if code is None else np.eye(len(labels))[code] for code in codes])
    table = pd.DataFrame(
        {
            "run": f"{model}-seed{seed}",
            "model": model,
            "seed": seed,
            "stage": stage,
            "task": "outcome",
            "split": split,
            "id": [f"{split}-{i:05d}" for i in range(n)],
            "group": list(groups) if groups is not None else [f"{split}-{i:05d}" for i in range(n)],
            "gold": list(gold),
            "predicted": list(predicted),
            "status": ["unparsed" if p is None else "ok" for p in predicted],
        }
    )
    for k, label in enumerate(labels):
        table["p_" + label] = probabilities[:, k]
    table["label_mass"] = np.nan
    table["raw"] = None
    table["prompt_tokens"] = pd.array([None] * n, dtype="Int64")
    table["output_tokens"] = pd.array([None] * n, dtype="Int64")
    table["seconds"] = 0.001
    return table


def from_counts(tp: int, fn: int, fp: int, tn: int) -> tuple[list[str], list[str]]:
    """Gold and predicted labels with these counts, positives first."""
    gold = ["Yes"] * (tp + fn) + ["No"] * (fp + tn)
    return gold, ["Yes"] * tp + ["No"] * fn + ["Yes"] * fp + ["No"] * tn
