"""What was decided on the test records lies beside the report, and gives its figures again."""

from pathlib import Path

import pandas as pd
import pytest
from sklearn.metrics import accuracy_score

from clinfit.packs.read import load_pack
from clinfit.predictions import read_predictions
from clinfit.runs.execute import Result, run
from clinfit.runs.external.answers import evaluate_files
from small_study import records, write_study

MODELS = [
    {"name": "keyword", "family": "baseline", "kind": "keyword", "patterns": ["tumour"]},
    {"name": "lasso", "family": "classical", "kind": "lasso"},
    {"name": "tfidf", "family": "classical", "kind": "tfidf-logistic", "c_grid": [1.0]},
]


@pytest.fixture(scope="module", params=["none", "temperature"])
def done(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Result:
    folder = tmp_path_factory.mktemp("decisions")
    records(200).to_csv(folder / "data.csv", index=False)
    evaluation = {"bootstrap": 100, "threshold": {"rule": "sensitivity", "value": 0.99}, "calibration": request.param}
    return run(write_study(folder, models=MODELS, evaluation=evaluation), out=folder / "run")


def decisions(done: Result) -> pd.DataFrame:
    return pd.read_parquet(done.folder / "decisions" / "cancer.parquet")


def test_decisions_score_as_the_report_says(done: Result) -> None:
    assert done.results is not None
    table = decisions(done)
    for system in done.results["tasks"]["cancer"]["systems"]:
        own = table[table["model"] == system["model"]]
        if len(own):
            value = system["metrics"]["accuracy"]["value"]
            assert accuracy_score(own["gold"], own["decision"]) == pytest.approx(value)
            threshold = system["sections"]["threshold"]["value"]
            assert own["threshold"].isna().all() if threshold is None else (own["threshold"] == threshold).all()
    assert set(table["model"]) == {"keyword", "lasso", "tfidf"}
    lasso = table[table["model"] == "lasso"]
    assert (lasso["predicted"] != lasso["decision"]).any(), "or the test shows nothing"


def test_predicted_means_the_most_probable_label_in_every_file(done: Result) -> None:
    said = read_predictions(done.folder / "models/tfidf-seed42/predictions/cancer-test-stage1.parquet")
    own = decisions(done).query("model == 'tfidf'").set_index("id").loc[said["id"]]
    assert list(own["predicted"]) == list(said["predicted"])
    answers = load_pack(done.packs["tfidf-seed42"]).predict(done.folder.parent / "data.csv").set_index("id")
    answers = answers.loc[said["id"]]
    for column in ("predicted", "decision", "threshold"):
        assert list(answers[column]) == list(own[column])


def test_evaluate_reads_the_decision(done: Result, tmp_path: Path) -> None:
    assert done.results is not None
    again = evaluate_files(
        [done.folder / "decisions" / "cancer.parquet"],
        tmp_path / "again",
        labels=["no", "yes"],
        positive="yes",
        kind="classification",
        name="again",
        study=None,
        task=None,
        command="",
    )
    (task,) = again["tasks"].values()
    found = {system["model"]: system["metrics"]["accuracy"]["value"] for system in task["systems"]}
    for system in done.results["tasks"]["cancer"]["systems"]:
        if system["model"] in {"keyword", "lasso", "tfidf"}:
            assert found[system["model"]] == pytest.approx(system["metrics"]["accuracy"]["value"])
