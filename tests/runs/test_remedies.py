"""One model by several ways of going through two stages: what they share, what they retain, what becomes of it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import clinfit
from clinfit.data.records import Record
from clinfit.files import read_json
from clinfit.runs.finish import of_all_folds
from clinfit.runs.folder import RunFolder
from clinfit.runs.steps.executors import Processes
from runs_of_stages import answers, causal, run, staged, weights

__all__ = ["staged"]

FIRST, SECOND = {"train": {"cancer": 1}}, {"train": {"age": 1}}
WAYS: Mapping[str, list[dict[str, Any]]] = {
    "naive": [FIRST, SECOND],
    "rehearsal": [FIRST, {**SECOND, "retain": {"rehearsal": 0.25}}],
    "l2": [FIRST, {**SECOND, "retain": {"l2": 10.0}}],
    "kl": [FIRST, {**SECOND, "retain": {"kl": 1.0}}],
    "apart": [FIRST, {**SECOND, "adapter": "new"}],
    "stacked": [FIRST, {**SECOND, "adapter": "stack"}],
    "merged": [FIRST, {**SECOND, "start": "base"}, {"merge": {"stages": [1, 2]}}],
    "joint": [{"train": {"cancer": 1, "age": 1}}],
}


def ways(*names: str) -> list[dict[str, Any]]:
    return [causal(name, stages=WAYS[name]) for name in names or WAYS]


@pytest.mark.usefixtures("no_report")
def test_ways_that_begin_alike_share_what_is_alike(staged: Callable[..., Path]) -> None:
    result, said = run(staged(models=ways(), stages=[]))
    assert result.ok, result.failed
    found = answers(result.folder)
    for name in WAYS.keys() - {"naive", "joint"}:
        assert f"{name}-seed42: stage 1 is that of" in said
        assert f"{name}-seed42: training, stage 1" not in said
        one, other = (found[f"{way}-seed42/predictions/cancer-test-stage1.parquet"] for way in (name, "naive"))
        assert one == other and weights(result.folder, f"{name}-seed42")["1/model/adapter/adapter_model.safetensors"]
    second = {name: found[f"{name}-seed42/predictions/age-test-stage2.parquet"] for name in WAYS if name != "joint"}
    assert len({str(values) for values in second.values()}) == len(second) - 1, "apart and merged train alike from base"
    assert second["apart"] == second["merged"]
    kept = found["apart-seed42/predictions/cancer-test-stage2.parquet"]
    assert kept == found["apart-seed42/predictions/cancer-test-stage1.parquet"]
    assert "merged-seed42: merging, stage 3" in said
    again, said = run(staged(models=ways(), stages=[]))
    assert again.ok and "training" not in said and "answering" not in said


@pytest.mark.usefixtures("no_report")
def test_alone_a_way_gives_what_it_gives_beside_others(staged: Callable[..., Path]) -> None:
    alone = run(staged(models=ways("rehearsal"), stages=[]), out="apart/alone")[0].folder
    beside = run(staged(models=ways("naive", "rehearsal"), stages=[]), out="apart/beside")[0].folder
    own = {name: values for name, values in answers(beside).items() if name.startswith("rehearsal")}
    assert own == answers(alone)


@pytest.mark.usefixtures("no_report")
def test_a_share_of_earlier_records_is_rehearsed(staged: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from clinfit.models.causal import CausalModel

    seen: list[list[Record]] = []
    fit = CausalModel.fit

    def watch(self: Any, lesson: Any, workspace: Any) -> Any:
        seen.append(list(lesson.train))
        return fit(self, lesson, workspace)

    monkeypatch.setattr(CausalModel, "fit", watch)
    result, _ = run(staged(models=ways("rehearsal"), stages=[]))
    first, second = seen
    earlier = [record for record in second if record.task == "cancer"]
    assert {record.task for record in first} == {"cancer"} and len(earlier) == round(0.25 * len(first))
    assert {record.target for record in earlier} == {record.target for record in first}
    summary = RunFolder(result.folder).run("rehearsal-seed42").read_record()["stages"]["2"]
    assert summary["details"]["tasks"]["cancer"]["records"] == len(earlier)


def test_packs_answer_every_task_by_its_own_adapter(staged: Callable[..., Path]) -> None:
    result, _ = run(staged(models=ways("naive", "apart", "merged"), stages=[]))
    for name in ("apart", "merged"):
        pack = clinfit.load_pack(result.packs[f"{name}-seed42"])
        assert set(pack.tasks) == {"cancer", "age"}
        stage = 3 if name == "merged" else 2
        for task in pack.tasks:
            table = RunFolder(result.folder).run(f"{name}-seed42").predictions(task, "test", stage)
            assert table.exists()
    record = read_json(result.folder / "models/merged-seed42/run.json")
    assert record["steps"]["stages/3/model"]["of"] is not None
    assert np.isfinite(record["stages"]["3"]["seconds"])


@pytest.mark.slow
@pytest.mark.usefixtures("no_report")
def test_processes_give_the_same(staged: Callable[..., Path]) -> None:
    study = staged(models=ways(), stages=[])
    inline = run(study, out="apart/inline")[0].folder
    processes = run(study, out="apart/processes", executor=Processes())[0].folder
    assert answers(inline) == answers(processes)
    for name in WAYS:
        assert weights(inline, f"{name}-seed42") == weights(processes, f"{name}-seed42")


@pytest.mark.usefixtures("no_report")
def test_equal_models_share_what_they_were_asked_as_well(staged: Callable[..., Path]) -> None:
    words = {"family": "classical", "kind": "tfidf-logistic", "c_grid": [1.0]}
    both = [{"name": name, **words} for name in ("one", "two")]
    result, _ = run(staged(models=both, stages=[{"train": {"cancer": 1, "age": 1}}]))
    assert result.ok, result.failed
    asked = [sorted((result.folder / f"models/{name}-seed42/importance").rglob("*")) for name in ("one", "two")]
    assert [path.name for path in asked[0]] == [path.name for path in asked[1]] and asked[0]
    record = RunFolder(result.folder).run("two-seed42").read_record()
    assert all(step["sha256"] for step in record["steps"].values())


@pytest.mark.parametrize("folds", [1, 2])
def test_evaluation_is_told_the_tokens_of_every_stage_that_trained(folds: int, tmp_path: Path) -> None:
    """Of a cross-validation those of all folds, as of the time; a merge trains on none."""
    made = {"seconds": 2.0, "parameters": 9, "trainable_parameters": 1, "alarms": []}
    stages = {"1": made | {"details": {"tokens": 100}}, "2": made | {"details": {"merge": {}}}}
    record = {"model": "m", "seed": 1, "family": "causal", "status": "done", "reason": "", "stages": stages}
    found = [
        record | ({"fold": {"fold": fold, "repeat": 1, "of": folds}} if folds > 1 else {})
        for fold in range(1, folds + 1)
    ]
    (facts,) = of_all_folds([(RunFolder(tmp_path).run("m-seed1"), each) for each in found]).values()
    assert facts.get("stage_tokens") == {"1": 100 * folds}
    assert facts.get("stage_seconds") == {"1": 2.0 * folds, "2": 2.0 * folds}
