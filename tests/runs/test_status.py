"""What a run tells while it goes on: on a terminal, in a log, and to `clinfit status` in another terminal."""

import io
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from rich.console import Console

from clinfit.files import read_json, write_json
from clinfit.runs.control import status
from clinfit.runs.control.status import Monitor, set_state, status_lines, telling
from clinfit.runs.folder import RunFolder
from clinfit.runs.inputs import prepare
from clinfit.runs.steps.place import Place
from clinfit.runs.steps.plan import Step
from clinfit.runs.steps.record import open_record
from clinfit.runs.steps.worker import Worker
from clinfit.study.load import load_study
from small_study import write_study

DEAD = 2**22 + 1  # above the largest process id


def a_step(run: str = "tiny-seed42", stage: int = 1) -> Step:
    return Step(f"{run}/stages/{stage}/model", "fit", run, stage, None, None, "", (), "classical")


def monitor(folder: Path, **options: Any) -> tuple[Monitor, io.StringIO]:
    text = io.StringIO()
    return Monitor(RunFolder(folder), Console(file=text, width=100, **options)), text


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A folder whose driver works on two runs, and waits with a third."""
    monitor(tmp_path)[0].update(models={"tiny-seed42": "running", "bert-seed42": "running", "last-seed42": "waiting"})
    return RunFolder(tmp_path)


def working(folder: RunFolder, run: str, pid: int, **values: Any) -> None:
    """A run's own status.json."""
    known = {"state": "running", "pid": pid, "stage": 2, "step": "training, stage 2", "done": None, "total": None}
    write_json(folder.run(run).status, known | {"text": None, "updated": "now"} | values)


def ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()


def test_every_run_tells_its_stage_its_step_and_how_far_it_is(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "resident_bytes", lambda pid: {os.getpid(): 8.1e8}[pid])
    far = {"done": 12, "total": 40, "text": "loss 0.41", "seconds": 30.0, "began": ago(31)}
    working(folder, "tiny-seed42", os.getpid(), **far)
    working(folder, "bert-seed42", DEAD)
    set_state(folder.run("last-seed42").status, "waiting")
    set_state(folder.run("older-seed42").status, "done")  # of a run that this driver has nothing to do with
    first, _, *runs = status_lines(folder)
    assert first.endswith(": running") and runs == [
        "  tiny-seed42: running, stage 2: training, stage 2 12/40 loss 0.41, 31 s so far, about 70 s left, "
        "0.81 GB of memory",
        "  bert-seed42: killed, stage 2: training, stage 2",
        "  last-seed42: waiting",
        "  older-seed42: done",
    ]


def test_a_driver_that_is_gone_was_killed(folder: RunFolder) -> None:
    write_json(folder.status, read_json(folder.status) | {"pid": DEAD})
    assert status_lines(folder)[0] == f"{folder.path}: killed (run the study again to continue)"


def test_time_goes_on_while_nothing_is_written(folder: RunFolder) -> None:
    write_json(folder.status, read_json(folder.status) | {"started": ago(300), "elapsed_seconds": 0.0})
    assert " 300 s of work" in status_lines(folder)[1]
    write_json(folder.status, read_json(folder.status) | {"pid": DEAD, "elapsed_seconds": 12.0})
    assert " 12 s of work" in status_lines(folder)[1], "what is gone does not work on"


def recorded(folder: RunFolder, run: str, **values: Any) -> None:
    known = {"format": "clinfit-run/2", "study": "s", "model": run, "seed": 42, "family": "causal", "spec": {}}
    known |= {"steps": {}, "stages": {}, "status": "running", "reason": None}
    write_json(folder.run(run).record, known | values)


def test_a_run_tells_what_it_took_and_one_that_failed_why(folder: RunFolder) -> None:
    monitor(folder.path)[0].update(models={"tiny-seed42": "done", "bert-seed42": "failed", "last-seed42": "failed"})
    for run, state in (("tiny-seed42", "done"), ("bert-seed42", "failed"), ("last-seed42", "failed")):
        set_state(folder.run(run).status, state)
    stages = {"1": {"seconds": 20.4}, "2": {"seconds": 9.7}}
    recorded(folder, "tiny-seed42", status="done", stages=stages, peak_memory_mb=880.0)
    recorded(folder, "bert-seed42", status="failed", reason="KeyError at models/encoder.py:12", peak_memory_mb=900.0)
    recorded(folder, "last-seed42", status="failed", reason="out of memory")
    error = folder.run("bert-seed42").path / "error.log"
    error.write_text("".join(f"line {k}\n" for k in range(9)))
    shown = ["  bert-seed42: failed: KeyError at models/encoder.py:12", f"    {error}:"]
    done = "  tiny-seed42: done, 30 s of training, at most 0.88 GB of memory"
    last = "  last-seed42: failed: out of memory"
    assert status_lines(folder)[2:] == [done, *shown, *(f"      line {k}" for k in range(4, 9)), last]
    assert status_lines(folder, 1)[2:] == [done, *shown, "      line 8", last]
    assert status_lines(folder, 0)[2:] == [done, shown[0], last]


def test_the_log_of_a_detached_run_is_shown_where_asked_and_where_it_was_killed(folder: RunFolder) -> None:
    log = folder.path.with_name(f"{folder.path.name}.log")
    log.write_text("tiny-seed42: training ...\ntiny-seed42: training: 2/40 loss 0.8\n")
    said = [f"    {log}:", "      tiny-seed42: training: 2/40 loss 0.8"]
    assert str(log) not in " ".join(status_lines(folder)) and status_lines(folder, 1)[-2:] == said
    write_json(folder.status, read_json(folder.status) | {"pid": DEAD})
    assert status_lines(folder)[-3:] == [said[0], "      tiny-seed42: training ...", said[1]]


def test_an_interrupted_run_keeps_what_it_did_last(folder: RunFolder) -> None:
    working(folder, "tiny-seed42", DEAD, done=3, total=40)
    set_state(folder.run("tiny-seed42").status, "interrupted")
    assert "  tiny-seed42: interrupted, stage 2: training, stage 2 3/40" in status_lines(folder)


def test_a_run_that_stopped_before_its_report_says_how_it_gets_one(folder: RunFolder) -> None:
    assert not any("report" in line for line in status_lines(folder)), "it may still be written"
    again = "  report: not written; running the study again goes on and writes it"
    write_json(folder.status, read_json(folder.status) | {"state": "interrupted"})
    assert status_lines(folder)[-1] == again
    write_json(folder.status, read_json(folder.status) | {"models": {"tiny-seed42": "done", "bert-seed42": "waiting"}})
    assert status_lines(folder)[-1] == f"{again}, or of what is done: clinfit evaluate {folder.path}"
    folder.report.write_text("")
    assert not any("report" in line for line in status_lines(folder))


@pytest.mark.parametrize(("shots", "said"), [(0, "opening the base ..."), (2, "drawing examples ...")])
def test_a_model_without_examples_draws_none(tmp_path: Path, shots: int, said: str) -> None:
    model = {"name": "asked", "family": "causal", "base": "clinfit/tiny", "method": "prompt", "shots": shots}
    prepared = prepare(load_study(write_study(tmp_path, models=[model])), tmp_path / "run", None, False)
    prepared.folder.path.mkdir()
    told, text = monitor(prepared.folder.path)
    (run,) = prepared.runs
    open_record(prepared.folder, prepared.study, run, prepared.steps_of(run), told.say)
    step = next(step for step in prepared.steps if step.action == "fit")
    assert Worker(Place(prepared.study, prepared.data, prepared.folder, {}), told).attempt(step) is None
    assert f"asked-seed42: {said}" in text.getvalue()


def test_a_log_gets_a_line_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teller, text = monitor(tmp_path)
    path, step = tmp_path / "own.json", a_step()
    with telling(teller, path, step, "training") as advance:
        advance(1, 40, "loss 0.9")
        assert read_json(path)["done"] is None, "once a second is enough"
        monkeypatch.setattr(status, "LINE_EVERY", 0.0)
        monkeypatch.setattr(status, "STATUS_EVERY", 0.0)
        advance(2, 40, "loss 0.8")
    assert text.getvalue().splitlines() == ["tiny-seed42: training ...", "tiny-seed42: training: 2/40 loss 0.8"]
    assert (read_json(path)["stage"], read_json(path)["done"], read_json(path)["total"]) == (1, 2, 40)


def test_bars_of_several_steps_share_a_terminal_and_leave_it(tmp_path: Path) -> None:
    teller, text = monitor(tmp_path, force_terminal=True)
    one, two = a_step("one-seed1"), a_step("two-seed1")
    with (
        pytest.raises(KeyboardInterrupt),
        telling(teller, tmp_path / "1.json", one, "training"),
        telling(teller, tmp_path / "2.json", two, "training") as advance,
    ):
        advance(1, 2, "[not markup]")
        teller.say("a line between")
        raise KeyboardInterrupt
    teller.end(two.id)  # as when its worker was killed: nothing is left to take away
    assert teller._progress is None and "a line between" in text.getvalue()


def test_a_count_is_shown_with_its_total_or_not_at_all(tmp_path: Path) -> None:
    teller, text = monitor(tmp_path, force_terminal=True)
    with telling(teller, tmp_path / "own.json", a_step(), "answering test") as advance:
        assert teller._progress is not None
        teller._progress.refresh()
        assert "answering test" in text.getvalue() and "/?" not in text.getvalue()
        advance(40, 114, "")
        teller._progress.refresh()
    assert "40/114" in text.getvalue()


def test_answers_are_counted_while_they_are_given(tmp_path: Path) -> None:
    class Heard(Monitor):
        counts: ClassVar[list[tuple[int, int]]] = []

        def advance(self, step: str, done: int, total: int, text: str) -> None:
            self.counts.append((done, total))

    model = {"name": "tiny", "family": "causal", "base": "clinfit/tiny", "train": {"max_steps": 1}}
    prepared = prepare(load_study(write_study(tmp_path, models=[model])), tmp_path / "run", None, False)
    prepared.folder.path.mkdir()
    heard = Heard(prepared.folder, Console(file=io.StringIO()))
    place = Place(prepared.study, prepared.data, prepared.folder, {})
    (run,) = prepared.runs
    open_record(prepared.folder, prepared.study, run, prepared.steps_of(run), heard.say)
    assert Worker(place, heard).attempt(prepared.steps[0]) is None
    assert heard.counts == [(done, 12) for done in range(13)]
