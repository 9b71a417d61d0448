"""Reading free answers again: made-up answers in a run's folder, read by each parser, beside an untouched run."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from clinfit.errors import ClinfitError
from clinfit.files import hash_file, hash_files, read_json, write_json, write_parquet
from clinfit.predictions import labels_of, read_predictions
from clinfit.runs.execute import run
from clinfit.runs.folder import RunFolder, answers_in
from clinfit.runs.rescore import Asked, score_run
from clinfit.study.load import load_study

MODELS = [
    {"name": "majority", "family": "baseline", "kind": "majority"},
    {"name": "tfidf", "family": "classical", "kind": "tfidf-logistic", "c_grid": [1.0]},
    {"name": "forest", "family": "classical", "kind": "random-forest", "trees": 5},
]
PATIENT = "Mrs Jane Doe is unwell"


def write_answers(folder: RunFolder, model: str) -> None:
    """Give a finished model free answers, as a causal one would have them: of ten, eight right, two unread."""
    found = folder.model(model, 42)
    record = found.read_record()
    for name in answers_in(record):
        path = found.path / "predictions" / name
        table = read_predictions(path)
        raw = [f"{label}." if k % 10 < 8 else PATIENT for k, label in enumerate(table["gold"])]
        raw[0] = f"{table['gold'][0]} evidence"  # only first-word reads it
        write_parquet(path, table.assign(raw=raw, output_tokens=pd.array([3] * len(table), dtype="Int64")))
        record["steps"][f"predictions/{name}"]["sha256"] = hash_file(path)
    write_json(found.record, record)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, write_small_study: Callable[..., Path]) -> Path:
    folder = tmp_path_factory.mktemp("score")
    run(write_small_study(folder / "study", models=MODELS), out=folder / "out")
    for model in ("tfidf", "forest"):
        write_answers(RunFolder(folder / "out"), model)
    return folder / "out"


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> RunFolder:
    return RunFolder(Path(shutil.copytree(written, tmp_path / "run")))


def score(folder: RunFolder, parser: str = "strict", models: list[str] | None = None) -> dict[str, Any]:
    found = score_run(folder, load_study(folder.study), parser, Asked(models), "clinfit score run")
    return {system["name"]: system for system in found.results["tasks"]["cancer"]["systems"]}


def test_answers_are_read_and_the_run_stays_as_it_was(folder: RunFolder) -> None:
    before = hash_files(folder.path)
    systems = score(folder)
    after = hash_files(folder.path)
    kept = {name: digest for name, digest in after.items() if not name.startswith("scored/")}
    assert {name for name in kept.keys() | before.keys() if kept.get(name) != before.get(name)} <= {"test_log.json"}
    new = {name.removeprefix("scored/strict/") for name in after.keys() - before.keys()}
    written = {"metrics.json", "report.html", "report_metrics.json", "summary.md"}
    assert new == written | {"predictions.parquet", "score.json"}
    n, lost = 12, 3  # 12 test records: numbers 8 and 9, and the first, which holds more than a label
    tfidf = systems["tfidf"]
    assert (tfidf["n"], tfidf["unparsed"]) == (n, lost)
    assert tfidf["metrics"]["accuracy"]["events"] == n - lost and tfidf["metrics"]["accuracy"]["n"] == n
    assert sum(map(sum, tfidf["sections"]["confusion"]["counts"])) == n


def test_nothing_pretends_to_be_a_probability(folder: RunFolder) -> None:
    systems = score(folder)
    table = pd.read_parquet(folder.path / "scored/strict/predictions.parquet")
    read = table[table["model"] == "tfidf"]
    assert (
        set(read["status"]) == {"ok", "unparsed"} and read.loc[read["status"] == "unparsed", "predicted"].isna().all()
    )
    assert np.isnan(read[["p_" + label for label in labels_of(table)]].to_numpy()).all()
    assert table["raw"].isna().all()
    assert systems["tfidf"]["metrics"]["auroc"]["status"] == "undefined"
    assert (
        systems["tfidf"]["sections"]["threshold"]["value"] is None
        and systems["tfidf"]["sections"]["threshold"]["note"] is None
    )


def test_models_that_wrote_nothing_keep_their_answers(folder: RunFolder) -> None:
    systems = score(folder)
    assert systems["majority"]["unparsed"] == 0 and systems["majority"]["metrics"]["auroc"]["value"] == 0.5
    table = pd.read_parquet(folder.path / "scored/strict/predictions.parquet")
    assert table.loc[table["model"] == "majority", "parser_reason"].isna().all()


def test_parsers_lie_side_by_side_and_say_who_they_are(folder: RunFolder) -> None:
    strict, first, json = (score(folder, parser)["tfidf"]["unparsed"] for parser in ("strict", "first-word", "json"))
    assert (strict, first, json) == (3, 2, 12)
    noted = read_json(folder.path / "scored/first-word/score.json")
    assert noted["parser"]["name"] == "first-word" and noted["parser"]["version"] == 1
    assert noted["models"] == ["forest", "tfidf"]
    assert read_json(folder.path / "scored/strict/score.json")["parser"]["name"] == "strict"


def test_only_the_named_models(folder: RunFolder) -> None:
    assert set(score(folder, models=["tfidf"])) == {"majority", "tfidf"}


def test_the_report_says_what_it_shows_and_quotes_nothing(folder: RunFolder) -> None:
    score(folder)
    page = (folder.path / "scored/strict/report.html").read_text()
    assert "These are the free answers of forest, tfidf" in page and "stands in for auroc" in page
    texts = [path.read_bytes() for path in (folder.path / "scored").rglob("*") if path.is_file()]
    assert texts and not any(PATIENT.encode() in text for text in texts)


def test_scoring_twice_gives_the_same_bytes(folder: RunFolder) -> None:
    score(folder)
    before = hash_files(folder.path / "scored")
    score(folder)
    assert hash_files(folder.path / "scored") == before


@pytest.mark.usefixtures("no_report")
def test_a_run_without_free_answers_says_what_to_set(make_study: Callable[..., Path]) -> None:
    run(make_study(models=MODELS[:1]), out="plain")
    with pytest.raises(ClinfitError, match="wrote no free answers") as error:
        score(RunFolder(Path("plain")))
    assert "generate" in error.value.fix and not Path("plain/scored").exists()


@pytest.mark.parametrize(
    ("parser", "models", "found", "fix"),
    [
        ("strikt", None, "no parser 'strikt'", "did you mean strict?"),
        ("strict", ["tfidff"], "'tfidff' wrote no free answers", "did you mean tfidf?"),
        ("strict", ["majority"], "'majority' wrote no free answers", ""),
    ],
)
def test_wrong_words(folder: RunFolder, parser: str, models: list[str] | None, found: str, fix: str) -> None:
    with pytest.raises(ClinfitError, match=found) as error:
        score(folder, parser, models)
    assert error.value.fix == fix and not (folder.path / "scored").exists()
