"""A list of MLX fine-tunings as a study: every field is a setting, or an error that names it."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from clinfit.cli import app
from clinfit.errors import ClinfitError
from clinfit.runs.model_configs import read_models
from clinfit.study.load import load_study
from clinfit.study.models import Causal, Mlx, Neural
from clinfit.training.schedule import Schedule
from small_study import records

FIRST = {
    "name": "Llama-3.2-3B",
    "model_id": "meta-llama/Llama-3.2-3B-Instruct",
    "output_dir": "./finetuned-llama-3.2-3B",
    "lora_rank": 8,
    "lora_alpha": 16,
    "learning_rate": 9e-7,
    "num_iters": 600,
    "batch_size": 4,
}


def written(folder: Path, *models: dict[str, Any], **more: Any) -> Path:
    file = folder / "model_configs.json"
    file.write_text(json.dumps({"models": list(models), **more}))
    return file


def imported(folder: Path, *words: str) -> Any:
    records().to_csv(folder / "data.csv", index=False)
    study = str(folder / "study.yaml")
    told = CliRunner().invoke(app, ["import", str(folder / "model_configs.json"), study, *words])
    return told, folder / "study.yaml"


def test_every_field_is_a_setting_of_the_study(tmp_path: Path) -> None:
    written(tmp_path, FIRST, FIRST | {"name": "other", "model_id": "Qwen/Qwen2.5-7B-Instruct", "num_iters": 7})
    told, path = imported(tmp_path, "--data", str(tmp_path / "data.csv"))
    assert told.exit_code == 0, told.output
    study = load_study(path)
    first, other = [model for model in study.models if isinstance(model, Neural)]
    assert isinstance(first, Mlx) and (first.name, first.base) == (FIRST["name"], FIRST["model_id"])
    assert (first.lora.rank, first.lora.alpha) == (8, 16)
    assert (first.train.learning_rate, first.train.batch_size) == (9e-7, 4)
    train = study.tasks["label"].data.split
    assert train.train == 0.6  # type: ignore[union-attr]
    for model, steps in ((first, 600), (other, 7)):
        assert Schedule.of(model.train, 36).steps == steps == model.train.max_steps
    assert "instead of ./finetuned-llama-3.2-3B, runs/study/latest/models/Llama-3.2-3B-seed42" in told.output


@pytest.mark.parametrize("trained_on", [1, 5, 36, 100_000])
def test_the_steps_are_those_of_the_file_whatever_data_the_study_has_later(trained_on: int, tmp_path: Path) -> None:
    """Without data the study is one of an example, whose file is meant to be replaced."""
    written(tmp_path, FIRST)
    told, path = imported(tmp_path)
    assert told.exit_code == 0, told.output
    (model,) = [model for model in load_study(path).models if isinstance(model, Neural)]
    schedule = Schedule.of(model.train, trained_on)
    assert schedule.steps == FIRST["num_iters"] and schedule.rate(schedule.steps) == pytest.approx(0)
    assert schedule.evaluate_every == schedule.steps_per_epoch, "validation is looked at after each epoch as ever"
    assert model.train.duration == "600 steps", "epochs that end nothing are not told"


def test_the_folder_that_is_named_is_the_one_that_a_run_uses(tmp_path: Path) -> None:
    written(tmp_path, FIRST)
    records().to_csv(tmp_path / "data.csv", index=False)
    study = tmp_path / "My Study.yaml"
    words = ["import", str(tmp_path / "model_configs.json"), str(study), "--data", str(tmp_path / "data.csv")]
    told = CliRunner().invoke(app, words)
    assert told.exit_code == 0, told.output
    assert load_study(study).name == "My-Study" and "runs/My-Study/latest/models/" in told.output
    assert f"clinfit check '{study}'" in told.output


def test_what_computes_can_be_chosen(tmp_path: Path) -> None:
    written(tmp_path, FIRST)
    _, path = imported(tmp_path, "--data", str(tmp_path / "data.csv"), "--family", "causal")
    assert [type(model) for model in load_study(path).models if isinstance(model, Neural)] == [Causal]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"lora_rnk": 8}, "models[0].lora_rnk is no field of a model, did you mean lora_rank?"),
        ({"lora_rank": 0}, "models[0].lora_rank: input should be greater than or equal to 1, and is 0"),
        ({"learning_rate": "fast"}, 'models[0].learning_rate: input should be a valid number, and is "fast"'),
        ({"num_iters": None}, "models[0].num_iters"),
        (
            {"model_id": "mlx-community/Llama-3.2-3B-Instruct-4bit"},
            "models[0].model_id: mlx-community/Llama-3.2-3B-Instruct-4bit holds quantized weights, which are not "
            "trained on; write meta-llama/Llama-3.2-3B-Instruct",
        ),
        ({"name": "majority"}, "models[0].name: majority is a model that the study has by itself"),
        ({"name": "random-forest"}, "random-forest is a model that the study has by itself"),
        ({"model_id": "mlx-community/new-8bit"}, "write the id of the weights that it was made from"),
    ],
)
def test_a_field_that_cannot_be_honoured_is_named(change: dict[str, Any], told: str, tmp_path: Path) -> None:
    written(tmp_path, FIRST | change)
    found, path = imported(tmp_path, "--data", str(tmp_path / "data.csv"))
    assert isinstance(found.exception, ClinfitError) and told in found.exception.found
    assert not path.exists()


def test_all_faults_come_together(tmp_path: Path) -> None:
    file = written(tmp_path, FIRST, FIRST | {"extra": 1}, {"name": "x"}, FIRST, seed=3)
    with pytest.raises(ClinfitError) as refused:
        read_models(file)
    for text in ("seed is no field", "models[1].extra", "models[2].model_id is missing", "models[3].name"):
        assert text in refused.value.found


def test_a_name_that_stands_twice_is_told_beside_other_faults(tmp_path: Path) -> None:
    file = written(tmp_path, FIRST | {"lora_rank": 0}, FIRST, FIRST | {"name": "llama-3.2-3b", "seed": 1})
    with pytest.raises(ClinfitError) as refused:
        read_models(file)
    told = refused.value.found
    assert "models[0].lora_rank: " in told and "models[2].seed is no field" in told
    assert "models[1].name: Llama-3.2-3B stands there twice" in told
    assert "models[2].name: llama-3.2-3b stands there twice" in told, "names of folders differ in more than case"


@pytest.mark.parametrize(("block", "shown"), [("small", '"small"'), (None, "null"), ([FIRST], "a list")])
def test_a_model_that_is_no_object_is_told_in_words(block: Any, shown: str, tmp_path: Path) -> None:
    with pytest.raises(ClinfitError) as refused:
        read_models(written(tmp_path, FIRST, block))
    assert f"models[1] must be an object with these fields, and is {shown}" in refused.value.found
    assert "Listed" not in refused.value.found


@pytest.mark.parametrize("text", ["", "[]", '{"models": []}', '{"models": {"a": 1}}'])
def test_a_file_of_another_form_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "model_configs.json").write_text(text)
    with pytest.raises(ClinfitError, match=r"lists no models|is no JSON"):
        read_models(tmp_path / "model_configs.json")
