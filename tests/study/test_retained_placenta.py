"""The template on retained placenta: its made-up patients, and that every output says what they are."""

import importlib.util
import io
import shutil
from pathlib import Path

import pytest
from rich.console import Console

import clinfit
from clinfit.report.notices import notices
from clinfit.runs.external.pack import evaluate_pack
from clinfit.study.data import SYNTHETIC
from clinfit.study.load import load_study

ROOT = Path(__file__).parents[2]
STUDIES = ROOT / "studies"


def test_the_committed_file_is_what_its_script_makes() -> None:
    spec = importlib.util.spec_from_file_location("made", ROOT / "scripts/make_retained_placenta.py")
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    assert made.table() == (STUDIES / "retained-placenta-synthetic.csv").read_text(encoding="utf-8")


def test_every_output_says_that_the_records_are_synthetic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    study = load_study(STUDIES / "retained-placenta-template.yaml")
    task = study.tasks["removal"]
    once = task.data.split.model_copy(update={"folds": None, "repeats": 1, "validation_of_train": 0.0})
    task = task.model_copy(update={"data": task.data.model_copy(update={"split": once})})
    said = io.StringIO()
    small = study.model_copy(update={"tasks": {"removal": task}})
    result = clinfit.run(small, models=["majority", "lasso"], out="run", console=Console(file=said, width=400))
    assert result.ok and result.results is not None and result.report is not None
    found = result.results["tasks"]["removal"]
    assert found["verdict"][0] == SYNTHETIC and notices(result.results) == [SYNTHETIC]
    codes = {finding["code"] for finding in found["findings"]}
    assert {"synthetic-data", "not-better-than-majority"} <= codes, "the outcome is drawn by lot"
    head = result.report.read_text().partition("<main")[0]
    assert SYNTHETIC in head and SYNTHETIC in said.getvalue()
    assert SYNTHETIC in "\n".join((tmp_path / "run/summary.md").read_text().splitlines()[:6])
    pack = result.packs["lasso-seed42"]
    assert SYNTHETIC in (pack / "README.md").read_text()

    # Records from elsewhere are others: what is said of the study's is not said of them.
    shutil.copy(STUDIES / "retained-placenta-synthetic.csv", "new-site.csv")
    outside = evaluate_pack(pack, Path("new-site.csv"), Path("outside"))
    assert notices(outside) == [] and outside["tasks"]["removal"]["verdict"][0] != SYNTHETIC


def test_the_template_is_cross_validated() -> None:
    study = load_study(STUDIES / "retained-placenta-template.yaml")
    assert len(study.folds) == 10 and all(study.tasks_of(model) for model in study.models)
