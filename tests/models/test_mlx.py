"""Family mlx beside family causal: losses, adapters, answers and texts are the same but for rounding."""

import json
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, cast

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM

from clinfit.errors import ClinfitError
from clinfit.models.base import Lesson, Workspace
from clinfit.models.causal import CausalModel
from clinfit.models.families import create_model, load_model
from clinfit.models.neural import Retained
from clinfit.packs.decide import ask
from clinfit.study.models import Causal, LanguageModel, Lora, Mlx, Train
from clinfit.study.stages import Retain, Stage
from clinfit.study.tasks import Sampling
from clinfit.training.losses import StepLoss
from kinds import dataset
from two_layer import llama_base, train_tokenizer

pytest.importorskip("mlx_lm", reason="the extra mlx is not installed")

TASK = "finding"
TRAIN = Train(
    epochs=1, learning_rate=1e-2, batch_size=4, batch_tokens=400, max_length=250, precision="fp32", checkpoint_every=2
)
LORA = Lora(rank=2, alpha=8)
KINDS = ["text", "three", "several", "options", "texts", "fields"]


def spec(family: type[LanguageModel], **changes: Any) -> LanguageModel:
    name = "mlx" if family is Mlx else "causal"
    return family(**({"name": "m", "family": name, "base": str(llama_base()), "lora": LORA, "train": TRAIN} | changes))


def made(family: type[LanguageModel], data: str = "text", **changes: Any) -> CausalModel:
    return cast(CausalModel, create_model(spec(family, **changes), {TASK: dataset(data, TASK).task}, 3))


def lesson(data: str, start: Path | None = None, stage: Stage | None = None) -> Lesson:
    case = dataset(data, TASK)
    return Lesson(case.part("train")[:16], case.part("validation")[:4], {TASK: 1.0}, start, stage)


def fitted(family: type[LanguageModel], data: str = "text", **changes: Any) -> CausalModel:
    model = made(family, data, **changes)
    model.fit(lesson(data), Workspace(Path(mkdtemp())))
    return model


@cache
def saved(data: str) -> Path:
    """A model of family causal with an adapter that says something."""
    model, folder = fitted(Causal, data), Path(mkdtemp()) / "model"
    with torch.no_grad():
        for name, weight in model.opened().model.named_parameters():
            if "lora_" in name:
                weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(len(name))) / 30)
    model.save(folder)
    return folder


def as_mlx(folder: Path, **changes: Any) -> Path:
    """The folder of a model of family causal as one of family mlx: nothing but its `model.json` differs."""
    other = Path(mkdtemp()) / "model"
    other.mkdir()
    for part in ("adapter", "tokenizer"):
        (other / part).symlink_to(folder / part)
    content = json.loads((folder / "model.json").read_text())
    content["spec"] = spec(Mlx, **changes).model_dump(mode="json")
    (other / "model.json").write_text(json.dumps(content))
    return other


def both(data: str) -> tuple[CausalModel, CausalModel]:
    """The same trained weights in torch and in MLX."""
    return cast(CausalModel, load_model("causal", saved(data))), cast(
        CausalModel, load_model("mlx", as_mlx(saved(data)))
    )


@pytest.mark.parametrize("data", KINDS)
def test_losses_are_those_of_torch_within_a_thousandth_a_token(data: str) -> None:
    records = dataset(data, TASK).part("train")[:8]
    torch_model, mlx_model = both(data)
    expected, found = (model.likelihood(TASK, records) for model in (torch_model, mlx_model))
    assert found.tokens.tolist() == expected.tokens.tolist()
    assert np.abs((found.nats - expected.nats) / expected.tokens).max() < 1e-3
    assert np.ptp(expected.nats) > 0.01


@pytest.mark.parametrize("data", KINDS)
def test_answers_are_those_of_torch(data: str) -> None:
    records = dataset(data, TASK).part("test")
    expected, found = (ask(model, TASK, records) for model in both(data))
    if data in {"texts", "fields"}:
        assert found.texts == expected.texts  # type: ignore[union-attr]
        assert found.tokens.tolist() == expected.tokens.tolist()  # type: ignore[union-attr]
        return
    said, by_torch = np.log(found.probabilities), np.log(expected.probabilities)  # type: ignore[union-attr]
    np.testing.assert_allclose(said, by_torch, atol=1e-2)
    assert np.ptp(by_torch, axis=0).max() > 1, "records differ by far more than the engines"


def test_drawn_texts_are_those_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    records, models = dataset("texts", TASK).part("test")[:6], both("texts")
    for model in models:
        drawing = {"sampling": Sampling(temperature=0.8, top_p=0.9)}
        monkeypatch.setattr(model, "tasks", {TASK: model.tasks[TASK].model_copy(update=drawing)})
    expected, found = (model.generate(TASK, records, 12) for model in models)
    assert found.texts == expected.texts


@pytest.mark.parametrize("gamma", [0.0, 2.0])
@pytest.mark.parametrize("data", ["three", "several"])
def test_a_step_has_the_share_and_the_gradients_of_torch(data: str, gamma: float) -> None:
    records = dataset(data, TASK).part("train")[:5]
    weights, step = torch.tensor([1.0, 2.0, 0.5, 0.0, 1.0]), StepLoss(5, gamma)
    shares, gradients = [], []
    for model in both(data):
        loaded = model._ready()
        for name, weight in loaded.model.named_parameters():
            weight.requires_grad_("lora_" in name)
        module = model._losses(loaded, records, model._read(loaded, records), Retained(None, []))
        share = model.share(module, [0, 1, 2, 3, 4], weights, step)
        (2 * share).backward()
        shares.append(float(share.detach()))
        gradients.append({n: p.grad for n, p in loaded.model.named_parameters() if p.grad is not None})
    assert shares[1] == pytest.approx(shares[0], rel=1e-4)
    assert gradients[0].keys() == gradients[1].keys() and len(gradients[0]) == 2 * 14
    for name, expected in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"class_weights": "balanced", "sampling": "oversample", "focal_gamma": 1.0},
        {"lora": Lora(rank=3, alpha=7, rslora=True, targets=["q_proj", "down_proj"])},
        {"train": TRAIN.model_copy(update={"loss_per": "token", "schedule": "linear", "weight_decay": 0.1})},
    ],
    ids=["plain", "weights", "rslora", "token"],
)
def test_a_training_ends_where_torch_ends(changes: dict[str, Any], tmp_path: Path) -> None:
    """The same first adapter, records, weights, schedule and steps."""
    for family in (Causal, Mlx):
        fitted(family, "three", **changes).save(tmp_path / family.__name__)
    expected, found = (load_file(tmp_path / n / "adapter" / "adapter_model.safetensors") for n in ("Causal", "Mlx"))
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-2, atol=2e-4)
    configs = [json.loads((tmp_path / n / "adapter" / "adapter_config.json").read_text()) for n in ("Causal", "Mlx")]
    assert configs[0] == configs[1]


def test_plain_peft_loads_the_adapter(tmp_path: Path) -> None:
    model, records = fitted(Mlx, "three"), dataset("three", TASK).part("test")[:4]
    model.save(tmp_path)
    base = AutoModelForCausalLM.from_pretrained(llama_base(), dtype=torch.float32)
    plain = PeftModel.from_pretrained(base, str(tmp_path / "adapter")).eval()
    for item, nats in zip(
        model.opened().renderers[TASK].encode_all(records), model.likelihood(TASK, records).nats, strict=True
    ):
        loss = plain(torch.tensor([item.ids]), labels=torch.tensor([item.labels])).loss
        assert float(loss) * len(item.answer_ids) == pytest.approx(nats, abs=1e-3)


def test_recorded_values_are_those_of_optimizer_and_adapter(tmp_path: Path) -> None:
    odd = {
        "lora": Lora(rank=3, alpha=7, rslora=True, targets=["q_proj", "v_proj"]),
        "train": TRAIN.model_copy(update={"weight_decay": 0.03, "clip": 0.5, "learning_rate": 7e-4}),
    }
    model = made(Mlx, "three", **odd)
    details = model.fit(lesson("three"), Workspace(tmp_path)).details
    assert details["adapter"]["rank"] == 3 and details["adapter"]["alpha"] == 7
    assert details["adapter"]["scaling"] == pytest.approx(7 / 3**0.5)
    assert details["adapter"]["modules"] == ["q_proj", "v_proj"]
    assert (details["weight_decay"], details["clip"], details["peak_learning_rate"]) == (0.03, 0.5, 7e-4)
    assert details["optimizer"] == "AdamW" and details["steps"] == details["planned_steps"] == 4
    layer = model.opened().ready().layers[0]  # type: ignore[attr-defined]
    assert layer.a.shape == (3, 16) and layer.scaling == pytest.approx(7 / 3**0.5)


@pytest.mark.parametrize("stop_at", [1, 3])
def test_a_stopped_run_ends_as_an_undisturbed_one(stop_at: int, tmp_path: Path) -> None:
    dropout = {"lora": Lora(rank=2, alpha=8, dropout=0.2)}

    def stop(done: int, total: int, text: str) -> None:
        if done == stop_at:
            raise KeyboardInterrupt

    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
    whole = made(Mlx, "three", **dropout)
    whole.fit(lesson("three"), Workspace(tmp_path / "whole"))
    with pytest.raises(KeyboardInterrupt):
        made(Mlx, "three", **dropout).fit(lesson("three"), Workspace(tmp_path / "stopped", progress=stop))
    made(Mlx, "three", **dropout).fit(lesson("three"), Workspace(tmp_path / "stopped"))
    ends = [
        load_file(max((tmp_path / name / "checkpoints").glob("step-*")) / "weights.safetensors")
        for name in ("whole", "stopped")
    ]
    assert all(torch.equal(ends[1][name], value) for name, value in ends[0].items())
    without = fitted(Mlx, "three", lora=Lora(rank=2, alpha=8))
    now = {n: p for n, p in without.opened().model.named_parameters() if p.requires_grad}
    assert any(not torch.equal(p, now[n]) for n, p in whole.opened().model.named_parameters() if n in now)


def test_the_base_answers_before_training_and_the_newest_adapter_after_it(tmp_path: Path) -> None:
    model, records = made(Mlx, "three"), dataset("three", TASK).part("test")[:4]
    before = model.predict(TASK, records).probabilities
    model.fit(lesson("three"), Workspace(tmp_path))
    after = model.predict(TASK, records).probabilities
    loaded = model.opened()
    assert loaded.adapted is not None
    with loaded.adapted.disable_adapter():
        np.testing.assert_array_equal(model.predict(TASK, records).probabilities, before)
    np.testing.assert_array_equal(model.predict(TASK, records).probabilities, after)
    assert np.abs(after - before).max() > 1e-3


@pytest.mark.parametrize(
    "stage", [Stage(train={TASK: 1.0}), Stage(train={TASK: 1.0}, retain=Retain(l2=0.1))], ids=["continue", "l2"]
)
def test_a_later_stage_ends_where_torch_ends(stage: Stage, tmp_path: Path) -> None:
    starts = {Causal: saved("three"), Mlx: as_mlx(saved("three"))}
    ends = []
    for family, start in starts.items():
        model = made(family, "three")
        (tmp_path / family.__name__).mkdir()
        model.fit(lesson("three", start, stage), Workspace(tmp_path / family.__name__))
        ends.append({n: p.detach() for n, p in model.opened().model.named_parameters() if p.requires_grad})
    assert len(ends[0]) == len(ends[1]) == 2 * 14
    for (name, expected), found in zip(ends[0].items(), ends[1].values(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-2, atol=5e-4, msg=name)


def test_bf16_is_near_to_fp32() -> None:
    records = dataset("three", TASK).part("test")
    half = TRAIN.model_copy(update={"precision": "bf16"})
    full, rounded = (made(Mlx, "three", train=train).likelihood(TASK, records) for train in (TRAIN, half))
    assert 0 < np.abs(full.nats - rounded.nats).max() < 0.3


# ---------------------------------------------------------------- architectures

SIZES = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "initializer_range": 0.3, "max_position_embeddings": 512,
    "pad_token_id": 5, "bos_token_id": 0, "eos_token_id": 1,
}  # fmt: skip
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {"tie_word_embeddings": False}),
    "llama-scaled": (
        "llama",
        {
            "rope_parameters": {
                "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0,
                "high_freq_factor": 4.0, "original_max_position_embeddings": 32,
            }
        },
    ),
    "llama-theta": ("llama", {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}}),
    "mistral": ("mistral", {"sliding_window": None}),
    "qwen2": ("qwen2", {"tie_word_embeddings": True}),
    "qwen3": ("qwen3", {}),
    "olmo2": ("olmo2", {}),
    "smollm3": ("smollm3", {"num_hidden_layers": 4}),
}  # fmt: skip


@cache
def base_of(variant: str) -> Path:
    kind, changes = VARIANTS[variant]
    folder, tokenizer = Path(mkdtemp()) / variant, train_tokenizer()
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **(SIZES | {"vocab_size": len(tokenizer)} | changes))
    model = AutoModelForCausalLM.from_config(config)
    for name, weight in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(weight)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_architecture_is_computed_as_by_torch(variant: str, tmp_path: Path) -> None:
    changes = {"base": str(base_of(variant)), "train": TRAIN.model_copy(update={"max_steps": 1})}
    records = dataset("three", TASK).part("test")[:4]
    trained = fitted(Causal, "three", **changes)
    trained.save(tmp_path)
    mlx = cast(CausalModel, load_model("mlx", as_mlx(tmp_path, **changes)))
    expected, found = (model.likelihood(TASK, records) for model in (trained, mlx))
    np.testing.assert_allclose(found.nats, expected.nats, atol=1e-3 * expected.tokens.max())
    np.testing.assert_allclose(
        mlx.predict(TASK, records).probabilities, trained.predict(TASK, records).probabilities, atol=1e-4
    )
    assert mlx.generate(TASK, records[:2], 6).texts == trained.generate(TASK, records[:2], 6).texts


def changed(folder: Path, **settings: Any) -> Path:
    """A copy of a base with other settings."""
    copy = Path(mkdtemp()) / "base"
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | settings))
    return copy


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"model_type": "gpt_neox"}, "was not tried"),
        ({"quantization_config": {"bits": 4, "group_size": 64, "quant_method": "awq"}}, "are quantized"),
        ({"model_type": "mistral", "sliding_window": 64}, "looks back 64 tokens only"),
    ],
    ids=["architecture", "quantized", "window"],
)
def test_a_base_that_was_not_tried_is_refused(settings: dict[str, Any], found: str) -> None:
    with pytest.raises(ClinfitError, match=found):
        made(Mlx, "three", base=str(changed(llama_base(), **settings))).opened()


def test_without_mlx_the_advice_is_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clinfit.models.mlx.support.mlx_installed", lambda: False)
    with pytest.raises(ClinfitError, match=r"clinfit\[mlx\]"):
        made(Mlx, "three").opened()


def test_without_mlx_torch_answers_with_what_was_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    folder, records = as_mlx(saved("three")), dataset("three", TASK).part("test")[:6]
    expected = load_model("mlx", folder).predict(TASK, records).probabilities
    monkeypatch.setattr("clinfit.models.families.mlx_installed", lambda: False)
    model = load_model("mlx", folder)
    assert isinstance(model, CausalModel) and type(model).__name__ == "MlxByTorch"
    np.testing.assert_allclose(model.predict(TASK, records).probabilities, expected, atol=1e-4)


def test_another_thread_gets_the_same_answers(tmp_path: Path) -> None:
    """The service loads and tries a model in one thread, and asks it in another."""
    model, records = made(Mlx, "three"), dataset("three", TASK).part("test")[:3]
    model.fit(lesson("three"), Workspace(tmp_path))
    here = model.predict(TASK, records).probabilities
    with ThreadPoolExecutor(1) as pool:
        there = pool.submit(lambda: model.predict(TASK, records).probabilities).result()
        texts = pool.submit(lambda: model.generate(TASK, records, 4).texts).result()
    np.testing.assert_array_equal(there, here)
    assert texts == model.generate(TASK, records, 4).texts
