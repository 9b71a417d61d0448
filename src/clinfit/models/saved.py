"""What every saved model says about itself: `model.json` beside its weights."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from clinfit.errors import ClinfitError
from clinfit.files import read_json, write_json
from clinfit.study.models import ModelSection
from clinfit.study.tasks import Task, task_from

Spec = TypeVar("Spec", bound=ModelSection)

FILE = "model.json"
#: The folder of a neural model's tokenizer, beside it.
TOKENIZER = "tokenizer"


@dataclass(frozen=True)
class Pretrained:
    """What a saved neural model stands on: the base, the precision and the quantization of its training."""

    base: dict[str, Any]
    precision: str
    four_bit: bool = False


@dataclass(frozen=True)
class Saved(Generic[Spec]):
    """The content of `model.json`. taught: the tasks that some stage has taught. pretrained: None for families without
    a base. others: task -> folder below this one of the earlier model that answers it."""

    spec: Spec
    tasks: Mapping[str, Task]
    seed: int
    taught: list[str]
    pretrained: Pretrained | None
    others: Mapping[str, str] = field(default_factory=dict)


def write_saved(folder: Path, saved: Saved[Any]) -> None:
    """Write `model.json`, making the folder when needed."""
    pretrained = saved.pretrained
    content = {
        "spec": saved.spec.model_dump(mode="json"),
        "tasks": {name: task.model_dump(mode="json") for name, task in saved.tasks.items()},
        "seed": saved.seed,
        "taught": saved.taught,
        "base": pretrained.base if pretrained else None,
        "precision": pretrained.precision if pretrained else None,
        "four_bit": pretrained.four_bit if pretrained else None,
        **({"others": dict(saved.others)} if saved.others else {}),
    }
    write_json(folder / FILE, content)


def read_saved(folder: Path, kind: type[Spec]) -> Saved[Spec]:
    """Read `model.json`; raises ClinfitError when the folder holds no saved model."""
    if not (folder / FILE).is_file():
        raise ClinfitError(f"{folder} holds no saved model", expected=f"a folder with {FILE}")
    content = read_json(folder / FILE)
    if "tasks" not in content:
        raise ClinfitError(
            f"the model in {folder} was saved by an earlier clinfit, when a model had one task",
            fix="run the study again, or use the clinfit that saved it",
        )
    return Saved(
        kind.model_validate(content["spec"]),
        {name: task_from(task) for name, task in content["tasks"].items()},
        content["seed"],
        content["taught"],
        Pretrained(content["base"], content["precision"], content["four_bit"]) if content["base"] else None,
        content.get("others", {}),
    )


def saved_method(folder: Path) -> str | None:
    """The `method` of the saved model's spec; None where it has none, or where there is no saved model."""
    return read_json(folder / FILE)["spec"].get("method") if (folder / FILE).is_file() else None
