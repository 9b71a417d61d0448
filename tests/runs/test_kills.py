"""A study of several ways through two stages, killed at ten moments: it ends as if it never was."""

import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clinfit.files import read_json
from runs_of_stages import STAGES, answers, causal, run, staged, weights

__all__ = ["staged"]

KILLS = 10
RETAINED: dict[str, dict[str, Any]] = {
    "naive": {},
    "rehearsal": {"retain": {"rehearsal": 0.25}},
    "merged": {"start": "base"},
}


def ways() -> list[dict[str, Any]]:
    """Dropout, so that the state of the random numbers counts as well."""
    train = {**causal()["train"], "epochs": 1, "checkpoint_every": 2, "evaluate_every": 3}
    merge = {"merge": {"stages": [1, 2]}}
    return [
        causal(
            name,
            train=train,
            lora={"rank": 2, "dropout": 0.1},
            stages=[STAGES[0], {**STAGES[1], **second}, *([merge] if name == "merged" else [])],
        )
        for name, second in RETAINED.items()
    ]


def progress(folder: Path) -> int:
    """Grows with every step of training and every table of answers; a kill takes some of it back."""
    logs = folder.glob("models/*/stages/*/log.jsonl")
    return sum(len(log.read_bytes().splitlines()) for log in logs) + 3 * len(
        list(folder.glob("models/*/predictions/*.parquet"))
    )


def killed_at(folder: Path, words: list[str], goal: int, pause: float) -> None:
    """Starts the run, and kills it `pause` seconds after its progress has reached `goal`."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while progress(folder) < goal:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.01)
    time.sleep(pause)
    process.kill()
    process.wait()


def matrix(folder: Path) -> dict[str, Any]:
    """Every task's figures after every stage, what was gained and forgotten, with their intervals; no times."""
    metrics = read_json(folder / "metrics.json")
    assert all(task["sections"]["stages"] for task in metrics["tasks"].values())
    tasks = {
        name: [task["sections"]["stages"], [[system["name"], system["metrics"]] for system in task["systems"]]]
        for name, task in metrics["tasks"].items()
    }
    return timeless({"over tasks": metrics["stages"], "tasks": tasks})


def timeless(value: Any) -> Any:
    """Without seconds, which differ from run to run."""
    if isinstance(value, dict):
        return {key: timeless(item) for key, item in value.items() if key != "seconds"}
    return [timeless(item) for item in value] if isinstance(value, list) else value


@pytest.mark.slow
def test_killed_at_ten_moments_weights_and_matrix_are_the_same(staged: Callable[..., Path]) -> None:
    study = staged(models=ways(), stages=[])
    whole, _ = run(study, out="whole")
    assert whole.ok
    folder = Path("apart/killed")
    words = [sys.executable, "-m", "clinfit", "run", str(study), "--out", str(folder)]
    draw = random.Random(7)
    goals = sorted(draw.sample(range(1, progress(whole.folder) - 8), KILLS))
    for goal in goals:
        killed_at(folder, words, goal, draw.uniform(0, 0.1))
    result, _ = run(study, out=str(folder))
    assert result.ok and answers(result.folder) == answers(whole.folder)
    for name in RETAINED:
        assert weights(result.folder, f"{name}-seed42") == weights(whole.folder, f"{name}-seed42")
    assert matrix(result.folder) == matrix(whole.folder)
    assert not list(folder.rglob("*.tmp-*"))
