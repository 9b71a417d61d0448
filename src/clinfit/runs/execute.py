"""A study from start to report: data, audit, every model with every seed, evaluation, report, packs.

Run it again and it does what is left: finished steps are kept (see model_run.py), models that failed are tried again,
and metrics and report are always made anew from the saved predictions.
"""

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from clinfit.data.audit import audit
from clinfit.data.duplicates import find_duplicates
from clinfit.data.leaks import leaking_tests
from clinfit.data.load import TaskData, load_task
from clinfit.data.shift import shift_rows
from clinfit.errors import ClinfitError, nearest
from clinfit.evaluation.results import Results
from clinfit.report.summary import print_summary
from clinfit.runs.environment import describe_environment
from clinfit.runs.failures import Failure, failure_of, traceback_text
from clinfit.runs.folder import (
    DiskError,
    RunFolder,
    disk_errors,
    locked,
    read_json,
    remove_leftovers,
    write_json,
    write_parquet,
    write_text,
)
from clinfit.runs.model_run import Job, ModelRun
from clinfit.runs.outcome import evaluate_run, records
from clinfit.runs.pack import write_packs
from clinfit.runs.progress import Monitor, new_console
from clinfit.study import Baseline, Causal, Encoder, ModelSpec, Study, Task, load_study, study_hash, study_yaml


@dataclass(frozen=True)
class Result:
    """What a run leaves behind. results: the content of metrics.json. packs: by run name `<model>-seed<seed>`.

    results and report are None when no model finished.

    failed: run name -> how it failed.
    """

    folder: Path
    results: Results | None
    report: Path | None
    packs: dict[str, Path] = field(default_factory=dict)
    failed: dict[str, Failure] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return not self.failed


def run(
    study: Study | str | Path,
    *,
    out: Path | str | None = None,
    models: Sequence[str] | None = None,
    fresh: bool = False,
    console: Console | None = None,
    debug: bool = False,
) -> Result:
    """Do what is left of a study and write its report.

    study: a study or its file. out: the run folder; default: runs/<study>/<first 8 of its hash>. models: names of the
    models to run; default: all. fresh: train every model in this run; otherwise, and only in the default folder, a
    finished model of another run of this study is reused when all that decides its answers is the same. debug: let a
    model's exception through instead of noting it and going on.

    Nothing is fetched from the hub unless HF_HUB_OFFLINE=0 is set before transformers is imported.

    Raises ClinfitError for what the user can fix, before anything is written, and KeyboardInterrupt for Ctrl-C and
    SIGTERM; what was finished by then is kept.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    source = study if isinstance(study, str | Path) else None
    study = load_study(study) if isinstance(study, str | Path) else study
    chosen = choose_models(study, models)
    data = {
        name: load_task(task, study.folder, study.evaluation.subgroup_columns) for name, task in study.tasks.items()
    }
    check_bases(chosen)
    descriptions = {name: describe_data(task, data[name]) for name, task in study.tasks.items()}
    folder = RunFolder(Path(out) if out else Path("runs") / study.name / study_hash(study)[:8])
    refuse_other_study(folder, study)
    refuse_other_data(folder, data)
    siblings = None if out or fresh else folder.path.parent
    environment = describe_environment(neural=any(isinstance(spec, Causal | Encoder) for spec in study.models))
    monitor, again = Monitor(folder, console or new_console()), command(source, out, models)
    with locked(folder.path), disk_errors(folder.path), sigterm_interrupts():
        remove_leftovers(folder.path)
        write_text(folder.study, study_yaml(study))  # first: with it, the folder is a run that can go on
        with told(monitor, again):
            monitor.update(study_folder=str(study.folder.resolve()))  # where relative data paths start from
            write_inputs(folder, descriptions, data, environment)
            jobs = [Job(study, spec, seed, data) for spec in chosen for seed in seeds_of(spec, study)]
            failed = run_models([ModelRun(job, monitor, environment, siblings) for job in jobs], monitor, debug)
            return conclude(study, failed, monitor, again)


def conclude(study: Study, failed: dict[str, Failure], monitor: Monitor, again: str) -> Result:
    """Metrics, report and packs of all models that are done; the report's path is the last line."""
    folder = monitor.folder
    if not any(record["status"] == "done" for _, record in records(folder)):
        monitor.update(state="failed")
        return Result(folder.path, None, None, {}, failed)
    results = evaluate_run(folder, study, again)
    packs = write_packs(folder, study, results, monitor.say)
    monitor.update(state="failed" if failed else "done")
    for name, failure in failed.items():
        monitor.say(f"{name} failed: {failure.reason}")
    print_summary(results, monitor.console)
    monitor.say(str(folder.report))
    return Result(folder.path, results, folder.report, packs, failed)


def choose_models(study: Study, names: Sequence[str] | None) -> list[ModelSpec]:
    """The named models in the study's order, all of them when none is named."""
    known = [spec.name for spec in study.models]
    for name in names or ():
        if name not in known:
            close = nearest(name, known)
            raise ClinfitError(
                f"--models: the study has no model {name!r}",
                expected=f"some of {', '.join(known)}",
                fix=f"did you mean {close}?" if close else "",
            )
    return [spec for spec in study.models if not names or spec.name in names]


def command(study: str | Path | None, out: Path | str | None, models: Sequence[str] | None) -> str:
    """What to type to go on."""
    words = ["clinfit run", str(study) if study else "STUDY"]
    words += ["--out", str(out)] if out else []
    words += ["--models", *models] if models else []
    return " ".join(words)


def check_bases(specs: Sequence[ModelSpec]) -> None:
    """Raise ClinfitError for a base that cannot be trained as asked, before the first model is trained."""
    for spec in specs:
        if isinstance(spec, Causal | Encoder):
            from clinfit.models.precheck import check_base

            check_base(spec)


# ---------------------------------------------------------------- the folder


def refuse_other_study(folder: RunFolder, study: Study) -> None:
    """Raise ClinfitError when the folder holds another study, or files that are no run at all."""
    if folder.study.is_file():
        old, new = (yaml.safe_load(text) for text in (folder.study.read_text(encoding="utf-8"), study_yaml(study)))
        changed = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
        if changed:
            raise ClinfitError(
                f"the study changed under an existing run: {folder.path} was made with another {', '.join(changed)}",
                expected="the study that the folder was made with",
                fix="leave out --out (models that did not change are then reused), or give a new folder",
            )
    elif folder.path.is_dir() and any(not item.name.startswith(".") for item in folder.path.iterdir()):
        raise ClinfitError(f"{folder.path} is not empty and holds no run", fix="give a new or empty folder with --out")


def refuse_other_data(folder: RunFolder, data: dict[str, TaskData]) -> None:
    """Raise ClinfitError when the data behind an existing run changed."""
    for name, task_data in data.items():
        if folder.data(name).is_file() and read_json(folder.data(name))["fingerprint"] != task_data.fingerprint:
            raise ClinfitError(
                f"the data of task {name!r} changed under an existing run ({folder.path})",
                expected="the records and splits that the run was made with",
                fix="put the data back, or give a new folder with --out",
            )


def write_inputs(
    folder: RunFolder, descriptions: dict[str, dict[str, Any]], data: dict[str, TaskData], environment: dict[str, Any]
) -> None:
    """data/<task>.json, data/<task>-subgroups.parquet where the study names subgroups, and environment.json, which
    tells where the run last trained; no patient text in them."""
    for name, description in descriptions.items():
        write_json(folder.data(name), description)
        if len(data[name].subgroups.columns) > 1:
            write_parquet(folder.subgroups(name), data[name].subgroups)
    if not folder.environment.is_file():
        write_json(folder.environment, environment)


def describe_data(task: Task, data: TaskData) -> dict[str, Any]:
    """The loader's description (counts, summaries, split ids, fingerprint), shift from training to test, the ids of
    test records that leak, and the findings of the audit."""
    duplicates = find_duplicates(data.records)
    return data.describe() | {
        "shift": [asdict(row) for row in shift_rows(task, data.records)],
        "leaks": leaking_tests(data.records, duplicates),
        "findings": [finding.as_dict() for finding in audit(task, data, duplicates)],
    }


# ---------------------------------------------------------------- the models


def run_models(models: Sequence[ModelRun], monitor: Monitor, debug: bool) -> dict[str, Failure]:
    """Run every model with every seed; one that fails is noted and the others go on."""
    states = {model.job.name: "waiting" for model in models}
    failed: dict[str, Failure] = {}
    for model in models:
        name = model.job.name
        states[name] = "running"
        monitor.update(models=states)
        failure = finish_model(model, monitor, debug)
        states[name] = "failed" if failure else "done"
        if failure:
            failed[name] = failure
    monitor.update(models=states)
    return failed


def seeds_of(spec: ModelSpec, study: Study) -> list[int]:
    """Rules draw nothing at random, so one seed says all of them."""
    return study.seeds[:1] if isinstance(spec, Baseline) else study.seeds


def finish_model(model: ModelRun, monitor: Monitor, debug: bool) -> Failure | None:
    """Finish one model; how it failed, or None when all is well."""
    try:
        with disk_errors(model.folder.path):
            worked = model.finish()
    except DiskError:
        raise
    except Exception as error:
        if debug:
            raise
        failure = failure_of(error)
        model.fail(failure.reason)
        if not failure.fixable:
            write_text(model.folder.path / "error.log", traceback_text(error))
        monitor.say(f"{model.job.name}: FAILED: {failure.reason}")
        return failure
    monitor.say(f"{model.job.name}: {'done' if worked else 'already done'}")
    return None


@contextmanager
def told(monitor: Monitor, again: str) -> Iterator[None]:
    """Say how the run ended when it did not come to its end. again: what to type to go on."""
    try:
        yield
    except KeyboardInterrupt:
        monitor.update(state="interrupted")
        monitor.say(f"Stopped; what is finished is kept. To continue: {again}")
        raise
    except Exception:
        monitor.update(state="failed")
        raise


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Let SIGTERM stop the run as Ctrl-C does; signals can only be set in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
