"""A study from start to report, and every way in which it may stop and go on."""

import io
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import clinfit
import forked
from clinfit.errors import ClinfitError
from clinfit.files import followed, hash_files, read_json
from clinfit.models.base import FitSummary, Lesson, Model, Workspace
from clinfit.predictions import probabilities_of, read_predictions
from clinfit.runs.execute import Result
from clinfit.runs.folder import RunFolder
from clinfit.runs.steps import worker
from clinfit.runs.steps.executors import Inline
from clinfit.study.load import load_study
from clinfit.study.models import ModelSpec
from clinfit.study.schema import study_hash
from clinfit.study.tasks import Task
from executed import MAJORITY, causal
from small_study import write_study

#: The fixture `make_study` of conftest.py.
StudyMaker = Callable[..., Path]


def run(study: Path, **options: Any) -> tuple[Result, list[str]]:
    """The result and the lines that were printed."""
    text = io.StringIO()
    result = clinfit.run(study, console=Console(file=text, width=200), **options)
    return result, text.getvalue().splitlines()


def forbid(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on, creating a model is an error: everything must come from what was saved."""

    def no_model(spec: ModelSpec, tasks: Mapping[str, Task], seed: int, bases: Any) -> Model:
        raise AssertionError(f"{spec.name} was created again")

    monkeypatch.setattr(worker, "create_model", no_model)


def wrap_fit(monkeypatch: pytest.MonkeyPatch, name: str, before: Callable[[Workspace], None]) -> None:
    """Call `before` at the start of the fit of one model."""
    create = worker.create_model

    def create_wrapped(spec: ModelSpec, tasks: Mapping[str, Task], seed: int, bases: Any) -> Model:
        model = create(spec, tasks, seed, bases)
        fit = model.fit

        def wrapped(lesson: Lesson, workspace: Workspace) -> FitSummary:
            before(workspace)
            return fit(lesson, workspace)

        if spec.name == name:
            model.fit = wrapped  # type: ignore[method-assign]
        return model

    monkeypatch.setattr(worker, "create_model", create_wrapped)


def outcome(folder: Path) -> dict[str, Any]:
    """What must not depend on how a run went: metrics and answers, times and what follows from them left out."""
    metrics = read_json(folder / "metrics.json")
    for task in metrics["tasks"].values():
        del task["sections"]["freeze"], task["sections"]["pareto"]
        task["advice"] = [sentence for sentence in task["advice"] if not sentence.startswith("Cost: ")]
        for system in task["systems"]:
            del system["cost"]
    answers = {}
    for path in sorted(folder.glob("models/*/predictions/*.parquet")):
        table = read_predictions(path)
        answers[path.name, table["model"][0]] = [table["id"].tolist(), probabilities_of(table).tolist()]
    return {"metrics": metrics, "answers": answers}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the small study and a run of it that is done."""
    place = tmp_path_factory.mktemp("done")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        assert run(write_study(Path("study")))[0].ok
    return place


@pytest.fixture
def finished(place: Path, make_study: StudyMaker, tmp_path: Path) -> Path:
    """The folder of a run that is done, of the small study; a test may do with it and with the study what it likes."""
    shutil.copytree(place, tmp_path, symlinks=True, dirs_exist_ok=True)
    return followed(Path("runs/small/latest"))


# ---------------------------------------------------------------- the whole way


@pytest.mark.usefixtures("drawn")
def test_layout_report_and_last_line(make_study: StudyMaker) -> None:
    study = make_study()
    result, lines = run(study)
    folder = Path("runs/small") / study_hash(load_study(study))[:8]
    assert result.ok and result.folder == folder and lines[-1] == str(folder / "report.html")
    files = set(hash_files(folder))
    for name in ("study.yaml", "environment.json", "status.json", "data/cancer.json", "metrics.json", "report.html"):
        assert name in files
    for name in ("majority-seed42", "tfidf-seed42"):
        assert f"models/{name}/run.json" in files
        assert f"models/{name}/predictions/cancer-validation-stage1.parquet" in files
        assert f"models/{name}/predictions/cancer-test-stage1.parquet" in files
        assert f"models/{name}/pack/pack.json" in files
    assert read_json(folder / "metrics.json") == result.results
    status = read_json(folder / "status.json")
    assert status["state"] == "done" and status["models"] == {"majority-seed42": "done", "tfidf-seed42": "done"}
    assert load_study(folder / "study.yaml").model_dump() == load_study(study).model_dump()


def test_no_text_of_a_record_leaves_the_data_file(make_study: StudyMaker, canary: str) -> None:
    result, lines = run(make_study(models=[MAJORITY]))
    assert canary not in "\n".join(lines)
    for name in hash_files(result.folder):
        assert canary.encode() not in (result.folder / name).read_bytes(), name


def test_environment_names_no_user_and_no_host(finished: Path) -> None:
    text = (finished / "environment.json").read_text()
    assert json.loads(text)["clinfit"] == clinfit.__version__
    assert os.uname().nodename not in text and str(Path.home()) not in text.replace('"/', "")


@pytest.mark.usefixtures("no_report")
def test_every_seed_has_its_run_and_rules_only_one(make_study: StudyMaker) -> None:
    result, _ = run(make_study(seeds=[1, 2]))
    assert sorted(path.name for path in (result.folder / "models").iterdir()) == [
        "majority-seed1",
        "tfidf-seed1",
        "tfidf-seed2",
    ]


def test_only_the_named_models_run_and_the_rest_can_follow(make_study: StudyMaker) -> None:
    study = make_study()
    first, _ = run(study, models=["majority"])
    assert set(first.packs) == {"majority-seed42"}
    second, _ = run(study)
    assert second.folder == first.folder and set(second.packs) == {"majority-seed42", "tfidf-seed42"}


@pytest.mark.usefixtures("no_report")
def test_a_launcher_of_several_processes_is_refused(make_study: StudyMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make_study()
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ClinfitError, match="has started 2 processes") as caught:
        run(study, out=study.parent / "launched")
    assert "clinfit run STUDY" in caught.value.fix and not (study.parent / "launched").exists()
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert run(study, out=study.parent / "launched", models=["majority"])[0].ok


def test_unknown_model_names_the_nearest_and_writes_nothing(make_study: StudyMaker) -> None:
    with pytest.raises(ClinfitError, match="did you mean tfidf"):
        run(make_study(), models=["tfdif"])
    assert not Path("runs").exists()


# ---------------------------------------------------------------- again


def test_a_finished_run_is_not_done_again(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = hash_files(finished)
    forbid(monkeypatch)
    second, _ = run(Path("study/study.yaml"))
    after = hash_files(second.folder)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert second.ok and changed <= {"status.json", "test_log.json"}  # the test split was looked at again


@pytest.mark.parametrize("damage", ["predictions/cancer-test-stage1.parquet", "stages/1/model"])
def test_damaged_steps_are_done_again(finished: Path, make_study: StudyMaker, damage: str) -> None:
    before = outcome(finished)
    target = finished / "models/tfidf-seed42" / damage
    target = next(path for path in sorted(target.iterdir())) if target.is_dir() else target
    target.write_bytes(b"damaged")
    second, _ = run(make_study())
    assert second.ok and outcome(second.folder) == before


def test_another_study_in_the_folder_is_refused(finished: Path, make_study: StudyMaker) -> None:
    before = hash_files(finished)
    with pytest.raises(ClinfitError, match=r"changed under an existing run.*evaluation"):
        run(make_study(evaluation={"bootstrap": 200}), out=finished)
    assert hash_files(finished) == before


def test_changed_data_under_a_run_is_refused(finished: Path, make_study: StudyMaker) -> None:
    study = make_study()
    before = hash_files(finished)
    data = study.with_name("data.csv")
    data.write_text(data.read_text().replace("Case 3:", "Case three:"))
    with pytest.raises(ClinfitError, match="data of task 'cancer' changed"):
        run(study)
    assert hash_files(finished) == before


def test_a_folder_with_other_files_is_refused(make_study: StudyMaker) -> None:
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("")
    with pytest.raises(ClinfitError, match="not empty and holds no run"):
        run(make_study(), out="mine")
    assert [path.name for path in Path("mine").iterdir()] == ["notes.txt"]


@pytest.mark.usefixtures("no_report")
def test_models_are_reused_from_a_sibling_run(
    finished: Path, make_study: StudyMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid(monkeypatch)
    second, lines = run(make_study(evaluation={"bootstrap": 200}))
    assert second.folder != finished and second.ok
    assert any("tfidf-seed42: reused from" in line for line in lines)
    model = "models/tfidf-seed42/stages/1"
    assert hash_files(finished / model) == hash_files(second.folder / model)


@pytest.mark.usefixtures("no_report", "finished")
def test_only_what_changed_is_trained_again(make_study: StudyMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted: list[str] = []
    for name in ("majority", "tfidf"):
        wrap_fit(monkeypatch, name, lambda workspace, name=name: fitted.append(name))
    models = [
        {"name": "majority", "family": "baseline", "kind": "majority"},
        {"name": "tfidf", "family": "classical", "kind": "tfidf-logistic", "c_grid": [3.0]},
    ]
    run(make_study(models=models))
    assert fitted == ["tfidf"]


# ---------------------------------------------------------------- failures


def test_one_failing_model_does_not_stop_the_others(
    make_study: StudyMaker, monkeypatch: pytest.MonkeyPatch, canary: str
) -> None:
    def explode(workspace: Workspace) -> None:
        raise ValueError(f"text of a patient: {canary}")

    study = make_study()
    with monkeypatch.context() as patch:
        wrap_fit(patch, "majority", explode)
        result, lines = run(study)
    assert not result.ok and set(result.failed) == {"majority-seed42"} and "tfidf-seed42" in result.packs
    record = read_json(result.folder / "models/majority-seed42/run.json")
    assert record["status"] == "failed" and "ValueError" in record["reason"]
    log = (result.folder / "models/majority-seed42/error.log").read_text()
    assert "explode" in log and canary not in log + "".join(lines) + json.dumps(record)
    assert read_json(result.folder / "status.json")["state"] == "failed"
    again, _ = run(study)
    assert again.ok and again.folder == result.folder


def test_when_every_model_fails_there_is_no_report(make_study: StudyMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(workspace: Workspace) -> None:
        raise ClinfitError("no", fix="yes")

    wrap_fit(monkeypatch, "majority", refuse)
    result, lines = run(make_study(), models=["majority"])
    assert result.report is None and result.failed["majority-seed42"].fixable
    assert not (result.folder / "report.html").exists() and "majority-seed42: FAILED: no; to fix: yes" in lines


@pytest.mark.usefixtures("no_report")
def test_a_full_disk_stops_the_whole_run(make_study: StudyMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(workspace: Workspace) -> None:
        raise OSError(28, "No space left on device")

    study = make_study()
    with monkeypatch.context() as patch:
        wrap_fit(patch, "majority", full)
        with pytest.raises(ClinfitError, match="disk is full"):
            run(study)
    result, _ = run(study)
    assert result.ok


def test_debug_lets_the_exception_through(make_study: StudyMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(workspace: Workspace) -> None:
        raise ZeroDivisionError

    wrap_fit(monkeypatch, "majority", explode)
    with pytest.raises(ZeroDivisionError):
        run(make_study(), executor=Inline(debug=True))


# ---------------------------------------------------------------- stopped


def test_ctrl_c_tells_how_to_continue(finished: Path, make_study: StudyMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(workspace: Workspace) -> None:
        raise KeyboardInterrupt

    study = make_study()
    text = io.StringIO()
    with monkeypatch.context() as patch:
        wrap_fit(patch, "tfidf", stop)
        with pytest.raises(KeyboardInterrupt):
            clinfit.run(study, out="apart/stopped", console=Console(file=text, width=200))
    assert text.getvalue().splitlines()[-1].endswith(f"clinfit run {study} --out apart/stopped")
    assert read_json(Path("apart/stopped/status.json"))["state"] == "interrupted"
    result, _ = run(study, out="apart/stopped")
    assert result.ok and outcome(result.folder) == outcome(finished)


#: A run in `apart/killed` that gets a signal at one moment: a word, or a step of training.
PROGRAM = """
import os, sys, time
from clinfit import cli
from clinfit.runs.steps import worker
study, moment, number = sys.argv[1:]

def at(owner, name, when):
    function = getattr(owner, name)
    def wrapped(*words, **more):
        if when(words):
            os.kill(os.getpid(), int(number))
            time.sleep(600)
        return function(*words, **more)
    setattr(owner, name, wrapped)

if moment == "fitting":
    at(worker, "create_model", lambda words: True)
elif moment == "answering":
    at(worker, "predictions_table", lambda words: words[0].model == "tfidf")
elif moment == "reporting":
    from clinfit.runs import finish
    at(finish, "write_report", lambda words: True)
else:
    import torch
    from clinfit.training.log import Log
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))  # weights are the same to the bit with as many
    at(Log, "write", lambda words: words[1]["step"] > int(moment))
sys.argv = ["clinfit", "run", study, "--out", "apart/killed"]
cli.main()
"""


def signalled(study: Path, moment: str, number: signal.Signals) -> subprocess.CompletedProcess[str]:
    """How the run ends that gets a signal at this moment."""
    return forked.run(["-c", PROGRAM, study, moment, int(number)])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_with_130_and_one_line(make_study: StudyMaker, number: signal.Signals) -> None:
    done = signalled(make_study(), "fitting", number)
    output = done.stdout + done.stderr
    assert done.returncode == 130
    assert "To continue: clinfit run" in output and "Traceback" not in output
    assert not list(Path("apart").rglob("*.tmp-*"))


@pytest.mark.slow
def test_killed_at_three_moments_it_ends_as_if_it_never_was(finished: Path, make_study: StudyMaker) -> None:
    study = make_study()
    for moment in ("fitting", "answering", "reporting"):
        assert signalled(study, moment, signal.SIGKILL).returncode == -signal.SIGKILL
    result, _ = run(study, out="apart/killed")
    assert result.ok and outcome(result.folder) == outcome(finished)
    assert not list(Path("apart").rglob("*.tmp-*"))
    assert RunFolder(result.folder).report.is_file()


#: Nine steps are an epoch; the second of them ends early.
TRAIN = {"max_steps": 13, "batch_size": 4, "learning_rate": 1e-3, "max_length": 100, "checkpoint_every": 2}
SMALL = causal("small", compare_base=False, lora={"rank": 4, "dropout": 0.1}, train=TRAIN)


@pytest.mark.slow
def test_a_language_model_killed_while_training_ends_with_the_same_weights(make_study: StudyMaker) -> None:
    """Killed before the first checkpoint, and in the second epoch, a step beyond a checkpoint."""
    study = make_study(models=[MAJORITY, SMALL])
    whole, _ = run(study, out="whole")
    for step in ("1", "11"):
        assert signalled(study, step, signal.SIGKILL).returncode == -signal.SIGKILL
    result, _ = run(study, out="apart/killed")
    assert result.ok and outcome(result.folder) == outcome(whole.folder)
    weights = [
        hash_files(folder / "models/small-seed42/stages/1/model/adapter") for folder in (whole.folder, result.folder)
    ]
    assert weights[0] == weights[1]
