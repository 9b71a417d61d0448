"""The steps of a study in this process and in others: the same files, and what becomes of a worker that is killed."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from rich.console import Console
from typer.testing import CliRunner

import clinfit
import forked
from clinfit.cli import app
from clinfit.errors import ClinfitError
from clinfit.files import DiskError, hash_files
from clinfit.locks import locked
from clinfit.machine import is_alive
from clinfit.predictions import read_predictions
from clinfit.runs.cluster.choose import executor_named
from clinfit.runs.control.status import status_lines
from clinfit.runs.folder import RunFolder, answers_in
from clinfit.runs.steps import demands as demanded
from clinfit.runs.steps import executors
from clinfit.runs.steps.executors import Inline, Processes
from clinfit.runs.steps.place import Place
from clinfit.runs.steps.plan import Step
from clinfit.study.load import load_study, study_yaml
from executed import KEYWORD, MAJORITY, RULES, answers, causal, models, run

StudyMaker = Callable[..., Path]

pytestmark = pytest.mark.usefixtures("no_report")

# ---------------------------------------------------------------- the same everywhere


@pytest.mark.slow
def test_processes_leave_what_this_process_leaves(make_study: StudyMaker) -> None:
    study = make_study(models=[MAJORITY, causal("small"), causal("other", lora={"rank": 3})])
    here, _ = run(study, None, out="apart/here")
    there, said = run(study, 2, out="apart/there")
    assert here.ok and there.ok
    assert models(here.folder) == models(there.folder) and len(models(here.folder)) > 4
    assert repr(answers(here.folder)) == repr(answers(there.folder))
    for name in ("small-seed42", "other-seed42"):
        assert f"{name}: training ..." in said and f"{name}: done" in said
    records = [RunFolder(folder).run("small-seed42").read_record() for folder in (here.folder, there.folder)]
    for left, right in zip(*(record["steps"].items() for record in records), strict=True):
        assert left[0] == right[0] and left[1]["inputs"] == right[1]["inputs"] and left[1]["of"] == right[1]["of"]
    assert records[0].keys() == records[1].keys() and records[0]["environment"] == records[1]["environment"]


def test_a_worker_imports_no_torch_without_a_base_and_what_it_did_is_not_done_again_here(
    make_study: StudyMaker, spoil: Callable[[str], None], tmp_path: Path
) -> None:
    """What a library prints meanwhile is no message, and a limit of memory that it keeps to is none."""
    spoil(
        f"import sys; open({str(tmp_path / 'seen')!r}, 'w').write(str('torch' in sys.modules)); hoard = b'x' * 10**8; "
        "print('hello', flush=True); os.write(1, b'{\"event\": \"done\"}\\n'); time.sleep(0.5)"
    )
    study = make_study(**RULES)
    first, _ = run(study, memory=0.8)
    assert first.ok and (tmp_path / "seen").read_text() == "False"
    before = hash_files(first.folder)
    second, said = run(study, None)
    changed = {name for name, digest in hash_files(second.folder).items() if before.get(name) != digest}
    locks = {f"{run}/.lock" for run in ("models/majority-seed42", "models/keyword-seed42", "models/always-seed42")}
    assert "keyword-seed42: already done" in said and changed <= {"status.json", "test_log.json"} | locks


# ---------------------------------------------------------------- at the same time

GB = 10**9


def begun(
    monkeypatch: pytest.MonkeyPatch,
    demands: dict[str, int],
    free: int,
    at_once: int,
    held: int = 0,
    observer: MagicMock | None = None,
) -> list[list[str]]:
    """Which workers are at work together, after each beginning, when each ends before the next look."""
    steps = [Step(f"{key}/fit", "fit", key, 1, None, None, "", (), key) for key in demands]
    monkeypatch.setattr(demanded, "memory_demands", lambda place, steps: demands)
    monkeypatch.setattr(demanded, "available_memory_bytes", lambda: free)
    at_work: list[list[str]] = []

    class Made:
        def __init__(self, place: Place, left: deque[Step]) -> None:
            self.key, self.memory, self.left, self.ended = left[0].worker, held, deque[Step](), True
            working.append(self)
            at_work.append([one.key for one in working])

        def receive(self) -> list[dict[str, Any]]:
            working.remove(self)
            return []

    working: list[Made] = []
    monkeypatch.setattr(executors, "_Process", Made)
    monkeypatch.setattr(executors, "speaking", lambda processes, seconds: [processes[0]])
    monkeypatch.setattr(executors, "_bury", lambda *words: None)
    monkeypatch.setattr(executors, "_stop", lambda *words: None)
    Processes(at_once).run(steps, MagicMock(), observer or MagicMock())
    return at_work


def test_as_many_work_as_there_is_memory_for(monkeypatch: pytest.MonkeyPatch) -> None:
    demands = {"a": 6 * GB, "b": 5 * GB, "c": 3 * GB, "classical": 0}
    assert begun(monkeypatch, demands, 10 * GB, 3) == [
        ["a"], ["a", "c"], ["a", "c", "classical"], ["c", "classical", "b"]
    ], "b waits for a to end, and those that fit do not wait for b"  # fmt: skip
    assert begun(monkeypatch, demands, 100 * GB, 3)[2] == ["a", "b", "c"], "no more than --workers says"


def test_one_alone_always_may_work(monkeypatch: pytest.MonkeyPatch) -> None:
    assert begun(monkeypatch, {"a": 6 * GB, "b": 5 * GB}, 1 * GB, 2) == [["a"], ["b"]]


def test_what_a_worker_holds_already_is_not_counted_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Free memory is what is left beside the 4 GB that it holds of its 6; one that holds more than it asked for counts
    with that."""
    assert begun(monkeypatch, {"a": 6 * GB, "b": 5 * GB}, 7 * GB, 2, held=4 * GB)[-1] == ["a", "b"]
    assert begun(monkeypatch, {"a": 6 * GB, "b": 5 * GB}, 6 * GB, 2, held=4 * GB)[-1] == ["b"]
    assert begun(monkeypatch, {"a": 6 * GB, "b": 5 * GB}, 4 * GB, 2, held=9 * GB)[-1] == ["b"]


def test_one_that_waits_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    observer, demands = MagicMock(), {"a": 6 * GB, "b": 10**15, "c": 3 * GB, "classical": 0}
    assert begun(monkeypatch, demands, 10 * GB, 4, observer=observer)[-2:] == [["a", "c", "classical"], ["b"]]
    observer.say.assert_called_once_with("b waits until there is memory for it beside what is at work")


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
    assert line == f"  keyword-seed42: failed: {record['reason']}"
    again, _ = run(study, None, out="apart/killed")
    assert again.ok and repr(answers(again.folder)) == repr(answers(whole.folder))


def test_a_worker_that_ends_by_itself_is_told_by_its_code(
    make_study: StudyMaker, spoil: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil("os._exit(3)")
    begun: list[str] = []

    class Counted(executors._Process):
        def __init__(self, place: Place, steps: deque[Step]) -> None:
            begun.append(steps[0].worker)
            super().__init__(place, steps)

    monkeypatch.setattr(executors, "_Process", Counted)
    result, _ = run(make_study(models=[KEYWORD]))
    assert result.failed["keyword-seed42"].reason == "its worker process ended with code 3"
    assert len(begun) == 1, "none for steps that can no longer be done"


def test_a_worker_that_holds_too_much_memory_is_ended_alone(
    make_study: StudyMaker, spoil: Callable[[str], None]
) -> None:
    study = make_study(models=[MAJORITY, KEYWORD])
    spoil("hoard = b'x' * 10**9; time.sleep(600)")
    result, said = run(study, memory=0.8)
    (name, failure), *others = result.failed.items()
    assert name == "keyword-seed42" and not others and len(answers(result.folder)) == 2
    assert "GB of memory, and --memory allows 0.8 GB: lower train.batch_tokens" in failure.reason and failure.fixable
    assert RunFolder(result.folder).run(name).read_record()["reason"] == failure.reason
    assert said.count("FAILED") == 1


def test_a_limit_of_memory_is_for_worker_processes() -> None:
    for name in ("inline", "ray"):
        with pytest.raises(ClinfitError, match=f"--executor {name} starts none") as error:
            executor_named(name, None, memory=2)
        assert error.value.fix == "--executor processes --memory 2"
    assert isinstance(executor_named("processes", 2, memory=2), Processes)


def test_workers_that_nobody_would_start_are_refused() -> None:
    with pytest.raises(ClinfitError, match="inline is this process alone") as error:
        executor_named("inline", 2)
    assert error.value.fix == "--executor processes --workers 2"
    assert isinstance(executor_named("inline", 1), Inline)
    with pytest.raises(ClinfitError, match="names no cluster"):
        executor_named("ray://", None)


def test_a_failure_in_a_worker_is_told_without_its_message(
    make_study: StudyMaker, spoil: Callable[[str], None], canary: str, capfd: pytest.CaptureFixture[str]
) -> None:
    spoil(f"raise ValueError({canary[:5]!r} + {canary[5:]!r})")
    result, said = run(make_study(**RULES))
    log = (result.folder / "models/keyword-seed42/error.log").read_text()
    assert any("spoiled" in line for line in status_lines(RunFolder(result.folder)))
    assert result.failed["keyword-seed42"].reason.startswith("ValueError at ") and "spoiled" in log
    out, err = capfd.readouterr()
    assert canary not in log + said + out + err + "".join(status_lines(RunFolder(result.folder)))
    assert run(make_study(**RULES), None)[0].ok and not (result.folder / "models/keyword-seed42/error.log").exists()


def test_a_full_disk_in_a_worker_stops_the_whole_run(make_study: StudyMaker, spoil: Callable[[str], None]) -> None:
    study = make_study(**RULES)
    spoil("raise OSError(28, 'No space left on device')")
    with pytest.raises(DiskError, match="disk is full"):
        run(study)
    assert run(study, None)[0].ok


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
    assert process.wait(300) == 0


def test_a_worker_whose_driver_is_gone_ends(make_study: StudyMaker) -> None:
    result, _ = run(make_study(**RULES), None)
    process, (said,) = worker(order(result.folder, make_study(**RULES), ["majority-seed42"]))
    assert said == {"event": "ready"}
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(300) == 0


# ---------------------------------------------------------------- stopped

WAIT = "open(os.environ['CLINFIT_TEST_PID'], 'w').write(str(os.getpid())); time.sleep(600)"


def start(study: Path, pid: Path) -> tuple[subprocess.Popen[str], int]:
    """A run in its own process, whose worker waits in a fit; and the worker's id."""
    program = [sys.executable, "-m", "clinfit", "run", str(study), "--out", "apart/stopped", "--executor", "processes"]
    environment = os.environ | {"CLINFIT_TEST_PID": str(pid)}
    environment["PYTHONPATH"] += os.pathsep + str(Path(clinfit.__file__).parents[1])
    process = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    until = time.monotonic() + 600
    while not (pid.exists() and pid.read_text()):
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.05)
    return process, int(pid.read_text())


def gone(pid: int) -> bool:
    """Whether a process ends within a while."""
    until = time.monotonic() + 60
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
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 130 and gone(pid)
    assert "To continue: clinfit run" in output and "Traceback" not in output
    assert output.lower().count("stopped") == output.count("Stopped.\n") + output.count("apart/stopped") == 2
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
    assert run(study, None, out="apart/stopped")[0].ok


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


def dry(study: Path, **options: Any) -> tuple[list[list[str]], list[list[str]], str]:
    """The rows of both tables of `clinfit run --dry-run`, as lists of cells, and all that is printed."""
    from clinfit.runs.steps.dry_run import print_plan

    console = Console(file=io.StringIO(), width=300)
    chosen = {"out": None, "models": None, "fresh": False} | options
    print_plan(load_study(study), chosen["out"], chosen["models"], chosen["fresh"], console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if "│" in line]
    return [row for row in rows if len(row) == 7], [row for row in rows if len(row) == 5], text


def test_a_dry_run_shows_what_is_left_and_writes_nothing(make_study: StudyMaker) -> None:
    study = make_study(models=[MAJORITY, KEYWORD])
    rows, workers, _ = dry(study)
    assert [row[0] for row in rows] == ["majority-seed42"] * 3 + ["keyword-seed42"] * 3
    assert [row[1] for row in rows][:3] == [
        "fit stage 1", "answer cancer validation after stage 1", "answer cancer test after stage 1"
    ]  # fmt: skip
    assert {tuple(row[2:]) for row in rows} == {("classical", "-", "-", "to do", "not begun")}
    assert workers == [["classical", "6", "0", "-", "-"]]
    assert not Path("runs").exists()

    result, _ = run(study, None, models=["majority"])
    before = hash_files(result.folder)
    rows, workers, _ = dry(study)
    assert [row[5] for row in rows] == ["done"] * 3 + ["to do"] * 3 and workers[0][1] == "3"
    (result.folder / "models/majority-seed42/predictions/cancer-test-stage1.parquet").write_bytes(b"")
    rows, *_ = dry(study)
    assert [row[5:] for row in rows][:3] == [["done", ""]] * 2 + [["to do", "its file is missing or was changed"]]
    assert before.keys() == hash_files(result.folder).keys()


def test_a_dry_run_says_what_the_steps_take(make_study: StudyMaker) -> None:
    rows, workers, text = dry(make_study(models=[MAJORITY, causal("small")], seeds=[1, 2]))
    takes = {(row[0], row[1]): row[3:6] for row in rows}
    fits = [takes[f"small-seed{seed}", "fit stage 1"] for seed in (1, 2)]
    assert fits[0] == fits[1] and fits[0][0].endswith(" s") and fits[0][1].endswith(" GB")
    assert takes["small-seed2", "answer cancer test before training"] == ["", "", "shared"]
    key = next(row[2] for row in rows if row[0] == "small-seed1")
    assert [row[:3] for row in workers] == [["classical", "3", "0"], [key, "8", "8"], ["all", "11", "8"]]
    assert workers[0][3:] == ["-", "-"] and workers[1][3:] == workers[2][3:] and "-" not in workers[1]
    said = " ".join(text.split())
    assert said.count("not verified") == 1 and "of small: estimated, not verified" in said


def test_a_dry_run_of_a_base_that_was_measured_claims_no_doubt(make_study: StudyMaker) -> None:
    _, _, text = dry(make_study(models=[causal("tiny", base="clinfit/tiny")]))
    said = " ".join(text.split())
    assert "time with this machine to itself" in said and "not verified" not in said


def test_a_dry_run_names_what_is_shared(make_study: StudyMaker) -> None:
    study = make_study(models=[MAJORITY, causal("small"), causal("other", lora={"rank": 3})])
    states = {(row[0], row[1]): (row[5], row[6]) for row in dry(study)[0]}
    assert states["small-seed42", "answer cancer test before training"] == ("to do", "not begun")
    assert states["other-seed42", "answer cancer test before training"] == ("shared", "the same as small-seed42")
    run(make_study(models=[MAJORITY]), None)
    rows, *_ = dry(make_study(models=[MAJORITY, KEYWORD]))
    assert [row[5] for row in rows] == ["shared"] * 3 + ["to do"] * 3
    assert all("majority-seed42" in row[6] for row in rows[:3])


def test_only_what_failed_is_shown_and_started_in_the_background_where_something_did(
    make_study: StudyMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(make_study(**RULES))
    started: list[object] = []
    monkeypatch.setattr("clinfit.cli.detached", lambda *given: started.append(given))
    for words in (["--dry-run"], ["--detach"]):
        with pytest.raises(ClinfitError, match=r"--retry-failed: no run in .* has failed"):
            CliRunner().invoke(app, ["run", path, "--retry-failed", *words], catch_exceptions=False)
    assert not started


def test_a_dry_run_on_the_command_line(make_study: StudyMaker) -> None:
    done = forked.run(["-m", "clinfit", "run", make_study(**RULES), "--dry-run"])
    assert done.returncode == 0 and "9 steps, 9 to do" in done.stdout and not Path("runs").exists(), done.stderr
