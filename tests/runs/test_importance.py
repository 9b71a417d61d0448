"""Asking models what they need: which are asked, on which records, and that it is kept like any other step."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

import clinfit
from clinfit.data.load import load_task
from clinfit.data.records import Record
from clinfit.errors import ClinfitError
from clinfit.files import read_json
from clinfit.models.base import LabelOutputs
from clinfit.predictions import Source
from clinfit.runs.finish import evaluate_run
from clinfit.runs.folder import RunFolder
from clinfit.runs.steps.importance import MOST_RECORDS, REPEATS, read_importance, write_importance
from clinfit.runs.steps.plan import plan
from clinfit.study.data import Data, InputColumn
from clinfit.study.load import load_study
from clinfit.study.tasks import Classification
from two_layer import llama_base

StudyMaker = Callable[..., Path]
INPUTS: dict[str, InputColumn | str] = {name: InputColumn(column=name, type="number") for name in ("used", "spare")}
TASK = Classification(labels=["no", "yes"], data=Data(path="t.csv", inputs=INPUTS))
MODELS = [
    {"name": "majority", "family": "baseline", "kind": "majority"},
    {"name": "tfidf", "family": "classical", "kind": "tfidf-logistic", "c_grid": [1.0]},
    {"name": "tiny", "family": "causal", "base": "clinfit/tiny"},
]


class OneInput:
    """Says what the input `used` says."""

    def __init__(self) -> None:
        self.asked: list[Sequence[Record]] = []
        self.spec, self.tasks = SimpleNamespace(neural=True), {"asked": TASK}

    def predict(self, task: str, records: Sequence[Record]) -> LabelOutputs:
        self.asked.append(records)
        used = np.array([record.inputs["used"] for record in records], dtype=np.float64)
        return LabelOutputs(np.stack([1 - used, used], axis=1), np.zeros(len(records)))


def asked(n: int, folder: Path) -> tuple[OneInput, pd.DataFrame]:
    rng = np.random.default_rng(0)
    records = [
        Record(f"{at}", f"{at}", {"used": float(rng.random()), "spare": float(at)}, ["no", "yes"][at % 2], "validation")
        for at in range(n)
    ]
    model: Any = OneInput()
    source = Source("one-seed1", "one", 1, 1)
    write_importance(folder / "found", model, source, "asked", [], records, lambda done, total, text: None, False)
    found: Any = read_importance(folder / "found")
    assert found["weights"] is None
    return model, found["answers"]


def test_each_input_is_shuffled_alone_and_keeps_its_values(tmp_path: Path) -> None:
    model, answers = asked(60, tmp_path)
    plain, *shuffled = model.asked
    assert len(shuffled) == 2 * REPEATS
    for records, name in zip(shuffled, ["used"] * REPEATS + ["spare"] * REPEATS, strict=True):
        other = "spare" if name == "used" else "used"
        assert [r.inputs[other] for r in records] == [r.inputs[other] for r in plain]
        values, before = ([float(r.inputs[name] or 0) for r in part] for part in (records, plain))
        assert values != before and sorted(values) == sorted(before)
        assert [(r.id, r.target) for r in records] == [(r.id, r.target) for r in plain]
    same = answers.loc[answers["input"] == "spare", "p_yes"].to_numpy().reshape(REPEATS, -1)
    assert (same == answers.loc[answers["input"].isna(), "p_yes"].to_numpy()).all()
    assert not {"raw", "used"} & {*answers.columns}


def test_of_many_records_a_part_is_asked(tmp_path: Path) -> None:
    model, _ = asked(MOST_RECORDS + 50, tmp_path)
    assert {len(records) for records in model.asked} == {MOST_RECORDS}


def steps_of(study: Path) -> list[str]:
    loaded = load_study(study)
    data = {name: load_task(name, task, loaded.folder) for name, task in loaded.tasks.items()}
    planned = plan(loaded, data, lambda name, revision: {"name": name})
    return [step.id for step in planned if step.action == "importance"]


def test_classical_models_are_asked_and_language_models_on_request(make_study: StudyMaker) -> None:
    assert steps_of(make_study(models=MODELS)) == ["tfidf-seed42/importance/cancer-stage1"]
    tiny = MODELS[2] | {"importance": True}
    assert len(steps_of(make_study(models=[*MODELS[:2], tiny]))) == 2


def test_asking_again_trains_nothing_again(make_study: StudyMaker) -> None:
    """Whether it is asked is no part of what a model is."""
    before, after = (
        {step.id: step.inputs for step in _planned(make_study(models=[MODELS[2] | {"importance": on}]))}
        for on in (False, True)
    )
    assert before.items() < after.items()


def _planned(study: Path) -> list[Any]:
    loaded = load_study(study)
    data = {name: load_task(name, task, loaded.folder) for name, task in loaded.tasks.items()}
    return plan(loaded, data, lambda name, revision: {"name": name})


def test_a_run_keeps_it_and_does_it_again_where_it_is_gone(make_study: StudyMaker, canary: str) -> None:
    study = make_study(models=MODELS[:2])
    result = clinfit.run(study, console=Console(quiet=True))
    folder = RunFolder(result.folder)
    written = folder.path / "models/tfidf-seed42/importance/cancer-stage1"
    answers = (written / "answers.parquet").read_bytes()
    metrics = read_json(folder.metrics)
    system = next(s for s in metrics["tasks"]["cancer"]["systems"] if s["model"] == "tfidf")
    assert system["sections"]["weights"]["penalty"] == "L2"
    shutil.rmtree(written)
    with pytest.raises(ClinfitError, match="is missing or was changed"):
        evaluate_run(folder, load_study(folder.study), "again")
    clinfit.run(study, console=Console(quiet=True))
    assert (written / "answers.parquet").read_bytes() == answers
    assert read_json(folder.metrics)["tasks"]["cancer"]["systems"] == metrics["tasks"]["cancer"]["systems"]


def test_a_language_model_that_is_asked(make_study: StudyMaker) -> None:
    train = {"epochs": 0.2, "batch_size": 8, "max_length": 200, "precision": "fp32"}
    causal = MODELS[2] | {"base": str(llama_base()), "train": train, "compare_base": False, "importance": True}
    result = clinfit.run(make_study(models=[causal]), console=Console(quiet=True))
    assert result.results is not None
    system: Any = next(s for s in result.results["tasks"]["cancer"]["systems"] if s["model"] == "tiny")
    assert {row["input"] for row in system["sections"]["importance"]["rows"]} == {"text", "age"}
    assert "weights" not in system["sections"]
