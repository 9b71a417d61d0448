"""A small study with a canary in its texts: the canary must never leave the data file."""

from pathlib import Path
from typing import Any

import pandas as pd
import yaml

CANARY = "zebrafishcanary"


def records(n: int = 60) -> pd.DataFrame:
    """n records, a third of them positive, that words and a number tell apart with some noise."""
    rows = []
    for k in range(n):
        positive = k % 3 == 0
        word = "tumour" if positive != (k % 10 == 7) else "fracture"
        text = f"Case {k}: {word} seen, {CANARY} {k * 7919 % 101}"
        rows.append({"id": f"r{k}", "text": text, "age": 40 + k % 30 + 10 * positive, "label": int(positive)})
    return pd.DataFrame(rows)


def write_study(folder: Path, **changes: Any) -> Path:
    """study.yaml and data.csv in a folder; `changes` replace top-level parts of the study."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "data.csv").exists():
        records().to_csv(folder / "data.csv", index=False)
    study: dict[str, Any] = {
        "name": "small",
        "tasks": {
            "cancer": {
                "labels": ["no", "yes"],
                "data": {
                    "path": "data.csv",
                    "id": "id",
                    "inputs": {"text": "text", "age": {"column": "age", "type": "number", "unit": "years"}},
                    "label": {"column": "label", "map": {0: "no", 1: "yes"}},
                },
            }
        },
        "models": [
            {"name": "majority", "family": "baseline", "kind": "majority"},
            {"name": "tfidf", "family": "classical", "kind": "tfidf-logistic", "c_grid": [1.0]},
        ],
        "evaluation": {"bootstrap": 100, "threshold": {"rule": "youden"}},
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(study | changes, sort_keys=False))
    return path


def numbers_task(folder: Path, table: pd.DataFrame, split: dict[str, Any]) -> dict[str, Any]:
    """Writes a table with the columns id, a, b, c and label (0 or 1); the task that reads it."""
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / "data.csv", index=False)
    return {
        "labels": ["no", "yes"],
        "positive": "yes",
        "data": {
            "path": "data.csv",
            "id": "id",
            "inputs": {name: {"column": name, "type": "number"} for name in "abc"},
            "label": {"column": "label", "map": {0: "no", 1: "yes"}},
            "split": split,
        },
    }
