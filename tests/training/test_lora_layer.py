"""The lean LoRA product against PEFT's own."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn

from clinfit.training.adapters import load_adapter
from clinfit.training.lora_layer import LowRankLinear, use_low_rank_layers


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(12, 20), nn.Linear(20, 6, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.tanh(self.first(x)))


def adapted(lean: bool, **options: Any) -> Any:
    torch.manual_seed(0)
    config = LoraConfig(r=3, lora_alpha=6, target_modules=["first", "second"], init_lora_weights=False, **options)
    torch.manual_seed(1)
    model = Block()
    return get_peft_model(model, use_low_rank_layers(config) if lean else config)  # type: ignore[arg-type]


def outcome(model: Any, x: torch.Tensor, autocast: bool) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        y = model(x)
    y.float().square().sum().backward()
    assert x.grad is not None
    return y, {"x": x.grad} | {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(("autocast", "tolerance"), [(False, 1e-5), (True, 0.05)])
def test_output_and_gradients_equal_pefts(autocast: bool, tolerance: float) -> None:
    x = torch.randn(2, 5, 12, generator=torch.Generator().manual_seed(2))
    ours, theirs = adapted(lean=True), adapted(lean=False)
    assert any(isinstance(module, LowRankLinear) for module in ours.modules())
    ours.load_state_dict(theirs.state_dict())
    y, gradients = outcome(ours, x, autocast)
    expected, expected_gradients = outcome(theirs, x, autocast)
    torch.testing.assert_close(y, expected, rtol=tolerance, atol=tolerance)
    assert gradients.keys() == expected_gradients.keys()
    for name, gradient in expected_gradients.items():
        scale = gradient.abs().max().item()
        torch.testing.assert_close(gradients[name], gradient, rtol=tolerance, atol=tolerance * scale)


class WritesIntoItsOutput(Block):
    """As Longformer does with its queries, Falcon with what stands beside its residual."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self.first(x)
        first /= 2.0
        second = self.second(torch.tanh(first))
        second += 1.0
        return second


@pytest.mark.parametrize("autocast", [False, True])
def test_what_a_layer_returns_may_be_written_into(autocast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "Block", WritesIntoItsOutput)
    test_output_and_gradients_equal_pefts(autocast, 0.05 if autocast else 1e-5)


@pytest.mark.parametrize("options", [{"lora_dropout": 0.5}, {"use_dora": True}])
def test_what_is_not_plain_lora_takes_pefts_path(options: dict[str, Any]) -> None:
    x = torch.randn(4, 12, generator=torch.Generator().manual_seed(2))
    ours, theirs = adapted(lean=True, **options), adapted(lean=False, **options)
    ours.load_state_dict(theirs.state_dict())
    outputs = []
    for model in (ours, theirs):
        torch.manual_seed(5)
        outputs.append(model(x))
    torch.testing.assert_close(*outputs)


def test_a_switched_off_adapter_leaves_the_base() -> None:
    x = torch.randn(4, 12)
    model = adapted(lean=True)
    torch.manual_seed(1)
    with model.disable_adapter():
        torch.testing.assert_close(model(x), Block()(x))


def test_plain_peft_loads_the_adapter(tmp_path: Path) -> None:
    x = torch.randn(4, 12)
    model = adapted(lean=True)
    model.save_pretrained(tmp_path)
    torch.manual_seed(1)
    plain = PeftModel.from_pretrained(Block(), str(tmp_path))  # type: ignore[arg-type]
    torch.manual_seed(1)
    ours = load_adapter(Block(), tmp_path)  # type: ignore[arg-type]
    torch.testing.assert_close(plain(x), model(x))
    assert torch.equal(ours(x), model(x))
