"""Where the last layer works: at the wanted positions, with the states and gradients of a whole forward."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from clinfit.errors import ClinfitError
from clinfit.scoring.answer_logits import _behind_last_attention, check_answer_logits, states_at
from clinfit.study.models import Lora
from clinfit.training.adapters import add_adapter

IDS = torch.tensor([[0, 3, 42, 43, 44, 45, 46, 47], [0, 7, 52, 53, 54, 55, 56, 57]])
ROWS, COLUMNS = torch.tensor([0, 1, 1]), torch.tensor([7, 2, 5])


@pytest.fixture
def model(tiny_base: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32).eval()


def tiny(kind: str, **settings: Any) -> PreTrainedModel:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = AutoConfig.for_model(kind, vocab_size=100, **{**sizes, "num_key_value_heads": 2, **settings})
    return AutoModelForCausalLM.from_config(config).eval()


def whole(model: PreTrainedModel, rows: Tensor = ROWS, columns: Tensor = COLUMNS) -> Tensor:
    """The states of a forward over all positions."""
    return model.get_decoder()(input_ids=IDS, use_cache=False).last_hidden_state[rows, columns]


def test_the_last_layer_works_at_the_wanted_positions_only(model: PreTrainedModel) -> None:
    seen: list[int] = []
    layers = model.get_decoder().layers
    products = [product for layer in layers for product in (layer.self_attn.o_proj, layer.mlp.down_proj)]
    handles = [
        product.register_forward_hook(lambda *call: seen.append(call[2].shape[:-1].numel())) for product in products
    ]
    states_at(model, IDS, ROWS, COLUMNS)
    for handle in handles:
        handle.remove()
    assert seen == [IDS.numel()] * (len(products) - 2) + [len(ROWS)] * 2
    left = [module for module in model.modules() if module._forward_hooks or module._forward_pre_hooks]
    assert not left, "the model is left as it was"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_adapters_learn_what_they_learn_from_a_whole_forward(model: PreTrainedModel, dtype: torch.dtype) -> None:
    adapted = add_adapter(model, Lora(rank=4, alpha=8), 0, task_type="CAUSAL_LM", base_name="base").train()
    weights = [weight for weight in adapted.parameters() if weight.requires_grad]
    for weight in weights:
        torch.nn.init.normal_(weight, std=0.1)
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        ours, own = states_at(model, IDS, ROWS, COLUMNS), whole(model)
    tolerance = 1e-4 if dtype == torch.float32 else 0.05
    torch.testing.assert_close(ours, own, atol=tolerance, rtol=tolerance)
    gradients = [torch.autograd.grad(states.float().square().sum(), weights) for states in (ours, own)]
    for mine, plain in zip(*gradients, strict=True):
        assert torch.linalg.vector_norm(mine - plain) <= tolerance * (1 + torch.linalg.vector_norm(plain))


def test_a_layer_that_is_computed_twice_is_computed_whole(model: PreTrainedModel) -> None:
    assert len(_behind_last_attention(model)) == 2
    model.activation_checkpointing_enable()
    assert len(_behind_last_attention(model)) == 2, "in evaluation nothing is computed twice"
    assert _behind_last_attention(model.train()) == []


def test_threads_do_not_see_each_other_s_positions(model: PreTrainedModel) -> None:
    expected = {column: whole(model, torch.tensor([0]), torch.tensor([column])) for column in (2, 7)}
    start = threading.Barrier(2)

    def right(column: int) -> bool:
        """Whether states at wanted positions and of a whole forward are always those of a model alone."""
        start.wait()
        position, alike = (torch.tensor([0]), torch.tensor([column])), True
        for _ in range(50):
            with torch.no_grad():
                found = states_at(model, IDS, *position), whole(model, *position)
            alike &= all(torch.allclose(states, expected[column], atol=1e-5) for states in found)
        return alike

    with ThreadPoolExecutor(2) as threads:
        assert all(threads.map(right, expected))


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("qwen3_moe", {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "head_dim": 8}),
        ("doge", {"is_moe": True, "num_experts": 4, "num_experts_per_tok": 2}),
    ],
)
def test_experts_are_left_whole(kind: str, settings: dict[str, Any]) -> None:
    model = tiny(kind, **settings)
    assert _behind_last_attention(model) == []
    with torch.no_grad():
        torch.testing.assert_close(states_at(model, IDS, ROWS, COLUMNS), whole(model), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("doge", {"is_moe": True, "num_experts": 4, "num_experts_per_tok": 2}),
        ("bert-generation", {}),
        ("gemma3_text", {"head_dim": 8, "use_bidirectional_attention": True}),
    ],
)
def test_what_reads_both_ways_is_stopped_at_load(kind: str, settings: dict[str, Any]) -> None:
    """An answer would be seen before it is given; Doge chooses experts for all tokens together."""
    with pytest.raises(ClinfitError, match="both ways"):
        check_answer_logits(tiny(kind, **settings), [3, 42, 43, 44])


def test_a_layer_that_mixes_positions_behind_its_attention_is_stopped_at_load(model: PreTrainedModel) -> None:
    """As a convolution behind attention's output would."""
    last = model.get_decoder().layers[-1].self_attn
    product = last.o_proj
    last.register_forward_hook(lambda _, __, output: (output[0].cumsum(1), *output[1:]))
    assert product in _behind_last_attention(model)
    with pytest.raises(ClinfitError, match="does not know"):
        check_answer_logits(model, [3, 42, 43, 44])
