"""One contract over all model families and kinds of task (see clinfit.models.base).

To put a family under the contract, add its spec to `SPECS` and its name with data sets to `TAKES`: of the kinds that it
says it answers nothing is skipped, a combination that a family must refuse stands in `REFUSES`. A kind is one entry of
`DATA` in tests/kinds.py.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from clinfit.data.records import Record
from clinfit.errors import ClinfitError
from clinfit.machine import mlx_installed
from clinfit.models.base import FitSummary, Lesson, Model, Outputs, TextOutputs, Workspace
from clinfit.models.families import create_model
from clinfit.packs.decide import ask
from clinfit.study.models import Baseline, Causal, Classical, Encoder, Lora, Mlx, ModelSpec, Train
from clinfit.study.remote import Remote
from clinfit.study.tasks import Task
from kinds import DATA, dataset, unlabelled
from remote_server import MODEL, shared
from two_layer import bert_base, llama_base

TASK = "finding"

# ---------------------------------------------------------------- families

#: Two optimizer steps are enough to move a two-layer model.
BRIEF = Train(epochs=0.25, learning_rate=1e-2, batch_size=5, batch_tokens=400, max_length=250, precision="fp32")
CAUSAL = Causal(name="m", family="causal", base=str(llama_base()), lora=Lora(rank=2), train=BRIEF)
ENCODER = Encoder(name="m", family="encoder", base=str(bert_base()), lora=Lora(rank=2), train=BRIEF)
REMOTE = Remote(name="m", family="remote", url=shared().url, model=MODEL, top=400)
SPECS: dict[str, ModelSpec] = {
    "majority": Baseline(name="m", family="baseline", kind="majority"),
    "always-positive": Baseline(name="m", family="baseline", kind="always-positive"),
    "keyword": Baseline(name="m", family="baseline", kind="keyword", patterns=["tumou?r"]),
    "lexicon": Baseline(name="m", family="baseline", kind="lexicon"),
    "copy": Baseline(name="m", family="baseline", kind="copy"),
    "lead": Baseline(name="m", family="baseline", kind="lead", sentences=1),
    "nearest": Baseline(name="m", family="baseline", kind="nearest"),
    "tfidf-logistic": Classical(name="m", family="classical", kind="tfidf-logistic", class_weights="balanced"),
    "lasso": Classical(name="m", family="classical", kind="lasso", c_grid=[0.1, 1.0]),
    "random-forest": Classical(name="m", family="classical", kind="random-forest", trees=8, oversample=True),
    "gradient-boosting": Classical(name="m", family="classical", kind="gradient-boosting", max_depth=2),
    "causal": CAUSAL,
    "causal-bf16": CAUSAL.model_copy(update={"train": BRIEF.model_copy(update={"precision": "bf16"})}),
    "causal-weighted": CAUSAL.model_copy(
        update={"class_weights": "balanced", "focal_gamma": 2.0, "sampling": "oversample"}
    ),
    "causal-prompted": CAUSAL.model_copy(
        update={"method": "prompt", "shots": 2, "train": BRIEF.model_copy(update={"max_length": 510})}
    ),
    "mlx": Mlx(name="m", family="mlx", base=str(llama_base()), lora=Lora(rank=2), train=BRIEF),
    "remote": REMOTE,
    "remote-tops": REMOTE.model_copy(update={"labels": "top-logprobs"}),
    "encoder-lora": ENCODER,
    "encoder-full": ENCODER.model_copy(update={"method": "full", "class_weights": "balanced", "sampling": "balanced"}),
}
TAKES: dict[str, list[str]] = {
    "majority": ["text", "table", "mixed", "three", "several", "options", "fields"],
    "always-positive": ["text", "table", "mixed"],
    "keyword": ["text", "mixed"],
    "lexicon": ["several"],
    "copy": ["texts"],
    "lead": ["texts"],
    "nearest": ["texts", "fields"],
    "tfidf-logistic": ["text", "mixed", "three", "several"],
    "lasso": ["text", "table", "mixed", "three", "several"],
    "random-forest": ["text", "table", "mixed", "three", "several"],
    "gradient-boosting": ["text", "table", "mixed", "three", "several"],
    "causal": ["text", "table", "mixed", "three", "several", "options", "texts", "fields"],
    "causal-bf16": ["text"],
    "causal-weighted": ["three"],
    "causal-prompted": ["text", "three", "options"],
    "mlx": ["text", "table", "mixed", "three", "several", "options", "texts", "fields"],
    "remote": ["text", "table", "mixed", "three", "several", "options", "texts", "fields"],
    "remote-tops": ["three", "options"],
    "encoder-lora": ["text", "table", "mixed", "three", "several"],
    "encoder-full": ["text", "three", "several"],
}
#: Variants of a family that already stands under the contract with every data set.
VARIANTS = {"causal-bf16", "causal-weighted", "causal-prompted", "remote-tops", "encoder-full"}
REFUSES: dict[str, list[str]] = {
    "always-positive": ["three"],
    "keyword": ["table", "three"],
    "tfidf-logistic": ["table"],
}
#: Largest difference of a probability between two batchings of the same records; 0 unless named.
TOLERANCE: dict[str, float] = {}

CASES = [(model, data) for model, names in TAKES.items() for data in names if model != "mlx" or mlx_installed()]
each_case = pytest.mark.parametrize(("model", "data"), CASES, ids=[f"{m}-{d}" for m, d in CASES])


def fit(model: str, data: str, workspace: Path, validation: Sequence[Record] | None = None) -> tuple[Model, FitSummary]:
    case = dataset(data)
    fitted = create_model(SPECS[model], {TASK: case.task}, 11)
    chosen = case.part("validation") if validation is None else validation
    return fitted, fitted.fit(Lesson(case.part("train"), chosen, {TASK: 1.0}), Workspace(workspace))


@cache
def fitted_once(model: str, data: str) -> tuple[Model, FitSummary, Path]:
    """A fitted model that the tests share, and the workspace it was fitted in."""
    workspace = Path(tempfile.mkdtemp(prefix="clinfit-contract-"))
    return *fit(model, data, workspace), workspace


@cache
def outputs_of(model: str, data: str) -> Outputs:
    """What the shared model says when it is asked for the first time."""
    return ask(fitted_once(model, data)[0], TASK, dataset(data).part("test"))


def said(model: Model, records: Sequence[Record], batch_tokens: int | None = None) -> NDArray[Any]:
    if batch_tokens is None or not model.tasks[TASK].labels:
        return answers_in(ask(model, TASK, records))
    return model.predict(TASK, records, batch_tokens=batch_tokens).probabilities


def answers(model: str, data: str) -> NDArray[Any]:
    return answers_in(outputs_of(model, data))


def answers_in(outputs: Outputs) -> NDArray[Any]:
    """(n, K) probabilities, or (n,) texts."""
    return np.array(outputs.texts, dtype=object) if isinstance(outputs, TextOutputs) else outputs.probabilities


def assert_answers(answers: NDArray[Any], n: int, task: Task) -> None:
    """Those of the kind: probabilities, or a text each."""
    if task.labels:
        assert_probabilities(answers, n, task)
    else:
        assert answers.shape == (n,) and all(isinstance(text, str) for text in answers)


def assert_probabilities(probabilities: NDArray[np.float64], n: int, task: Task) -> None:
    assert probabilities.shape == (n, len(task.labels))
    assert probabilities.dtype == np.float64
    assert np.isfinite(probabilities).all()
    assert (probabilities >= 0).all() and (probabilities <= 1).all()
    if task.kind != "multilabel":
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-9)


# ---------------------------------------------------------------- the contract


def test_every_family_and_data_set_is_decided() -> None:
    for model in SPECS.keys() - VARIANTS:
        asked = [name for name, shape in DATA.items() if shape.kind in SPECS[model].kinds]
        assert sorted(TAKES[model] + REFUSES.get(model, [])) == sorted(asked)


@pytest.mark.parametrize(("model", "data"), [(m, d) for m, names in REFUSES.items() for d in names])
def test_a_task_it_cannot_do_is_refused_with_advice(model: str, data: str, tmp_path: Path) -> None:
    with pytest.raises(ClinfitError) as refused:
        fit(model, data, tmp_path)
    assert refused.value.fix


@each_case
def test_constructor_only_stores(model: str, data: str) -> None:
    tasks = {TASK: dataset(data).task}
    made = create_model(SPECS[model], tasks, 3)
    public = {name: value for name, value in vars(made).items() if not name.startswith("_")}
    assert public == {"spec": SPECS[model], "tasks": tasks, "seed": 3}


@each_case
def test_answers_are_those_of_the_kind(model: str, data: str) -> None:
    outputs, n = outputs_of(model, data), len(dataset(data).part("test"))
    assert_answers(answers(model, data), n, dataset(data).task)
    assert outputs.seconds.shape == (n,)
    assert (outputs.seconds >= 0).all()


@each_case
def test_summary_can_be_recorded(model: str, data: str) -> None:
    _, summary, _ = fitted_once(model, data)
    assert summary.seconds >= 0
    assert 0 <= summary.trainable_parameters <= summary.parameters
    assert json.loads(json.dumps(summary.details, allow_nan=False)) == summary.details


@each_case
def test_same_seed_same_answers(model: str, data: str, tmp_path: Path) -> None:
    again, _ = fit(model, data, tmp_path)
    np.testing.assert_array_equal(said(again, dataset(data).part("test")), answers(model, data))


@each_case
def test_a_fit_in_the_same_workspace_ends_the_same(model: str, data: str) -> None:
    again, _ = fit(model, data, fitted_once(model, data)[2])
    np.testing.assert_array_equal(said(again, dataset(data).part("test")), answers(model, data))


@each_case
def test_batch_and_order_and_target_do_not_change_an_answer(model: str, data: str) -> None:
    fitted, records = fitted_once(model, data)[0], dataset(data).part("test")
    together = answers(model, data)
    one_by_one = np.concatenate([said(fitted, [record]) for record in records])
    order = np.random.default_rng(0).permutation(len(records))
    shuffled = said(fitted, unlabelled([records[i] for i in order]), batch_tokens=64)
    tolerance = TOLERANCE.get(model, 0)
    if together.dtype == object:
        assert one_by_one.tolist() == together.tolist() and shuffled.tolist() == together[order].tolist()
        return
    np.testing.assert_allclose(one_by_one, together, rtol=0, atol=tolerance)
    np.testing.assert_allclose(shuffled, together[order], rtol=0, atol=tolerance)


@each_case
def test_record_without_any_value_is_answered(model: str, data: str) -> None:
    empty = Record("new", "new", dict.fromkeys(dataset(data).records[0].inputs))
    assert_answers(said(fitted_once(model, data)[0], [empty]), 1, dataset(data).task)


@each_case
def test_no_records_no_rows(model: str, data: str) -> None:
    labels = dataset(data).task.labels
    assert said(fitted_once(model, data)[0], []).shape == ((0, len(labels)) if labels else (0,))


@each_case
def test_validation_with_other_targets_is_accepted(model: str, data: str, tmp_path: Path) -> None:
    case = dataset(data)
    wrong = [replace(record, target=case.other_target) for record in case.part("validation")]
    fitted, _ = fit(model, data, tmp_path, validation=wrong)
    assert_answers(said(fitted, case.part("test")[:1]), 1, case.task)


NEW_PROCESS = """
import json, sys
from pathlib import Path
import numpy as np
import torch
from clinfit.data.records import Record
from clinfit.models.families import load_model
from clinfit.packs.decide import ask
torch.manual_seed(123)  # what a model draws while it loads must not show
for job in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
    model = load_model(job["family"], Path(job["folder"]))
    found = ask(model, job["task"], [Record(**record) for record in job["records"]])
    said = found.texts if hasattr(found, "texts") else found.probabilities.tolist()
    Path(job["answers"]).write_text(json.dumps(said))
"""


def test_saved_models_answer_bit_for_bit_the_same_in_a_new_process(tmp_path: Path) -> None:
    """One process for all cases, since most of its time is the import of the libraries."""
    jobs = []
    for model, data in CASES:
        folder = tmp_path / f"{model}-{data}"
        fitted_once(model, data)[0].save(folder)
        assert not [file for file in folder.rglob("*") if file.suffix in {".pkl", ".pickle", ".joblib", ".bin", ".pt"}]
        records = [asdict(record) for record in dataset(data).part("test")]
        answers_file = str(tmp_path / f"{model}-{data}-answers.json")
        job = {"family": SPECS[model].family, "folder": str(folder), "task": TASK, "answers": answers_file}
        jobs.append(job | {"records": records})
    (tmp_path / "jobs.json").write_text(json.dumps(jobs), encoding="utf-8")
    command = [sys.executable, "-c", NEW_PROCESS, str(tmp_path / "jobs.json")]
    done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for (model, data), job in zip(CASES, jobs, strict=True):
        found = json.loads(Path(str(job["answers"])).read_text())
        assert found == answers(model, data).tolist(), f"{model} {data}"
