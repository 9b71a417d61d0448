"""The steps of a study, and the records of a file, on a cluster of several nodes of this machine, by the contract that
the other executors obey. A file in processes of one machine: test_batch.py."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

import clinfit
from clinfit.cli import app
from clinfit.errors import ClinfitError
from clinfit.files import DiskError, hash_files
from clinfit.machine import is_alive
from clinfit.runs.cluster import connect, executor, station
from clinfit.runs.cluster.choose import executor_named
from clinfit.runs.cluster.demands import Demand
from clinfit.runs.cluster.executor import Ray
from clinfit.runs.cluster.parcels import pack, unpack
from clinfit.runs.control.status import status_lines
from clinfit.runs.execute import Result
from clinfit.runs.folder import RunFolder
from executed import ALWAYS, KEYWORD, MAJORITY, RULES, answers, causal, models, run
from ray_nodes import killed_once_named, needs_ray, several_nodes
from small_study import write_study
from spoiled import spoil_answers, spoil_workers

StudyMaker = Callable[..., Path]

no_report = pytest.mark.usefixtures("no_report")

TFIDF = {"name": "tfidf", "family": "classical", "kind": "tfidf-logistic", "c_grid": [1.0]}
TINY = causal("tiny", base="clinfit/tiny", train={"max_steps": 2, "max_length": 100, "precision": "fp32"})


@pytest.fixture
def spoil_nodes(site: Path) -> Iterator[Callable[[str], None]]:
    """As `spoil`, for the workers on the nodes."""
    yield partial(spoil_workers, site)
    spoil_workers(site, "")


def on_cluster(study: Path, out: str) -> Any:
    return run(study, None, out=out, executor=Ray(connect.HERE))


# ---------------------------------------------------------------- the same everywhere


@needs_ray
@no_report
@pytest.mark.slow
def test_a_cluster_leaves_what_this_process_leaves(cluster: Any, make_study: StudyMaker) -> None:
    study = make_study(models=[MAJORITY, KEYWORD, TFIDF, causal("small"), causal("other", lora={"rank": 3}), TINY])
    here, _ = run(study, None, out="apart/here")
    there, said = on_cluster(study, "apart/there")
    assert here.ok and there.ok, there.failed
    assert models(here.folder) == models(there.folder) and len(models(here.folder)) > 4
    assert repr(answers(here.folder)) == repr(answers(there.folder))
    for name in ("small-seed42", "other-seed42", "tiny-seed42"):
        assert f"{name}: training ..." in said and f"{name}: done" in said
    records = [RunFolder(folder).run("small-seed42").read_record() for folder in (here.folder, there.folder)]
    for left, right in zip(*(record["steps"].items() for record in records), strict=True):
        assert left[0] == right[0] and left[1]["inputs"] == right[1]["inputs"] and left[1]["of"] == right[1]["of"]
    assert records[0].keys() == records[1].keys()
    names = [{path.relative_to(folder) for path in folder.rglob("*")} for folder in (here.folder, there.folder)]
    assert {path.as_posix() for path in names[1] - names[0]} == set()
    before = hash_files(there.folder)
    again, said = run(study, None, out="apart/there")
    changed = {name for name, digest in hash_files(again.folder).items() if before.get(name) != digest}
    assert "tiny-seed42: already done" in said and all(".lock" in name or name == "status.json" for name in changed)


@needs_ray
@no_report
@pytest.mark.slow
def test_a_node_that_is_killed_costs_the_step_that_it_held(
    cluster: Any, make_study: StudyMaker, spoil_nodes: Callable[[str], None], tmp_path: Path
) -> None:
    study, held = make_study(models=[MAJORITY, TFIDF, KEYWORD]), tmp_path / "held"
    whole, _ = run(study, None, out="apart/whole")
    spoil_nodes(
        f"from pathlib import Path\n        held = Path({str(held)!r})\n        if not held.exists():\n"
        "            held.write_text(os.environ['RAY_RAYLET_PID'])\n            time.sleep(600)"
    )
    several_nodes(cluster)
    with killed_once_named(cluster, held):
        result, said = on_cluster(study, "apart/killed")
    assert result.ok, result.failed
    assert said.count("the node that worked on it is gone; the step begins again on another") >= 1
    assert models(whole.folder) == models(result.folder)
    assert repr(answers(whole.folder)) == repr(answers(result.folder))


@needs_ray
@no_report
@pytest.mark.slow
def test_what_fails_on_a_node_fails_alone_and_tells_no_text(
    cluster: Any, make_study: StudyMaker, spoil_nodes: Callable[[str], None], canary: str
) -> None:
    study = make_study(**RULES)
    spoil_nodes(f"raise ValueError({canary[:5]!r} + {canary[5:]!r})")
    result, said = on_cluster(study, "apart/failed")
    assert set(result.failed) == {"keyword-seed42"} and len(answers(result.folder)) == 4
    log = (result.folder / "models/keyword-seed42/error.log").read_text()
    assert result.failed["keyword-seed42"].reason.startswith("ValueError at ") and "spoiled" in log
    assert canary not in log + said
    spoil_nodes("os.kill(os.getpid(), signal.SIGKILL)")
    result, said = on_cluster(study, "apart/failed")
    assert set(result.failed) == {"keyword-seed42"} and "SIGKILL" in result.failed["keyword-seed42"].reason
    spoil_nodes("raise OSError(28, 'No space left on device')")
    with pytest.raises(DiskError, match="disk is full"):
        on_cluster(study, "apart/failed")
    spoil_nodes("")
    assert on_cluster(study, "apart/failed")[0].ok


@needs_ray
@no_report
@pytest.mark.slow
def test_a_cluster_is_reached_through_its_client_server(
    cluster: Any, make_study: StudyMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose process for this client is late, as on a busy machine; where it never comes, the run is refused, and
    this process can be connected otherwise."""
    from ray.util.client.worker import Worker

    study, begin, asked = make_study(models=[MAJORITY, ALWAYS]), Worker._server_init, []

    def late(times: int, worker: Any, *given: Any) -> Any:
        asked.append(times)
        if len(asked) <= times:
            raise ConnectionAbortedError("Initialization failure from server")
        return begin(worker, *given)

    here, _ = run(study, None, out="apart/here")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connect, "WAITS", (0.0, 0.0, 0.0))
        patch.setattr(Worker, "_server_init", lambda worker, *given: late(99, worker, *given))
        with pytest.raises(ClinfitError, match="cannot connect: ConnectionAbortedError"):
            run(study, None, out="apart/never", executor=Ray(cluster.client))
    assert len(asked) == 4
    asked.clear()
    monkeypatch.setattr(Worker, "_server_init", lambda worker, *given: late(1, worker, *given))
    there, _ = run(study, None, out="apart/client", executor=Ray(cluster.client))
    assert len(asked) >= 2
    assert there.ok and repr(answers(here.folder)) == repr(answers(there.folder))


@needs_ray
@no_report
@pytest.mark.slow
def test_other_versions_and_nodes_that_are_too_small_are_told(
    cluster: Any, make_study: StudyMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(models=[MAJORITY])
    monkeypatch.setattr(executor, "demands", lambda place, steps, nodes: {"classical": Demand(1, 0, 10**15)})
    result, _ = on_cluster(study, "apart/small")
    failure = result.failed["majority-seed42"]
    assert failure.fixable and failure.reason == (
        "no node of the cluster has 1 CPU, 1000000.0 GB of memory, which it needs"
    )
    monkeypatch.undo()
    monkeypatch.chdir(study.parents[1])
    monkeypatch.setattr(station, "versions", lambda: {"clinfit": "9.9.9", "Python": "3.11"})
    with pytest.raises(ClinfitError, match="a node of the cluster has clinfit"):
        on_cluster(study, "apart/small")


# ---------------------------------------------------------------- a file


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """A pack of a classical model, and one that stands on a base of this machine alone, which travels with it."""
    folder = tmp_path_factory.mktemp("packed")
    study = write_study(folder / "study", models=[TFIDF, causal("small")])
    return run(study, None, out=folder / "run")[0]


def predicted(packed: Result, model: str, output: Path, *words: str) -> str:
    source = packed.folder.parent / "study/data.csv"
    given = ["predict", str(packed.packs[model]), "--input", str(source), "--output", str(output), *words]
    done = CliRunner().invoke(app, given)
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


@needs_ray
@pytest.mark.slow
def test_a_file_is_answered_on_a_cluster_as_here_and_a_node_that_dies_costs_its_shard(
    cluster: Any, packed: Result, site: Path, tmp_path: Path
) -> None:
    held, ask = tmp_path / "held", partial(predicted, packed, "small-seed42")
    ask(tmp_path / "here.csv")
    shards = ("--executor", "ray://auto", "--shard-size", "10")
    said = ask(tmp_path / "there.csv", *shards, "--self-test")
    assert (tmp_path / "there.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()
    rows = pd.read_csv(tmp_path / "here.csv", dtype=str)
    assert f"wrote {len(rows)} answers" in said and len(rows) > 20
    wait = f"held = Path({str(held)!r})\n        if not held.exists():\n"
    wait += "            held.write_text(os.environ['RAY_RAYLET_PID'])\n            time.sleep(600)"
    spoil_answers(site, str(rows["id"].iloc[12]), wait)
    several_nodes(cluster)
    with killed_once_named(cluster, held):
        said = ask(tmp_path / "killed.csv", *shards)
    spoil_answers(site, "", "")
    assert "a worker is gone (its node, or its process there, is lost); records 11 to 20 are asked again" in said
    assert (tmp_path / "killed.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()
    assert not list(tmp_path.glob(".killed*"))


@needs_ray
@pytest.mark.slow
def test_a_file_is_answered_through_a_client_server(cluster: Any, packed: Result, tmp_path: Path) -> None:
    ask = partial(predicted, packed, "tfidf-seed42")
    ask(tmp_path / "here.csv")
    ask(tmp_path / "there.csv", "--executor", f"ray://{cluster.client}", "--shard-size", "50")
    assert (tmp_path / "there.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()


# ---------------------------------------------------------------- stopped

WAIT = (
    "open(os.environ['CLINFIT_TEST_PID'], 'w').write(' '.join([str(os.getpid()), "
    "os.environ['RAY_RAYLET_PID'], os.getcwd()])); time.sleep(600)"
)


@needs_ray
@no_report
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_cluster_of_its_own_ends_with_its_driver(
    make_study: StudyMaker, spoil: Callable[[str], None], tmp_path: Path, number: signal.Signals
) -> None:
    spoil(WAIT)
    study, pid = make_study(**RULES), tmp_path / "pid"
    program = [sys.executable, "-m", "clinfit", "run", str(study), "--out", "apart/stopped", "--executor", "ray"]
    environment = os.environ | {"CLINFIT_TEST_PID": str(pid)}
    environment["PYTHONPATH"] += os.pathsep + str(Path(clinfit.__file__).parents[1])
    process = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    until = time.monotonic() + 600
    while not (pid.exists() and pid.read_text()):
        assert process.poll() is None and time.monotonic() < until, process.communicate()
        time.sleep(0.1)
    told = "  keyword-seed42: running, stage 1: training"
    assert soon(lambda: any(line.startswith(told) for line in status_lines(RunFolder(Path("apart/stopped")))))
    process.send_signal(number)
    process.communicate(timeout=120)
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    worker, node, folder = pid.read_text().split()
    assert soon(lambda: not is_alive(int(worker)) and not is_alive(int(node))), "worker and cluster are gone"
    assert soon(lambda: not Path(folder).exists()), "so is the folder"
    lines = status_lines(RunFolder(Path("apart/stopped")))
    state = "interrupted" if number == signal.SIGINT else "killed"
    assert f"  keyword-seed42: {state}, stage 1: training" in lines
    spoil("")
    result, _ = run(study, None, out="apart/stopped")
    assert result.ok and not list(Path("apart").rglob("*.tmp-*"))


def soon(holds: Callable[[], bool], seconds: float = 60.0) -> bool:
    until = time.monotonic() + seconds
    while not holds() and time.monotonic() < until:
        time.sleep(0.2)
    return holds()


# ---------------------------------------------------------------- what is asked for wrongly


def test_without_ray_it_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "find_spec", lambda name: None)
    with pytest.raises(ClinfitError, match="not installed") as told:
        executor_named("ray", None)
    assert "pip install 'clinfit[ray]'" in told.value.fix


@needs_ray
@pytest.mark.parametrize(
    ("address", "words"),
    [("127.0.0.1:1", "nothing answers there"), ("127.0.0.1", "no address"), ("host:port", "no address"),
     ("no-such-host.invalid:10001", "nothing answers there")],
)  # fmt: skip
def test_an_address_where_nothing_is_ends_at_once(make_study: StudyMaker, address: str, words: str) -> None:
    with pytest.raises(ClinfitError, match=words):
        run(make_study(**RULES), None, executor=executor_named(f"ray://{address}", None))
    assert "failed" in status_lines(RunFolder(next(Path("runs/small").iterdir())))[0]


def test_unknown_executors_are_told() -> None:
    with pytest.raises(ClinfitError, match="no such executor") as told:
        executor_named("procesess", None)
    assert told.value.fix == "did you mean processes?"


def test_a_parcel_leaves_out_hidden_names(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / ".checkpoint").mkdir(parents=True)
    (source / ".checkpoint/weights").write_text("no")
    (source / "model").mkdir()
    (source / "model/weights").write_text("yes")
    (source / ".lock").write_text("no")
    unpack(pack({"study/stages/1": source, "study/run.json": b"{}"}), tmp_path / "there")
    found = {path.relative_to(tmp_path / "there").as_posix() for path in (tmp_path / "there").rglob("*")}
    assert found == {"study", "study/run.json", "study/stages", "study/stages/1", "study/stages/1/model",
                     "study/stages/1/model/weights"}  # fmt: skip
