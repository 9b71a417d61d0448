"""Two tasks learned in two stages: what follows what, and that nothing depends on how it was done."""

import random
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import clinfit
import killed
from clinfit.errors import ClinfitError
from clinfit.files import read_json
from clinfit.locks import locked
from clinfit.runs.folder import RunFolder
from clinfit.runs.steps.executors import Executor, Inline, Observer, Processes
from clinfit.runs.steps.failures import Failure
from clinfit.runs.steps.place import Place
from clinfit.runs.steps.plan import Step
from clinfit.study.load import load_study
from runs_of_stages import MAJORITY, STAGES, answers, causal, run, staged, weights

__all__ = ["staged"]


def test_every_task_is_answered_after_every_stage(staged: Callable[..., Path]) -> None:
    result, said = run(staged())
    assert result.ok and result.results is not None
    tables = {name for name in answers(result.folder) if name.startswith("small")}
    assert tables == {
        f"small-seed42/predictions/{task}-{split}-stage{stage}.parquet"
        for task in ("cancer", "age") for split in ("validation", "test") for stage in (0, 1, 2)
    }  # fmt: skip
    for line in ("training, stage 1 ...", "answering age, test after stage 2 ...", "answering cancer, test before"):
        assert f"small-seed42: {line}" in said
    for task in result.results["tasks"].values():
        assert {system["stage"] for system in task["systems"] if system["model"] == "small"} == {0, 1, 2}
        assert {system["stage"] for system in task["systems"] if system["model"] == "majority"} == {1}
    pack = clinfit.load_pack(result.packs["small-seed42"])
    assert set(pack.tasks) == {"cancer", "age"}
    record = RunFolder(result.folder).run("small-seed42").read_record()
    assert record["steps"]["stages/2/model"]["of"] == record["steps"]["stages/1/model"]["sha256"]
    assert record["steps"]["stages/1/model"]["of"] is None


@pytest.mark.usefixtures("no_report")
def test_a_second_stage_goes_on_from_the_first_unless_it_starts_from_the_base(staged: Callable[..., Path]) -> None:
    second = STAGES[1]
    found = {
        name: run(staged(models=[causal()], stages=stages), out=f"apart/{name}")[0].folder
        for name, stages in {
            "continued": STAGES, "again": [STAGES[0], {**second, "start": "base"}], "alone": [second]
        }.items()
    }  # fmt: skip
    one, two = (answers(found["continued"])[f"small-seed42/predictions/age-test-stage{n}.parquet"] for n in (1, 2))
    from_base = answers(found["again"])["small-seed42/predictions/age-test-stage2.parquet"]
    alone = answers(found["alone"])["small-seed42/predictions/age-test-stage1.parquet"]
    assert one != two and two != from_base and from_base == alone


@pytest.mark.usefixtures("no_report")
def test_a_changed_second_stage_leaves_the_first_as_it_is(staged: Callable[..., Path]) -> None:
    first, _ = run(staged(models=[causal()]))
    second, said = run(staged(models=[causal()], stages=[STAGES[0], {"train": {"age": 1, "cancer": 1}}]))
    assert first.folder != second.folder and "small-seed42: reused from" in said
    assert "training, stage 1" not in said and "training, stage 2 ..." in said
    asked = [line for line in said.splitlines() if line.startswith("small-seed42: answering")]
    assert len(asked) == 4 and all(line.endswith("after stage 2 ...") for line in asked)
    kept = {name for name, digest in weights(first.folder).items() if weights(second.folder)[name] == digest}
    assert {name for name in weights(first.folder) if name.startswith("1/")} <= kept
    third, said = run(staged(models=[causal()], stages=STAGES[:1]))
    assert third.ok and "small-seed42: training" not in said, "a shorter way is known as well"
    assert not RunFolder(third.folder).run("small-seed42").stage(2).exists()


@pytest.mark.usefixtures("no_report")
def test_a_failed_second_stage_keeps_the_first_and_its_answers(
    staged: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from clinfit.models.causal import CausalModel

    study, fit = staged(), CausalModel.fit

    def fail(self: Any, lesson: Any, workspace: Any) -> Any:
        if lesson.start is not None:
            raise ClinfitError("no second time")
        return fit(self, lesson, workspace)

    with monkeypatch.context() as patch:
        patch.setattr(CausalModel, "fit", fail)
        result, said = run(study)
    assert set(result.failed) == {"small-seed42"} and said.count("FAILED") == 1
    assert {name.rpartition("-")[2] for name in answers(result.folder) if name.startswith("small")} == {
        "stage0.parquet", "stage1.parquet"
    }  # fmt: skip
    again, said = run(study)
    assert again.ok and "training, stage 1" not in said and "training, stage 2 ..." in said


class Shuffled:
    """Does the steps in another order, each behind those that it needs."""

    def __init__(self, seed: int) -> None:
        self.order = random.Random(seed)

    elsewhere = False

    def run(self, steps: Sequence[Step], place: Place, observer: Observer) -> Mapping[str, Failure]:
        left, mixed = list(steps), []
        while left:
            done = {step.id for step in mixed}
            step = self.order.choice([step for step in left if set(step.needs) <= done])
            mixed.append(step)
            left.remove(step)
        assert mixed != list(steps)
        return Inline().run(mixed, place, observer)


@pytest.mark.slow
@pytest.mark.usefixtures("no_report")
def test_neither_order_nor_process_changes_an_answer(staged: Callable[..., Path]) -> None:
    study = staged(models=[MAJORITY, causal(), causal("other", lora={"rank": 3})])
    ways: dict[str, Executor] = {"plan": Inline(), "processes": Processes(), "shuffled": Shuffled(0)}
    found = {name: run(study, out=f"apart/{name}", executor=way)[0] for name, way in ways.items()}
    assert all(result.ok for result in found.values())
    first = found["plan"].folder
    for result in found.values():
        assert answers(result.folder) == answers(first)
        assert all(
            weights(result.folder, f"{name}-seed42") == weights(first, f"{name}-seed42") for name in ("small", "other")
        )


def wait_until_free(folder: Path) -> None:
    """Until nobody holds a run's folder, for some minutes at most."""
    end = time.monotonic() + 300
    while time.monotonic() < end:
        with suppress(ClinfitError), locked(folder):
            return
        time.sleep(0.05)
    pytest.fail(f"{folder} is still held")


@pytest.mark.slow
@pytest.mark.usefixtures("no_report")
def test_killed_in_the_second_stage_it_ends_as_if_it_never_was(staged: Callable[..., Path]) -> None:
    """In processes; test_kills.py kills runs that are one process."""
    long = {**causal()["train"], "epochs": 4, "checkpoint_every": 2, "evaluate_every": 3}
    study = staged(models=[causal(train=long, lora={"rank": 2, "dropout": 0.1})])
    whole, _ = run(study, out="whole")
    folder = Path("apart/killed")
    for goal in (3, 12):
        done = killed.run(study, folder, [killed.Kill(goal)], "--executor", "processes", stage="2")
        assert done.returncode == -signal.SIGKILL, f"it ended before it could be killed: {done.stderr}"
        status = read_json(folder / "models/small-seed42/status.json")
        assert (status["state"], status["stage"], status["step"]) == ("running", 2, "training, stage 2")
        wait_until_free(folder / "models/small-seed42")  # a worker ends when its driver is gone
    result, said = run(study, out="apart/killed")
    assert result.ok and "training, stage 1" not in said
    assert answers(result.folder) == answers(whole.folder) and weights(result.folder) == weights(whole.folder)
    assert not list(folder.rglob("*.tmp-*"))


def test_a_classifier_that_forgot_a_task_serves_the_others(staged: Callable[..., Path]) -> None:
    words = {"name": "words", "family": "classical", "kind": "tfidf-logistic", "c_grid": [1.0]}
    stages = [{"train": {"cancer": 1}}, {"train": {"age": 1}, "start": "base"}]
    result, _ = run(staged(models=[words], stages=stages))
    assert result.ok and set(answers(result.folder)) == {
        f"words-seed42/predictions/{task}-{split}-stage{stage}.parquet"
        for task, stage in (("cancer", 1), ("age", 2)) for split in ("validation", "test")
    }  # fmt: skip
    pack = clinfit.load_pack(result.packs["words-seed42"])
    assert set(pack.tasks) == {"age"} and "did not teach it" in pack.content.withheld["cancer"]


@pytest.mark.usefixtures("no_report")
def test_weights_of_tasks_reach_the_loss(staged: Callable[..., Path]) -> None:
    tables = []
    for weight in (0.5, 2.0):
        study = staged(models=[causal()], stages=[{"train": {"cancer": 1, "age": weight}}])
        tables.append(answers(run(study, out=f"apart/{weight}")[0].folder))
    name = "small-seed42/predictions/cancer-test-stage1.parquet"
    assert not np.array_equal(tables[0][name], tables[1][name])


@pytest.mark.usefixtures("no_report")
def test_the_study_in_the_folder_is_the_study(staged: Callable[..., Path]) -> None:
    study = staged()
    result, _ = run(study, models=["majority"])
    assert load_study(result.folder / "study.yaml").model_dump() == load_study(study).model_dump()
