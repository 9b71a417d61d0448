"""`clinfit run STUDY --dry-run`: every step, who would do it, whether it is done, what it takes. Writes nothing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.table import Table

from clinfit.errors import ClinfitError
from clinfit.runs.checking.check import UNVERIFIED, duration
from clinfit.runs.control.status import new_console
from clinfit.runs.folder import ModelFolder
from clinfit.runs.inputs import Prepared, only_failed, prepare
from clinfit.runs.steps.plan import Run, Step
from clinfit.runs.steps.record import blank_record, is_changed, planned, why_to_do
from clinfit.runs.steps.reuse import run_with, sibling_with
from clinfit.study.schema import Study

if TYPE_CHECKING:
    from clinfit.runs.checking.steps import Taken

#: Steps that ask a model of one split, in words.
DOES = {
    "answer": "answer {asked}",
    "score-items": "score {asked}",
    "abstention": "answer {asked} without the context",
    "contrast": "compare references of {asked} with faulty ones",
}


@dataclass(frozen=True)
class Line:
    """A step as it stands. shared: it would be copied from another run, which `why` names."""

    step: Step
    state: Literal["done", "to do", "shared"]
    why: str


def print_plan(
    study: Study,
    out: Path | None,
    models: Sequence[str] | None,
    fresh: bool,
    console: Console | None = None,
    *,
    retry_failed: bool = False,
) -> None:
    """Print the plan as a table; the options are those of a run."""
    console = console or new_console()
    prepared = prepare(study, out, models, fresh)
    prepared = only_failed(prepared) if retry_failed else prepared
    found = list(lines(prepared))
    left = [line.step for line in found if line.state == "to do"]
    taken, unverified = _estimates(prepared, left)
    names = ("run", "step", "worker", "time", "memory", "state", "why")
    table = Table(*names, title=str(prepared.folder.path), title_justify="left")
    shared = {run.name: run.spec.processes for run in prepared.runs}
    for line in found:
        takes = _takes([taken.get(line.step.id)]) if line.state == "to do" else ("", "")
        does = what(line.step, shared[line.step.run])
        table.add_row(line.step.run, does, line.step.worker, *takes, line.state, line.why)
    table.caption, table.caption_justify = f"{len(found)} steps, {len(left)} to do", "left"
    console.print(table)
    if left:
        console.print(_workers_table(left, taken, unverified))


def _estimates(prepared: Prepared, left: Sequence[Step]) -> tuple[dict[str, "Taken"], list[str]]:
    """What the steps that are left take, as `clinfit check` estimates it; torch is imported only for neural ones."""
    neural = {run.name for run in prepared.runs if run.spec.neural}
    if not any(step.run in neural for step in left):
        return {}, []
    from clinfit.runs.checking.steps import step_estimates

    return step_estimates(prepared.study, prepared.data, prepared.runs, left)


def _workers_table(left: Sequence[Step], taken: Mapping[str, "Taken"], unverified: Sequence[str]) -> Table:
    """What each worker has to do, with the most memory that a step of its takes."""
    table = Table("worker", "steps", "estimated", "time", "memory", title="Left, by worker", title_justify="left")
    for key in dict.fromkeys(step.worker for step in left):
        own = [taken.get(step.id) for step in left if step.worker == key]
        table.add_row(key, str(len(own)), str(sum(one is not None for one in own)), *_takes(own))
    if len(table.rows) > 1:
        every = [taken.get(step.id) for step in left]
        table.add_row("all", str(len(every)), str(len(taken)), *_takes(every))
    if taken:
        table.caption = "time with this machine to itself, roughly; memory of the largest step" + (
            f"; of {', '.join(unverified)}: {UNVERIFIED}" if unverified else ""
        )
        table.caption_justify = "left"
    return table


def _takes(steps: Sequence["Taken | None"]) -> tuple[str, str]:
    """Time of all steps and memory of the largest, of those of which it is known; "-" where it is of none."""
    known = [one for one in steps if one is not None]
    if not known:
        return "-", "-"
    return duration(sum(one.seconds for one in known)), f"{max(one.memory for one in known) / 1e9:.1f} GB"


def what(step: Step, processes: int = 1) -> str:
    """A step in words. processes: that do a fit together."""
    if step.action == "search":
        return "search hyperparameters"
    if step.action == "fit":
        return f"fit stage {step.stage}" + (f" in {processes} processes" if processes > 1 else "")
    if step.action == "importance":
        return f"shuffle the inputs of {step.task}"
    when = f"after stage {step.stage}" if step.stage else "before training"
    return f"{DOES[step.action].format(asked=f'{step.task} {step.split}')} {when}"


def lines(prepared: Prepared) -> Iterator[Line]:
    """Every step in order, as `clinfit run` would find it now."""
    firsts: dict[str, Step] = {}
    for run in prepared.runs:
        for line in _lines_of(prepared, run):
            first = firsts.setdefault(line.step.inputs, line.step)
            same = first is not line.step and line.state == "to do"
            yield Line(line.step, "shared", f"the same as {first.run}") if same else line


def _lines_of(prepared: Prepared, run: Run) -> Iterator[Line]:
    folder, steps = prepared.folder.run(run.name), prepared.steps_of(run)
    try:
        record = folder.read_record() if folder.record.exists() else blank_record(prepared.study, run)
    except ClinfitError as error:
        yield from (Line(step, "to do", error.found) for step in steps)
        return
    reasons = {step.id: why_to_do(step, record, folder.path) or "its old model is set aside" for step in steps}
    aside = any(is_changed(step, record) for step in steps if step.action == "fit")
    record["steps"] = planned({} if aside else record["steps"], steps)
    again: set[str] = set()
    for step in steps:
        if why_to_do(step, record, folder.path) is None:
            yield Line(step, "done", "unless its model ends otherwise" if again & set(step.needs) else "")
        elif other := _elsewhere(prepared, step, record):
            record["steps"][step.writes] = other.read_record()["steps"][step.writes]
            yield Line(step, "shared", f"done in {other.path}")
        else:
            again.add(step.id)
            yield Line(step, "to do", reasons[step.id])


def _elsewhere(prepared: Prepared, step: Step, record: dict[str, Any]) -> ModelFolder | None:
    """The run that has done the step already, and from which it would be copied."""
    if other := run_with(step, record, prepared.folder):
        return other
    folder = prepared.folder.run(step.run)
    return sibling_with(step, record, folder, prepared.siblings) if prepared.siblings else None
