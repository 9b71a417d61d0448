"""Which layers adapters stand around, architecture by architecture."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from clinfit.errors import ClinfitError
from clinfit.study.models import Lora
from clinfit.training.adapters import adapter_facts, add_adapter, load_adapter

IDS = torch.tensor([[0, 3, 42, 43, 44, 45, 46, 47]])
SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
ROUTERS: dict[str, dict[str, Any]] = {"phimoe": {"num_local_experts": 4, "num_key_value_heads": 2}}
MAMBA: dict[str, dict[str, Any]] = {
    "mamba": {"hidden_size": 32},
    "falcon_mamba": {"hidden_size": 32},
    "mamba2": {"hidden_size": 32, "expand": 2, "num_heads": 8, "head_dim": 8, "state_size": 8, "n_groups": 1},
}


def tiny(kind: str) -> PreTrainedModel:
    torch.manual_seed(0)
    settings = ROUTERS.get(kind) or MAMBA[kind]
    config = AutoConfig.for_model(kind, vocab_size=100, initializer_range=0.3, **{**SIZES, **settings})
    return AutoModelForCausalLM.from_config(config).eval()


@pytest.mark.parametrize(("kind", "left_out"), [("phimoe", "router"), *((kind, "out_proj") for kind in MAMBA)])
def test_all_linear_leaves_out_what_cannot_be_adapted(kind: str, left_out: str, tmp_path: Path) -> None:
    adapted = add_adapter(tiny(kind), Lora(rank=2), 0, task_type="CAUSAL_LM", base_name="base")
    modules = adapter_facts(adapted)["modules"]
    assert modules and left_out not in modules
    for weight in adapted.parameters():
        if weight.requires_grad:
            torch.nn.init.normal_(weight, std=0.1)
    logits = adapted(IDS, use_cache=False).logits
    logits.square().mean().backward()
    assert all(weight.grad is not None for weight in adapted.parameters() if weight.requires_grad)
    adapted.save_pretrained(tmp_path)
    plain = PeftModel.from_pretrained(tiny(kind), str(tmp_path)).eval()
    torch.testing.assert_close(plain(IDS, use_cache=False).logits, logits)


@pytest.mark.parametrize(("kind", "target"), [("phimoe", "router"), ("mamba", "out_proj")])
def test_a_target_that_cannot_be_adapted_is_refused(kind: str, target: str) -> None:
    with pytest.raises(ClinfitError, match="cannot be adapted"):
        add_adapter(tiny(kind), Lora(targets=[target]), 0, task_type="CAUSAL_LM", base_name="base")


def test_an_adapter_that_is_not_loaded_whole_is_refused(tmp_path: Path) -> None:
    """Transformers renames Laguna's shared experts, so that PEFT leaves their weights as they were drawn."""
    settings = {"num_key_value_heads": 2, "head_dim": 8, "num_experts": 4, "moe_intermediate_size": 16}
    config = AutoConfig.for_model("laguna", vocab_size=100, **SIZES, **settings)
    adapted = add_adapter(
        AutoModelForCausalLM.from_config(config), Lora(rank=2), 0, task_type="CAUSAL_LM", base_name="base"
    )
    adapted.save_pretrained(tmp_path, save_embedding_layers=False)
    with pytest.raises(ClinfitError, match="lacks weights"):
        load_adapter(AutoModelForCausalLM.from_config(config), tmp_path)
