"""A cross-validated study with a task that asks for texts and one that asks for fields: to the packs of a refitted
model, and to the page on which people read."""

import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from rich.console import Console

from clinfit.files import read_json
from clinfit.packs.read import load_pack
from clinfit.predictions import SCORE
from clinfit.runs.checking.check import check_study
from clinfit.runs.execute import run
from clinfit.runs.finish import evaluate_run, saved_predictions
from clinfit.runs.folder import RunFolder
from clinfit.runs.reading import Wanted, write_reading
from clinfit.study.load import load_study
from small_study import CANARY
from two_layer import llama_base

TRAIN = {"max_steps": 2, "max_length": 200, "precision": "fp32", "batch_size": 8, "loss_per": "token"}
FIELDS = {"what": {"values": ["tumour", "fracture"]}, "size": "integer"}
N = 36


def records() -> pd.DataFrame:
    rows = []
    for k in range(N):
        what, size = "tumour" if k % 3 == 0 else "fracture", k % 7 + 1
        text = f"Case {k}: {what} of {size} cm. No fever. {CANARY} {k * 7919 % 101}."
        note = f"A {what} of {size} cm"
        rows.append({"id": f"r{k}", "patient": f"p{k // 2}", "text": text, "note": note, "what": what, "size": size})
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("folds-of-texts")
    records().to_csv(folder / "data.csv", index=False)
    split = {"folds": 2, "repeats": 2}
    data = {"path": "data.csv", "id": "id", "group": "patient", "inputs": {"text": "text"}, "split": split}
    fields = data | {"label": {"columns": {name: name for name in FIELDS}}}
    content: dict[str, Any] = {
        "name": "folded",
        "tasks": {
            "note": {"kind": "generation", "max_new_tokens": 6, "data": data | {"label": "note"}},
            "finding": {"kind": "extraction", "fields": FIELDS, "max_new_tokens": 12, "data": fields},
        },
        "models": [
            {"name": "copy", "family": "baseline", "kind": "copy"},
            {"name": "nearest", "family": "baseline", "kind": "nearest"},
            {
                "name": "small", "family": "causal", "base": str(llama_base()), "lora": {"rank": 2}, "train": TRAIN,
                "refit": True, "compare_base": False,
            },
        ],
        "stages": [{"train": {"note": 1, "finding": 1}}],
        "evaluation": {"bootstrap": 100},
    }  # fmt: skip
    (folder / "study.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return folder


@pytest.fixture(scope="module")
def done(place: Path) -> RunFolder:
    result = run(place / "study.yaml", out=place / "run", console=Console(quiet=True))
    assert result.ok, result.failed
    return RunFolder(result.folder.resolve())


def test_every_record_is_answered_once_a_repeat_and_scored(done: RunFolder) -> None:
    tables = saved_predictions(done)
    test = tables[tables["split"] == "test"]
    for (_, _), own in test.groupby(["model", "task"]):
        assert own.groupby("repeat")["id"].nunique().tolist() == [N, N] and len(own) == 2 * N
    assert test.loc[test["task"] == "note", SCORE + "token_f1"].notna().all()
    assert test.loc[test["task"] == "finding", SCORE + "all_fields"].notna().all()


def test_the_results_count_a_record_once(done: RunFolder) -> None:
    tasks = read_json(done.metrics)["tasks"]
    for name, metric in (("note", "token_f1"), ("finding", "all_fields")):
        assert not tasks[name]["withheld"]
        for system in tasks[name]["systems"]:
            assert system["n"] == system["metrics"][metric]["n"] == N
            assert len(system["sections"]["folds"]) == 4
            assert ("refit" in system["sections"]) == (system["model"] == "small")
    report = done.report.read_text()
    assert "2-fold cross-validation, repeated twice" in report and "its texts are taken as they are" in report
    assert CANARY not in report


def test_the_refitted_model_has_a_pack_that_writes(done: RunFolder) -> None:
    folder = done.path / "models" / "small-seed42-refit" / "pack"
    pack = load_pack(folder)
    assert set(pack.tasks) == {"note", "finding"}
    told = read_json(folder / "pack.json")["tasks"]["note"]
    assert told["cross_validation"] == "2-fold cross-validation, repeated twice" and told["threshold"] is None
    answers = pack.predict(records().drop(columns=["note", *FIELDS]).head(2), task="note")
    assert answers["id"].tolist() == ["r0", "r1"] and answers["text"].notna().all()


def test_it_is_evaluated_again_alike(done: RunFolder, place: Path) -> None:
    before = json.loads(done.metrics.read_text())["tasks"]
    again = evaluate_run(done, load_study(done.study).model_copy(update={"folder": place}), "clinfit evaluate")
    for name, task in before.items():
        for one, other in zip(task["systems"], again["tasks"][name]["systems"], strict=True):
            assert one["metrics"] == other["metrics"]


def test_the_page_for_readers_shows_each_record_once(done: RunFolder, place: Path, tmp_path: Path) -> None:
    study = load_study(done.study).model_copy(update={"folder": place})
    page = write_reading(done, study, Wanted(count=10), tmp_path / "page.html")
    assert page.records == 10 and len(page.systems) == 3


def test_the_check_says_what_the_study_is(place: Path) -> None:
    stream = io.StringIO()
    findings = check_study(load_study(place / "study.yaml"), Console(file=stream, width=200))
    assert not [one for one in findings if one.level == "error"]
    assert "2-fold cross-validation, repeated twice; the first of 4 folds" in stream.getvalue()
