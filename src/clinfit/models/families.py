"""Family name to class. The classes are imported when they are needed, so that `clinfit --help` loads no torch."""

from importlib import import_module
from pathlib import Path

from clinfit.models.base import Model
from clinfit.study import ModelSpec, Task

FAMILIES = {
    "baseline": ("clinfit.models.baselines", "BaselineModel"),
    "classical": ("clinfit.models.classical", "ClassicalModel"),
    "encoder": ("clinfit.models.encoder", "EncoderModel"),
    "causal": ("clinfit.models.causal", "CausalModel"),
}


def family_class(family: str) -> type[Model]:
    """The class of a family."""
    module, name = FAMILIES[family]
    return getattr(import_module(module), name)


def create_model(spec: ModelSpec, task: Task, seed: int) -> Model:
    """A model of the spec's family, not yet trained."""
    return family_class(spec.family)(spec, task, seed)


def load_model(family: str, folder: Path) -> Model:
    """A saved model."""
    return family_class(family).load(folder)
