"""The contract of an engine, and the engines by name.

    engine = KINDS["openvino"].maker()(model)    # from the model in memory, adapter merged into its weights
    engine.logits(rows)                          # (rows, outputs), order of the rows

torch is the reference: a pack's answers are its, one record at a time, bit for bit. Another engine computes the same
network in other kernels or number formats, so its answers are near to these and not the same. It may answer only where
that was measured (packs/engines.py), and every answer names it. Nothing that it makes stays on disk.

One contract test (tests/models/test_engines.py) runs over all engines.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from clinfit.errors import ClinfitError


class Engine(Protocol):
    """Computes the outputs of a head. Asked by one thread at a time."""

    @property
    def name(self) -> str:
        """As every answer tells it."""
        ...

    def logits(self, rows: Sequence[list[int]]) -> NDArray[np.float32]:
        """(rows, outputs) of the head for rows of ids, in their order."""
        ...


#: Makes an engine of a classifier whose adapter is merged into its weights, which it may change.
Maker = Callable[[PreTrainedModel], Engine]


@dataclass(frozen=True)
class Kind:
    """A way to make engines. place: module and function. needs: modules that clinfit does not bring. extra: what
    installs them."""

    place: tuple[str, str]
    needs: tuple[str, ...]
    extra: str

    @property
    def missing(self) -> list[str]:
        return [name for name in self.needs if find_spec(name) is None]

    def maker(self) -> Maker:
        """Raises ClinfitError where its packages are not installed."""
        if self.missing:
            raise ClinfitError(
                f"{', '.join(self.missing)} is not installed",
                expected=f"the extra `{self.extra}`",
                fix=f"pip install 'clinfit[{self.extra}]'",
            )
        module, function = self.place
        return getattr(import_module(module), function)


#: Engines beside the reference.
KINDS: dict[str, Kind] = {
    "openvino": Kind(("clinfit.models.engines.openvino", "make"), ("openvino",), "openvino"),
    "onnx": Kind(("clinfit.models.engines.onnx", "make"), ("onnx", "onnxruntime", "onnxscript"), "onnx"),
}


class HeadOutputs(nn.Module):
    """forward(input_ids, attention_mask) -> (rows, outputs) logits: what exporters trace."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.model(input_ids=input_ids, attention_mask=attention_mask).logits


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
