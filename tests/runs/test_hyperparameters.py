"""What a run records of its hyperparameters is what estimator, optimizer and adapter have, in every family."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from clinfit.files import read_json
from clinfit.models.classical import ClassicalModel
from clinfit.models.families import load_model
from clinfit.runs.folder import ModelFolder, RunFolder
from executed import run
from two_layer import bert_base, llama_base

StudyMaker = Callable[..., Path]

pytestmark = pytest.mark.usefixtures("no_report")

TRAIN = {
    "max_steps": 4, "max_length": 100, "precision": "fp32", "batch_size": 5, "learning_rate": 7e-4, "warmup": 0.5,
    "weight_decay": 0.03, "schedule": "linear",
}  # fmt: skip
LORA = {"rank": 3, "alpha": 7, "dropout": 0.1, "rslora": True}
NEURAL: dict[str, dict[str, Any]] = {
    "causal": {"base": str(llama_base()), "lora": LORA | {"targets": ["q_proj", "v_proj"]}, "compare_base": False},
    "encoder": {"base": str(bert_base()), "lora": LORA | {"targets": ["query", "value"]}},
    "mlx": {"base": str(llama_base()), "lora": LORA | {"targets": ["q_proj", "v_proj"]}, "compare_base": False},
}


def trained(make_study: StudyMaker, model: dict[str, Any]) -> tuple[ModelFolder, dict[str, Any]]:
    """The folder of the model's run, and its record."""
    result, _ = run(make_study(models=[model], seeds=[5]), None)
    assert result.ok
    folder = RunFolder(result.folder).model(model["name"], 5)
    return folder, folder.read_record()


@pytest.mark.parametrize("family", NEURAL)
def test_of_networks_that_of_optimizer_and_adapter(
    make_study: StudyMaker, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    if family == "mlx":
        pytest.importorskip("mlx_lm")
    made: list[Any] = []

    class AdamW(torch.optim.AdamW):
        """Keeps the learning rate of each of its steps."""

        def __init__(self, *words: Any, **settings: Any) -> None:
            super().__init__(*words, **settings)
            self.rates: list[float] = []
            made.append(self)

        def step(self, closure: Any = None) -> Any:
            self.rates.append(self.param_groups[0]["lr"])
            return super().step(closure)

    monkeypatch.setattr(torch.optim, "AdamW", AdamW)
    folder, record = trained(make_study, {"name": "small", "family": family, "train": TRAIN} | NEURAL[family])
    (optimizer,) = made
    (group,) = optimizer.param_groups
    details, spec = record["stages"]["1"]["details"], record["spec"]
    assert {name: spec["train"][name] for name in TRAIN} == TRAIN
    assert details["optimizer"] == "AdamW" and details["betas"] == list(group["betas"])
    assert details["weight_decay"] == spec["train"]["weight_decay"] == group["weight_decay"]
    assert details["steps"] == details["planned_steps"] == len(optimizer.rates) == TRAIN["max_steps"]
    assert details["peak_learning_rate"] == spec["train"]["learning_rate"] == pytest.approx(max(optimizer.rates))
    assert details["last_learning_rate"] == optimizer.rates[-1] < max(optimizer.rates)

    adapter = read_json(folder.model(1) / "adapter" / "adapter_config.json")
    lora, wanted = spec["lora"], NEURAL[family]["lora"]
    assert {name: lora[name] for name in wanted} == wanted
    assert (adapter["r"], adapter["lora_alpha"], adapter["lora_dropout"]) == (3, 7, 0.1) and adapter["use_rslora"]
    assert details["adapter"]["rank"] == adapter["r"] and details["adapter"]["alpha"] == adapter["lora_alpha"]
    assert details["adapter"]["modules"] == sorted(adapter["target_modules"]) == sorted(wanted["targets"])
    assert details["adapter"]["scaling"] == pytest.approx(7 / 3**0.5)


CLASSICAL: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "lasso": ({"c_grid": [0.03, 0.3]}, {}),
    "random-forest": ({"trees": 7, "max_depth": 3}, {"trees": "n_estimators", "max_depth": "max_depth"}),
    "gradient-boosting": (
        {"rounds": 9, "learning_rate": 0.3, "max_depth": 2},
        {"rounds": "max_iter", "learning_rate": "learning_rate", "max_depth": "max_depth"},
    ),
}


@pytest.mark.parametrize("kind", CLASSICAL)
def test_of_classical_models_that_of_the_estimator(make_study: StudyMaker, kind: str) -> None:
    """The class weights, too: of two labels, one twice as common as the other."""
    settings, names = CLASSICAL[kind]
    model = {"name": kind, "family": "classical", "kind": kind, "class_weights": "balanced"}
    folder, record = trained(make_study, model | settings)
    loaded = load_model("classical", folder.model(1))
    assert isinstance(loaded, ClassicalModel)
    (estimator,) = loaded.fitted["cancer"].estimators
    spec, details = record["spec"], record["stages"]["1"]["details"]["tasks"]["cancer"]
    assert {name: spec[name] for name in settings} == settings
    assert {name: getattr(loaded.spec, name) for name in settings} == settings
    found: dict[str, Any] = estimator.get_params()
    assert all(found[own] == settings[name] for name, own in names.items())
    assert found["random_state"] == record["seed"] == 5
    if kind == "lasso":
        assert found["C"] == details["C"] and found["C"] in settings["c_grid"]
        assert details["nonzero_coefficients"] == (estimator.coef_ != 0).sum()  # type: ignore[union-attr]
    assert details["class_weights"] == pytest.approx({"no": 0.75, "yes": 1.5})
