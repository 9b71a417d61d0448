"""Subgroups, leaks and shift from the data file to the report; models are not trained again for new subgroups."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import clinfit
from clinfit.errors import ClinfitError
from clinfit.files import hash_files, read_json
from clinfit.models.base import Model
from clinfit.runs.execute import Result
from clinfit.runs.finish import evaluate_run
from clinfit.runs.folder import RunFolder
from clinfit.runs.steps import worker
from clinfit.study.load import load_study
from clinfit.study.models import ModelSpec
from clinfit.study.tasks import Task

StudyMaker = Callable[..., Path]

EVALUATION: dict[str, Any] = {"bootstrap": 100, "threshold": {"rule": "youden"}}
SUBGROUPS = [{"column": "sex", "title": "Sex"}, {"column": "age", "bins": [60]}]


@pytest.fixture
def make(make_study: StudyMaker, tmp_path: Path, canary: str) -> Callable[..., Path]:
    """A study of 600 records with sex and hospital, which no model sees, and three texts that occur twice."""
    folder = tmp_path / "study"
    folder.mkdir()
    rows = []
    for k in range(600):
        positive = k % 3 == 0
        word = "tumour" if positive != (k % 10 == 7) else "fracture"
        at = k % 3 if k >= 597 else k  # copies of the first three, with their labels
        rows.append(
            {
                "id": f"r{k}",
                "text": f"Case {at}: {word} seen, {canary} {at * 7919 % 1009}",
                "age": 40 + at % 45,
                "sex": "female" if k // 3 % 2 else "male",
                "hospital": ["north", "south", "tiny clinic"][min(k % 60 // 29, 2)],
                "label": int(positive),
            }
        )
    pd.DataFrame(rows).to_csv(folder / "data.csv", index=False)
    return make_study


def run(study: Path) -> Result:
    return clinfit.run(study)


def test_subgroups_are_saved_and_shown_and_train_nothing_again(
    make: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, canary: str
) -> None:
    plain = run(make(evaluation=EVALUATION))
    assert plain.results is not None and plain.results["tasks"]["cancer"]["sections"].get("subgroups") is None
    assert not RunFolder(plain.folder).subgroups("cancer").exists()

    def no_model(spec: ModelSpec, tasks: Mapping[str, Task], seed: int, bases: Any) -> Model:
        raise AssertionError(f"{spec.name} was created again")

    monkeypatch.setattr(worker, "create_model", no_model)
    study = make(evaluation=EVALUATION | {"subgroups": SUBGROUPS, "site": "hospital"})
    shown = run(study)
    assert shown.folder != plain.folder and shown.results is not None
    model = "models/tfidf-seed42/stages/1"
    assert hash_files(plain.folder / model) == hash_files(shown.folder / model)
    described = [read_json(RunFolder(result.folder).data("cancer")) for result in (plain, shown)]
    assert described[0] == described[1], "subgroups are no part of the data that models depend on"

    table = pd.read_parquet(shown.folder / "data/cancer-subgroups.parquet")
    assert list(table.columns) == ["id", "sex", "age", "hospital"] and len(table) == described[1]["records"]
    assert set(table["age"]) == {"below 60", "60 and above"}

    task = shown.results["tasks"]["cancer"]
    found = {result["column"]: result for result in task["sections"]["subgroups"] if result["system"] == "tfidf"}
    assert [row["group"] for row in found["age"]["rows"]] == ["below 60", "60 and above"]
    assert [row["group"] for row in found["hospital"]["rows"] if row["suppressed"]] == ["tiny clinic"]
    assert found["hospital"]["site"] and not found["sex"]["site"]
    tested = described[1]["split_ids"]["test"]
    sizes = table[table["id"].isin(tested)]["sex"].value_counts()
    assert {row["group"]: row["n"] for row in found["sex"]["rows"]} == sizes.to_dict()

    report = (shown.folder / "report.html").read_text(encoding="utf-8")
    for words in ("Subgroups and sites", "Sites: hospital", "<h4>Sex</h4>", "tiny clinic", "Training against test"):
        assert words in report, words
    assert "Subgroups and sites" not in (plain.folder / "report.html").read_text(encoding="utf-8")
    assert canary not in report

    before = hash_files(shown.folder)
    run(study)
    after = hash_files(shown.folder)
    assert {name for name in before | after if before.get(name) != after.get(name)} <= {"status.json", "test_log.json"}


def test_damaged_subgroups_are_told_and_a_run_mends_them(make: Callable[..., Path]) -> None:
    majority = [{"name": "majority", "family": "baseline", "kind": "majority"}]
    study = make(models=majority, evaluation=EVALUATION | {"subgroups": SUBGROUPS})
    result = run(study)
    path = RunFolder(result.folder).subgroups("cancer")
    path.write_bytes(b"damaged")
    with pytest.raises(ClinfitError, match="missing or damaged"):
        evaluate_run(RunFolder(result.folder), load_study(result.folder / "study.yaml"), "")
    run(study)
    assert list(pd.read_parquet(path).columns) == ["id", "sex", "age"]


def test_leaks_are_saved_by_id_and_counted_out(make: Callable[..., Path]) -> None:
    result = run(make(evaluation=EVALUATION))
    described = read_json(RunFolder(result.folder).data("cancer"))
    leaks, split_ids = described["leaks"], described["split_ids"]
    where = {item: split for split, ids in split_ids.items() for item in ids}
    pairs = [(f"r{at}", f"r{597 + at}") for at in range(3)]
    expected = {
        item for pair in pairs if len({where[item] for item in pair}) == 2 for item in pair if where[item] == "test"
    }
    assert set(leaks.get("exact", [])) == expected
    assert result.results is not None
    leakage = result.results["tasks"]["cancer"]["sections"].get("leakage")
    known = {item for ids in leaks.values() for item in ids}
    assert (leakage["items"] if leakage else 0) == len(known)
