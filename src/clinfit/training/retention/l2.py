"""L2 to the model that a stage began with: what was learned may change, at a price that grows with the distance.

On the product, for each adapted layer with factors B (out, r), A (r, in) and scaling s, B1, A1 as they were, and what
changed, D = B - B1 and E = A - A1:

    B A - B1 A1 = D A + B1 E
    || s B A - s B1 A1 ||^2 = s^2 [ <D'D, A A'> + 2 <D'B1, A E'> + <B1'B1, E E'> ],  <X, Y> = sum of X * Y

so that only r x r matrices are formed, never one of the size of the layer. The product is what the adapter adds to
the weights, and many pairs of factors give the same one; the distance between the factors,
|| A - A1 ||^2 + || B - B1 ||^2, holds them where they need not be held. Whatever is trained beside factors (heads,
magnitudes, all weights) has its plain squared distance. With all weights trained this is L2-SP (Li, Grandvalet and
Davoine, ICML 2018).
"""

from collections.abc import Iterator, Mapping
from typing import Literal

import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from clinfit.training.checkpoints import trainable


class L2:
    """strength x squared distance to the weights that the module has when this is made; 0 there."""

    def __init__(self, module: nn.Module, strength: float, on: Literal["product", "factors"]) -> None:
        self.strength = strength
        device = next(module.parameters()).device
        self._before = {name: value.to(device) for name, value in trainable(module).items()}
        self._now = {name: value for name, value in module.named_parameters() if value.requires_grad}
        self._pairs = list(_factors(module, self._now)) if on == "product" else []
        in_pairs = {name for a, b, _ in self._pairs for name in (a, b)}
        self._plain = [name for name in self._now if name not in in_pairs]

    def __call__(self) -> Tensor:
        """Scalar, with gradients for what is trained."""
        device = next(iter(self._now.values())).device
        total = torch.zeros((), device=device)
        for name in self._plain:
            total = total + (self._now[name].float() - self._before[name].float()).square().sum()
        for a, b, scaling in self._pairs:
            total = total + scaling**2 * self._distance(a, b)
        return self.strength * total

    def _distance(self, a: str, b: str) -> Tensor:
        """|| B A - B1 A1 ||^2 from r x r matrices; what rounding leaves below 0 is 0."""
        now_a, now_b, was_b = self._now[a], self._now[b], self._before[b]
        change_a, change_b = now_a - self._before[a], now_b - was_b
        of_b = ((change_b.T @ change_b) * (now_a @ now_a.T)).sum()
        both = ((change_b.T @ was_b) * (now_a @ change_a.T)).sum()
        of_a = ((was_b.T @ was_b) * (change_a @ change_a.T)).sum()
        return (of_b + 2 * both + of_a).clamp(min=0)


def _factors(module: nn.Module, now: Mapping[str, Tensor]) -> Iterator[tuple[str, str, float]]:
    """Names of A and B of each adapted layer, and its scaling."""
    for name, layer in module.named_modules():
        if not isinstance(layer, LoraLayer):
            continue
        for adapter in layer.lora_A:
            a, b = f"{name}.lora_A.{adapter}.weight", f"{name}.lora_B.{adapter}.weight"
            if a in now and b in now:
                yield a, b, float(layer.scaling[adapter])
