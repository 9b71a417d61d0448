"""The studies that come with clinfit, and the models in them that are commented out: what is said of them holds."""

import re
from pathlib import Path

import pytest

from catalogued import needs_mirror
from clinfit.data.load import load_task
from clinfit.runs.inputs import check_bases
from clinfit.study.load import load_study
from clinfit.study.models import Causal
from clinfit.study.schema import Study
from clinfit.study.stages import StageSettings

STUDIES = Path(__file__).parents[2] / "studies"
#: Bases that every installation of the test extras holds.
SMALL = ("clinfit/tiny", "clinfit/minilm")


def uncommented(name: str, tmp_path: Path) -> Study:
    """The study with the models that stand in comments."""
    text = (STUDIES / f"{name}.yaml").read_text(encoding="utf-8")
    taken, times = re.subn(r"^  # (?=- (?:name|<<): |  \w)", "  ", text, flags=re.MULTILINE)
    assert times >= 4
    (tmp_path / "prompts").symlink_to(STUDIES / "prompts")
    (tmp_path / f"{name}.yaml").write_text(taken, encoding="utf-8")
    return load_study(tmp_path / f"{name}.yaml")


def causal(study: Study, name: str) -> Causal:
    (spec,) = (spec for spec in study.models if spec.name == name)
    assert isinstance(spec, Causal)
    return spec


@needs_mirror
@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.stem for path in STUDIES.glob("*.yaml")))
def test_its_small_models_can_be_trained_on_its_records(name: str) -> None:
    """No reference among them is longer than a base reads."""
    study = load_study(STUDIES / f"{name}.yaml")
    small = [spec for spec in study.models if getattr(spec, "base", None) in SMALL]
    assert small
    check_bases(study, small, {task: load_task(task, study.tasks[task], study.folder) for task in study.tasks})


def test_llama_is_trained_as_the_published_two_stage_study_says(tmp_path: Path) -> None:
    study = uncommented("pubmedqa-dreaddit", tmp_path)
    spec = causal(study, "llama")
    assert (spec.base, spec.quantization) == ("meta-llama/Llama-3.2-1B-Instruct", "4bit")
    assert (spec.lora.rank, spec.lora.alpha, spec.lora.dropout) == (16, 32, 0.05)
    train = spec.train
    assert (train.learning_rate, train.batch_size, train.epochs) == (2e-4, 16, 3)
    assert (train.max_length, train.evaluate_every) == (1024, 200)
    assert spec.class_weights == spec.sampling == "none"
    stages = study.stages_of(spec)
    assert [list(stage.train) for stage in stages] == [["pubmedqa"], ["dreaddit"]]
    assert all(stage.settings == StageSettings() for stage in stages), "both stages have all epochs"
    assert not any(stage.retain for stage in stages)


@pytest.mark.parametrize("name", ["medical-qa-summarization", "mts-dialog"])
def test_tinyllama_is_a_model_of_all_tasks(name: str, tmp_path: Path) -> None:
    study = uncommented(name, tmp_path)
    spec = causal(study, "tinyllama")
    assert spec.base == "TinyLlama/TinyLlama-1.1B-Chat-v1.0" and spec.train.learning_rate == 2e-4
    assert list(study.tasks_of(spec)) == list(study.tasks)
    assert spec.lora == causal(study, "smollm2").lora


def test_each_task_that_the_ranks_learn_compares_them_by_a_margin() -> None:
    study = load_study(STUDIES / "medical-qa-summarization.yaml")
    learned = study.tasks_of(causal(study, "rank-64"))
    for name in study.tasks:
        settings = study.settings(name)
        asked = settings.compare == [["tiny", "rank-64"], ["rank-4", "tiny"]]
        assert asked == (name in learned) and (settings.margin is not None or not asked)
    ranks = [causal(study, name) for name in ("rank-4", "tiny", "rank-64")]
    assert [spec.lora.rank for spec in ranks] == [4, 16, 64]
    assert len({str(spec.model_dump(exclude={"name": True, "lora": {"rank", "alpha"}})) for spec in ranks}) == 1
