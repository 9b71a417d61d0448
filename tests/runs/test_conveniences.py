"""`run --limit`, `--retry-failed` and `--detach`, `status --watch`, `stop`: of runs that other processes work on."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

import forked
from clinfit.cli import app
from clinfit.errors import ClinfitError
from clinfit.files import read_json, write_json
from clinfit.locks import holder, locked
from clinfit.runs.control.detach import log_of, start
from clinfit.runs.control.status import is_running, status_lines
from clinfit.runs.control.stop import stop_run
from clinfit.runs.execute import run
from clinfit.runs.folder import RunFolder
from clinfit.study.load import load_study
from clinfit.study.quick import limited
from clinfit.study.schema import study_hash
from small_study import write_study

MAJORITY = {"name": "majority", "family": "baseline", "kind": "majority"}
#: Holds the folder named behind it as a run does, and ends by SIGTERM.
HOLD = """
import signal, sys, time
from pathlib import Path
from clinfit.locks import locked
signal.signal(signal.SIGTERM, {handler})
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def hold(folder: Path, handler: str = "signal.SIG_DFL") -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD.format(handler=handler), str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def wait_for(happened: Callable[[], bool], seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)


# ---------------------------------------------------------------- locks, stop


def test_the_holder_of_a_lock_is_known(tmp_path: Path) -> None:
    assert holder(tmp_path) is None
    with locked(tmp_path):
        assert holder(tmp_path) == os.getpid()
    assert holder(tmp_path) is None


def test_stop_ends_the_process_that_holds_the_folder(tmp_path: Path) -> None:
    process = hold(tmp_path)
    told = stop_run(RunFolder(tmp_path))
    assert str(process.pid) in told and process.wait(120) < 0 and holder(tmp_path) is None


def test_stop_says_when_there_is_nothing_to_stop_or_it_does_not_end(tmp_path: Path) -> None:
    with pytest.raises(ClinfitError, match="no process works on"):
        stop_run(RunFolder(tmp_path))
    process = hold(tmp_path, "signal.SIG_IGN")
    try:
        with pytest.raises(ClinfitError, match="still works on"):
            stop_run(RunFolder(tmp_path), patience=0.5)
    finally:
        process.kill()
        process.wait()


def test_stop_says_that_a_run_is_on_another_host(tmp_path: Path) -> None:
    write_json(tmp_path / "status.json", {"state": "running", "host": "0badcafe", "pid": 7})
    with pytest.raises(ClinfitError, match="another host") as raised:
        stop_run(RunFolder(tmp_path))
    assert raised.value.fix == "type the same command there" and is_running(RunFolder(tmp_path))


# ---------------------------------------------------------------- limit, retry


def test_limit_is_a_part_of_the_study(tmp_path: Path) -> None:
    study = load_study(write_study(tmp_path, models=[MAJORITY]))
    few = limited(study, 30)
    assert few.tasks["cancer"].data.limit == 30 and limited(few, 50) == few
    assert study_hash(few) != study_hash(study)


def test_a_limited_run_reads_so_many_records(make_study: Callable[..., Path]) -> None:
    path = make_study(models=[MAJORITY])
    few = run(path, limit=40)
    assert few.ok and few.folder != run(path).folder
    assert read_json(RunFolder(few.folder).data("cancer"))["records"] == 40
    assert "--limit 40" in (few.folder / "summary.md").read_text(encoding="utf-8")


def test_only_what_failed_is_tried_again(make_study: Callable[..., Path]) -> None:
    other = {**MAJORITY, "name": "other"}
    path = make_study(models=[MAJORITY, other])
    done = run(path, models=["majority"])
    with pytest.raises(ClinfitError, match="has failed"):
        run(path, retry_failed=True)
    record = done.folder / "models" / "majority-seed42" / "run.json"
    write_json(record, read_json(record) | {"status": "failed", "reason": "killed"})
    again = run(path, retry_failed=True)
    assert again.ok and read_json(record)["status"] == "done"
    assert not (done.folder / "models" / "other-seed42").exists()


# ---------------------------------------------------------------- status, detach


def test_status_tells_what_a_step_still_takes_and_the_disk(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    told = {
        "state": "running",
        "pid": os.getpid(),
        "started": "2026-01-01T00:00:00+00:00",
        "elapsed_seconds": 9.0,
        "models": {"m": "running"},
    }
    write_json(folder.status, told)
    step = {"state": "running", "pid": os.getpid(), "stage": 1, "step": "training", "done": 5, "total": 20}
    write_json(folder.run("m").status, step | {"text": "loss 0.5", "seconds": 10.0})
    text = "\n".join(status_lines(folder))
    assert "training 5/20 loss 0.5, about 30 s left" in text and "MB on disk" in text


def test_watching_ends_with_the_run(make_study: Callable[..., Path]) -> None:
    folder = run(make_study(models=[MAJORITY])).folder
    shown = CliRunner().invoke(app, ["status", str(folder), "--watch"])
    assert shown.exit_code == 0 and "done" in shown.output


def test_a_folder_at_work_is_not_started_again(tmp_path: Path) -> None:
    with locked(tmp_path / "run"), pytest.raises(ClinfitError, match="another process"):
        start(tmp_path / "run", ["version"])


def test_a_detached_run_ends_in_its_folder_with_a_log(make_study: Callable[..., Path]) -> None:
    path = make_study(models=[MAJORITY])
    told = forked.run(["-m", "clinfit", "run", path, "--detach"]).stdout
    folder = RunFolder(Path("runs/small") / study_hash(load_study(path))[:8])
    assert f"clinfit stop {folder.path}" in told and str(log_of(folder.path)) in told
    wait_for(folder.report.is_file)
    wait_for(lambda: not is_running(folder))
    wait_for(lambda: "report.html" in log_of(folder.path).read_text(encoding="utf-8"))


def test_what_is_wrong_is_told_before_anything_is_started(make_study: Callable[..., Path]) -> None:
    path = make_study(models=[MAJORITY])
    Path("study/data.csv").unlink(missing_ok=True)
    done = forked.run(["-m", "clinfit", "run", path, "--detach"])
    assert done.returncode == 2 and not Path("runs").exists()
