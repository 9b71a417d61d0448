"""The contract of an engine, and the engines by name.

    kind = KINDS["openvino"]
    kind.write(model, folder)           # from the model in memory, adapter merged into its weights; needs torch
    engine = kind.read(folder, threads) # needs none
    engine.logits(rows)                 # (rows, outputs), order of the rows

torch is the reference: a pack's answers are its, one record at a time, bit for bit. Another engine computes the same
network in other kernels or number formats, so its answers are near to these and not the same. It may answer only where
that was measured (packs/engines.py), and every answer names it. What is written lies in a temporary folder until it is
read, and is gone then: no second model is kept beside the pack.

One contract test (tests/models/test_engines.py) runs over all engines.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from clinfit.errors import ClinfitError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Engine(Protocol):
    """Computes the outputs of a head. Asked by one thread at a time."""

    @property
    def name(self) -> str:
        """As every answer tells it."""
        ...

    def logits(self, rows: Sequence[list[int]]) -> NDArray[np.float32]:
        """(rows, outputs) of the head for rows of ids, in their order."""
        ...


@dataclass(frozen=True)
class Kind:
    """A way to make engines. writer, reader: modules with `write(model, folder)` and `read(folder, threads)`. needs:
    modules that clinfit does not bring. extra: what installs them. named_only: `auto` does not spend its time on it."""

    writer: str
    reader: str
    needs: tuple[str, ...]
    extra: str
    named_only: bool = False

    @property
    def missing(self) -> list[str]:
        return [name for name in self.needs if find_spec(name) is None]

    def write(self, model: "PreTrainedModel", folder: Path) -> None:
        """Write what `read` reads into a new folder. model: a classifier with its adapter merged into its weights; it
        may be changed. Raises ClinfitError where the engine's packages are not installed."""
        if self.missing:
            raise ClinfitError(
                f"{', '.join(self.missing)} is not installed",
                expected=f"the extra `{self.extra}`",
                fix=f"pip install 'clinfit[{self.extra}]'",
            )
        folder.mkdir(parents=True)
        import_module(self.writer).write(model, folder)

    def read(self, folder: Path, threads: int) -> Engine:
        """The engine that was written into a folder, which it no longer needs. threads: that it may use."""
        return import_module(self.reader).read(folder, threads)


_HERE, _ONNX = "clinfit.models.engines.", ("onnx", "onnxruntime", "onnxscript")
#: Engines beside the reference.
KINDS: dict[str, Kind] = {
    "openvino": Kind(f"{_HERE}openvino_export", f"{_HERE}openvino", ("openvino",), "openvino"),
    "onnx": Kind(f"{_HERE}onnx_export", f"{_HERE}onnx", _ONNX, "onnx"),
    "onnx-int8": Kind(f"{_HERE}onnx_int8_export", f"{_HERE}onnx", _ONNX, "onnx", named_only=True),
}


class OneByOne:
    """An engine that computes one row at a time: no padding, and no row depends on its neighbours.

    compute: (1, outputs) from ids and mask, both (1, tokens) int64.
    """

    def __init__(
        self, name: str, compute: Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]
    ) -> None:
        self._name, self._compute = name, compute

    @property
    def name(self) -> str:
        return f"{self._name}, one record at a time"

    def logits(self, rows: Sequence[list[int]]) -> NDArray[np.float32]:
        return np.concatenate([self._one(row) for row in rows])

    def _one(self, row: list[int]) -> NDArray[np.float32]:
        ids = np.array([row], dtype=np.int64)
        return np.array(self._compute(ids, np.ones_like(ids)), dtype=np.float32)
