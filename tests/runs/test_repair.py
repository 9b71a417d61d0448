"""What a run does with files of its folder that are damaged, half-written, out of date or not its own.

The models here are rules, so that no library of models is loaded.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import clinfit
from clinfit.errors import ClinfitError
from clinfit.models.base import Model
from clinfit.runs import execute, model_run, pack
from clinfit.runs.execute import Result
from clinfit.runs.folder import RunFolder, hash_files, read_json, write_json
from clinfit.runs.outcome import environments, facts_of, training_logs
from clinfit.study import ModelSpec, Task, load_study

StudyMaker = Callable[..., Path]
MAJORITY = {"name": "majority", "family": "baseline", "kind": "majority"}
KEYWORD = {"name": "keyword", "family": "baseline", "kind": "keyword", "patterns": ["tumour"]}
RECORD = "models/majority-seed42/run.json"


@pytest.fixture
def small(make_study: StudyMaker) -> Path:
    return make_study(models=[MAJORITY, KEYWORD], evaluation={"bootstrap": 100})


def run(study: Path, **options: Any) -> Result:
    return clinfit.run(study, console=Console(quiet=True), **options)


def test_a_refit_that_ends_with_another_model_drops_the_old_answers(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(small)
    record = read_json(first.folder / RECORD)
    (model,) = (path for path in (first.folder / "models/majority-seed42/stages/1/model").iterdir())
    model.write_text("damaged")
    create = model_run.create_model
    answered: list[int] = []

    def other_model(spec: ModelSpec, task: Task, seed: int) -> Model:
        made = create(spec, task, seed)
        fit = made.fit
        made.fit = lambda train, validation, workspace: fit(train[:20], validation, workspace)  # type: ignore
        return made

    load = model_run.load_model

    def counted(family: str, folder: Path) -> Model:
        answered.append(1)
        return load(family, folder)

    monkeypatch.setattr(model_run, "create_model", other_model)
    monkeypatch.setattr(model_run, "load_model", counted)
    second = run(small)
    again = read_json(second.folder / RECORD)
    assert second.ok and answered
    assert again["stages"]["1"]["model"] != record["stages"]["1"]["model"]
    assert all(again["predictions"][name] != digest for name, digest in record["predictions"].items())


def test_a_damaged_record_fails_its_model_and_nothing_else(small: Path) -> None:
    first = run(small)
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


def test_a_failure_before_the_first_step_keeps_what_was_trained(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(small)
    record = read_json(first.folder / RECORD)

    def no_base(job: model_run.Job) -> str:
        raise ClinfitError("the base is gone")

    with monkeypatch.context() as patch:
        patch.setattr(model_run.Job, "inputs", no_base)
        assert set(run(small).failed) == {"majority-seed42", "keyword-seed42"}
    kept = read_json(first.folder / RECORD)
    assert kept["status"] == "failed" and kept["stages"] == record["stages"]
    assert run(small).ok and read_json(first.folder / RECORD)["predictions"] == record["predictions"]


def test_reuse_is_from_the_default_folder_only_and_skips_what_is_damaged(
    small: Path, make_study: StudyMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(small)
    (first.folder / "models/keyword-seed42/run.json").write_text("[]")
    fitted: list[str] = []
    create = model_run.create_model

    def counted(spec: ModelSpec, task: Task, seed: int) -> Model:
        fitted.append(spec.name)
        return create(spec, task, seed)

    monkeypatch.setattr(model_run, "create_model", counted)
    changed = make_study(models=[MAJORITY, KEYWORD], evaluation={"bootstrap": 101})
    for options, expected in (
        ({}, {"keyword"}),
        ({"out": first.folder.parent / "mine"}, {"majority", "keyword"}),
    ):
        fitted.clear()
        assert run(changed, **options).ok and set(fitted) == expected
    fitted.clear()
    assert run(make_study(models=[MAJORITY], evaluation={"bootstrap": 102}), fresh=True).ok and fitted == ["majority"]


def test_a_model_whose_inputs_changed_is_kept_aside(small: Path) -> None:
    first = run(small)
    record = read_json(first.folder / RECORD)
    weights = hash_files(first.folder / "models/majority-seed42/stages")
    for number in (1, 2):
        write_json(first.folder / RECORD, read_json(first.folder / RECORD) | {"inputs": "other"})
        assert run(small).ok
        assert hash_files(first.folder / f"replaced/majority-seed42-{number}/stages") == weights
    assert read_json(first.folder / RECORD)["inputs"] == record["inputs"]


def test_answers_before_training_that_are_not_asked_for_are_dropped(small: Path) -> None:
    first = run(small)
    folder = first.folder / "models/majority-seed42"
    record = read_json(folder / "run.json")
    name = "cancer-test-stage0.parquet"
    shutil.copy(folder / "predictions/cancer-test-stage1.parquet", folder / "predictions" / name)
    digest = record["predictions"]["cancer-test-stage1.parquet"]
    write_json(folder / "run.json", record | {"before": "x", "predictions": record["predictions"] | {name: digest}})
    assert run(small).ok
    assert read_json(folder / "run.json")["predictions"] == record["predictions"]
    assert not (folder / "predictions" / name).exists()


def test_the_record_says_where_the_model_was_trained(small: Path) -> None:
    first = run(small)
    folder = RunFolder(first.folder)
    here = read_json(folder.environment)
    assert read_json(first.folder / RECORD)["environment"] == here and environments(folder) == here
    write_json(first.folder / RECORD, read_json(first.folder / RECORD) | {"environment": here | {"python": "3.9"}})
    before = folder.environment.read_bytes()
    assert run(small).ok and folder.environment.read_bytes() == before
    assert environments(folder)["trained elsewhere"] == {"majority-seed42": {"python": "3.9"}}


def test_a_model_that_was_interrupted_is_not_called_failed(small: Path) -> None:
    first = run(small)
    write_json(first.folder / RECORD, read_json(first.folder / RECORD) | {"status": "running"})
    facts = facts_of(RunFolder(first.folder), load_study(first.folder / "study.yaml"))
    assert facts["models"]["majority-seed42"]["status"] == "running"  # type: ignore[typeddict-item]


def test_a_log_line_cut_short_by_a_kill_is_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "models/tiny-seed42"
    (folder / "stages/1").mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    (folder / "stages/1/log.jsonl").write_text('{"step": 1}\n{"ste')
    assert training_logs(RunFolder(tmp_path)) == {("tiny-seed42", 1): [{"step": 1}]}


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


def test_a_damaged_pack_is_written_again(small: Path) -> None:
    first = run(small)
    packed = first.packs["majority-seed42"]
    model = next(path for path in sorted((packed / "model").iterdir()))
    before = hash_files(packed)
    model.write_text("damaged")
    assert run(small).ok and hash_files(packed) == before


def test_no_pack_where_the_numbers_are_withheld(small: Path) -> None:
    first = run(small)
    study, folder = load_study(small), RunFolder(first.folder)
    results: Any = json.loads(folder.metrics.read_text())
    results["tasks"]["cancer"] |= {"withheld": True, "findings": [{"level": "error", "title": "one class only"}]}
    lines: list[str] = []
    assert pack.write_packs(folder, study, results, lines.append) == {}
    assert lines == ["No packs, since the numbers are withheld: one class only"]
    assert not list(first.folder.rglob("pack.json"))


def test_a_lost_model_leaves_its_pack(small: Path) -> None:
    first = run(small)
    study, folder = load_study(small), RunFolder(first.folder)
    results: Any = json.loads(folder.metrics.read_text())
    shutil.rmtree(first.folder / "models/majority-seed42/stages/1/model")
    assert set(pack.write_packs(folder, study, results)) == {"majority-seed42", "keyword-seed42"}
    (first.packs["majority-seed42"] / "README.md").write_text("")
    lines: list[str] = []
    assert set(pack.write_packs(folder, study, results, lines.append)) == {"keyword-seed42"}
    assert len(lines) == 1 and (first.packs["majority-seed42"] / "pack.json").is_file()
