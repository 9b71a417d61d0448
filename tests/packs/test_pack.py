"""A pack gives the evaluation's own answers, wherever it is moved, and refuses to be anything else than it was."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from rich.console import Console

import clinfit
import forked
from clinfit.data.load import load_task
from clinfit.data.records import in_split
from clinfit.errors import ClinfitError
from clinfit.evaluation.answers import label_codes
from clinfit.evaluation.decisions.decide import decide
from clinfit.evaluation.evaluate import task_context
from clinfit.evaluation.facts import task_facts
from clinfit.files import read_json, write_json
from clinfit.predictions import read_predictions
from clinfit.runs.folder import RunFolder
from clinfit.study.load import load_study

StudyMaker = Callable[..., Path]

FAMILIES: list[dict[str, Any]] = [
    {"name": "majority", "family": "baseline", "kind": "majority"},
    {"name": "keyword", "family": "baseline", "kind": "keyword", "patterns": ["tumou?r"]},
    {"name": "tfidf", "family": "classical", "kind": "tfidf-logistic", "c_grid": [1.0]},
    {"name": "lasso", "family": "classical", "kind": "lasso", "c_grid": [1.0]},
    {"name": "forest", "family": "classical", "kind": "random-forest", "trees": 10},
    {"name": "boosting", "family": "classical", "kind": "gradient-boosting"},
]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, write_small_study: StudyMaker) -> tuple[Path, Any]:
    """The small study and its run, which tests only read."""
    folder = tmp_path_factory.mktemp("ran")
    study = write_small_study(folder / "study")
    return study, clinfit.run(study, out=folder / "run", console=Console(quiet=True))


@pytest.fixture
def own(ran: tuple[Path, Any], tmp_path: Path) -> Path:
    """A pack of that run, copied for a test that changes it."""
    return shutil.copytree(ran[1].packs["tfidf-seed42"], tmp_path / "pack")


def predict(*words: object) -> subprocess.CompletedProcess[str]:
    return forked.run(["-m", "clinfit", "predict", *words])


def check_same_answers(result: Any, data: Path, tmp_path: Path) -> None:
    """Every pack, moved and in a new process, on shuffled records: the numbers of the evaluation, to the last bit."""
    shuffled = tmp_path / "shuffled.csv"
    pd.read_csv(data).sample(frac=1, random_state=0).drop(columns="label").to_csv(shuffled, index=False)
    for name, pack in result.packs.items():
        moved = shutil.copytree(pack, tmp_path / "moved" / name)
        done = predict(moved, "--input", shuffled, "--output", tmp_path / f"{name}.parquet")
        assert done.returncode == 0, done.stderr
        answers = pd.read_parquet(tmp_path / f"{name}.parquet").set_index("id")
        assert pq.read_schema(tmp_path / f"{name}.parquet").metadata[b"clinfit"] == clinfit.__version__.encode()
        evaluated = read_predictions(pack.parent / "predictions/cancer-test-stage1.parquet").set_index("id")
        assert len(evaluated) == 12
        for column in ("p_no", "p_yes"):
            assert (answers.loc[evaluated.index, column] == evaluated[column]).all(), name


def test_every_simple_family_answers_as_evaluated(make_study: StudyMaker, tmp_path: Path) -> None:
    study = make_study(models=FAMILIES)
    result = clinfit.run(study, console=Console(quiet=True))
    assert result.ok and len(result.packs) == len(FAMILIES)
    check_same_answers(result, study.with_name("data.csv"), tmp_path)


def test_decisions_use_the_threshold_of_the_evaluation(ran: tuple[Path, Any]) -> None:
    study, result = ran
    pack = clinfit.load_pack(result.packs["tfidf-seed42"])
    system = next(system for system in result.results["tasks"]["cancer"]["systems"] if system["model"] == "tfidf")
    threshold = system["sections"]["threshold"]["value"]
    assert threshold is not None and pack.tasks["cancer"].thresholds[""].value == threshold
    answers = pack.predict(study.with_name("data.csv"))
    assert list(answers.columns) == ["id", "p_no", "p_yes", "predicted", "decision", "threshold", "status", "notes"]
    assert (answers["decision"] == ["yes" if p >= threshold else "no" for p in answers["p_yes"]]).all()
    test = read_predictions(result.folder / "models/tfidf-seed42/predictions/cancer-test-stage1.parquet")
    right = answers.set_index("id").loc[test["id"], "decision"].to_numpy() == test["gold"].to_numpy()
    assert right.mean() == system["metrics"]["accuracy"]["value"]


def records_with_noise() -> pd.DataFrame:
    """Enough records for sets of labels, with labels that the text does not quite tell."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 700)
    told = np.where(rng.random(700) < 0.8, label, 1 - label)
    word, grade = np.where(told == 1, "tumor", "fracture"), rng.integers(0, 9, 700)
    return pd.DataFrame(
        {
            "id": [f"r{k}" for k in range(700)],
            "text": [f"Case {k}: {word[k]} seen, grade {grade[k]}" for k in range(700)],
            "age": 40 + rng.integers(0, 20, 700) + 6 * label,
            "label": label,
        }
    )


@pytest.mark.parametrize(
    ("calibration", "refer"),
    [("platt", {"rule": "conformal", "value": 0.9}), ("temperature", {"rule": "confidence", "value": 0.7})],
)
def test_recalibration_threshold_and_referral_are_those_of_the_evaluation(
    make_study: StudyMaker, tmp_path: Path, calibration: str, refer: dict[str, Any]
) -> None:
    """Saved predictions and the moved pack on shuffled records give the same, to the last bit."""
    evaluation = {"bootstrap": 100, "threshold": {"rule": "cost", "value": 2}, "calibration": calibration}
    (tmp_path / "study").mkdir()
    records_with_noise().to_csv(tmp_path / "study/data.csv", index=False)
    models = [m for m in FAMILIES if m["name"] in ("majority", "tfidf", "forest")]
    path = make_study(models=models, evaluation=evaluation | {"refer": refer})
    result = clinfit.run(path, console=Console(quiet=True))
    study, shuffled = load_study(path), pd.read_csv(path.with_name("data.csv")).sample(frac=1, random_state=0)
    saved = pd.concat([read_predictions(file) for file in sorted(result.folder.glob("models/*/predictions/*.parquet"))])
    task = study.tasks["cancer"]
    context = task_context(study, "cancer", saved, task_facts({}, "cancer"))
    decided = {system.name: decide(context.settings, system) for system in context.systems}  # type: ignore[arg-type]
    for name in ("tfidf", "forest"):
        moved = shutil.copytree(result.packs[f"{name}-seed42"], tmp_path / "moved" / name)
        pack, item = clinfit.load_pack(moved), decided[name]
        answers = pack.predict(shuffled.drop(columns="label")).set_index("id").loc[item.system.test.ids]
        assert (answers[["p_no", "p_yes"]].to_numpy() == item.test.probabilities).all()
        assert (label_codes(list(answers["decision"]), task.labels) == item.test.predicted).all()
        system = next(s for s in result.results["tasks"]["cancer"]["systems"] if s["name"] == name)
        assert system["sections"]["recalibration"]["kind"] == calibration
        assert pack.tasks["cancer"].thresholds[""].value == system["sections"]["threshold"]["value"] is not None
        referral = system["sections"]["referral"]
        assert referral is not None and 0 < referral["referred"] < referral["n"]
        assert (answers["status"] == "refer").sum() == referral["referred"]
        assert set(answers["status"]) == {"ok", "refer"}
        if refer["rule"] == "conformal":
            sizes = answers["prediction_set"].str.split("|").map(lambda labels: len([x for x in labels if x]))
            assert system["sections"]["conformal"]["sizes"]["1"] == (sizes == 1).sum()
        else:
            assert "prediction_set" not in answers


def test_records_a_table_and_a_file_get_the_same_answers(ran: tuple[Path, Any]) -> None:
    path, result = ran
    study = load_study(path)
    pack = clinfit.load_pack(result.packs["tfidf-seed42"])
    records = in_split(load_task("cancer", study.tasks["cancer"], study.folder).records, "test")
    from_records = pack.predict(records).set_index("id")
    from_file = pack.predict(path.with_name("data.csv")).set_index("id")
    from_table = pack.predict(pd.read_csv(path.with_name("data.csv"))).set_index("id")
    pd.testing.assert_frame_equal(from_file, from_table)
    pd.testing.assert_frame_equal(from_records, from_file.loc[from_records.index])


def test_what_the_pack_says_of_itself(ran: tuple[Path, Any]) -> None:
    study, result = ran
    content = read_json(result.packs["tfidf-seed42"] / "pack.json")
    assert content["model"]["family"] == "classical" and content["study"]["name"] == "small"
    assert content["tasks"]["cancer"]["metrics"]["auroc"]["n"] == 12
    assert str(study.parent) not in json.dumps(content)
    card = (result.packs["tfidf-seed42"] / "README.md").read_text()
    assert "| Accuracy |" in card and "(positive: yes) from text, age. Decision: positive from a probability of" in card


def damage(pack: Path, how: str) -> str:
    """Damage a pack; the name that the error must hold."""
    model = next(path for path in sorted((pack / "model").iterdir()))
    if how == "changed":
        model.write_bytes(model.read_bytes() + b" ")
        return f"model/{model.name}"
    if how == "missing":
        model.unlink()
        return f"model/{model.name}"
    if how == "added":
        (pack / "model" / "chat_template.jinja").write_text("")
        return "model/chat_template.jinja"
    content = read_json(pack / "pack.json")
    content["tasks"]["cancer"]["threshold"]["value"] = 0.99
    write_json(pack / "pack.json", content)
    return "pack.json"


@pytest.mark.parametrize("how", ["changed", "missing", "added", "threshold"])
def test_a_pack_that_is_not_as_written_is_refused_by_name(own: Path, how: str) -> None:
    name = damage(own, how)
    with pytest.raises(ClinfitError, match=f"not as it was written: {name}"):
        clinfit.load_pack(own)


def test_what_a_system_leaves_in_a_folder_does_no_harm(own: Path) -> None:
    (own / ".DS_Store").write_text("")
    assert list(clinfit.load_pack(own).tasks) == ["cancer"]


def test_a_folder_around_packs_names_them(own: Path, tmp_path: Path) -> None:
    models = tmp_path / "run/models"
    for name in ("b-seed1", "a-seed1"):
        (models / name).mkdir(parents=True)
        (models / name / "pack").symlink_to(own)
    both = f"{models / 'a-seed1/pack'} or {models / 'b-seed1/pack'}"
    for folder, named in ((models, both), (tmp_path / "run", both), (models / "b-seed1", f"{models / 'b-seed1/pack'}")):
        with pytest.raises(ClinfitError, match="is not a pack") as refused:
            clinfit.load_pack(folder)
        assert refused.value.fix == f"name the pack: {named}"
    with pytest.raises(ClinfitError, match=r"there is no folder .*nowhere"):
        clinfit.load_pack(tmp_path / "nowhere")


def test_what_is_no_pack(tmp_path: Path) -> None:
    with pytest.raises(ClinfitError, match="is not a pack"):
        clinfit.load_pack(tmp_path)
    for other in ("clinfit-pack/1", "clinfit-pack/99"):
        write_json(tmp_path / "pack.json", {"format": other})
        with pytest.raises(ClinfitError, match=other):
            clinfit.load_pack(tmp_path)


def test_packs_are_written_again_only_when_they_change(ran: tuple[Path, Any]) -> None:
    study, result = ran
    pack = result.packs["tfidf-seed42"] / "pack.json"
    before = pack.stat().st_mtime_ns
    clinfit.run(study, out=result.folder, console=Console(quiet=True))
    assert pack.stat().st_mtime_ns == before
    assert RunFolder(result.folder).report.is_file()


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_text_outputs_keep_every_bit(ran: tuple[Path, Any], tmp_path: Path, suffix: str) -> None:
    from clinfit.packs.output import write_table

    study, result = ran
    table = clinfit.load_pack(result.packs["tfidf-seed42"]).predict(study.with_name("data.csv"))
    path = tmp_path / f"out{suffix}"
    write_table(table, path)
    if suffix == ".jsonl":
        read = pd.DataFrame([json.loads(line) for line in path.read_text().splitlines()])
    else:
        read = pd.read_csv(path, sep="\t" if suffix == ".tsv" else ",")
    assert (read["p_yes"] == table["p_yes"]).all() and list(read["id"]) == list(table["id"])
