"""What a run does with files of its folder that are damaged, half-written, out of date or not its own.

The models here are rules, so that no library of models is loaded.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import clinfit
from clinfit.errors import ClinfitError
from clinfit.files import hash_files, read_json, write_json
from clinfit.models.base import Model
from clinfit.runs import execute, inputs
from clinfit.runs.compare import compare_runs
from clinfit.runs.execute import Result
from clinfit.runs.finish import environments, facts_of, training_logs
from clinfit.runs.folder import RECORD_FORMAT, RECORD_KEYS, RunFolder, answers_in, existing_run
from clinfit.runs.packs import write_run_packs
from clinfit.runs.steps import worker
from clinfit.study.load import load_study
from clinfit.study.models import ModelSpec
from clinfit.study.tasks import Task
from small_study import write_study

StudyMaker = Callable[..., Path]
MAJORITY = {"name": "majority", "family": "baseline", "kind": "majority"}
KEYWORD = {"name": "keyword", "family": "baseline", "kind": "keyword", "patterns": ["tumour"]}
RECORD = "models/majority-seed42/run.json"


SMALL: dict[str, Any] = {"models": [MAJORITY, KEYWORD], "evaluation": {"bootstrap": 100}}


def run(study: Path, **options: Any) -> Result:
    return clinfit.run(study, console=Console(quiet=True), **options)


@pytest.fixture
def small(make_study: StudyMaker) -> Path:
    return make_study(**SMALL)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A folder with the study, where it was run."""
    place = tmp_path_factory.mktemp("done")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        return place, run(write_study(place / "study", **SMALL))


@pytest.fixture
def first(done: tuple[Path, Result], small: Path, tmp_path: Path) -> Result:
    """A run of the study that is done, which a test may damage."""
    place, result = done
    shutil.copytree(place, tmp_path, symlinks=True, dirs_exist_ok=True)
    return result


@pytest.mark.usefixtures("no_report")
def test_a_refit_that_ends_with_another_model_drops_the_old_answers(
    first: Result, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = read_json(first.folder / RECORD)
    (first.folder / "models/majority-seed42/stages/1/model/rows.json").write_text("damaged")
    create = worker.create_model
    answered: list[int] = []

    def other_model(spec: ModelSpec, tasks: Mapping[str, Task], seed: int, bases: Any) -> Model:
        made = create(spec, tasks, seed, bases)
        fit = made.fit
        made.fit = lambda lesson, workspace: fit(replace(lesson, train=lesson.train[:20]), workspace)  # type: ignore
        return made

    load = worker.load_model

    def counted(family: str, folder: Path, bases: Any) -> Model:
        answered.append(1)
        return load(family, folder, bases)

    monkeypatch.setattr(worker, "create_model", other_model)
    monkeypatch.setattr(worker, "load_model", counted)
    second = run(small)
    again = read_json(second.folder / RECORD)
    assert second.ok and answered
    assert again["stages"]["1"]["model"] != record["stages"]["1"]["model"]
    assert all(answers_in(again)[name] != digest for name, digest in answers_in(record).items())


def test_a_damaged_record_fails_its_model_and_nothing_else(first: Result, small: Path) -> None:
    (first.folder / RECORD).write_text("{")
    before = hash_files(first.folder / "models/majority-seed42")
    second = run(small)
    failure = second.failed["majority-seed42"]
    assert set(second.failed) == {"majority-seed42"} and failure.fixable
    assert RECORD in failure.reason and "put a copy of it back" in failure.reason
    assert hash_files(first.folder / "models/majority-seed42") == before
    assert "keyword-seed42" in second.packs and second.report is not None
    facts = facts_of(RunFolder(first.folder), load_study(first.folder / "study.yaml"))
    assert RECORD in facts["models"]["majority-seed42"]["reason"]  # type: ignore[typeddict-item]


@pytest.mark.usefixtures("no_report")
def test_a_folder_of_another_version_is_not_called_damaged(small: Path) -> None:
    run(small, out="out", models=["majority"])
    record = Path("out", RECORD)
    write_json(record, {key: value for key, value in read_json(record).items() if key != "format"})
    for again in (
        lambda: existing_run(Path("out")),
        lambda: run(small, out="out", models=["majority"]),
    ):
        with pytest.raises(ClinfitError, match="written by another version of clinfit") as caught:
            again()
        assert "run its study again" in caught.value.lines()[-1]


@pytest.mark.usefixtures("no_report")
def test_a_run_without_predictions_is_not_compared(small: Path) -> None:
    run(small, out="out", models=["majority"])
    for table in Path("out/models/majority-seed42").glob("predictions/*"):
        table.unlink()
    record = Path("out", RECORD)
    write_json(record, read_json(record) | {"steps": {}})
    shutil.copytree("out", "twin")
    with pytest.raises(ClinfitError, match="holds no predictions"):
        compare_runs([Path("out"), Path("twin")], Path("both"))


def test_a_base_that_is_gone_stops_before_anything_is_written(
    first: Result, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = hash_files(first.folder)

    def no_base(*words: object) -> None:
        raise ClinfitError("the base is gone")

    with monkeypatch.context() as patch:
        patch.setattr(inputs, "plan", no_base)
        with pytest.raises(ClinfitError, match="base is gone"):
            run(small)
    assert hash_files(first.folder) == before


@pytest.mark.usefixtures("no_report")
def test_reuse_is_from_the_default_folder_only_and_skips_what_is_damaged(
    first: Result, make_study: StudyMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first.folder / "models/keyword-seed42/run.json").write_text("[]")
    fitted: list[str] = []
    create = worker.create_model

    def counted(spec: ModelSpec, tasks: Mapping[str, Task], seed: int, bases: Any) -> Model:
        fitted.append(spec.name)
        return create(spec, tasks, seed, bases)

    monkeypatch.setattr(worker, "create_model", counted)
    changed = make_study(models=[MAJORITY, KEYWORD], evaluation={"bootstrap": 101})
    for options, expected in (
        ({}, {"keyword"}),
        ({"out": first.folder.parent / "mine"}, {"majority", "keyword"}),
    ):
        fitted.clear()
        assert run(changed, **options).ok and set(fitted) == expected
    fitted.clear()
    assert run(make_study(models=[MAJORITY], evaluation={"bootstrap": 102}), fresh=True).ok and fitted == ["majority"]


@pytest.mark.usefixtures("no_report")
def test_a_model_whose_inputs_changed_is_kept_aside(first: Result, small: Path) -> None:
    record = read_json(first.folder / RECORD)
    weights = hash_files(first.folder / "models/majority-seed42/stages")
    for number in (1, 2):
        changed = read_json(first.folder / RECORD)
        changed["steps"]["stages/1/model"]["inputs"] = "other"
        write_json(first.folder / RECORD, changed)
        assert run(small).ok
        assert hash_files(first.folder / f"replaced/majority-seed42-{number}/stages") == weights
    (again, before) = (found["steps"]["stages/1/model"] for found in (read_json(first.folder / RECORD), record))
    assert again == before


@pytest.mark.usefixtures("no_report")
def test_answers_before_training_that_are_not_asked_for_are_dropped(first: Result, small: Path) -> None:
    folder = first.folder / "models/majority-seed42"
    record = read_json(folder / "run.json")
    name = "cancer-test-stage0.parquet"
    shutil.copy(folder / "predictions/cancer-test-stage1.parquet", folder / "predictions" / name)
    entry = record["steps"]["predictions/cancer-test-stage1.parquet"] | {"of": None}
    write_json(folder / "run.json", record | {"steps": {f"predictions/{name}": entry} | record["steps"]})
    assert run(small).ok
    assert read_json(folder / "run.json")["steps"] == record["steps"]
    assert not (folder / "predictions" / name).exists()


@pytest.mark.usefixtures("no_report")
def test_the_record_says_where_the_model_was_trained(first: Result, small: Path) -> None:
    folder = RunFolder(first.folder)
    here = read_json(folder.environment)
    assert read_json(first.folder / RECORD)["environment"] == here and environments(folder) == here
    write_json(first.folder / RECORD, read_json(first.folder / RECORD) | {"environment": here | {"python": "3.9"}})
    before = folder.environment.read_bytes()
    assert run(small).ok and folder.environment.read_bytes() == before
    assert environments(folder)["trained elsewhere"] == {"majority-seed42": {"python": "3.9"}}


def test_a_model_that_was_interrupted_is_not_called_failed(first: Result) -> None:
    write_json(first.folder / RECORD, read_json(first.folder / RECORD) | {"status": "running"})
    facts = facts_of(RunFolder(first.folder), load_study(first.folder / "study.yaml"))
    assert facts["models"]["majority-seed42"]["status"] == "running"  # type: ignore[typeddict-item]


def test_a_log_line_cut_short_by_a_kill_is_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "models/tiny-seed42"
    (folder / "stages/1").mkdir(parents=True)
    record = dict.fromkeys(RECORD_KEYS) | {"format": RECORD_FORMAT, "status": "failed"}
    (folder / "run.json").write_text(json.dumps(record))
    (folder / "stages/1/log.jsonl").write_text('{"step": 1}\n{"ste')
    assert training_logs(RunFolder(tmp_path)) == {("tiny-seed42", 1): [{"step": 1}]}


@pytest.mark.usefixtures("no_report")
def test_a_stop_before_anything_is_written_does_not_block_the_next_run(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*words: object) -> None:
        raise KeyboardInterrupt

    for name in ("write_text", "write_inputs"):
        with monkeypatch.context() as patch:
            patch.setattr(execute, name, stop)
            with pytest.raises(KeyboardInterrupt):
                run(small)
    assert run(small).ok


def test_a_damaged_pack_is_written_again(first: Result, small: Path) -> None:
    packed = first.packs["majority-seed42"]
    model = next(path for path in sorted((packed / "model").iterdir()))
    before = hash_files(packed)
    model.write_text("damaged")
    assert run(small).ok and hash_files(packed) == before


def test_no_pack_where_the_numbers_are_withheld(first: Result, small: Path) -> None:
    study, folder = load_study(small), RunFolder(first.folder)
    results: Any = json.loads(folder.metrics.read_text())
    results["tasks"]["cancer"] |= {"withheld": True, "findings": [{"level": "error", "title": "one class only"}]}
    lines: list[str] = []
    assert write_run_packs(folder, study, results, lines.append) == {}
    assert lines == ["No packs, since the numbers are withheld: one class only"]
    assert not list(first.folder.rglob("pack.json"))


def test_a_lost_model_leaves_its_pack(first: Result, small: Path) -> None:
    study, folder = load_study(small), RunFolder(first.folder)
    results: Any = json.loads(folder.metrics.read_text())
    shutil.rmtree(first.folder / "models/majority-seed42/stages/1/model")
    assert set(write_run_packs(folder, study, results)) == {"majority-seed42", "keyword-seed42"}
    (first.packs["majority-seed42"] / "README.md").write_text("")
    lines: list[str] = []
    assert set(write_run_packs(folder, study, results, lines.append)) == {"keyword-seed42"}
    assert len(lines) == 1 and (first.packs["majority-seed42"] / "pack.json").is_file()
