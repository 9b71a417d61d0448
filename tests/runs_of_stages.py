"""Studies of two tasks in several stages, for tests of runs."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

import clinfit
from clinfit.files import hash_files
from clinfit.predictions import probabilities_of, read_predictions
from clinfit.runs.execute import Result
from two_layer import llama_base

StudyMaker = Callable[..., Path]

MAJORITY = {"name": "majority", "family": "baseline", "kind": "majority"}
STAGES = [{"train": {"cancer": 1, "age": 0.5}}, {"train": {"age": 1}}]


def causal(name: str = "small", **changes: Any) -> dict[str, Any]:
    train = {"epochs": 0.3, "max_length": 100, "precision": "fp32", "batch_size": 4, "learning_rate": 1e-3}
    return {"name": name, "family": "causal", "base": str(llama_base()), "lora": {"rank": 2}, "train": train} | changes


@pytest.fixture
def staged(make_study: StudyMaker) -> Callable[..., Path]:
    """Writes a study of two tasks on the same records; `changes` replace its parts."""

    def write(**changes: Any) -> Path:
        study = make_study()
        content = yaml.safe_load(study.read_text())
        cancer = content["tasks"]["cancer"]
        bands = {number: "old" if number > 59 else "young" for number in range(40, 81)}
        age = {"labels": ["young", "old"], "data": {**cancer["data"], "label": {"column": "age", "map": bands}}}
        age["data"]["inputs"] = {"text": "text"}
        content |= {"tasks": {"cancer": cancer, "age": age}, "stages": STAGES}
        content |= {"models": [MAJORITY, causal()]} | changes
        study.write_text(yaml.safe_dump(content, sort_keys=False))
        return study

    return write


def run(study: Path, **options: Any) -> tuple[Result, str]:
    console = Console(file=io.StringIO(), width=200)
    result = clinfit.run(study, console=console, **options)
    return result, console.file.getvalue()  # type: ignore[attr-defined]


def answers(folder: Path) -> dict[str, Any]:
    """Probabilities of every table."""
    return {
        path.relative_to(folder / "models").as_posix(): probabilities_of(read_predictions(path)).tolist()
        for path in sorted(folder.glob("models/*/predictions/*.parquet"))
    }


def weights(folder: Path, run: str = "small-seed42") -> dict[str, str]:
    """Every file of every stage's adapter."""
    found = hash_files(folder / "models" / run / "stages")
    return {name: digest for name, digest in found.items() if "/model/" in name}
