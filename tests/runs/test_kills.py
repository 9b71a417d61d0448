"""A study of several ways through two stages, killed at ten moments: it ends as if it never was."""

import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import killed
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
    draw = random.Random(7)
    for goal in sorted(draw.sample(range(1, killed.progress(whole.folder) - 8), KILLS)):
        done = killed.run(study, folder, [killed.Kill(goal, draw.uniform(0, 0.1))])
        assert done.returncode == -signal.SIGKILL, f"it ended before it could be killed: {done.stderr}"
    result, _ = run(study, out=str(folder))
    assert result.ok and answers(result.folder) == answers(whole.folder)
    for name in RETAINED:
        assert weights(result.folder, f"{name}-seed42") == weights(whole.folder, f"{name}-seed42")
    assert matrix(result.folder) == matrix(whole.folder)
    assert not list(folder.rglob("*.tmp-*"))
