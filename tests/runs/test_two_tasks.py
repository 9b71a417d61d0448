"""A study with two tasks and two stages: every command takes both, whatever their kinds."""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

import clinfit
from clinfit.cli import app
from clinfit.errors import ClinfitError
from clinfit.files import read_json
from clinfit.predictions import read_predictions
from small_study import CANARY, records
from two_layer import llama_base

#: The second task by kind, beside `cancer`, which is a classification; what it reads stands in `table`.
LATIN = {"path": "data.csv", "id": "id", "inputs": {"text": "text"}}
OPTIONS = ["first", "second", "third"]
SECOND: dict[str, dict[str, Any]] = {
    "classification": {
        "kind": "classification",
        "labels": ["young", "middle", "old"],
        "data": {**LATIN, "label": "band"},
        "evaluation": {"primary": "accuracy"},
    },
    "multilabel": {
        "kind": "multilabel",
        "labels": ["lung", "skin"],
        "data": {**LATIN, "label": "organs"},
    },
    "multiple-choice": {
        "kind": "multiple-choice",
        "options": OPTIONS,
        "data": {**LATIN, "inputs": {name: name for name in ("text", *OPTIONS)}, "label": "right"},
    },
}

TRAIN = {"epochs": 0.2, "max_length": 120, "precision": "fp32", "batch_size": 4}
MODELS: list[dict[str, Any]] = [
    {"name": "majority", "family": "baseline", "kind": "majority"},
    {"name": "words", "family": "classical", "kind": "tfidf-logistic", "c_grid": [1.0], "tasks": ["cancer"]},
    {"name": "small", "family": "causal", "lora": {"rank": 2}, "train": TRAIN, "generate": 3},
]
STAGES = [{"train": {"cancer": 1, "second": 1}}, {"train": {"second": 1, "cancer": 0.5}}]


def table() -> pd.DataFrame:
    """The records of the small study with a band of age, organs, and options of which one is right."""
    rows = records()
    number = rows.index.to_series()
    words = ["rest", "surgery", "aspirin"]
    options = {name: [words[(k + at) % 3] for k in number] for at, name in enumerate(OPTIONS)}
    return rows.assign(
        band=[["young", "middle", "old"][k % 3] for k in number],
        organs=[["", "lung", "skin", "lung|skin"][k % 4] for k in number],
        right=["ABC"[(3 - k) % 3] for k in number],
        **options,
    )


def invoke(*words: object) -> Result:
    """A command, in this process."""
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(word) for word in words], catch_exceptions=False)


def lines(*words: object) -> list[str]:
    """What a command that ends well says."""
    done = invoke(*words)
    assert done.exit_code == 0, done.output
    return done.output.splitlines()


@pytest.fixture(scope="module", params=SECOND)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which such a study was run, once for each kind of its second task; `kind` names it."""
    kind = request.param
    folder = tmp_path_factory.mktemp(kind)
    table().to_csv(folder / "data.csv", index=False)
    cancer = {"labels": ["no", "yes"], "data": {**LATIN, "label": {"column": "label", "map": {0: "no", 1: "yes"}}}}
    study = {
        "name": "two",
        "tasks": {"cancer": cancer, "second": SECOND[kind]},
        "models": [model | ({"base": str(llama_base())} if model["family"] == "causal" else {}) for model in MODELS],
        "stages": STAGES,
        "evaluation": {"bootstrap": 100},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    (folder / "kind").write_text(kind)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        lines("freeze", "study.yaml", "--out", "out")
        lines("run", "study.yaml", "--out", "out")
    return folder


@pytest.fixture(autouse=True)
def at_the_place(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)


@pytest.fixture
def kind(place: Path) -> str:
    return (place / "kind").read_text()


# ---------------------------------------------------------------- run


def test_every_task_has_its_systems_after_every_stage(place: Path, kind: str) -> None:
    tasks = read_json(place / "out/metrics.json")["tasks"]
    assert [(name, task["kind"]) for name, task in tasks.items()] == [("cancer", "classification"), ("second", kind)]
    for name, task in tasks.items():
        stages = {(system["model"], system["stage"]) for system in task["systems"]}
        words = {("words", 1), ("words", 2)} if name == "cancer" else set()
        assert stages == {("majority", 1), ("small", 0), ("small", 1), ("small", 2)} | words
        assert not task["withheld"]


def test_predictions_have_the_columns_of_their_kind(place: Path, kind: str) -> None:
    folder = place / "out/models/small-seed42/predictions"
    one, two = (read_predictions(folder / f"{task}-test-stage2.parquet") for task in ("cancer", "second"))
    assert set(one["kind"]) == {"classification"} and set(two["kind"]) == {kind}
    labels = {"classification": ["young", "middle", "old"], "multilabel": ["lung", "skin"]}.get(kind, list("ABC"))
    assert [name for name in two.columns if name.startswith("p_")] == [f"p_{label}" for label in labels]
    assert one["raw"].notna().all() and two["raw"].notna().all() == (kind != "multilabel")


def test_the_report_has_a_chapter_for_each(place: Path) -> None:
    page = (place / "out/report.html").read_text()
    assert "Result: cancer" in page and "Result: second" in page and CANARY not in page
    assert "cancer" in (place / "out/summary.md").read_text() and "second" in (place / "out/summary.md").read_text()


def test_running_it_again_does_nothing(place: Path) -> None:
    said = lines("run", "study.yaml", "--out", "out")
    assert {line for line in said if line.endswith("already done")} == {
        f"{name}-seed42: already done" for name in ("majority", "words", "small")
    }
    rows = [line for line in lines("run", "study.yaml", "--out", "out", "--dry-run") if "│" in line]
    asked = [row for row in rows if "fit stage" in row or "answer " in row]
    assert len(asked) == 5 + 6 + 14 and all("done" in row for row in asked)


# ---------------------------------------------------------------- the other commands


def test_schema(place: Path) -> None:
    assert json.loads("\n".join(lines("schema")))["title"] == "clinfit study"


def test_check_reads_both(place: Path, kind: str) -> None:
    said = "\n".join(lines("check", "study.yaml", "--no-record"))
    assert "Task cancer: classification, 60 records" in said and CANARY not in said
    assert f"Task second: {kind}, 60 records" in said


def test_status_shows_every_run(place: Path) -> None:
    told = [line for line in lines("status", "out") if line.startswith("  ")]
    names = ("majority", "words", "small")
    assert [line.partition(",")[0] for line in told] == [f"  {name}-seed42: done" for name in names]


def test_evaluate_makes_the_same_numbers_again(place: Path) -> None:
    before = (place / "out/metrics.json").read_bytes()
    (place / "out/metrics.json").unlink()
    assert lines("evaluate", "out")[-1] == "out/report.html"
    assert (place / "out/metrics.json").read_bytes() == before


def test_a_pack_answers_either_task(place: Path) -> None:
    pack = "out/models/small-seed42/pack"
    for task in ("cancer", "second"):
        lines("predict", pack, "--input", "data.csv", "--output", f"{task}.csv", "--task", task)
        answers = pd.read_csv(f"{task}.csv", keep_default_na=False).set_index("id")
        evaluated = read_predictions(place / f"out/models/small-seed42/predictions/{task}-test-stage2.parquet")
        columns = [name for name in evaluated.columns if name.startswith("p_")]
        same = answers.loc[evaluated["id"], columns].to_numpy() == evaluated[columns].to_numpy()
        assert same.all(), "what is served is what was evaluated"
    with pytest.raises(ClinfitError, match="answers 2 tasks"):
        invoke("predict", pack, "--input", "data.csv", "--output", "none.csv")


def test_diagnose_asks_in_every_task_with_one_answer(place: Path, kind: str) -> None:
    said = lines("diagnose", "out", "--records", 1)
    told = [line.split(",")[1].split(":")[0].strip() for line in said if line.startswith("small-seed42, task")]
    assert told == ["task cancer"] + ([] if kind == "multilabel" else ["task second"])
    assert lines("diagnose", "out", "--records", 1, "--task", "cancer")[0].startswith("small-seed42, task cancer: 1 ")
    wrong = "second" if kind == "multilabel" else "third"
    with pytest.raises(ClinfitError, match="no single question"):
        invoke("diagnose", "out", "--task", wrong)


def test_score_reads_the_answers_to_every_task_that_has_some(place: Path, kind: str) -> None:
    lines("score", "out", "--parser", "first-word")
    scored = place / "out/scored/first-word"
    expected = ["cancer"] if kind == "multilabel" else ["cancer", "second"]
    assert list(read_json(scored / "metrics.json")["tasks"]) == expected
    lines("score", "out", "--parser", "strict", "--task", "cancer")
    assert list(read_json(place / "out/scored/strict/metrics.json")["tasks"]) == ["cancer"]
    with pytest.raises(ClinfitError, match="no free answers to a task 'third'"):
        invoke("score", "out", "--task", "third")


def test_freeze_holds_both_tasks(place: Path) -> None:
    frozen = read_json(place / "out/freeze.json")
    assert set(frozen["stated"]["data"]) == {"cancer", "second"} and not frozen["opened"]
    for task in read_json(place / "out/metrics.json")["tasks"].values():
        assert task["sections"]["freeze"]["state"] == "frozen"


def test_compare_takes_every_common_task(place: Path) -> None:
    shutil.copytree("out", "twin", dirs_exist_ok=True)
    lines("compare", "out", "twin", "--out", "both")
    found = read_json(place / "both/comparison.json")
    assert list(found["tasks"]) == ["cancer", "second"] and found["left_out"] == {}
    for task in found["tasks"].values():
        one, two = task["systems"].values()
        assert len(one) == len(two) > 3 and not set(one) & set(two)
    assert "Results: second" in (place / "both/comparison.html").read_text()


def test_neither_task_is_the_first(place: Path, tmp_path: Path) -> None:
    """Tasks in another order are the same tasks: rules and word counts answer alike."""
    content = yaml.safe_load((place / "study.yaml").read_text())
    content["tasks"] = dict(reversed(content["tasks"].items()))
    for name in ("data.csv",):
        shutil.copy(place / name, tmp_path / name)
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    result = clinfit.run(tmp_path / "study.yaml", out=tmp_path / "out", models=["majority", "words"])
    assert result.ok
    for path in sorted((place / "out/models").glob("[mw]*/predictions/*.parquet")):
        other = tmp_path / "out" / path.relative_to(place / "out")
        one, two = (read_predictions(found).drop(columns="seconds") for found in (path, other))
        pd.testing.assert_frame_equal(one, two)


def test_a_task_that_no_chosen_model_answers_is_left_out_and_told(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("study.yaml", "data.csv"):
        shutil.copy(place / name, tmp_path / name)
    result = clinfit.run(tmp_path / "study.yaml", out=tmp_path / "out", models=["words"])
    assert result.ok and result.results is not None and list(result.results["tasks"]) == ["cancer"]
    (found,) = read_json(tmp_path / "out/metrics.json")["findings"]
    told = "none of the models that are done answers second"
    assert (found["code"], found["evidence"]) == ("task-unanswered", told)
    assert told in capsys.readouterr().out
    assert told in (tmp_path / "out/report.html").read_text() and told in (tmp_path / "out/summary.md").read_text()
    assert "findings" not in read_json(place / "out/metrics.json")
