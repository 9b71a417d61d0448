"""How much each token of a text moves a probability, by its gradient.

Integrated gradients (Sundararajan, Taly and Yan, "Axiomatic attribution for deep networks", ICML 2017, equation 1),
over the embeddings of the tokens: with x the embedding of a token, n that of a neutral one, and p the probability when
every token stands at n + a (x - n),

    effect = (x - n) . integral over a from 0 to 1 of dp/dx at n + a (x - n)

by the midpoint rule. Where a = 0 nothing of the text is read, and so the effects sum to p(1) - p(0), but for the rule's
error. All other tokens (the instruction, special tokens) stay as they are.

A neutral token and not zero: a model that divides by the size of what it reads (RMSNorm) sees a text that is multiplied
by 0.01 as it sees the whole of it, so that all would happen at a = 0, between two points.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel


@dataclass
class _Scaled:
    """The embeddings of some tokens, between those of a neutral one and their own. share: how near to their own.
    difference, read: (rows, n, d) the whole way, and where they stand on it."""

    at: list[int]
    neutral: Tensor
    share: float = 1.0
    difference: Tensor = field(default_factory=lambda: torch.empty(0))
    read: Tensor = field(default_factory=lambda: torch.empty(0))

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        self.difference = output[:, self.at].detach() - self.neutral
        self.read = (self.neutral + self.share * self.difference).requires_grad_()
        index = torch.tensor(self.at, device=output.device)
        return output.detach().index_copy(1, index, self.read)


def integrated_gradients(
    model: PreTrainedModel, at: Sequence[int], neutral: int, probability: Callable[[], Tensor], steps: int
) -> tuple[NDArray[np.float64], float, float]:
    """Effects (n,) of the tokens at n places, and the probability with them and with the neutral token in their places.

    at: of the tokens in every row that `probability` reads. probability: passes the rows through the model; a scalar
    that can be differentiated. steps: points on the way.
    """
    embeddings: Any = model.get_input_embeddings()
    with torch.no_grad():
        scaled = _Scaled(list(at), embeddings(torch.tensor([neutral], device=model.device))[0])
    with _embeddings(model, scaled):
        with torch.no_grad():
            ends = []
            for scaled.share in (1.0, 0.0):
                ends.append(float(probability()))
        effects = torch.zeros(len(at), dtype=torch.float64)
        with torch.enable_grad():
            for k in range(steps):
                scaled.share = (k + 0.5) / steps
                (gradient,) = torch.autograd.grad(probability(), scaled.read)
                effects += (gradient * scaled.difference).sum(dim=(0, 2)).double().cpu() / steps
    return effects.numpy(), ends[0], ends[1]


@contextmanager
def _embeddings(model: PreTrainedModel, scaled: _Scaled) -> Iterator[None]:
    """What the model's embeddings give is passed through `scaled`, in this thread only: hooks belong to all."""
    thread = threading.get_ident()

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        return scaled(module, inputs, output) if threading.get_ident() == thread else None

    embeddings: Any = model.get_input_embeddings()
    handle = embeddings.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
