"""What every saved neural model says about itself: `model.json` beside its weights."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from clinfit.errors import ClinfitError
from clinfit.study import Neural, Task

Spec = TypeVar("Spec", bound=Neural)


@dataclass(frozen=True)
class Saved(Generic[Spec]):
    """The content of `model.json`."""

    spec: Spec
    task: Task
    seed: int
    base: dict[str, Any]
    precision: str
    four_bit: bool


def write_saved(
    folder: Path, spec: Neural, task: Task, seed: int, *, base: dict[str, Any], precision: str, four_bit: bool = False
) -> None:
    """Write `model.json`."""
    content = {
        "spec": spec.model_dump(mode="json"),
        "task": task.model_dump(mode="json"),
        "seed": seed,
        "base": base,
        "precision": precision,
        "four_bit": four_bit,
    }
    (folder / "model.json").write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_saved(folder: Path, kind: type[Spec]) -> Saved[Spec]:
    """Read `model.json`; raises ClinfitError when the folder holds no saved model."""
    path = folder / "model.json"
    if not path.is_file():
        raise ClinfitError(f"{folder} holds no saved model", expected="a folder with model.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    return Saved(
        kind.model_validate(content["spec"]),
        Task.model_validate(content["task"]),
        content["seed"],
        content["base"],
        content["precision"],
        content["four_bit"],
    )
