"""What a killed run needs to continue exactly: trainable weights, optimizer moments, position. Safetensors and JSON.

A checkpoint is a folder that appears by one rename, so that at any moment the newest complete one can be used:

    step-000050/   weights.safetensors  optimizer.safetensors  state.json
    best-000040/   weights.safetensors
"""

import json
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from clinfit.files import new_folder, remove_leftovers


@dataclass
class Position:
    """Where the training is. `best_*` is None until the first validation; `signature` names settings and data.
    fell_back: whether the best was judged by its loss for want of the primary metric."""

    signature: str
    step: int = 0
    seconds: float = 0.0
    tokens: int = 0
    cells: int = 0
    best_step: int | None = None
    best_value: float | None = None
    fell_back: bool = False
    validations_without_gain: int = 0
    stopped_early: bool = False
    scaler: dict[str, Any] = field(default_factory=dict)

    def worse_than(self, value: float, fell_back: bool) -> bool:
        """Whether the best so far is worse than a validation: one with the primary metric beats any that is judged by
        its loss for want of it, and of two that are judged alike the larger value does."""
        if self.best_value is None:
            return True
        return value > self.best_value if fell_back == self.fell_back else self.fell_back


class Checkpoints:
    """The checkpoint folder of one fit."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def clear(self) -> None:
        """Remove what a killed run left half done; of several processes one does it, before any of them reads."""
        remove_leftovers(self.folder)
        position = self.latest()
        for best in self.folder.glob("best-*"):  # a best of steps that will be done again is found again
            if position is None or int(best.name.removeprefix("best-")) > position.step:
                shutil.rmtree(best)

    def latest(self) -> Position | None:
        """Position of the newest complete checkpoint, None where there is none."""
        folder = self._newest("step-")
        return None if folder is None else Position(**json.loads((folder / "state.json").read_text()))

    def save(self, position: Position, module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Write the checkpoint of this step; drop older ones, and every best that it does not name."""
        name = f"step-{position.step:06d}"
        with new_folder(self.folder / name) as new:
            save_file(trainable(module), new / "weights.safetensors")
            save_file(_flat_state(optimizer), new / "optimizer.safetensors")
            (new / "state.json").write_text(json.dumps(asdict(position), indent=1))
        needed = {name, f"best-{position.best_step or 0:06d}"}
        for folder in [*self.folder.glob("step-*"), *self.folder.glob("best-*")]:
            if folder.name not in needed:
                shutil.rmtree(folder)

    def save_best(self, step: int, module: nn.Module) -> None:
        """Keep this step's weights as the best."""
        with new_folder(self.folder / f"best-{step:06d}") as new:
            save_file(trainable(module), new / "weights.safetensors")

    def restore(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Put the newest checkpoint's weights and moments back."""
        folder = self._newest("step-")
        assert folder is not None
        set_trainable(module, load_file(folder / "weights.safetensors"))
        _set_flat_state(optimizer, load_file(folder / "optimizer.safetensors"))

    def restore_best(self, step: int, module: nn.Module) -> None:
        """Put the best weights back."""
        set_trainable(module, load_file(self.folder / f"best-{step:06d}" / "weights.safetensors"))

    def _newest(self, prefix: str) -> Path | None:
        return max(self.folder.glob(prefix + "*"), default=None)


def trainable(module: nn.Module) -> dict[str, Tensor]:
    """Name to value of every trainable parameter, on the processor."""
    return {
        name: parameter.detach().cpu().contiguous().clone()
        for name, parameter in module.named_parameters()
        if parameter.requires_grad
    }


@torch.no_grad()
def set_trainable(module: nn.Module, values: dict[str, Tensor]) -> None:
    """Copy values into the trainable parameters; both must have the same names."""
    parameters = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
    if parameters.keys() != values.keys():
        raise ValueError(f"checkpoint and model differ in {sorted(parameters.keys() ^ values.keys())[:3]}")
    for name, parameter in parameters.items():
        parameter.copy_(values[name])


def _flat_state(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        f"{index}.{key}": value.detach().cpu().contiguous().clone()
        for index, state in optimizer.state_dict()["state"].items()
        for key, value in state.items()
    }


def _set_flat_state(optimizer: torch.optim.Optimizer, flat: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in flat.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
