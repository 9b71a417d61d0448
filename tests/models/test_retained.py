"""Stages that retain, stack, part and merge, on two-layer models."""

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clinfit.models.base import FitSummary, Lesson, Model, Workspace
from clinfit.models.families import create_model, load_model
from clinfit.study.models import Lora
from clinfit.study.stages import Merge, Retain, Stage
from two_layer import bert_base
from two_tasks import ONE, OTHER, SPECS, TASKS, TRAIN, answers, lesson, log, records


def undisturbed(base: Path) -> Path:
    """The same base without dropout of its own."""
    folder = shutil.copytree(base, Path(tempfile.mkdtemp(prefix="clinfit-bases-")) / base.name)
    config = json.loads((folder / "config.json").read_text())
    none = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config | none))
    return folder


#: Without dropout of their own, which would part a student from its teacher; one, of its base's either.
PLAIN: dict[str, Any] = {
    name: SPECS[name].model_copy(update={"lora": Lora(rank=2)}) for name in ("causal", "encoder-lora")
}
PLAIN["encoder-still"] = PLAIN["encoder-lora"].model_copy(update={"base": str(undisturbed(bert_base()))})
KEPT = {"rehearsal": 0.0, "l2": 0.0, "kl": 0.0}


def stage(**changes: Any) -> Stage:
    return Stage(train={OTHER: 1.0}, **changes)


def fitted(model: str, taught: Lesson, folder: Path, spec: Any = None) -> tuple[Any, FitSummary]:
    made: Any = create_model(PLAIN[model] if spec is None else spec, TASKS, 3)
    return made, made.fit(taught, Workspace(folder))


def second(start: Path, **changes: Any) -> Lesson:
    return replace(lesson({OTHER: 1.0}, start=start), stage=stage(**changes) if changes else None)


def saved(model: Model, folder: Path) -> Model:
    model.save(folder)
    return load_model(model.spec.family, folder)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Where a model lies that has learned ONE, of every neural family, and what they are when nothing is retained."""
    places = {}
    for name in PLAIN:
        folder = tmp_path_factory.mktemp(name)
        made, _ = fitted(name, lesson({ONE: 1.0}), folder / "fit")
        made.save(folder / "saved")
        places[name] = folder / "saved"
    return places


@pytest.fixture(scope="module")
def naive(first: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, tuple[Any, Path]]:
    """What becomes of them in four epochs in which nothing is retained, and where that was."""
    folders = {name: tmp_path_factory.mktemp(name) for name in first}
    return {name: (fitted(name, second(first[name]), folders[name], longer(name))[0], folders[name]) for name in first}


def longer(model: str) -> Any:
    return PLAIN[model].model_copy(update={"train": TRAIN.model_copy(update={"epochs": 4})})


each = pytest.mark.parametrize("model", ["causal", "encoder-lora"])


@each
def test_nothing_retained_is_the_naive_stage(
    model: str, first: Mapping[str, Path], naive: Mapping[str, tuple[Any, Path]], tmp_path: Path
) -> None:
    nothing, _ = fitted(model, second(first[model], retain=Retain(**KEPT)), tmp_path, longer(model))
    for task in TASKS:
        np.testing.assert_array_equal(answers(naive[model][0], task), answers(nothing, task))


@each
@pytest.mark.parametrize("on", ["product", "factors"])
def test_l2_is_0_at_first_and_holds_the_model_where_it_was(
    model: str, on: Any, first: Mapping[str, Path], naive: Mapping[str, tuple[Any, Path]], tmp_path: Path
) -> None:
    before = load_model(PLAIN[model].family, first[model])
    held, _ = fitted(model, second(first[model], retain=Retain(l2=1e4, l2_on=on)), tmp_path, longer(model))
    assert log(tmp_path)[0]["penalty"] == 0 < log(tmp_path)[1]["penalty"]
    moved, stayed = (np.abs(answers(made, ONE) - answers(before, ONE)).max() for made in (naive[model][0], held))
    assert stayed < moved


@pytest.mark.parametrize(("model", "to"), [("causal", "previous"), ("causal", "base"), ("encoder-still", "previous")])
def test_kl_holds_what_was_said(
    model: str, to: Any, first: Mapping[str, Path], naive: Mapping[str, tuple[Any, Path]], tmp_path: Path
) -> None:
    spec = longer(model)
    # At strength 1 these few steps move the encoder's earlier head a little further than without KL (0.081, 0.072).
    held, _ = fitted(model, second(first[model], retain=Retain(kl=5.0, kl_to=to)), tmp_path, spec)
    first_losses = [log(folder)[0]["loss"] for folder in (naive[model][1], tmp_path)]
    if to == "previous":
        assert first_losses[0] == pytest.approx(first_losses[1], abs=1e-6), "0 where the stage begins"
    else:
        assert first_losses[1] > first_losses[0]
    teacher = create_model(spec, TASKS, 3) if to == "base" else load_model(spec.family, first[model])
    # On the records of the stage: a causal model's answers, and those of an encoder's earlier head.
    asked = OTHER if model == "causal" else ONE
    said = [made.predict(asked, records("train", OTHER)).probabilities for made in (teacher, naive[model][0], held)]
    moved, stayed = (np.abs(now - said[0]).mean() for now in said[1:])
    assert stayed < moved


@each
def test_a_stage_with_remedies_that_was_killed_ends_as_an_undisturbed_one(
    model: str, first: Mapping[str, Path], tmp_path: Path
) -> None:
    taught = second(first[model], retain=Retain(l2=0.1, kl=0.5))
    whole, _ = fitted(model, taught, tmp_path / "whole")

    def stop(done: int, total: int, text: str) -> None:
        raise KeyboardInterrupt

    made: Any = create_model(PLAIN[model], TASKS, 3)
    with pytest.raises(KeyboardInterrupt):
        made.fit(taught, Workspace(tmp_path / "killed", progress=stop))
    resumed, _ = fitted(model, taught, tmp_path / "killed")
    for task in TASKS:
        np.testing.assert_array_equal(answers(resumed, task), answers(whole, task))


@each
def test_a_new_adapter_leaves_earlier_tasks_as_they_were(model: str, first: Mapping[str, Path], tmp_path: Path) -> None:
    before = load_model(PLAIN[model].family, first[model])
    made, _ = fitted(model, second(first[model], adapter="new"), tmp_path / "new")
    from_base, _ = fitted(model, lesson({OTHER: 1.0}), tmp_path / "base")
    np.testing.assert_array_equal(answers(made, ONE), answers(before, ONE))
    np.testing.assert_array_equal(answers(made, OTHER), answers(from_base, OTHER))
    again = saved(made, tmp_path / "saved")
    for task in TASKS:
        np.testing.assert_array_equal(answers(again, task), answers(made, task))
    third = replace(lesson({ONE: 1.0}, start=tmp_path / "saved"), stage=Stage(train={ONE: 1.0}, adapter="new"))
    last, _ = fitted(model, third, tmp_path / "third")
    np.testing.assert_array_equal(answers(last, OTHER), answers(made, OTHER))


@pytest.mark.parametrize("rslora", [False, True])
def test_a_stacked_adapter_stands_on_the_one_before(
    rslora: bool, apart: Mapping[bool, list[Path]], tmp_path: Path
) -> None:
    spec, first = stabilised(rslora), apart[rslora][0]
    below = load_model("causal", first)
    still = spec.model_copy(update={"train": TRAIN.model_copy(update={"learning_rate": 1e-12})})
    idle, _ = fitted("causal", second(first, adapter="stack"), tmp_path / "idle", still)
    np.testing.assert_allclose(answers(idle, ONE), answers(below, ONE), atol=1e-5)
    made, summary = fitted("causal", second(first, adapter="stack"), tmp_path / "stack", spec)
    assert summary.details["adapter"]["rank"] == spec.lora.rank and not list((tmp_path / "stack").glob("together*"))
    again: Any = saved(made, tmp_path / "saved")
    for task in TASKS:
        np.testing.assert_array_equal(answers(again, task), answers(made, task))
    weights = dict(again.opened().model.named_parameters())
    a = next(value for name, value in weights.items() if "lora_A" in name)
    assert a.shape[0] == 2 * spec.lora.rank
    third = replace(lesson({ONE: 1.0}, start=tmp_path / "saved"), stage=Stage(train={ONE: 1.0}, adapter="stack"))
    fitted("causal", third, tmp_path / "third", spec)


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Mapping[bool, list[Path]]:
    """Where two adapters lie, of which each has learned one task; by whether their rank is stabilised."""
    starts: dict[bool, list[Path]] = {False: [], True: []}
    for rslora, found in starts.items():
        folder = tmp_path_factory.mktemp("apart")
        for name in (ONE, OTHER):
            made, _ = fitted("causal", lesson({name: 1.0}), folder / name, stabilised(rslora))
            made.save(folder / f"{name}-saved")
            found.append(folder / f"{name}-saved")
    return starts


def stabilised(rslora: bool) -> Any:
    return PLAIN["causal"].model_copy(update={"lora": PLAIN["causal"].lora.model_copy(update={"rslora": rslora})})


@pytest.mark.parametrize("rslora", [False, True])
@pytest.mark.parametrize("method", ["linear", "ties", "dare"])
def test_merged_adapters_add_up(
    method: Any, rslora: bool, apart: Mapping[bool, list[Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, starts = stabilised(rslora), apart[rslora]
    deltas = [delta(load_model("causal", start)) for start in starts]
    density: dict[str, Any] = {} if method == "linear" else {"density": 0.6}
    merge = Merge(stages=[1, 2], method=method, weights=[0.7, 0.4], **density)
    merged: Any = create_model(spec, TASKS, 3)
    kept = drawn(monkeypatch)
    summary = merged.merge(starts, merge, Workspace(tmp_path / "merged"))
    assert summary.details["merge"]["method"] == method and summary.trainable_parameters == 0
    found = delta(merged)
    if method == "linear":
        expected = 0.7 * deltas[0] + 0.4 * deltas[1]
    elif method == "ties":
        expected = largest_part(ties_by_hand(deltas, [0.7, 0.4], 0.6), rank=2)
    else:
        expected = largest_part(0.7 * deltas[0] * kept[0] / 0.6 + 0.4 * deltas[1] * kept[1] / 0.6, rank=2)
        assert torch.cat([one.flatten() for one in kept]).mean().item() == pytest.approx(0.6, abs=0.02), (
            "the share that is kept"
        )
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)
    again = saved(merged, tmp_path / "again")
    twice: Any = create_model(spec, TASKS, 3)
    twice.merge(starts, merge, Workspace(tmp_path / "twice"))
    for task in TASKS:
        np.testing.assert_array_equal(answers(again, task), answers(merged, task))
        np.testing.assert_array_equal(answers(twice, task), answers(merged, task))


def drawn(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """What DARE draws, layer by layer and adapter by adapter: 1 where a weight is kept."""
    draws: list[torch.Tensor] = []
    draw = torch.bernoulli

    def kept(*args: Any, **settings: Any) -> torch.Tensor:
        draws.append(draw(*args, **settings))
        return draws[-1]

    monkeypatch.setattr(torch, "bernoulli", kept)
    return draws


def ties_by_hand(deltas: list[torch.Tensor], weights: list[float], density: float) -> torch.Tensor:
    """Trim, elect a sign, and take the mean of what agrees with it (Yadav et al., 2023, algorithm 1), weight by weight;
    each delta counts with its own weight."""
    trimmed = []
    for one in deltas:
        least = one.abs().flatten().sort(descending=True).values[int(density * one.numel()) - 1]
        trimmed.append(torch.where(one.abs() >= least, one, torch.zeros_like(one)))
    found = torch.zeros_like(deltas[0])
    for place in np.ndindex(*found.shape):
        values = [float(one[place]) for one in trimmed]
        sign = 1 if sum(values) >= 0 else -1
        agree = [weight * value for weight, value in zip(weights, values, strict=True) if value * sign > 0]
        found[place] = sum(agree) / len(agree) if agree else 0.0
    return found


def largest_part(matrix: torch.Tensor, rank: int) -> torch.Tensor:
    """The nearest matrix of that rank."""
    u, s, v = torch.linalg.svd(matrix)
    return (u[:, :rank] * s[:rank]) @ v[:rank]


def delta(model: Any) -> torch.Tensor:
    """What the adapter adds to the first adapted layer."""
    layer = next(module for module in model.opened().model.modules() if hasattr(module, "lora_A") and module.lora_A)
    return (layer.scaling["default"] * layer.lora_B["default"].weight @ layer.lora_A["default"].weight).detach()
