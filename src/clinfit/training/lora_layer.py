"""LoRA's product in as few passes over memory as it takes.

PEFT computes `base(x) + lora_B(lora_A(x)) * scaling` as separate operations: on top of the matrix products, four
passes over an activation-sized array forward and as many backward. On small hidden sizes those passes cost as much as
the products. Here the low-rank part is added into the base's output by the product itself, forward and backward.

The layer is a PEFT layer (PEFT's documented way to bring one's own LoRA layer, `LoraConfig._register_custom_module`),
so that adapters stay in PEFT's format and plain `peft` loads them. Whatever is not plain LoRA (DoRA, dropout while
training, several adapters, merged or switched-off ones) takes PEFT's own path.
"""

from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.lora import Linear as PeftLinear
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class LowRankProduct(torch.autograd.Function):
    """y = x W^T + bias + s (x A^T) B^T for x (n, in), W (out, in), A (r, in), B (out, r); gradients for x, A and B.

    The base is frozen: W and bias get no gradient.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scaling: float
    ) -> Tensor:
        device = x.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
        rows, weight = x.reshape(-1, x.shape[-1]).to(dtype), weight.to(dtype)
        down, up = a.to(dtype), b.to(dtype) * scaling
        reduced = rows @ down.T
        # Not a view of the product: some architectures write into what a linear layer returns.
        out = rows.new_empty(*x.shape[:-1], weight.shape[0])
        product = out.view(-1, weight.shape[0])
        if bias is None:
            torch.mm(rows, weight.T, out=product)
        else:
            torch.addmm(bias.to(dtype), rows, weight.T, out=product)
        product.addmm_(reduced, up.T)
        ctx.save_for_backward(rows, reduced, weight, down, up)
        ctx.scaling, ctx.shape, ctx.dtypes = scaling, x.shape, (x.dtype, a.dtype, b.dtype)
        return out

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]  # once_differentiable hides the signature
        ctx: Any, *grad_outputs: Any
    ) -> tuple[Tensor | None, ...]:
        (gradient,) = grad_outputs
        rows, reduced, weight, down, up = ctx.saved_tensors
        x_type, a_type, b_type = ctx.dtypes
        out = gradient.reshape(-1, gradient.shape[-1])
        back = out @ up
        to_x = (out @ weight).addmm_(back, down).view(ctx.shape).to(x_type) if ctx.needs_input_grad[0] else None
        to_a = (back.T @ rows).to(a_type)
        to_b = (out.T @ reduced).to(b_type) * ctx.scaling
        return to_x, None, None, to_a, to_b, None


class LowRankLinear(PeftLinear):
    """PEFT's LoRA layer around an nn.Linear, with the product above where it is plain LoRA."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        name = self._plain_adapter()
        if args or kwargs or name is None:
            return super().forward(x, *args, **kwargs)
        base: Any = self.get_base_layer()
        return LowRankProduct.apply(  # type: ignore[return-value]
            x, base.weight, base.bias, self.lora_A[name].weight, self.lora_B[name].weight, self.scaling[name]
        )

    def _plain_adapter(self) -> str | None:
        """Name of the one active adapter when it is plain LoRA on a frozen base."""
        base: Any = self.get_base_layer()
        if len(self.active_adapters) != 1 or self.disable_adapters or self.merged or base.weight.requires_grad:
            return None
        name = self.active_adapters[0]
        if name not in self.lora_A or name in self.lora_variant:
            return None
        drops = self.training and not isinstance(self.lora_dropout[name], nn.Identity)
        return None if drops else name


def use_low_rank_layers(config: LoraConfig) -> LoraConfig:
    """Have PEFT wrap the base's linear layers in LowRankLinear. Not for quantized bases, which bring their own."""
    config._register_custom_module({nn.Linear: LowRankLinear})
    return config
