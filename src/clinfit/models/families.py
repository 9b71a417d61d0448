"""Family name to class. The classes are imported when they are needed, so that `clinfit --help` loads no torch."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from clinfit.machine import mlx_installed
from clinfit.models.base import Model
from clinfit.models.saved import saved_method
from clinfit.study.models import ModelSpec
from clinfit.study.tasks import Task

if TYPE_CHECKING:
    from clinfit.models.bases.pretrained import Bases

FAMILIES = {
    "baseline": ("clinfit.models.baselines", "BaselineModel"),
    "classical": ("clinfit.models.classical", "ClassicalModel"),
    "encoder": ("clinfit.models.encoder", "EncoderModel"),
    "causal": ("clinfit.models.causal", "CausalModel"),
    "mlx": ("clinfit.models.mlx.model", "MlxModel"),
    "remote": ("clinfit.models.remote.model", "RemoteModel"),
}
#: Saved models of family mlx where MLX is not installed: torch answers with the same adapter.
WITHOUT_MLX = ("clinfit.models.mlx.by_torch", "MlxByTorch")
#: Families whose models are of another class where nothing is trained (`method: prompt`).
PROMPTED = {"causal": ("clinfit.models.prompted", "PromptedModel")}


def family_class(family: str, method: str | None = None) -> type[Model]:
    """The class of a family, and of the `method` of its models where that decides it."""
    module, name = (PROMPTED if method == "prompt" else FAMILIES)[family]
    return getattr(import_module(module), name)


def create_model(spec: ModelSpec, tasks: Mapping[str, Task], seed: int, bases: "Bases | None" = None) -> Model:
    """A model of the spec's family, not yet trained."""
    return family_class(spec.family, getattr(spec, "method", None))(spec, tasks, seed, bases)


def load_model(family: str, folder: Path, bases: "Bases | None" = None) -> Model:
    """A saved model."""
    if family == "mlx" and not mlx_installed():
        module, name = WITHOUT_MLX
        return getattr(import_module(module), name).load(folder, bases)
    return family_class(family, saved_method(folder)).load(folder, bases)
