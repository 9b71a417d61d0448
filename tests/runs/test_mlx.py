"""A study with a model of family mlx: from the file to a report and a pack; settings that it does not have."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from clinfit.cli import app
from clinfit.errors import ClinfitError
from clinfit.packs.read import load_pack
from clinfit.study.load import load_study
from small_study import write_study
from two_layer import llama_base

TRAIN = {"epochs": 1, "max_steps": 3, "learning_rate": 0.01, "max_length": 200, "precision": "fp32"}


def models(**changes: Any) -> list[dict[str, Any]]:
    own = {"name": "small", "family": "mlx", "base": str(llama_base()), "lora": {"rank": 2}, "train": TRAIN}
    return [{"name": "majority", "family": "baseline", "kind": "majority"}, own | changes]


@pytest.mark.slow
def test_a_study_ends_with_a_report_and_a_pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlx_lm", reason="the extra mlx is not installed")
    write_study(tmp_path, models=models(generate=4))
    done = CliRunner().invoke(app, ["run", str(tmp_path / "study.yaml"), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    systems = {system["name"]: system for system in metrics["tasks"]["cancer"]["systems"]}
    assert any(system["family"] == "mlx" for system in systems.values())
    assert (tmp_path / "out" / "report.html").is_file()

    run = tmp_path / "out" / "models" / "small-seed42"
    details = json.loads((run / "run.json").read_text())["stages"]["1"]["details"]
    assert details["steps"] == 3 and details["adapter"]["rank"] == 2 and details["peak_learning_rate"] == 0.01
    pack = load_pack(run / "pack")
    assert pack.self_test().passed and pack.content.model.family == "mlx"
    table = pd.read_parquet(run / "predictions" / "cancer-test-stage1.parquet")
    records = pd.read_csv(tmp_path / "data.csv").set_index("id").loc[table["id"]].reset_index()
    found = pack.predict(records)
    np.testing.assert_array_equal(found["p_yes"].to_numpy(), table["p_yes"].to_numpy())

    monkeypatch.setattr("clinfit.models.families.mlx_installed", lambda: False)
    elsewhere = load_pack(run / "pack")
    assert type(elsewhere.model).__name__ == "MlxByTorch"
    assert max(parity.change or 0.0 for parity in elsewhere.self_test().tasks.values()) < 1e-4


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"quantization": "4bit"}, "quantization is '4bit', and must be one of none"),
        ({"lora": {"dora": True}}, "family mlx trains LoRA and rsLoRA"),
        ({"train": {"precision": "fp16"}}, "family mlx computes in fp32 or bf16"),
        ({"train": {"gradient_checkpointing": True}}, "family mlx keeps all activations"),
        ({"method": "prompt"}, "method is 'prompt', and must be one of lora"),
        ({"shots": 3}, "shots is not a key"),
        ({"stages": [{"train": {"cancer": 1}}, {"train": {"cancer": 1}, "adapter": "stack"}]}, "adapter: stack is for"),
        ({"stages": [{"train": {"cancer": 1}}, {"train": {"cancer": 1}, "retain": {"kl": 1}}]}, "retain.kl is for"),
    ],
)
def test_settings_that_it_does_not_have_are_told_when_the_study_is_read(
    changes: dict[str, Any], told: str, tmp_path: Path
) -> None:
    with pytest.raises(ClinfitError) as refused:
        load_study(write_study(tmp_path, models=models(**changes)))
    assert told in str(refused.value)
