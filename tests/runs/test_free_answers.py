"""A causal model that writes answers of its own, in a run: saved once, asked again without training, looked into."""

import io
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from rich.console import Console

import forked
from clinfit.data.records import Record
from clinfit.errors import ClinfitError
from clinfit.files import read_json
from clinfit.models.base import TextOutputs, WrittenText
from clinfit.models.causal import CausalModel
from clinfit.packs.read import load_pack
from clinfit.predictions import probabilities_of, read_predictions
from clinfit.runs.diagnose import diagnose_run, find_causal
from clinfit.runs.execute import run
from clinfit.runs.folder import RunFolder
from clinfit.runs.steps.written import WrittenTexts
from clinfit.study.load import load_study
from two_layer import llama_base

TABLES = [f"cancer-{split}-stage{stage}.parquet" for split in ("validation", "test") for stage in (0, 1)]


def causal(generate: int) -> dict[str, Any]:
    train = {"epochs": 0.1, "max_length": 200, "precision": "fp32"}
    spec = {"name": "small", "family": "causal", "base": str(llama_base()), "lora": {"rank": 2}, "train": train}
    return spec | {"generate": generate}


def run_with(study: Path, **changes: Any) -> tuple[RunFolder, str]:
    """Run the study with `changes` in its default folder; the folder and what was said."""
    content = yaml.safe_load(study.read_text()) | changes
    study.write_text(yaml.safe_dump(content, sort_keys=False))
    console = Console(file=io.StringIO(), width=200)
    result = run(study, console=console)
    assert not result.failed
    return RunFolder(result.folder.resolve()), console.file.getvalue()  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, write_small_study: Callable[..., Path]) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("free")
    write_small_study(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def wrote(place: Path) -> RunFolder:
    return run_with(place / "study.yaml", models=[causal(4)])[0]


def tables(folder: RunFolder) -> dict[str, pd.DataFrame]:
    predictions = folder.model("small", 42).path / "predictions"
    return {name: read_predictions(predictions / name) for name in TABLES}


def test_every_record_gets_a_free_answer_before_and_after(wrote: RunFolder) -> None:
    for table in tables(wrote).values():
        assert table["raw"].notna().all() and table["output_tokens"].between(0, 4).all()
        assert (table["dropped_tokens"] == 0).all()
    system = read_json(wrote.metrics)["tasks"]["cancer"]["systems"][-1]
    assert system["name"] == "small (after)" and system["sections"]["generated"]["n"] == 12
    assert "task1-language" in wrote.report.read_text()


def test_free_answers_are_in_the_predictions_alone(wrote: RunFolder) -> None:
    texts = {text.strip() for table in tables(wrote).values() for text in table["raw"] if len(text.strip()) > 5}
    assert texts
    files = [wrote.metrics, wrote.report, *wrote.path.rglob("run.json"), *wrote.path.rglob("*.jsonl")]
    assert not [text for text in texts for path in files if text in path.read_text()]


def test_another_length_asks_again_and_trains_nothing(wrote: RunFolder, place: Path) -> None:
    other, said = run_with(place / "study.yaml", models=[causal(2)])
    assert other.path != wrote.path and "small-seed42: reused from" in said and "small-seed42: training" not in said
    old, new = (folder.model("small", 42).read_record() for folder in (wrote, other))
    assert old["stages"] == new["stages"]
    same = {name for name in old["steps"] if old["steps"][name]["inputs"] == new["steps"][name]["inputs"]}
    assert same == {"stages/1/model"}
    for name, table in tables(other).items():
        before = tables(wrote)[name]
        assert (table["output_tokens"] <= 2).all()
        assert table["raw"].notna().all() and (before["raw"].str.len() >= table["raw"].str.len()).all()
        assert np.array_equal(probabilities_of(table), probabilities_of(before))
    silent, said = run_with(place / "study.yaml", models=[causal(0)])
    assert "reused from" in said and all(table["raw"].isna().all() for table in tables(silent).values())


def test_a_pack_does_not_write(wrote: RunFolder, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack = load_pack(wrote.model("small", 42).pack)
    monkeypatch.setattr(type(pack.model), "generate", lambda *_: pytest.fail("wrote an answer"))
    said: list[str] = []
    assert len(pack.predict(place / "data.csv", say=said.append)) == 60 and said == []


def test_predict_says_how_many_records_were_shortened(wrote: RunFolder) -> None:
    rows = pd.DataFrame({"text": ["short", "long " * 400, "long " * 300], "age": [50, 60, 70]})
    said: list[str] = []
    load_pack(wrote.model("small", 42).pack).predict(rows, say=said.append)
    assert said == ["2 of 3 records were longer than the model reads and were shortened"]


# ---------------------------------------------------------------- killed while it writes


class Killed(BaseException):
    """What ends a process."""


def test_a_killed_step_writes_on_where_it_was(wrote: RunFolder, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, asked = load_study(wrote.study).model_copy(update={"folder": place}), list[int]()
    original = CausalModel.generate

    def counted(model: CausalModel, task: str, records: Sequence[Record], *more: Any, **named: Any) -> TextOutputs:
        asked.append(len(records))
        return original(model, task, records, *more, **named)

    def dies(texts: WrittenTexts, record: str, text: WrittenText, add: Any = WrittenTexts.add) -> None:
        add(texts, record, text)
        if len(texts) == 5:
            raise Killed

    monkeypatch.setattr(CausalModel, "generate", counted)
    with monkeypatch.context() as patch:
        patch.setattr("clinfit.runs.steps.written.EVERY", 0.0)
        patch.setattr(WrittenTexts, "add", dies)
        with pytest.raises(Killed):
            run(study, out="killed", console=Console(quiet=True))
    folder = RunFolder(Path("killed").resolve())
    kept = sorted(folder.path.rglob("*.jsonl"))
    assert [path.parent.name.partition("-stage0.written")[0] for path in kept] == [".cancer-validation"] * 5
    assert asked == [len(tables(wrote)["cancer-validation-stage0.parquet"])]
    assert not run(study, out="killed", console=Console(quiet=True)).failed
    assert asked[1] == asked[0] - 5
    assert not list(folder.path.rglob(".*written*"))
    for name, table in tables(wrote).items():
        timed = ["seconds"]
        pd.testing.assert_frame_equal(table.drop(columns=timed), tables(folder)[name].drop(columns=timed))


def test_texts_of_another_model_are_not_taken(tmp_path: Path) -> None:
    text = WrittenText("two\nlines \u2028 \u00b5g", "stop", 3, 0.5)
    first = WrittenTexts(tmp_path / "a.parquet", "0" * 64)
    first.add("1", text)
    first.save()
    again = WrittenTexts(tmp_path / "a.parquet", "0" * 64)
    assert "1" in again and again.outputs(["1"]).texts == [text.text]
    assert len(WrittenTexts(tmp_path / "b.parquet", "1" * 64)) == 0 and list(tmp_path.iterdir())
    assert len(WrittenTexts(tmp_path / "a.parquet", "1" * 64)) == 0 and not list(tmp_path.iterdir())


# ---------------------------------------------------------------- diagnose


def lines(folder: RunFolder, **changes: Any) -> list[str]:
    asked = {"model": None, "task": None, "count": 2, "show_text": False} | changes
    return list(diagnose_run(folder, load_study(folder.study), **asked))


def test_diagnose_shows_every_way_of_asking_and_no_text(wrote: RunFolder, canary: str) -> None:
    found = lines(wrote)
    ways = [line for line in found if line.startswith("==")]
    assert ways == ["== as trained", "== answer first", "== without chat template"]
    assert sum(line.startswith("   record ") for line in found) == 6
    assert r"   user message between '<|begin|><|user|>\n' and '<|end|>\n<|assistant|>\n'" in found
    assert r"   user message between '<|begin|>' and '\n\nAnswer:\n'" in found
    assert sum("all inputs missing" in line for line in found) == 3
    assert not any(line.startswith("      text:") for line in found) and canary not in "\n".join(found)


def test_as_trained_is_what_the_run_saved(wrote: RunFolder) -> None:
    table = tables(wrote)["cancer-test-stage1.parquet"]
    found = lines(wrote, show_text=True)
    first = table.iloc[0]
    (line, *_) = (line for line in found if line.startswith(f"   record {first['id']} "))
    assert f"P(no) {first['p_no']:.3f}, P(yes) {first['p_yes']:.3f}; label mass {first['label_mass']:.3f}" in line
    assert f"      text: {first['raw']!r}" in found
    assert f"({first['gold']})" in line


def test_a_label_is_named_where_it_would_come_next(wrote: RunFolder) -> None:
    from clinfit.models.diagnosis import diagnose
    from clinfit.runs.inputs import records_of_test

    study = load_study(wrote.study)
    records = records_of_test(wrote, study, "cancer")[:3]
    for found in diagnose(CausalModel.load(wrote.model("small", 42).model(1)), "cancer", records, 3):
        assert not found.problem and len(found.leans) == 2 and len(found.replies) == 3
        for reply in found.replies:
            assert sum(reply.probabilities.values()) == pytest.approx(1) and 0 <= reply.label_mass <= 1
            assert [token.probability for token in reply.next_tokens] == sorted(
                (token.probability for token in reply.next_tokens), reverse=True
            )
            assert reply.cut_off == (reply.tokens == 3)
            best = reply.next_tokens[0]
            if best.labels and reply.probabilities[best.labels[0]] > 0.5:
                assert reply.parsed.label in {best.labels[0], None}


def test_data_that_are_elsewhere_or_changed_are_told(wrote: RunFolder, place: Path) -> None:
    data = place / "data.csv"
    kept = data.read_bytes()
    try:
        data.write_text(data.read_text().replace("Case 1:", "Case one:"))
        with pytest.raises(ClinfitError, match="are not those of the run") as error:
            lines(wrote)
        assert "Case" not in str(error.value)
        data.unlink()
        with pytest.raises(ClinfitError, match="cannot be read from"):
            lines(wrote)
    finally:
        data.write_bytes(kept)


def test_a_model_by_name(wrote: RunFolder) -> None:
    assert find_causal(wrote, "small")[0].path == find_causal(wrote, "small-seed42")[0].path
    with pytest.raises(ClinfitError, match="no causal model 'smal'") as error:
        find_causal(wrote, "smal")
    assert "small-seed42" in error.value.expected


@pytest.mark.usefixtures("no_report")
def test_a_run_without_language_models_cannot_be_diagnosed(make_study: Callable[..., Path]) -> None:
    run(make_study(models=[{"name": "majority", "family": "baseline", "kind": "majority"}]), out="plain")
    with pytest.raises(ClinfitError, match="no causal language model"):
        lines(RunFolder(Path("plain")))


# ---------------------------------------------------------------- on the command line


def clinfit_(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return forked.run(["-m", "clinfit", *words], cwd)


@pytest.mark.slow
def test_score_and_its_bad_inputs(wrote: RunFolder, place: Path) -> None:
    done = clinfit_("score", wrote.path, "--parser", "first-word", "--models", "small", cwd=place)
    assert done.returncode == 0, done.stderr
    report = Path(done.stdout.splitlines()[-1])
    assert report == wrote.path / "scored/first-word/report.html" and report.is_file()
    assert "by label probability" in done.stdout and "read by first-word" in done.stdout
    assert f"clinfit score {wrote.path} --parser first-word --models small" in report.read_text()
    for words, expected in (
        (["score", "nowhere"], "is not a run folder"),
        (["score", wrote.path, "--parser", "loose"], "no parser 'loose'"),
        (["score", wrote.path, "--models", "large"], "'large' wrote no free answers"),
    ):
        done = clinfit_(*words, cwd=place)
        assert done.returncode == 2 and expected in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_diagnose_and_its_bad_inputs(wrote: RunFolder, place: Path, canary: str) -> None:
    done = clinfit_("diagnose", wrote.path, "--records", 1, cwd=place)
    assert done.returncode == 0, done.stderr
    assert "== as trained" in done.stdout and canary not in done.stdout and "\n      text:" not in done.stdout
    done = clinfit_("diagnose", wrote.path, "--model", "large", cwd=place)
    assert done.returncode == 2 and "no causal model 'large'" in done.stderr
    assert clinfit_("diagnose", wrote.path, "--records", 0, cwd=place).returncode == 2
