"""A study that asks for declared fields: from the study file to the pack, the service and external validation."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from rich.console import Console

import clinfit
from clinfit.files import read_json
from clinfit.predictions import SCORE, read_predictions
from clinfit.runs.checking.check import check_study
from clinfit.runs.execute import run
from clinfit.runs.external.pack import evaluate_pack
from clinfit.runs.folder import RunFolder
from clinfit.study.load import load_study
from small_study import CANARY
from two_layer import llama_base

TRAIN = {"epochs": 0.5, "max_length": 200, "precision": "fp32", "batch_size": 8, "loss_per": "token"}
FIELDS = {
    "what": {"values": ["tumour", "fracture"]},
    "size": "integer",
    "fever": {"type": "boolean", "required": False},
}


def records(n: int = 60) -> pd.DataFrame:
    rows = []
    for k in range(n):
        what = "tumour" if k % 3 == 0 else "fracture"
        rows.append(
            {
                "id": f"r{k}", "text": f"Case {k}: {what} of {k % 7 + 1} cm. No fever. {CANARY} {k * 7919 % 101}.",
                "what": what, "size": k % 7 + 1, "fever": "no" if k % 2 else "",
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fields")
    records().to_csv(folder / "data.csv", index=False)
    label = {"columns": {name: name for name in FIELDS}}
    data = {"path": "data.csv", "id": "id", "inputs": {"text": "text"}, "label": label}
    content: dict[str, Any] = {
        "name": "fields",
        "tasks": {"finding": {"kind": "extraction", "fields": FIELDS, "max_new_tokens": 12, "data": data}},
        "models": [
            {"name": "majority", "family": "baseline", "kind": "majority"},
            {"name": "nearest", "family": "baseline", "kind": "nearest"},
            {"name": "small", "family": "causal", "base": str(llama_base()), "lora": {"rank": 2}, "train": TRAIN},
        ],
        "evaluation": {"bootstrap": 100},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return folder


@pytest.fixture(scope="module")
def done(place: Path) -> RunFolder:
    result = run(place / "study.yaml", out=place / "run", console=Console(quiet=True))
    assert not result.failed
    return RunFolder(result.folder.resolve())


def systems(done: RunFolder) -> dict[str, Any]:
    return {system["name"]: system for system in read_json(done.metrics)["tasks"]["finding"]["systems"]}


def test_the_check_shows_the_prompt_with_the_fields(place: Path) -> None:
    stream = io.StringIO()
    check_study(load_study(place / "study.yaml"), Console(file=stream, width=200))
    shown = stream.getvalue()
    assert '- "what": one of "tumour", "fracture"' in shown and '- "fever": true or false, or null' in shown


def test_references_are_canonical_and_have_a_likelihood(done: RunFolder) -> None:
    table = read_predictions(done.model("small", 42).path / "predictions" / "finding-test-stage1.parquet")
    assert all(list(json.loads(gold)) == list(FIELDS) for gold in table["gold"])
    assert np.isfinite(table["nats"].to_numpy(dtype=np.float64)).all()
    scores = pd.read_parquet(done.model("small", 42).scores("finding-test-stage1.parquet"))
    assert all(name == "id" or name.startswith(SCORE) for name in scores.columns) and f"{SCORE}right:size" in scores


def test_every_field_is_measured_and_invalid_answers_are_counted(done: RunFolder) -> None:
    found = systems(done)
    for name in ("majority", "nearest"):
        assert found[name]["metrics"]["valid_output"]["value"] == 1
    fields = {entry["field"]: entry for entry in found["majority"]["sections"]["extracted"]["fields"]}
    assert fields["what"]["metrics"]["accuracy"]["value"] > 0.5 and list(fields) == list(FIELDS)
    small = found["small (after)"]
    section = small["sections"]["extracted"]
    assert section["valid"] + sum(v > 0 for v in section["faults"].values()) > 0 and "perplexity" in small["metrics"]
    assert "rougeL" not in small["metrics"] and "token_f1" not in small["metrics"]


def test_the_report_shows_the_fields_and_no_text_of_a_record(done: RunFolder) -> None:
    report = (done.path / "report.html").read_text(encoding="utf-8")
    assert "Declared fields" in report and "Are the answers valid?" in report
    written = [*done.path.glob("*.*"), *done.path.rglob("pack/*.md"), *done.path.rglob("run.json")]
    assert written and not [path for path in written if CANARY in path.read_text(encoding="utf-8")]


def test_a_pack_gives_the_object_or_says_that_there_is_none(done: RunFolder, place: Path) -> None:
    asked = records(5).drop(columns=list(FIELDS))
    pack = clinfit.load_pack(done.model("majority", 42).path / "pack")
    table = pack.predict(asked)
    assert list(table.columns[:4]) == ["id", "field_what", "field_size", "field_fever"]
    assert table["field_what"].unique().tolist() == ['"fracture"'] and set(table["status"]) == {"ok"}
    assert json.loads(str(table["text"].tolist()[0]))["what"] == "fracture"
    small = clinfit.load_pack(done.model("small", 42).path / "pack")
    said: list[str] = []
    table = small.predict(asked, say=said.append)
    answers = small.answer("finding", small.records("finding", asked))
    for answer, text in zip(answers, table["text"], strict=True):
        assert answer.predicted == text and (answer.status == "invalid") == (answer.extracted is None)
    invalid = sum(answer.status == "invalid" for answer in answers)
    assert (f"{invalid} of 5 answers are no object of the declared fields (status invalid)" in said) == (invalid > 0)
    assert all(any(note.startswith("text: ") for note in a.notes) for a in answers if a.status == "invalid")
    assert pack.self_test().passed and small.self_test().passed


def test_external_validation_measures_the_pack(done: RunFolder, place: Path, tmp_path: Path) -> None:
    records(90).tail(30).to_csv(tmp_path / "other.csv", index=False)
    pack = done.model("majority", 42).path / "pack"
    results = evaluate_pack(pack, tmp_path / "other.csv", tmp_path / "out")
    (system,) = results["tasks"]["finding"]["systems"]
    assert system["metrics"]["valid_output"]["value"] == 1 and system["n"] == 30
