"""A study from start to report: data, audit, every model with every seed, evaluation, report, packs.

Run it again and it does what is left: steps that are done are kept (see record.py), what failed is tried again, and
metrics and report are always made anew from the saved predictions.
"""

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from clinfit.errors import ClinfitError
from clinfit.evaluation.results import Results
from clinfit.files import DiskError, disk_errors, point_latest, remove_leftovers, write_text
from clinfit.locks import locked
from clinfit.models.remote.egress import FLAG, check_egress, egress_allowed
from clinfit.runs.control.status import Monitor, new_console, set_state
from clinfit.runs.inputs import Prepared, choose_models, describe_data, only_failed, prepare, write_inputs
from clinfit.runs.steps.environment import describe_environment
from clinfit.runs.steps.executors import Executor, Inline
from clinfit.runs.steps.failures import Failure, failure_of
from clinfit.runs.steps.place import Place
from clinfit.runs.steps.plan import Run, Step
from clinfit.runs.steps.record import close_record, open_record
from clinfit.study.load import load_study, study_yaml
from clinfit.study.quick import QUICK, limited, quickened
from clinfit.study.schema import Study


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
    quick: bool = False,
    limit: int | None = None,
    retry_failed: bool = False,
    executor: Executor | None = None,
    console: Console | None = None,
) -> Result:
    """Do what is left of a study and write its report.

    study: a study or its file. out: the study folder; default: runs/<study>/<first 8 of its hash>. models: names of the
    models to run; default: all. fresh: train every model in this folder; otherwise, and only in the default folder,
    what another run of this study has done is reused when all that decides its outcome is the same. quick: the study
    with few records, one epoch and few resamples, under a name of its own (study/quick.py). limit: only the
    first records of every task, a part of the study's identity. retry_failed: only runs whose last attempt failed.
    executor: who does the steps; default: this process (executors.py).

    Nothing is fetched from the hub unless HF_HUB_OFFLINE=0 is set before transformers is imported.

    Raises ClinfitError for what the user can fix, before anything is written, and KeyboardInterrupt for Ctrl-C and
    SIGTERM; what was finished by then is kept.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    refuse_launcher()
    again = command(study if isinstance(study, str | Path) else None, out, models, quick, limit)
    study = as_asked(load_study(study) if isinstance(study, str | Path) else study, quick, limit)
    warnings = check_egress(choose_models(study, models), executor is not None and executor.elsewhere)
    prepared = prepare(study, out, models, fresh)
    prepared = only_failed(prepared) if retry_failed else prepared
    descriptions = describe_data(study, prepared.data)
    environment = describe_environment(neural=any(spec.neural for spec in study.models))
    folder, monitor = prepared.folder, Monitor(prepared.folder, console or new_console())
    place = Place(study, prepared.data, folder, environment, prepared.siblings)
    with locked(folder.path), disk_errors(folder.path), sigterm_interrupts():
        remove_leftovers(folder.path)
        write_text(folder.study, study_yaml(study))  # first: with it, the folder is a run that can go on
        if out is None:
            point_latest(folder.path)
        with told(monitor, again):
            for warning in warnings:
                monitor.say(warning)
            monitor.update(study_folder=str(study.folder.resolve()))  # where relative data paths start from
            write_inputs(prepared, descriptions, environment)
            ledger = Ledger(prepared, monitor)
            with ledger.kept() as steps:
                (executor or Inline()).run(steps, place, ledger)
            return conclude(study, ledger.failed, monitor, again)


def as_asked(study: Study, quick: bool, limit: int | None) -> Study:
    """The study that is run: a small one where that is asked for."""
    study = study if limit is None else limited(study, limit)
    return quickened(study) if quick else study


def refuse_launcher() -> None:
    """Raise ClinfitError where a launcher has started several processes of one run: each would do all of it."""
    processes = os.environ.get("WORLD_SIZE", "1")
    if processes.isdigit() and int(processes) > 1:
        raise ClinfitError(
            f"a launcher such as torchrun has started {processes} processes of this run (WORLD_SIZE={processes})",
            expected="one process: a run shares its work out itself",
            fix="start it without the launcher: clinfit run STUDY; with --executor processes --workers N, N models are "
            "at work at the same time",
        )


def conclude(study: Study, failed: dict[str, Failure], monitor: Monitor, again: str) -> Result:
    """Metrics, report and packs of all models that are done; the report's path is the last line."""
    # Only now: a run that is stopped, refused or has nothing to report is not kept waiting for them.
    from clinfit.report.summary import print_summary
    from clinfit.runs.finish import evaluate_run, whole
    from clinfit.runs.packs import write_run_packs

    folder = monitor.folder
    if not whole(folder):  # of a cross-validation one fold may be missing of every model
        monitor.update(state="failed")
        return Result(folder.path, None, None, {}, failed)
    results = evaluate_run(folder, study, again)
    packs = write_run_packs(folder, study, results, monitor.say)
    monitor.update(state="failed" if failed else "done")
    if study.quick:
        monitor.say(QUICK)
    for name, failure in failed.items():
        monitor.say(f"{name} failed: {failure.reason}")
    print_summary(results, monitor.console)
    monitor.say(str(folder.report))
    return Result(folder.path, results, folder.report, packs, failed)


def command(
    study: str | Path | None,
    out: Path | str | None,
    models: Sequence[str] | None,
    quick: bool,
    limit: int | None = None,
) -> str:
    """What to type to go on."""
    words = ["clinfit run", str(study) if study else "STUDY"]
    words += ["--quick"] if quick else []
    words += [f"--limit {limit}"] if limit is not None else []
    words += ["--out", str(out)] if out else []
    words += ["--models", *models] if models else []
    words += [FLAG] if egress_allowed() else []
    return " ".join(words)


# ---------------------------------------------------------------- the runs


class Ledger:
    """The driver's view of its runs while an executor does their steps: it opens and closes their records, and keeps
    their states in status.json. failed: by run, the first failure of its steps."""

    def __init__(self, prepared: Prepared, monitor: Monitor) -> None:
        self.prepared, self.monitor = prepared, monitor
        self.states = {run.name: "waiting" for run in prepared.runs}
        self.failed: dict[str, Failure] = {}
        self._left: Counter[str] = Counter()
        self.say, self.begin, self.advance, self.end = monitor.say, monitor.begin, monitor.advance, monitor.end

    @contextmanager
    def kept(self) -> Iterator[list[Step]]:
        """The steps of all runs that are not done; a block that is interrupted leaves its runs so marked."""
        open_ = {run.name for run in self.prepared.runs if self._open(run)}
        self.monitor.update(models=self.states)
        steps = [step for step in self.prepared.steps if step.run in open_]
        self._left = Counter(step.run for step in steps)
        try:
            yield steps
        except KeyboardInterrupt:
            for name in (name for name, state in self.states.items() if state == "running"):
                self._set(name, "interrupted")
            raise

    def began(self, step: Step) -> None:
        """A step is about to be done."""
        if self.states[step.run] == "waiting":
            self.states[step.run] = "running"
            self.monitor.update(models=self.states)

    def ended(self, step: Step, failure: Failure | None) -> None:
        """A step is done, or failed, or cannot be done; the last one ends its run."""
        name = step.run
        if failure is not None:
            self.failed.setdefault(name, failure)
        self._left[name] -= 1
        if self._left[name]:
            return
        found = self.failed.get(name)
        close_record(self.prepared.folder.run(name), found.reason if found else None)
        self._set(name, "failed" if found else "done")
        self.say(f"{name}: FAILED: {found.reason}" if found else f"{name}: done")

    def _open(self, run: Run) -> bool:
        """Whether a run has steps to do; one that cannot be opened has failed, and the others go on."""
        folder, study = self.prepared.folder, self.prepared.study
        path = folder.run(run.name).path
        try:
            with disk_errors(path), locked(path):
                found = open_record(folder, study, run, self.prepared.steps_of(run), self.say)
        except DiskError:
            raise
        except Exception as error:
            self.failed[run.name] = failure_of(error)
            self.states[run.name] = "failed"
            self.say(f"{run.name}: FAILED: {self.failed[run.name].reason}")
            return False
        if found:
            set_state(folder.run(run.name).status, "waiting")
        else:
            self.states[run.name] = "done"
            self.say(f"{run.name}: already done")
        return found

    def _set(self, name: str, state: str) -> None:
        self.states[name] = state
        set_state(self.prepared.folder.run(name).status, state)
        self.monitor.update(models=self.states)


@contextmanager
def told(monitor: Monitor, again: str) -> Iterator[None]:
    """Say how the run ended when it did not come to its end. again: what to type to go on."""
    try:
        yield
    except KeyboardInterrupt:
        monitor.update(state="interrupted")
        monitor.say(f"What is finished is kept. To continue: {again}")
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
