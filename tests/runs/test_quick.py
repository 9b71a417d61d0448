"""`clinfit run --quick`: few records, marked everywhere, and apart from the whole run."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from clinfit.data.load import load_task
from clinfit.errors import ClinfitError
from clinfit.runs.execute import run
from clinfit.study.load import load_study
from clinfit.study.quick import QUICK, RECORDS, RESAMPLES, quickened
from clinfit.study.schema import study_hash
from small_study import records, write_study


@pytest.fixture(scope="module")
def study_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("quick")
    records(600).to_csv(folder / "data.csv", index=False)
    models = [
        {"name": "tfidf", "family": "classical", "kind": "tfidf-logistic", "c_grid": [1.0]},
        {"name": "tiny", "family": "causal", "base": "clinfit/tiny", "train": {"epochs": 3}},
    ]
    return write_study(folder, models=models, seeds=[1, 2], evaluation={"bootstrap": 1000})


def test_it_has_few_records_one_epoch_one_seed_and_a_name_of_its_own(study_file: Path) -> None:
    whole = load_study(study_file)
    quick = quickened(whole)
    assert (quick.name, quick.seeds, quick.evaluation.bootstrap) == ("small-quick", [1], RESAMPLES)
    assert quick.models[0] == whole.models[0] and quick.models[1].train.epochs == 1
    assert quick.quick and not whole.quick and study_hash(quick) != study_hash(whole)
    assert quickened(quick) == quick


def test_its_records_are_training_records_divided_anew(study_file: Path) -> None:
    whole, quick = load_study(study_file), quickened(load_study(study_file))
    every, few = (load_task("cancer", study.tasks["cancer"], study.folder).records for study in (whole, quick))
    train = {record.id for record in every if record.split == "train"}
    assert {record.id for record in few} < train and abs(len(few) - RECORDS) <= 2
    sizes = {split: [r.target for r in few if r.split == split] for split in ("train", "validation", "test")}
    assert [len(part) for part in sizes.values()] == [96, 32, 32]
    assert all(set(part) == {"no", "yes"} for part in sizes.values())


def test_groups_stay_whole_and_rare_labels_do_not_stop_it(tmp_path: Path) -> None:
    table = records(400)
    table["label"] = [2 if k < 12 else label for k, label in enumerate(table["label"])]
    table["patient"] = [f"p{k // 4}" for k in range(len(table))]
    table.to_csv(tmp_path / "data.csv", index=False)
    study = load_study(write_study(tmp_path))
    task = study.tasks["cancer"]
    data = task.data.model_copy(update={"group": "patient", "quick": 40, "label": "label", "path": "data.csv"})
    task = task.model_copy(update={"labels": ["0", "1", "2"], "data": data})
    few = load_task("cancer", task, study.folder).records
    places: dict[str, set[str | None]] = {}
    for record in few:
        places.setdefault(record.group, set()).add(record.split)
    assert 32 <= len(few) <= 48 and all(len(splits) == 1 for splits in places.values())


def test_every_output_says_so_and_there_are_no_packs(
    study_file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    out = io.StringIO()
    result = run(study_file, quick=True, models=["tfidf"], console=Console(file=out, width=400))
    said = out.getvalue()
    assert result.report is not None and result.results is not None
    assert QUICK in said and "warn: This is a quick run" in said and "No packs" in said and result.packs == {}
    assert not list(result.folder.glob("models/*/pack"))
    assert QUICK in result.report.read_text() and QUICK in (result.folder / "summary.md").read_text()
    assert "quick-run" in {finding["code"] for finding in result.results["tasks"]["cancer"]["findings"]}
    assert result.folder.parent == Path("runs/small-quick") and not Path("runs/small").exists()


def test_the_whole_study_does_not_run_in_its_folder(
    study_file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    console = Console(file=io.StringIO())
    run(study_file, quick=True, models=["tfidf"], out="here", console=console)
    with pytest.raises(ClinfitError, match="the study changed under an existing run"):
        run(study_file, models=["tfidf"], out="here", console=console)
