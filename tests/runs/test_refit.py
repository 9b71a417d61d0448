"""A model that is trained on all records after a cross-validation: one more run of the plan, and the pack that is
served."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from scipy.sparse import csr_array
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from typer.testing import CliRunner

from clinfit.cli import app
from clinfit.data.load import load_task
from clinfit.errors import ClinfitError
from clinfit.evaluation.decisions.decide import OUT_OF_FOLD
from clinfit.files import read_json, write_json
from clinfit.packs.read import Pack, load_pack
from clinfit.runs.execute import Result, run
from clinfit.runs.external.pack import evaluate_pack
from clinfit.runs.finish import evaluate_run, saved_predictions
from clinfit.runs.folder import RunFolder
from clinfit.runs.packs import write_run_packs
from clinfit.runs.steps.dry_run import print_plan
from clinfit.serve.models import ServedModel
from clinfit.serve.routes.about import model_out
from clinfit.study.load import load_study
from clinfit.study.quick import quickened
from executed import causal
from executed import run as executed
from folded_study import MODELS, quiet, write
from small_study import write_study

REFITTED = [{**model, "refit": model["name"] != "majority"} for model in MODELS]
DECIDED = {
    "evaluation": {"bootstrap": 100, "primary": "auroc", "threshold": {"rule": "youden"}, "calibration": "platt"}
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that was run once without, and then with models that are refitted, below `runs`."""
    folder = tmp_path_factory.mktemp("refit")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        before = run(write(folder / "study", **DECIDED), console=quiet())
        assert before.ok and not before.packs
        said = quiet()
        after = run(write(folder / "study", models=REFITTED, **DECIDED), console=said)
    assert after.ok
    (folder / "said.txt").write_text(said.file.getvalue())  # type: ignore[attr-defined]
    (folder / "before").symlink_to(folder / before.folder)
    (folder / "after").symlink_to(folder / after.folder)
    return folder


def pack_of(folder: Path, model: str) -> Path:
    return folder / "after" / "models" / f"{model}-seed42-refit" / "pack"


@pytest.fixture(scope="module")
def lasso(folder: Path) -> Pack:
    return load_pack(pack_of(folder, "lasso"))


def without_refits(task: dict[str, Any]) -> dict[str, Any]:
    """The results of a task without the section on refitted models, what training warns of them, and times."""
    for system in task["systems"]:
        system["sections"].pop("refit", None)
        system["cost"] = {}
    task["findings"] = [f for f in task["findings"] if f["system"] is None or not f["system"].endswith("-refit")]
    task["sections"].pop("pareto", None)
    task["advice"] = []
    return task


def test_the_figures_are_those_of_the_cross_validation_alone(folder: Path) -> None:
    before, after = (read_json(folder / name / "metrics.json")["tasks"]["t"] for name in ("before", "after"))
    assert ["refit" in system["sections"] for system in after["systems"]] == [False, True, True]
    assert without_refits(before) == without_refits(after)


def test_only_the_refits_are_trained_where_the_folds_are_there(folder: Path) -> None:
    said = (folder / "said.txt").read_text()
    assert [line for line in said.splitlines() if "training ..." in line] == [
        "lasso-seed42-refit: training ...", "forest-seed42-refit: training ...",
    ]  # fmt: skip
    assert "lasso-seed42-repeat2-fold3: reused from" in said


def test_a_refit_is_a_run_that_is_asked_nothing(folder: Path) -> None:
    record = RunFolder(folder / "after").run("lasso-seed42-refit").read_record()
    assert (record["refit"], record["fold"], list(record["steps"])) == (True, None, ["stages/1/model"])
    output = quiet()
    study = load_study(folder / "study" / "study.yaml")
    print_plan(study, folder / "after", None, False, output)
    shown = output.file.getvalue()  # type: ignore[attr-defined]
    assert "56 steps, 0 to do" in shown and "forest-seed42-refit" in shown


def test_training_keeps_validation_only_where_it_makes_a_choice(folder: Path) -> None:
    used = {
        name: RunFolder(folder / "after").run(f"{name}-seed42-refit").read_record()["stages"]["1"]["details"]
        for name in ("lasso", "forest")
    }
    assert used["lasso"]["tasks"]["t"]["records"] == 68 and used["lasso"]["tasks"]["t"]["C_chosen_on"] == "validation"
    assert used["forest"]["tasks"]["t"]["records"] == 90


def test_scikit_learn_fits_the_same_forest_to_all_records(folder: Path) -> None:
    study = load_study(folder / "study" / "study.yaml")
    data = load_task("t", study.tasks["t"], folder / "study")
    x = np.array([[np.nan if (v := r.inputs[n]) is None else v for n in "abc"] for r in data.records], dtype=float)
    y = np.array([record.target == "yes" for record in data.records])
    alone = make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
        FunctionTransformer(csr_array),
        RandomForestClassifier(30, random_state=42),
    ).fit(x, y, randomforestclassifier__sample_weight=np.ones(len(y)))
    pack = load_pack(pack_of(folder, "forest"))
    ours = pack.model.predict("t", data.records)
    assert ours.probabilities[:, 1] == pytest.approx(alone.predict_proba(x)[:, 1], abs=1e-12)


def test_decisions_come_from_all_out_of_fold_answers(folder: Path, lasso: Pack) -> None:
    """scikit-learn's logistic regression gives the same line, and no threshold on its probabilities is better."""
    tables = saved_predictions(RunFolder(folder / "after"))
    rows = tables[(tables["model"] == "lasso") & (tables["split"] == "test")]
    gold, p = (rows["gold"] == "yes").to_numpy(), rows["p_yes"].to_numpy()
    logit = np.log(p / (1 - p))[:, None]
    line = LogisticRegression(C=np.inf).fit(logit, gold)
    entry = lasso.content.answered["t"]
    assert entry.recalibration["parameters"]["slope"] == pytest.approx(line.coef_[0].tolist(), abs=1e-3)
    assert entry.recalibration["split"] == OUT_OF_FOLD and entry.recalibration["n"] == 90
    scores = line.predict_proba(logit)[:, 1]
    assert entry.threshold is not None and entry.threshold["n"] == 90
    best = max(balanced_accuracy_score(gold, scores >= t) for t in np.unique(scores))
    assert entry.threshold["achieved"]["balanced_accuracy"] == pytest.approx(best)
    assert balanced_accuracy_score(gold, scores >= entry.threshold["value"]) == pytest.approx(best)


def test_the_pack_says_whose_figures_it_has(folder: Path, lasso: Pack) -> None:
    entry = lasso.content.answered["t"]
    assert lasso.content.run == "lasso-seed42-refit" and entry.cross_validation is not None
    assert entry.cross_validation == "3-fold cross-validation, repeated twice"
    metrics = read_json(folder / "after" / "metrics.json")["tasks"]["t"]["systems"]
    assert entry.metrics == next(system["metrics"] for system in metrics if system["name"] == "lasso")
    assert entry.seen["a"].typical == pytest.approx(pd.read_csv(folder / "study" / "data.csv")["a"].median(), abs=0.1)
    card = (pack_of(folder, "lasso") / "README.md").read_text(encoding="utf-8")
    assert "These figures are not of this very model" in card and "split: cross-validation" in card
    assert "chosen on 90 out-of-fold items" in card and "test records that training never saw" not in card
    shown = model_out(ServedModel("lasso", lasso, "t"))
    assert shown.cross_validation == entry.cross_validation and shown.n == 90


def test_the_report_says_so_too(folder: Path) -> None:
    page = (folder / "after" / "report.html").read_text(encoding="utf-8")
    assert "Refitted on all records" in page and "models/lasso-seed42-refit/pack" in page
    assert "No figure of this report is of these very models" in page
    assert "no figure here is of that very model" in page and "To serve the model" not in page
    assert "Refitted on all records" not in (folder / "before" / "report.html").read_text(encoding="utf-8")


def test_the_pack_answers_and_is_validated_elsewhere(folder: Path, lasso: Pack, tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    new = pd.DataFrame(rng.standard_normal((60, 3)), columns=["a", "b", "c"])
    new = new.assign(id=[f"n{k}" for k in range(60)], label=(new["a"] > 0.4).astype(int))
    new.to_csv(tmp_path / "new.csv", index=False)
    words = ["predict", str(pack_of(folder, "lasso")), "--input", str(tmp_path / "new.csv"), "--self-test"]
    told = CliRunner().invoke(app, [*words, "--output", str(tmp_path / "answers.csv")])
    assert told.exit_code == 0, told.output
    answers = pd.read_csv(tmp_path / "answers.csv")
    threshold = lasso.content.answered["t"].threshold or {}
    assert (answers["decision"] == np.where(answers["p_yes"] >= threshold["value"], "yes", "no")).all()
    results = evaluate_pack(pack_of(folder, "lasso"), tmp_path / "new.csv", tmp_path / "out")
    found = results["tasks"]["t"]["sections"].get("external")
    assert found is not None and found["cross_validation"] == "3-fold cross-validation, repeated twice"
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "On the records of the study (90) and on these (60)" in page and "out of fold" in page


def test_a_refit_that_is_lost_is_done_again_and_a_failed_one_spoils_no_figure(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "study", tmp_path / "study")
    shutil.copytree(folder / "after", tmp_path / "run")
    there = RunFolder(tmp_path / "run")
    before = read_json(there.metrics)["tasks"]["t"]["systems"]
    refit = there.run("lasso-seed42-refit")
    shutil.rmtree(refit.model(1))
    output = quiet()
    again = run(tmp_path / "study" / "study.yaml", out=tmp_path / "run", console=output)
    said = output.file.getvalue()  # type: ignore[attr-defined]
    assert again.ok and said.count("training ...") == 1 and "lasso-seed42-refit: training ..." in said
    assert sorted(again.packs) == ["forest-seed42-refit", "lasso-seed42-refit"]
    write_json(refit.record, refit.read_record() | {"status": "failed", "reason": "no memory"})
    study = load_study(there.study)
    results = evaluate_run(there, study, "")
    assert [system["metrics"] for system in results["tasks"]["t"]["systems"]] == [one["metrics"] for one in before]
    findings = {f["system"]: f["title"] for f in results["tasks"]["t"]["findings"] if f["code"] == "model-failed"}
    assert list(findings) == ["lasso-seed42-refit"]
    assert "not finished, so that it has no pack" in there.report.read_text(encoding="utf-8")
    assert list(write_run_packs(there, study, results)) == ["forest-seed42-refit"]


def test_a_refit_without_all_its_folds_has_no_pack(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "after", tmp_path / "run")
    there = RunFolder(tmp_path / "run")
    shutil.rmtree(there.run("lasso-seed42-repeat1-fold2").path)
    study, said = load_study(there.study), list[str]()
    packs = write_run_packs(there, study, evaluate_run(there, study, ""), said.append)
    assert list(packs) == ["forest-seed42-refit"]
    assert said == [
        "lasso-seed42-refit: no pack, since not all folds of its model are done, and it would have no figures"
    ]


def test_a_cross_validation_without_refits_says_how_to_have_one(folder: Path) -> None:
    said: list[str] = []
    there = RunFolder(folder / "before")
    assert not write_run_packs(there, load_study(there.study), read_json(there.metrics), said.append)
    assert "write `refit: true` at the chosen model" in said[0]
    assert "write `refit: true` at the chosen model" in there.report.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("models", "split", "said"),
    [
        ([{**MODELS[1], "refit": True}], {}, "`refit` goes with `folds`"),
        (
            [{"name": "p", "family": "causal", "base": "clinfit/tiny", "method": "prompt", "shots": 2, "refit": True}],
            {"folds": 3},
            "p holds training records as they are, so that it has no pack",
        ),
    ],
)
def test_where_nothing_could_be_refitted(
    tmp_path: Path, models: list[dict[str, Any]], split: dict[str, Any], said: str
) -> None:
    with pytest.raises(ClinfitError) as error:
        load_study(write(tmp_path, split=split, models=models))
    assert said in "\n".join(error.value.lines())


def test_a_quick_run_refits_nothing(folder: Path) -> None:
    quick = quickened(load_study(folder / "study" / "study.yaml"))
    assert not any(spec.refit for spec in quick.models)


@pytest.mark.slow
def test_processes_refit_the_same_model(tmp_path: Path) -> None:
    models = [{**MODELS[1], "refit": True}]
    study = write(tmp_path / "study", models=models, split={"folds": 2})
    here, _ = executed(study, None, out=tmp_path / "here")
    there, said = executed(study, 1, out=tmp_path / "there")
    assert here.ok and there.ok and "lasso-seed42-refit: training ..." in said
    packs = [load_pack(result.packs["lasso-seed42-refit"]) for result in (here, there)]
    records = packs[0].records("t", tmp_path / "study" / "data.csv")
    one, other = (pack.answer("t", records) for pack in packs)
    assert [answer.probabilities for answer in one] == [answer.probabilities for answer in other]


@pytest.mark.slow
def test_a_language_model_is_refitted(tmp_path: Path) -> None:
    """Its best checkpoint is chosen on the validation share; answers before training are asked in folds alone."""
    data = {
        "path": "data.csv",
        "id": "id",
        "inputs": {"text": "text"},
        "label": {"column": "label", "map": {0: "no", 1: "yes"}},
        "split": {"folds": 2},
    }
    tasks = {"cancer": {"labels": ["no", "yes"], "data": data}}
    study = write_study(tmp_path / "study", tasks=tasks, models=[causal("tiny", refit=True)])
    found: Result = run(study, out=tmp_path / "run", console=Console(file=io.StringIO(), width=200))
    assert found.ok and list(found.packs) == ["tiny-seed42-refit"]
    record = RunFolder(found.folder).run("tiny-seed42-refit").read_record()
    assert list(record["steps"]) == ["stages/1/model"]
    log = (found.folder / "models" / "tiny-seed42-refit" / "stages" / "1" / "log.jsonl").read_text().splitlines()
    assert any("validation_loss" in json.loads(line) for line in log)
    pack = load_pack(found.packs["tiny-seed42-refit"])
    answers = pack.answer("cancer", pack.records("cancer", tmp_path / "study" / "data.csv"))
    assert len(answers) == 60 and pack.content.answered["cancer"].cross_validation == "2-fold cross-validation"


@pytest.mark.slow
def test_questions_with_options_are_cross_validated_and_refitted(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    right = rng.integers(0, 3, 30)
    table = pd.DataFrame({"id": [f"q{k}" for k in range(30)], "text": [f"case {k % 7}" for k in range(30)]})
    for k, name in enumerate(("first", "second", "third")):
        table[name] = np.where(right == k, "tumour", f"fracture {k}")
    (tmp_path / "study").mkdir()
    table.assign(answer=[list("ABC")[k] for k in right]).to_csv(tmp_path / "study" / "data.csv", index=False)
    options = ["first", "second", "third"]
    task = {
        "kind": "multiple-choice",
        "options": options,
        "data": {
            "path": "data.csv",
            "id": "id",
            "inputs": {name: name for name in ["text", *options]},
            "label": "answer",
            "split": {"folds": 2},
        },
    }
    train = {"epochs": 0.2, "max_length": 200, "precision": "fp32", "batch_size": 4}
    models = [MODELS[0], causal("small", refit=True, compare_base=False, train=train)]
    study = write_study(tmp_path / "study", tasks={"exam": task}, models=models, evaluation={"bootstrap": 100})
    found = run(study, out=tmp_path / "run", console=quiet())
    assert found.ok and found.results is not None and list(found.packs) == ["small-seed42-refit"]
    systems = {system["name"]: system for system in found.results["tasks"]["exam"]["systems"]}
    assert all(system["n"] == 30 and len(system["sections"].get("folds", [])) == 2 for system in systems.values())
    assert systems["small"]["sections"].get("refit") == {"threshold": None, "recalibration": None}
    table = pd.read_parquet(RunFolder(found.folder).decisions("exam"))
    assert len(table) == 2 * 30 and (table["decision"] == table["predicted"]).all()
    pack = load_pack(found.packs["small-seed42-refit"])
    assert pack.content.answered["exam"].cross_validation == "2-fold cross-validation"
    assert len(pack.answer("exam", pack.records("exam", tmp_path / "study" / "data.csv"))) == 30
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "the most probable option" in page and "Refitted on all records" in page
