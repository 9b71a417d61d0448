"""Every architecture of Transformers that can be built small, tried as a base.

Causal models: label scores against a plain forward, alone and in a batch, with windows shorter than the row too; the
free answer against one without memory; the adapter's logits and gradients, head only where the answer is, against
PEFT's own layers on all of the row, which plain PEFT loads from what was saved. Classifiers: a fit, loading it, plain
PEFT, and whether padding changes an answer, up to the length that is advised.
"""

import re
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import transformers
from peft import PeftModel
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
)

from clinfit.errors import ClinfitError
from clinfit.models.base import Workspace
from clinfit.models.bases.architectures import check_architecture
from clinfit.models.bases.pretrained import longest_input
from clinfit.models.encoder import EncoderModel, head_logits
from clinfit.models.heads import ids_of
from clinfit.prompts.forms import Branch
from clinfit.scoring.answer_logits import answer_logits, check_answer_logits, states_at
from clinfit.scoring.generate import Generator, Request
from clinfit.scoring.label_likelihood import BranchScorer
from clinfit.study.models import Causal, Encoder, Lora, Neural, Train
from clinfit.training.adaptable import check_targets
from clinfit.training.adapters import add_adapter
from kinds import dataset
from lessons import TASK, lesson
from two_layer import train_tokenizer

Family = Literal["causal", "encoder"]

#: Weights of the largest model that is tried.
LARGEST = 2e7
#: What every configuration is offered; it takes what it knows.
SIZES: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "initializer_range": 0.3, "n_embd": 32, "n_layer": 2, "n_head": 4, "d_model": 32,
    "n_layers": 2, "n_heads": 4, "dim": 32, "hidden_dim": 48, "ffn_dim": 48, "num_layers": 2, "decoder_layers": 2,
    "decoder_attention_heads": 4, "decoder_ffn_dim": 48, "head_dim": 8, "embedding_size": 32, "num_experts": 4,
    "num_local_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "n_routed_experts": 4,
    "n_shared_experts": 1, "max_position_embeddings": 128, "pad_token_id": 5, "bos_token_id": 0, "eos_token_id": 1,
    "cls_token_id": 0, "sep_token_id": 1,
}  # fmt: skip
#: The few that configurations take which refuse the rest.
FEW = {
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
    "max_position_embeddings", "pad_token_id", "bos_token_id", "eos_token_id",
}  # fmt: skip
_FOUR = {"num_hidden_layers": 4}
_LATENT = {
    "num_key_value_heads": 4, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "v_head_dim": 8, "kv_lora_rank": 8,
    "q_lora_rank": 16, "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1, "head_dim": 4,
}  # fmt: skip
_LINEAR = {
    **_FOUR, "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8,
    "linear_value_head_dim": 8, "shared_expert_intermediate_size": 16,
}  # fmt: skip
_SWITCHING = {**_FOUR, "layer_types": ["sliding_attention", "full_attention"] * 2}
_GEMMA4 = {
    **_SWITCHING, "global_head_dim": 8, "hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": 400,
    "num_kv_shared_layers": 0,
}  # fmt: skip
_MIXER = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_n_groups": 1, "mamba_chunk_size": 8}
_VISION = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4, "image_size": 28,
    "patch_size": 14, "depth": 1, "num_heads": 4, "out_hidden_size": 32,
}  # fmt: skip
#: What an architecture needs besides, or differently.
SPECIAL: dict[str, dict[str, Any]] = {
    "bamba": {**_FOUR, **_MIXER, "attn_layer_indices": [1, 3]},
    "axk1": _LATENT,
    "youtu": _LATENT,
    "mistral4": _LATENT,
    "longcat_flash": _LATENT,
    "axk2": _LATENT,
    "bailing_hybrid": {**_LATENT, **_FOUR, "layer_types": ["linear_attention", "full_attention"] * 2},
    "codegen": {"rotary_dim": 4},
    "deepseek_v2": _LATENT,
    "deepseek_v3": _LATENT,
    "falcon_h1": {**_MIXER, "mamba_d_ssm": 64},
    "gemma3": {"text_config": {**SIZES, **_SWITCHING, "vocab_size": 400}, "vision_config": _VISION},
    "gemma3_text": _SWITCHING,
    "gemma3n_text": {
        **_SWITCHING, "laurel_rank": 4, "hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": 400,
        "altup_num_inputs": 2, "num_kv_shared_layers": 0, "activation_sparsity_pattern": [0.0] * 4,
    },
    "gemma4": {"text_config": {**SIZES, **_GEMMA4, "vocab_size": 400}, "vision_config": _VISION},
    "gemma4_text": _GEMMA4,
    "glm4_moe_lite": _LATENT,
    "gpt_neo": {"num_heads": 4, "attention_types": [[["global", "local"], 1]], "window_size": 64},
    "gptj": {"rotary_dim": 4},
    "granitemoehybrid": {
        **_FOUR, **_MIXER, "layer_types": ["mamba", "attention"] * 2, "shared_intermediate_size": 16,
    },
    "jamba": {
        **_FOUR, "attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1,
        "num_experts": 2, "num_experts_per_tok": 1, "use_mamba_kernels": False,
    },
    "kimi_linear": {**_LATENT, **_FOUR, "layer_types": ["linear_attention", "full_attention"] * 2},
    "lfm2": {**_FOUR, "layer_types": ["conv", "full_attention"] * 2},
    "lfm2_moe": {**_FOUR, "layer_types": ["conv", "full_attention"] * 2, "num_dense_layers": 1},
    "longformer": {"attention_window": 16},
    "mamba2": {"expand": 2, "num_heads": 8, "head_dim": 8, "state_size": 8, "n_groups": 1, "chunk_size": 8},
    "minicpm3": _LATENT,
    "ministral": {"sliding_window": 64},
    "nemotron_h": {"mamba_num_heads": 8, "mamba_head_dim": 8, "ssm_state_size": 8, "n_groups": 1, "chunk_size": 8},
    "phi3": {"pad_token_id": 0},
    "qwen3_5": {"text_config": {**SIZES, **_LINEAR, "vocab_size": 400}, "vision_config": _VISION},
    "qwen3_5_moe_text": _LINEAR,
    "qwen3_5_text": _LINEAR,
    "qwen3_next": _LINEAR,
    "qwen4_exp_text": {
        **_LINEAR, "indexer_n_heads": 2, "indexer_kv_heads": 1, "indexer_head_dim": 8, "indexer_budget": 64,
        "indexer_compress_ratio": 4,
    },
    "recurrent_gemma": {"num_hidden_layers": 3, "lru_width": 32, "attention_window_size": 64},
    "xlstm": {"num_heads": 4},
    "zamba2": {
        **_FOUR, "layers_block_type": ["mamba", "hybrid"] * 2, "hybrid_layer_ids": [1, 3], "mamba_d_state": 8,
        "mamba_headdim": 8, "n_mamba_heads": 8, "mamba_ngroups": 1, "num_mem_blocks": 1, "chunk_size": 8,
    },
}  # fmt: skip
#: A second setting of an architecture that works otherwise in it.
SECOND: dict[str, dict[str, Any]] = {
    "falcon": {"alibi": True},
    "gpt_neo": {"num_heads": 4, "attention_types": [[["global"], 2]], "window_size": 64, "max_position_embeddings": 24},
    "phi3": {
        "pad_token_id": 0, "original_max_position_embeddings": 64, "rope_parameters": {
            "rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 4, "long_factor": [1.0, 4.0, 9.0, 60.0],
            "original_max_position_embeddings": 64,
        },
    },
}  # fmt: skip

LOOKS_BACK = "window|attention_chunk|local_attention|index_topk|indexer_budget"

PROMPTS = [[0, 3, 40, 50, 60, 1, 4], [0, 3, 41, 4], [0, 3, 42, 43, 44, 45, 46, 47, 48, 49, 1, 4]]
LABELS = [[70], [71, 72, 73], [71, 74], [75, 76]]
IDS = torch.tensor([[0, 3, 42, 43, 44, 45, 46, 47], [0, 7, 52, 53, 54, 55, 56, 57]])
ROWS, COLUMNS = torch.tensor([0, 1, 1]), torch.tensor([7, 2, 5])
TEXT = dataset("text", TASK)


@dataclass(frozen=True)
class Trial:
    """What became of one architecture in one family of models.

    outcome: `works`; `refused`, by its configuration alone; `untried`, since it cannot be built small from the settings
    above; `wrong`. said: why, where it does not work.
    """

    kind: str
    family: Family
    outcome: Literal["works", "refused", "untried", "wrong"]
    said: str = ""


def kinds_of(family: Family) -> list[str]:
    """Names of all architectures that may be bases of such a model."""
    names = {
        "causal": MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        "encoder": MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
    }
    return sorted(names[family])


def trials(processes: int = 2) -> list[Trial]:
    """All architectures in both families, tried in processes of their own."""
    every: list[tuple[str, Family]] = [(kind, family) for family in ("causal", "encoder") for kind in kinds_of(family)]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_quiet) as pool:
        return list(pool.map(tried, *zip(*every, strict=True), chunksize=4))


def tried(kind: str, family: Family) -> Trial:
    """One architecture in one family, in all of its settings."""
    ways = [SPECIAL.get(kind, {}), *([SECOND[kind]] if family == "causal" and kind in SECOND else [])]
    found = [_tried(kind, family, way) for way in ways]
    return next((trial for trial in found if trial.outcome != "works"), found[0])


def _quiet() -> None:
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity(50)  # some report sizes that they do not take as errors
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)


def _tried(kind: str, family: Family, settings: dict[str, Any]) -> Trial:
    spec: Neural = SPECS[family]
    try:
        config = _configured(kind, settings)
        check_architecture(spec, config)
        if not spec.trains_all:
            factory = AutoModelForCausalLM if spec.prompted else AutoModelForSequenceClassification
            with torch.device("meta"):
                model = factory.from_config(config)
            if sum(weight.numel() for weight in model.parameters()) > LARGEST:
                return Trial(kind, family, "untried", "it has too many weights by default")
            check_targets(model, spec.lora)
    except ClinfitError as error:
        return Trial(kind, family, "refused", error.found.rsplit(": ", 1)[-1])
    except Exception as error:
        return Trial(kind, family, "untried", type(error).__name__)
    try:
        faults = TRIALS[family](kind, config)
    except NotBuilt as error:
        return Trial(kind, family, "untried", str(error))
    except Exception as error:
        return Trial(kind, family, "wrong", f"{type(error).__name__}: {error}")
    return Trial(kind, family, "wrong" if faults else "works", "; ".join(faults))


class NotBuilt(Exception):
    """Its own forward does not work in these settings."""


def _configured(kind: str, settings: dict[str, Any]) -> PretrainedConfig:
    sizes = {**SIZES, **settings, "vocab_size": 400}
    try:
        return AutoConfig.for_model(kind, **sizes)
    except Exception:
        return AutoConfig.for_model(
            kind, **{k: v for k, v in sizes.items() if k in FEW | settings.keys() | {"vocab_size"}}
        )


# ---------------------------------------------------------------- causal


def _causal(kind: str, config: PretrainedConfig) -> list[str]:
    """What is wrong with it."""
    faults = []
    with _building():
        model = _drawn(config)
        expected = _plain_scores(model)
    check_answer_logits(model, PROMPTS[2])
    faults += _scores(model, expected, "label scores differ from a plain forward")
    if windows := _windows(config):
        short = deepcopy(config)
        for name in windows:
            setattr(short, name, 4)
        try:
            windowed = _drawn(short)
            expected = _plain_scores(windowed)
        except Exception:  # not every size is a window that the architecture takes
            windowed = None
        if windowed is not None:
            faults += _scores(windowed, expected, f"label scores differ where {', '.join(windows)} is short")
    return faults + _free_answer(model) + _adapter(model)


@contextmanager
def _building() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise NotBuilt(type(error).__name__) from error


def _drawn(config: PretrainedConfig) -> PreTrainedModel:
    """Random weights, none so small that nothing would show."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    for weight in model.parameters():
        if weight.dim() > 1 and weight.std() < 0.05:
            torch.nn.init.normal_(weight, std=0.2)
    return model


@torch.no_grad()
def _plain_scores(model: PreTrainedModel) -> np.ndarray:
    def score(prompt: Sequence[int], answer: Sequence[int]) -> float:
        logits = model(torch.tensor([[*prompt, *answer]]), use_cache=False).logits[0].float().log_softmax(-1)
        return sum(logits[len(prompt) - 1 + i, token].item() for i, token in enumerate(answer))

    scores = np.array([[score(prompt, label) for label in LABELS] for prompt in PROMPTS])
    if not np.isfinite(scores).all():
        raise ValueError("its logits are not finite")
    return scores


def _scores(model: PreTrainedModel, expected: np.ndarray, fault: str) -> list[str]:
    branches = [[Branch([], LABELS, [1])]] * len(PROMPTS)
    scorer = BranchScorer(model, 5)
    together = scorer.score(PROMPTS, branches)[0].log_likelihood
    alone = np.vstack([scorer.score([prompt], branches[:1])[0].log_likelihood for prompt in PROMPTS])
    return [] if np.allclose([together, alone], expected, atol=5e-3) else [fault]


def _windows(config: PretrainedConfig) -> list[str]:
    """Names under which the configuration may say how far a layer looks back."""
    names = [
        name
        for name in config.to_dict()
        if re.search("window|attention_chunk|local_attention|index_topk|indexer_budget", name)
    ]
    return [name for name in names if type(getattr(config, name)) is int and not name.startswith("max_")]


@torch.inference_mode()
def _free_answer(model: PreTrainedModel) -> list[str]:
    """Alone, and beside others where they go together."""
    expected = [_without_memory(model, prompt) for prompt in PROMPTS]
    for together, fault in ((False, "differs from one without memory"), (None, "differs beside others")):
        found = Generator(model, together).write([Request(prompt, 6) for prompt in PROMPTS], ())
        if [one.ids for one in found] != expected:
            return [f"its free answer {fault}"]
    return []


def _without_memory(model: PreTrainedModel, prompt: Sequence[int]) -> list[int]:
    written: list[int] = []
    for _ in range(6):
        ids = torch.tensor([[*prompt, *written]])
        written.append(int(model(ids, use_cache=False).logits[0, -1].argmax()))
    return written


def _adapter(model: PreTrainedModel) -> list[str]:
    other = deepcopy(model)
    adapted = add_adapter(model, Lora(rank=2, alpha=4), 0, task_type="CAUSAL_LM", base_name="base").eval()
    ours = _trained(adapted)
    for weight in ours.values():
        torch.nn.init.normal_(weight, std=0.1)
    with tempfile.TemporaryDirectory() as folder:
        adapted.save_pretrained(folder, save_embedding_layers=False)
        plain = PeftModel.from_pretrained(other, folder, is_trainable=True).eval()
    theirs = _trained(plain)
    found = answer_logits(model, states_at(model, IDS, ROWS, COLUMNS))
    expected = plain(input_ids=IDS, use_cache=False).logits.float()[ROWS, COLUMNS]
    if ours.keys() != theirs.keys() or not torch.allclose(found, expected, atol=1e-3, rtol=1e-3):
        return ["plain PEFT answers otherwise"]
    found.square().mean().backward()
    expected.square().mean().backward()
    pairs = [(ours[name].grad, theirs[name].grad) for name in ours]
    same = all(_same_gradient(mine, other) for mine, other in pairs)
    return [] if same else ["gradients differ from those of PEFT's layers"]


def _trained(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def _same_gradient(mine: Tensor | None, other: Tensor | None) -> bool:
    if mine is None or other is None:
        return (mine is None or not mine.any()) and (other is None or not other.any())
    mine, other = mine.nan_to_num(), other.nan_to_num()
    return bool((mine - other).norm() <= 1e-2 * other.norm() + 1e-6)


# ---------------------------------------------------------------- encoders


def _encoder(kind: str, config: PretrainedConfig) -> list[str]:
    """What is wrong with it."""
    tokenizer = train_tokenizer()
    folder = Path(tempfile.mkdtemp(prefix="clinfit-bases-")) / kind
    with _building():
        torch.manual_seed(0)
        masked = kind in MODEL_FOR_MASKED_LM_MAPPING_NAMES
        body = (AutoModelForMaskedLM if masked else AutoModel).from_config(config).eval()
        with torch.no_grad():
            body(input_ids=torch.tensor([PROMPTS[2]]), attention_mask=torch.ones(1, len(PROMPTS[2]), dtype=torch.long))
    body.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    faults = _classifier(folder, "lora")
    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES or masked:
        faults += _classifier(folder, "full")
    return faults


def _classifier(base: Path, method: Literal["lora", "full"]) -> list[str]:
    records, faults = TEXT.part("train")[:8], []
    train = Train(max_length=48, precision="fp32", epochs=1, learning_rate=3e-3, batch_size=4, batch_tokens=400)
    spec = Encoder(name="m", family="encoder", base=str(base), method=method, lora=Lora(rank=2, alpha=4), train=train)
    model = EncoderModel(spec, {TASK: TEXT.task}, 1)
    with tempfile.TemporaryDirectory() as work:
        model.fit(lesson(records), Workspace(Path(work)))
        answers = model.predict(TASK, records).probabilities
        saved = Path(work) / "saved"
        model.save(saved)
        if not np.array_equal(EncoderModel.load(saved).predict(TASK, records).probabilities, answers):
            faults.append(f"{method}: the loaded model answers otherwise")
        assert model._loaded is not None
        rows, _ = ids_of(model._loaded.tokenizer, model.spec.train, TEXT.task, records)
        if method == "lora" and not np.allclose(_plain_classifier(base, saved, rows), answers, atol=1e-4):
            faults.append("plain PEFT answers otherwise")
    own, longest = model._loaded.model, longest_input(model._loaded.model.config, model._loaded.tokenizer)
    with torch.no_grad():
        together = head_logits(own, rows, 5).softmax(-1).numpy()
        head_logits(own, [[7] * (longest or 128)], 5)
    return faults if np.allclose(together, answers, atol=1e-3) else [*faults, "padding changes its answers"]


@torch.no_grad()
def _plain_classifier(base: Path, saved: Path, rows: Sequence[list[int]]) -> np.ndarray:
    plain = AutoModelForSequenceClassification.from_pretrained(base, num_labels=2, dtype=torch.float32)
    adapted = PeftModel.from_pretrained(plain, str(saved / "adapter")).eval()
    return np.vstack(
        [
            adapted(input_ids=torch.tensor([row]), attention_mask=torch.ones(1, len(row), dtype=torch.long))
            .logits.softmax(-1)
            .numpy()
            for row in rows
        ]
    )


TRIALS: dict[Family, Callable[[str, PretrainedConfig], list[str]]] = {"causal": _causal, "encoder": _encoder}
SPECS: dict[Family, Neural] = {
    "causal": Causal(name="m", family="causal", base="b"),
    "encoder": Encoder(name="m", family="encoder", base="b"),
}
