"""A cross-validation from study file to report: every command that works on a study folder knows of folds."""

import html
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from clinfit.data.load import load_task
from clinfit.errors import ClinfitError
from clinfit.files import read_json
from clinfit.packs.read import load_pack
from clinfit.predictions import read_predictions
from clinfit.runs.compare import compare_runs
from clinfit.runs.control.status import Monitor
from clinfit.runs.execute import Result, conclude, run
from clinfit.runs.external.answers import evaluate_files
from clinfit.runs.finish import evaluate_run, of_all_folds
from clinfit.runs.folder import RunFolder
from clinfit.runs.freeze import freeze_study
from clinfit.runs.steps.dry_run import print_plan
from clinfit.runs.steps.failures import Failure
from clinfit.runs.steps.plan import plan
from clinfit.study.load import load_study
from clinfit.study.quick import quickened
from executed import causal
from folded_study import MODELS, quiet, write
from small_study import write_study


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Result:
    folder = tmp_path_factory.mktemp("folds")
    return run(write(folder / "study"), out=folder / "run", console=quiet())


def test_a_run_is_a_model_a_seed_and_a_fold(done: Result) -> None:
    folder = RunFolder(done.folder)
    folds = [f"repeat{repeat}-fold{fold}" for repeat in (1, 2) for fold in (1, 2, 3)]
    names = [f"{model}-seed42-{fold}" for model in ("forest", "lasso", "majority") for fold in folds]
    assert [model.path.name for model in folder.models()] == names
    record = folder.run("lasso-seed42-repeat2-fold3").read_record()
    assert record["fold"] == {"repeat": 2, "fold": 3, "of": 6}
    table = read_predictions(folder.run(names[0]).predictions("t", "test", 1))
    assert set(table["repeat"]) == set(table["fold"]) == {1} and len(table) == 30
    described = read_json(folder.data("t"))
    assert described["splits"]["test"]["records"] == 90 and len(described["folds"]) == 6
    assert described["folds"][0]["train"]["records"] == 45 and described["folds"][0]["validation"]["records"] == 15


def test_scikit_learn_finds_the_same_auroc_in_the_same_folds(done: Result) -> None:
    """The forest alone has no choice to make on validation, so that it can be fitted beside."""
    study = load_study(RunFolder(done.folder).study)
    data = load_task("t", study.tasks["t"], done.folder.parent / "study")
    ids = {record.id: at for at, record in enumerate(data.records)}
    x = np.array([[np.nan if (v := r.inputs[n]) is None else v for n in "abc"] for r in data.records], dtype=float)
    y = np.array([record.target == "yes" for record in data.records])
    folds = [
        tuple(np.array([ids[r.id] for r in records if r.split == split]) for split in ("train", "test"))
        for records in data.folds.values()
    ]
    assert done.results is not None
    forest = next(s for s in done.results["tasks"]["t"]["systems"] if s["name"] == "forest")
    ours = [row["primary"] for row in forest["sections"].get("folds", [])]
    forest_alone = make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
        FunctionTransformer(csr_array),
        RandomForestClassifier(30, random_state=42),
    )
    # With weights, even of 1 each, scikit-learn draws other bootstrap samples than without.
    weights = {"randomforestclassifier__sample_weight": np.ones(len(y))}
    theirs = cross_val_score(forest_alone, x, y, cv=folds, scoring="roc_auc", params=weights)
    assert ours == pytest.approx(theirs.tolist(), abs=1e-12)
    assert forest["metrics"]["auroc"]["value"] == pytest.approx(theirs.mean(), abs=1e-12)  # folds of one size


def test_the_decisions_are_those_that_the_figures_count(done: Result) -> None:
    table = pd.read_parquet(RunFolder(done.folder).decisions("t"))
    own = table[table["model"] == "lasso"]
    assert len(own) == 180 and own.groupby("repeat")["id"].nunique().tolist() == [90, 90]
    assert done.results is not None
    lasso = next(s for s in done.results["tasks"]["t"]["systems"] if s["name"] == "lasso")
    accuracy = np.mean([(part["decision"] == part["gold"]).mean() for _, part in own.groupby("repeat")])
    assert lasso["metrics"]["accuracy"]["value"] == pytest.approx(accuracy)
    chosen = [set(part["threshold"]) for _, part in own.groupby(["repeat", "fold"])]
    assert all(len(values) == 1 for values in chosen) and len(set.union(*chosen)) > 1


def test_evaluating_the_decisions_gives_the_figures_again(done: Result, tmp_path: Path) -> None:
    path = RunFolder(done.folder).decisions("t")
    study = load_study(RunFolder(done.folder).study)
    again = evaluate_files([path], tmp_path / "again", study=study)["tasks"]["t"]
    assert not again["withheld"] and done.results is not None
    ours = {system["name"]: system["metrics"] for system in done.results["tasks"]["t"]["systems"]}
    for system in again["systems"]:
        for name, metric in system["metrics"].items():
            assert metric["value"] == pytest.approx(ours[system["name"]][name]["value"]), name
        assert system["metrics"]["accuracy"]["n"] == 90


def test_a_file_of_one_repeat_is_evaluated_by_fold(done: Result, tmp_path: Path) -> None:
    table = pd.read_parquet(RunFolder(done.folder).decisions("t"))
    own = table[(table["model"] == "forest") & (table["repeat"] == 2)].drop(columns="repeat")
    own.to_csv(tmp_path / "one.csv", index=False)
    found = evaluate_files([tmp_path / "one.csv"], tmp_path / "out", positive="yes")["tasks"]["predictions"]
    (forest,) = (system for system in found["systems"] if system["name"] == "forest")
    aurocs = [roc_auc_score(part["gold"] == "yes", part["p_yes"]) for _, part in own.groupby("fold")]
    assert forest["metrics"]["auroc"]["value"] == pytest.approx(np.mean(aurocs))
    assert found["sections"].get("cross_validation", {}).get("folds") == 3
    own.assign(fold=pd.Series(own["fold"]).where(own["id"] != "r7")).to_csv(tmp_path / "gap.csv", index=False)
    with pytest.raises(ClinfitError, match=r"column fold: 1 cells are empty \(id r7\)"):
        evaluate_files([tmp_path / "gap.csv"], tmp_path / "out")
    own.assign(model="other").drop(columns="fold").to_csv(tmp_path / "once.csv", index=False)
    with pytest.raises(ClinfitError, match=r"once\.csv does not"):
        evaluate_files([tmp_path / "one.csv", tmp_path / "once.csv"], tmp_path / "out")


def test_report_and_packs(done: Result) -> None:
    assert done.packs == {} and not list(done.folder.glob("models/*/pack"))
    assert done.report is not None
    page = done.report.read_text(encoding="utf-8")
    assert "3-fold cross-validation, repeated twice" in page and "Out of fold: 90 records" in page
    assert "On the test split" not in page and "Records of each fold" in page
    assert "To serve the model" in page
    assert "threshold each fold's own, median 0." in html.unescape(page)
    text = re.sub(r"\s+", " ", (done.folder / "summary.md").read_text(encoding="utf-8"))
    assert "90 test records" not in text and "90 records, out of fold in 3-fold cross-validation" in text
    assert "on the test split" not in page and "Time to fit, all folds" in page
    assert re.search(r"both are wrong on \d+ answers, 2 a record\.", page)
    assert page.count("those of the other folds were trained alike") == 3
    # One line, or one mark, for thresholds that differ would be wrong.
    assert "No threshold is drawn, since there is not one: each fold's own, median 0." in html.unescape(page)
    assert page.count("Decision threshold 0.") == page.count("Dashed: the decision threshold") == 1  # of majority: 0.5
    assert "the median threshold of the folds" in page


def test_going_on_after_a_fold_was_lost_ends_the_same(done: Result, tmp_path: Path) -> None:
    shutil.copytree(done.folder.parent / "study", tmp_path / "study")
    shutil.copytree(done.folder, tmp_path / "other", ignore=shutil.ignore_patterns("lasso-seed42-repeat1-fold2"))
    # Not all folds are there, so that nothing of the model is evaluated.
    alone = RunFolder(tmp_path / "alone")
    shutil.copytree(tmp_path / "other", alone.path, ignore=shutil.ignore_patterns("majority-*", "forest-*"))
    with pytest.raises(ClinfitError, match="no predictions"):
        evaluate_run(alone, load_study(alone.study), "")
    output = quiet()
    whole = run(tmp_path / "study" / "study.yaml", out=tmp_path / "other", console=output)
    assert output.file.getvalue().count("lasso-seed42-repeat1-fold2: training") == 1  # type: ignore[attr-defined]
    assert "lasso-seed42-repeat1-fold1: already done" in output.file.getvalue()  # type: ignore[attr-defined]
    assert whole.results is not None and done.results is not None
    for one, other in zip(*(r["tasks"]["t"]["systems"] for r in (whole.results, done.results)), strict=True):
        assert one["metrics"] == other["metrics"]
    # Two studies with the same folds can be compared.
    across = compare_runs([done.folder, whole.folder], tmp_path / "compared")
    assert not across["left_out"]


def test_a_reason_counts_the_folds_that_there_are(done: Result) -> None:
    """Of six folds one has failed, and the others have not begun."""
    model = RunFolder(done.folder).run("lasso-seed42-repeat1-fold1")
    facts = of_all_folds([(model, model.read_record() | {"status": "failed", "reason": "no memory"})])
    assert facts["lasso-seed42"].get("reason") == "1 of 6 folds: no memory"


def test_a_lost_fold_of_every_model_ends_with_what_failed(done: Result, tmp_path: Path) -> None:
    shutil.copytree(done.folder, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    for name in ("forest", "lasso", "majority"):
        shutil.rmtree(folder.run(f"{name}-seed42-repeat2-fold1").path)
    failed = {"lasso-seed42-repeat2-fold1": Failure("no memory", fixable=False)}
    ended = conclude(load_study(folder.study), failed, Monitor(folder, quiet()), "")
    assert (ended.results, ended.report, ended.failed) == (None, None, failed)


def test_dry_run_shows_every_fold(done: Result) -> None:
    output = quiet()
    print_plan(load_study(done.folder.parent / "study" / "study.yaml"), done.folder, None, False, output)
    shown = output.file.getvalue()  # type: ignore[attr-defined]
    assert "54 steps, 0 to do" in shown and "lasso-seed42-repeat2-fold3" in shown


def test_folds_share_no_step(done: Result) -> None:
    study = load_study(done.folder.parent / "study" / "study.yaml")
    data = {"t": load_task("t", study.tasks["t"], study.folder)}
    steps = plan(study, data, lambda name, revision: {})
    assert len({step.inputs for step in steps if step.action == "fit"}) == 18


def test_quick_divides_once(done: Result) -> None:
    quick = quickened(load_study(done.folder.parent / "study" / "study.yaml"))
    assert not quick.folds


def test_a_cross_validation_is_not_frozen(done: Result, tmp_path: Path) -> None:
    with pytest.raises(ClinfitError, match="no test split to freeze"):
        freeze_study(done.folder.parent / "study" / "study.yaml", tmp_path / "frozen")
    assert not (done.folder / "test_log.json").exists()


@pytest.mark.slow
def test_a_language_model_is_cross_validated(tmp_path: Path) -> None:
    """Two folds, seen before training and after it."""
    tasks = {
        "cancer": {
            "labels": ["no", "yes"],
            "data": {
                "path": "data.csv",
                "id": "id",
                "inputs": {"text": "text"},
                "label": {"column": "label", "map": {0: "no", 1: "yes"}},
                "split": {"folds": 2},
            },
        }
    }
    study = write_study(tmp_path / "study", tasks=tasks, models=[causal("tiny")])
    found = run(study, out=tmp_path / "run", console=quiet())
    assert found.ok and found.results is not None
    systems = {s["name"]: s["n"] for s in found.results["tasks"]["cancer"]["systems"]}
    assert systems == {"majority": 60, "tiny (before)": 60, "tiny (after)": 60}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"evaluation": {"refer": {"rule": "confidence", "value": 0.8}}}, "leave `refer` out"),
        ({"models": [{"name": "t", "family": "causal", "base": "clinfit/tiny", "importance": True}]}, "one model"),
    ],
)
def test_what_needs_one_model_is_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(ClinfitError, match=said):
        load_study(write(tmp_path, **change))


def test_unlike_folds_are_refused(tmp_path: Path) -> None:
    split = {"folds": 3}
    data = {"path": "data.csv", "inputs": {"a": "a"}, "label": "label"}
    tasks = {
        "one": {"labels": ["0", "1"], "data": {**data, "split": split}},
        "other": {"labels": ["0", "1"], "data": data},
    }
    with pytest.raises(ClinfitError) as error:
        load_study(write(tmp_path, tasks=tasks, models=MODELS[:2]))
    told = "\n".join(error.value.lines())
    assert "here no folds, and folds 3, repeats 1 in one: write split: {folds: 3, repeats: 1}" in told
    assert "all tasks of a study have the same `folds`" in told


@pytest.mark.parametrize(("key", "asked"), [("abstention", {"inputs": ["b"]}), ("contrast", 5)])
def test_what_is_asked_of_one_model_that_writes_is_refused(tmp_path: Path, key: str, asked: Any) -> None:
    data = {"path": "data.csv", "inputs": {"a": "a", "b": "b"}, "label": "label", "split": {"folds": 3}}
    tasks = {"note": {"kind": "generation", "data": data, "evaluation": {key: asked}}}
    with pytest.raises(ClinfitError, match=f"leave `{key}` out"):
        load_study(write(tmp_path, tasks=tasks, models=[{"name": "copy", "family": "baseline", "kind": "copy"}]))


def test_several_labels_from_folds_to_the_pack_of_a_refitted_model(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    x = rng.standard_normal((80, 3))
    table = pd.DataFrame(x, columns=["a", "b", "c"]).assign(id=[f"r{k}" for k in range(80)])
    labels = {"high": "a", "low": "b"}
    for label, column in labels.items():
        table[label] = (table[column] + 0.5 * rng.standard_normal(80) > 0.5).astype(int)
    (tmp_path / "study").mkdir()
    table.to_csv(tmp_path / "study/data.csv", index=False)
    task = {
        "kind": "multilabel",
        "labels": list(labels),
        "data": {
            "path": "data.csv",
            "id": "id",
            "inputs": {name: {"column": name, "type": "number"} for name in "abc"},
            "label": {"columns": {label: label for label in labels}},
            "split": {"folds": 3, "repeats": 2},
        },
        "evaluation": {"threshold": {"rule": "f1"}},
    }
    models = [MODELS[0], {**MODELS[1], "refit": True}]
    study = write_study(tmp_path / "study", tasks={"t": task}, models=models, evaluation={"bootstrap": 100})
    result = run(study, out=tmp_path / "run", console=quiet())
    assert result.ok and result.results is not None and result.report is not None
    found = result.results["tasks"]["t"]
    assert found["sections"].get("cross_validation") is not None and found["counts"]["test"]["n"] == 80
    lasso = next(system for system in found["systems"] if system["name"] == "lasso")
    assert (lasso["metrics"]["micro_f1"]["value"] or 0) > 0.6

    decided = pd.read_parquet(RunFolder(result.folder).decisions("t"))
    own = decided[decided["model"] == "lasso"]
    assert len(own) == 160
    for one in lasso["sections"].get("folds", []):
        rows = own[(own["repeat"] == one["repeat"]) & (own["fold"] == one["fold"])]
        for label in labels:
            given = rows["decision"].str.split("|").apply(lambda names, label=label: label in names)
            value = one["label_thresholds"][label]["value"]
            assert (given == (rows[f"p_{label}"] >= value)).all()

    entry = load_pack(result.packs["lasso-seed42-refit"]).content.tasks["t"]
    refit = lasso["sections"].get("refit")
    assert refit is not None and entry.threshold == refit["label_thresholds"]
    assert entry.cross_validation == "3-fold cross-validation, repeated twice"
    page = result.report.read_text()
    assert "Threshold of each label: the largest F1" in page and "lasso-seed42-refit" in page
