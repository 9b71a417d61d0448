"""The steps of a study in this process and in others: the same files, and what becomes of a worker that is killed."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import clinfit
from clinfit.errors import ClinfitError
from clinfit.files import DiskError, hash_files
from clinfit.locks import locked
from clinfit.machine import is_alive
from clinfit.predictions import read_predictions
from clinfit.runs.control.status import status_lines
from clinfit.runs.folder import RunFolder, answers_in
from clinfit.study.load import load_study, study_yaml
from executed import KEYWORD, MAJORITY, RULES, answers, causal, models, run

StudyMaker = Callable[..., Path]

pytestmark = pytest.mark.usefixtures("no_report")

# ---------------------------------------------------------------- the same everywhere


@pytest.mark.slow
@pytest.mark.parametrize("at_once", [1, 2])
def test_processes_leave_what_this_process_leaves(make_study: StudyMaker, at_once: int) -> None:
    study = make_study(models=[MAJORITY, causal("small"), causal("other", lora={"rank": 3})])
    here, _ = run(study, None, out="apart/here")
    there, said = run(study, at_once, out="apart/there")
    assert here.ok and there.ok
    assert models(here.folder) == models(there.folder) and len(models(here.folder)) > 4
    assert repr(answers(here.folder)) == repr(answers(there.folder))
    for name in ("small-seed42", "other-seed42"):
        assert f"{name}: training ..." in said and f"{name}: done" in said
    records = [RunFolder(folder).run("small-seed42").read_record() for folder in (here.folder, there.folder)]
    for left, right in zip(*(record["steps"].items() for record in records), strict=True):
        assert left[0] == right[0] and left[1]["inputs"] == right[1]["inputs"] and left[1]["of"] == right[1]["of"]
    assert records[0].keys() == records[1].keys() and records[0]["environment"] == records[1]["environment"]


def test_a_worker_does_the_steps_of_one_base_and_imports_no_torch_without_one(
    make_study: StudyMaker, spoil: Callable[[str], None], tmp_path: Path
) -> None:
    spoil(f"import sys; open({str(tmp_path / 'seen')!r}, 'w').write(str('torch' in sys.modules))")
    result, _ = run(make_study(**RULES))
    assert result.ok and (tmp_path / "seen").read_text() == "False"


def test_what_a_process_did_is_not_done_again_here(make_study: StudyMaker) -> None:
    study = make_study(**RULES)
    first, _ = run(study)
    before = hash_files(first.folder)
    second, said = run(study, None)
    changed = {name for name, digest in hash_files(second.folder).items() if before.get(name) != digest}
    locks = {f"{run}/.lock" for run in ("models/majority-seed42", "models/keyword-seed42", "models/always-seed42")}
    assert "keyword-seed42: already done" in said and changed <= {"status.json", "test_log.json"} | locks


# ---------------------------------------------------------------- killed


def test_a_worker_that_is_killed_fails_only_the_step_that_it_held(
    make_study: StudyMaker, spoil: Callable[[str], None]
) -> None:
    study = make_study(**RULES)
    whole, _ = run(study, None, out="apart/whole")
    spoil("os.kill(os.getpid(), signal.SIGKILL)")
    result, said = run(study, out="apart/killed")
    assert set(result.failed) == {"keyword-seed42"}
    assert len(answers(result.folder)) == 4, "two tables of each of the others"
    assert "SIGKILL" in result.failed["keyword-seed42"].reason and not result.failed["keyword-seed42"].fixable
    record = RunFolder(result.folder).run("keyword-seed42").read_record()
    assert record["status"] == "failed" and "SIGKILL" in record["reason"] and not answers_in(record)
    assert said.count("FAILED") == 1 and "keyword-seed42: FAILED: its worker process was killed by SIGKILL" in said
    (line,) = (line for line in status_lines(RunFolder(result.folder)) if "keyword" in line)
    assert line == "  keyword-seed42: failed"
    spoil("")
    again, _ = run(study, out="apart/killed")
    assert again.ok and repr(answers(again.folder)) == repr(answers(whole.folder))


def test_a_worker_that_ends_by_itself_is_told_by_its_code(make_study: StudyMaker, spoil: Callable[[str], None]) -> None:
    spoil("os._exit(3)")
    result, _ = run(make_study(**RULES))
    assert result.failed["keyword-seed42"].reason == "its worker process ended with code 3"


def test_a_failure_in_a_worker_is_told_without_its_message(
    make_study: StudyMaker, spoil: Callable[[str], None], canary: str, capfd: pytest.CaptureFixture[str]
) -> None:
    spoil(f"raise ValueError({canary[:5]!r} + {canary[5:]!r})")
    result, said = run(make_study(**RULES))
    log = (result.folder / "models/keyword-seed42/error.log").read_text()
    assert result.failed["keyword-seed42"].reason.startswith("ValueError at ") and "spoiled" in log
    out, err = capfd.readouterr()
    assert canary not in log + said + out + err


def test_a_full_disk_in_a_worker_stops_the_whole_run(make_study: StudyMaker, spoil: Callable[[str], None]) -> None:
    study = make_study(**RULES)
    spoil("raise OSError(28, 'No space left on device')")
    with pytest.raises(DiskError, match="disk is full"):
        run(study)
    spoil("")
    assert run(study)[0].ok


def test_what_a_library_prints_is_no_message(make_study: StudyMaker, spoil: Callable[[str], None]) -> None:
    spoil("print('hello', flush=True); os.write(1, b'{\"event\": \"done\"}\\n')")
    assert run(make_study(**RULES))[0].ok


def worker(order: dict[str, Any]) -> tuple[subprocess.Popen[bytes], list[dict[str, Any]]]:
    """A worker that was given its first order, and what it says to it."""
    environment = os.environ | {"PYTHONPATH": str(Path(clinfit.__file__).parents[1])}
    program = [sys.executable, "-m", "clinfit.runs.steps.worker"]
    process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(json.dumps(order).encode() + b"\n")
    process.stdin.flush()
    return process, [json.loads(process.stdout.readline())]


def order(folder: Path, study: Path, runs: list[str]) -> dict[str, Any]:
    """What a worker is told first."""
    return {
        "folder": str(folder.resolve()),
        "study_folder": str(study.parent),
        "siblings": None,
        "egress": False,
        "runs": runs,
    }


def test_a_worker_refuses_other_data(make_study: StudyMaker) -> None:
    study = make_study(**RULES)
    result, _ = run(study, None)
    data = study.with_name("data.csv")
    data.write_text(data.read_text().replace("Case 3:", "Case three:"))
    process, (said,) = worker(order(result.folder, study, ["majority-seed42"]))
    assert said["event"] == "unable" and "are not those of the run" in said["failure"]["reason"]
    assert process.wait(60) == 0


def test_a_worker_whose_driver_is_gone_ends(make_study: StudyMaker) -> None:
    result, _ = run(make_study(**RULES), None)
    process, (said,) = worker(order(result.folder, make_study(**RULES), ["majority-seed42"]))
    assert said == {"event": "ready"}
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(60) == 0


# ---------------------------------------------------------------- stopped

WAIT = "open(os.environ['CLINFIT_TEST_PID'], 'w').write(str(os.getpid())); time.sleep(120)"


def start(study: Path, pid: Path) -> tuple[subprocess.Popen[str], int]:
    """A run in its own process, whose worker waits in a fit; and the worker's id."""
    program = [sys.executable, "-m", "clinfit", "run", str(study), "--out", "apart/stopped", "--executor", "processes"]
    environment = os.environ | {"CLINFIT_TEST_PID": str(pid)}
    environment["PYTHONPATH"] += os.pathsep + str(Path(clinfit.__file__).parents[1])
    process = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    until = time.monotonic() + 120
    while not (pid.exists() and pid.read_text()):
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.05)
    return process, int(pid.read_text())


def gone(pid: int) -> bool:
    """Whether a process ends within ten seconds."""
    until = time.monotonic() + 10
    while is_alive(pid) and time.monotonic() < until:
        time.sleep(0.05)
    return not is_alive(pid)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_a_run_stops_its_workers(
    make_study: StudyMaker, spoil: Callable[[str], None], tmp_path: Path, number: signal.Signals
) -> None:
    spoil(WAIT)
    process, pid = start(make_study(**RULES), tmp_path / "pid")
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and gone(pid)
    assert "To continue: clinfit run" in output and "Traceback" not in output
    assert not list(Path("apart").rglob("*.tmp-*"))
    assert "  keyword-seed42: interrupted, stage 1: training" in status_lines(RunFolder(Path("apart/stopped")))


def test_a_worker_does_not_outlive_a_driver_that_was_killed(
    make_study: StudyMaker, spoil: Callable[[str], None], tmp_path: Path
) -> None:
    spoil(WAIT)
    study = make_study(**RULES)
    process, pid = start(study, tmp_path / "pid")
    process.kill()
    process.communicate()
    assert gone(pid)
    lines = status_lines(RunFolder(Path("apart/stopped")))
    assert "killed" in lines[0] and "  keyword-seed42: killed, stage 1: training" in lines
    spoil("")
    assert run(study, out="apart/stopped")[0].ok


# ---------------------------------------------------------------- shared


def test_a_base_answers_once_for_all_models_that_are_made_from_it(make_study: StudyMaker) -> None:
    study = make_study(models=[causal("small"), causal("other", lora={"rank": 3})], seeds=[1, 2])
    result, said = run(study, None)
    assert result.ok and said.count("answering test before training") == 1
    tables = [
        read_predictions(path) for path in sorted(result.folder.glob("models/*/predictions/cancer-test-stage0.parquet"))
    ]
    assert [(table["model"][0], table["seed"][0]) for table in tables] == [
        ("other", 1), ("other", 2), ("small", 1), ("small", 2)
    ]  # fmt: skip
    own = ["run", "model", "seed"]
    assert all(table.drop(columns=own).equals(tables[0].drop(columns=own)) for table in tables)


def test_answers_before_training_survive_a_failed_fit(make_study: StudyMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    from clinfit.models.causal import CausalModel

    def fail(*words: object) -> None:
        raise ClinfitError("no")

    monkeypatch.setattr(CausalModel, "fit", fail)
    result, said = run(make_study(models=[MAJORITY, causal("small")]), None)
    assert set(result.failed) == {"small-seed42"} and said.count("small-seed42: FAILED: no") == 1
    record = RunFolder(result.folder).run("small-seed42").read_record()
    assert set(answers_in(record)) == {f"cancer-{split}-stage0.parquet" for split in ("validation", "test")}
    assert "training ..." in said and "small-seed42: answering test ..." not in said


def test_a_run_that_another_process_holds_fails_alone(make_study: StudyMaker) -> None:
    study = make_study(**RULES)
    with locked(Path("apart/held/models/keyword-seed42")):
        Path("apart/held/study.yaml").write_text(study_yaml(load_study(study)))
        result, _ = run(study, None, out="apart/held")
    failure = result.failed["keyword-seed42"]
    assert set(result.failed) == {"keyword-seed42"} and failure.fixable
    assert f"is being written by another process (pid {os.getpid()})" in failure.reason
    assert run(study, None, out="apart/held")[0].ok


# ---------------------------------------------------------------- before anything is done


def dry(study: Path, **options: Any) -> list[list[str]]:
    """The rows of `clinfit run --dry-run`, as lists of cells."""
    from clinfit.runs.steps.dry_run import print_plan

    console = Console(file=io.StringIO(), width=300)
    chosen = {"out": None, "models": None, "fresh": False} | options
    print_plan(load_study(study), chosen["out"], chosen["models"], chosen["fresh"], console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if "│" in line]


def test_a_dry_run_shows_what_is_left_and_writes_nothing(make_study: StudyMaker) -> None:
    study = make_study(models=[MAJORITY, KEYWORD])
    rows = dry(study)
    assert [row[0] for row in rows] == ["majority-seed42"] * 3 + ["keyword-seed42"] * 3
    assert [row[1] for row in rows][:3] == [
        "fit stage 1", "answer cancer validation after stage 1", "answer cancer test after stage 1"
    ]  # fmt: skip
    assert {(row[2], row[3], row[4]) for row in rows} == {("classical", "to do", "not begun")}
    assert not Path("runs").exists()

    result, _ = run(study, None, models=["majority"])
    before = hash_files(result.folder)
    rows = dry(study)
    assert [row[3] for row in rows] == ["done"] * 3 + ["to do"] * 3
    (result.folder / "models/majority-seed42/predictions/cancer-test-stage1.parquet").write_bytes(b"")
    rows = dry(study)
    assert [row[3:] for row in rows][:3] == [["done", ""]] * 2 + [["to do", "its file is missing or was changed"]]
    assert before.keys() == hash_files(result.folder).keys()


def test_a_dry_run_names_what_is_shared(make_study: StudyMaker) -> None:
    study = make_study(models=[MAJORITY, causal("small"), causal("other", lora={"rank": 3})])
    states = {(row[0], row[1]): (row[3], row[4]) for row in dry(study)}
    assert states["small-seed42", "answer cancer test before training"] == ("to do", "not begun")
    assert states["other-seed42", "answer cancer test before training"] == ("shared", "the same as small-seed42")
    run(make_study(models=[MAJORITY]), None)
    rows = dry(make_study(models=[MAJORITY, KEYWORD]))
    assert [row[3] for row in rows] == ["shared"] * 3 + ["to do"] * 3
    assert all("majority-seed42" in row[4] for row in rows[:3])


def test_a_dry_run_on_the_command_line(make_study: StudyMaker) -> None:
    program = [sys.executable, "-m", "clinfit", "run", str(make_study(**RULES)), "--dry-run"]
    environment = os.environ | {"PYTHONPATH": str(Path(clinfit.__file__).parents[1])}
    done = subprocess.run(program, capture_output=True, text=True, env=environment)
    assert done.returncode == 0 and "9 steps, 9 to do" in done.stdout and not Path("runs").exists(), done.stderr
