"""One contract over all model families (see clinfit.models.base).

To put a family under the contract, add its spec to `SPECS` and its name with data sets to `TAKES`: nothing is skipped,
a combination that a family must refuse stands in `REFUSES`.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from clinfit.data.records import SPLITS, Record, Split, in_split
from clinfit.errors import ClinfitError
from clinfit.models.base import FitSummary, Model, Outputs, Workspace
from clinfit.models.families import create_model
from clinfit.study import Baseline, Causal, Classical, Data, Encoder, InputColumn, Lora, ModelSpec, Task, Train
from two_layer import bert_base, llama_base

# ---------------------------------------------------------------- data sets

TWO = ["Non-Cancer", "Krebs, gesichert ≥ T2"]
THREE = ["no finding", "non-tumour", "tumör"]
INPUTS = {
    "title": InputColumn(column="title"),
    "abstract": InputColumn(column="abstract"),
    "age": InputColumn(column="age", type="number", unit="years"),
    "haemoglobin": InputColumn(column="hb", type="number", unit="g/dl"),
    "sex": InputColumn(column="sex", type="category"),
}
TEXT, TABLE = ["title", "abstract"], ["age", "haemoglobin", "sex"]
DATA = {
    "text": (TWO, TEXT),
    "table": (TWO, TABLE),
    "mixed": (TWO, TEXT + TABLE),
    "three": (THREE, TEXT + TABLE),
}
WORDS = ["renal cohort", "tumour growth", "biopsy staging"]


@dataclass(frozen=True)
class Dataset:
    task: Task
    records: list[Record]

    def part(self, split: Split) -> list[Record]:
        return in_split(self.records, split)


@cache
def dataset(name: str) -> Dataset:
    """72 records whose inputs hint at the label, with missing values and a category that only test holds."""
    labels, names = DATA[name]
    rng = np.random.default_rng(7)
    records = []
    for i in range(72):
        k = int(rng.integers(len(labels)))
        split = SPLITS[0 if i < 40 else 1 if i < 56 else 2]
        hint = WORDS[k] if rng.random() < 0.85 else WORDS[0]
        inputs = {
            "title": None if i % 9 == 0 else f"A study of {hint}",
            "abstract": f"We saw {hint} in {int(rng.integers(5, 90))} patients, no more.",
            "age": float(rng.integers(20, 90)),
            "haemoglobin": None if i % 7 == 0 else float(10 + 2 * k + rng.normal()),
            "sex": None
            if i % 11 == 0
            else ["female", "male"][int(rng.integers(2))]
            if i < 68
            else "unknown to training",
        }
        records.append(Record(f"r{i}", f"g{i}", {n: inputs[n] for n in names}, labels[k], split))
    data = Data(path="unused.csv", inputs={n: INPUTS[n] for n in names})
    return Dataset(Task(labels=labels, data=data), records)


# ---------------------------------------------------------------- families

#: Two optimizer steps are enough to move a two-layer model.
BRIEF = Train(epochs=0.5, learning_rate=1e-2, batch_size=10, batch_tokens=400, max_length=250, precision="fp32")
CAUSAL = Causal(name="m", family="causal", base=str(llama_base()), lora=Lora(rank=2), train=BRIEF)
ENCODER = Encoder(name="m", family="encoder", base=str(bert_base()), lora=Lora(rank=2), train=BRIEF)
SPECS: dict[str, ModelSpec] = {
    "majority": Baseline(name="m", family="baseline", kind="majority"),
    "always-positive": Baseline(name="m", family="baseline", kind="always-positive"),
    "keyword": Baseline(name="m", family="baseline", kind="keyword", patterns=["tumou?r"]),
    "tfidf-logistic": Classical(name="m", family="classical", kind="tfidf-logistic", class_weights="balanced"),
    "lasso": Classical(name="m", family="classical", kind="lasso", c_grid=[0.1, 1.0]),
    "random-forest": Classical(name="m", family="classical", kind="random-forest", trees=8, oversample=True),
    "gradient-boosting": Classical(name="m", family="classical", kind="gradient-boosting", max_depth=2),
    "causal": CAUSAL,
    "causal-bf16": CAUSAL.model_copy(update={"train": BRIEF.model_copy(update={"precision": "bf16"})}),
    "causal-weighted": CAUSAL.model_copy(
        update={"class_weights": "balanced", "focal_gamma": 2.0, "sampling": "oversample"}
    ),
    "encoder-lora": ENCODER,
    "encoder-full": ENCODER.model_copy(update={"method": "full", "class_weights": "balanced", "sampling": "balanced"}),
}
TAKES: dict[str, list[str]] = {
    "majority": ["text", "table", "mixed", "three"],
    "always-positive": ["text", "table", "mixed"],
    "keyword": ["text", "mixed"],
    "tfidf-logistic": ["text", "mixed", "three"],
    "lasso": ["text", "table", "mixed", "three"],
    "random-forest": ["text", "table", "mixed", "three"],
    "gradient-boosting": ["text", "table", "mixed", "three"],
    "causal": ["text", "table", "mixed", "three"],
    "causal-bf16": ["text"],
    "causal-weighted": ["three"],
    "encoder-lora": ["text", "table", "mixed", "three"],
    "encoder-full": ["text", "three"],
}
#: Variants of a family that already stands under the contract with every data set.
VARIANTS = {"causal-bf16", "causal-weighted", "encoder-full"}
REFUSES: dict[str, list[str]] = {
    "always-positive": ["three"],
    "keyword": ["table", "three"],
    "tfidf-logistic": ["table"],
}
#: Largest difference of a probability between two batchings of the same records; 0 unless named.
TOLERANCE: dict[str, float] = {}

CASES = [(model, data) for model, names in TAKES.items() for data in names]
each_case = pytest.mark.parametrize(("model", "data"), CASES, ids=[f"{m}-{d}" for m, d in CASES])


def fit(model: str, data: str, workspace: Path, validation: Sequence[Record] | None = None) -> tuple[Model, FitSummary]:
    case = dataset(data)
    fitted = create_model(SPECS[model], case.task, 11)
    chosen = case.part("validation") if validation is None else validation
    return fitted, fitted.fit(case.part("train"), chosen, Workspace(workspace))


@cache
def fitted_once(model: str, data: str) -> tuple[Model, FitSummary, Path]:
    """A fitted model that the tests share, and the workspace it was fitted in."""
    workspace = Path(tempfile.mkdtemp(prefix="clinfit-contract-"))
    return *fit(model, data, workspace), workspace


def answers(model: str, data: str) -> Outputs:
    return fitted_once(model, data)[0].predict(dataset(data).part("test"))


def assert_distributions(probabilities: NDArray[np.float64], n: int, k: int) -> None:
    assert probabilities.shape == (n, k)
    assert probabilities.dtype == np.float64
    assert np.isfinite(probabilities).all()
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-9)


# ---------------------------------------------------------------- the contract


def test_every_family_and_data_set_is_decided() -> None:
    for model in SPECS.keys() - VARIANTS:
        assert sorted(TAKES[model] + REFUSES.get(model, [])) == sorted(DATA)


@pytest.mark.parametrize(("model", "data"), [(m, d) for m, names in REFUSES.items() for d in names])
def test_a_task_it_cannot_do_is_refused_with_advice(model: str, data: str, tmp_path: Path) -> None:
    with pytest.raises(ClinfitError) as refused:
        fit(model, data, tmp_path)
    assert refused.value.fix


@each_case
def test_constructor_only_stores(model: str, data: str) -> None:
    task = dataset(data).task
    made = create_model(SPECS[model], task, 3)
    public = {name: value for name, value in vars(made).items() if not name.startswith("_")}
    assert public == {"spec": SPECS[model], "task": task, "seed": 3}


@each_case
def test_probabilities_are_distributions_over_the_labels(model: str, data: str) -> None:
    outputs, n = answers(model, data), len(dataset(data).part("test"))
    assert_distributions(outputs.probabilities, n, len(dataset(data).task.labels))
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
    np.testing.assert_array_equal(
        again.predict(dataset(data).part("test")).probabilities, answers(model, data).probabilities
    )


@each_case
def test_a_fit_in_the_same_workspace_ends_the_same(model: str, data: str) -> None:
    again, _ = fit(model, data, fitted_once(model, data)[2])
    np.testing.assert_array_equal(
        again.predict(dataset(data).part("test")).probabilities, answers(model, data).probabilities
    )


@each_case
def test_batch_and_order_do_not_change_an_answer(model: str, data: str) -> None:
    fitted, records = fitted_once(model, data)[0], dataset(data).part("test")
    together = answers(model, data).probabilities
    one_by_one = np.concatenate([fitted.predict([record]).probabilities for record in records])
    order = np.random.default_rng(0).permutation(len(records))
    shuffled = fitted.predict([records[i] for i in order], batch_tokens=64).probabilities
    tolerance = TOLERANCE.get(model, 0)
    np.testing.assert_allclose(one_by_one, together, rtol=0, atol=tolerance)
    np.testing.assert_allclose(shuffled, together[order], rtol=0, atol=tolerance)


@each_case
def test_targets_are_not_looked_at(model: str, data: str) -> None:
    unlabelled = [replace(record, target=None, split=None) for record in dataset(data).part("test")]
    found = fitted_once(model, data)[0].predict(unlabelled).probabilities
    np.testing.assert_array_equal(found, answers(model, data).probabilities)


@each_case
def test_record_without_any_value_is_answered(model: str, data: str) -> None:
    empty = Record("new", "new", dict.fromkeys(dataset(data).records[0].inputs))
    assert_distributions(fitted_once(model, data)[0].predict([empty]).probabilities, 1, len(dataset(data).task.labels))


@each_case
def test_no_records_no_rows(model: str, data: str) -> None:
    assert fitted_once(model, data)[0].predict([]).probabilities.shape == (0, len(dataset(data).task.labels))


@each_case
def test_validation_with_other_targets_is_accepted(model: str, data: str, tmp_path: Path) -> None:
    case = dataset(data)
    wrong = [replace(record, target=case.task.labels[0]) for record in case.part("validation")]
    fitted, _ = fit(model, data, tmp_path, validation=wrong)
    found = fitted.predict(case.part("test")).probabilities
    assert_distributions(found, len(case.part("test")), len(case.task.labels))


NEW_PROCESS = """
import json, sys
from pathlib import Path
import numpy as np
import torch
from clinfit.data.records import Record
from clinfit.models.families import load_model
torch.manual_seed(123)  # what a model draws while it loads must not show
for job in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
    model = load_model(job["family"], Path(job["folder"]))
    np.save(job["answers"], model.predict([Record(**record) for record in job["records"]]).probabilities)
"""


def test_saved_models_answer_bit_for_bit_the_same_in_a_new_process(tmp_path: Path) -> None:
    """One process for all cases, since most of its time is the import of the libraries."""
    jobs = []
    for model, data in CASES:
        folder = tmp_path / f"{model}-{data}"
        fitted_once(model, data)[0].save(folder)
        assert not [file for file in folder.rglob("*") if file.suffix in {".pkl", ".pickle", ".joblib", ".bin", ".pt"}]
        records = [asdict(record) for record in dataset(data).part("test")]
        answers_file = str(tmp_path / f"{model}-{data}.npy")
        jobs.append({"family": SPECS[model].family, "folder": str(folder), "answers": answers_file, "records": records})
    (tmp_path / "jobs.json").write_text(json.dumps(jobs), encoding="utf-8")
    command = [sys.executable, "-c", NEW_PROCESS, str(tmp_path / "jobs.json")]
    done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for (model, data), job in zip(CASES, jobs, strict=True):
        np.testing.assert_array_equal(
            np.load(job["answers"]), answers(model, data).probabilities, err_msg=f"{model} {data}"
        )
