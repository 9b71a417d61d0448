"""`clinfit run STUDY --dry-run`: every step, who would do it, and what is left to do. Writes nothing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from clinfit.errors import ClinfitError
from clinfit.runs.control.status import new_console
from clinfit.runs.folder import ModelFolder
from clinfit.runs.inputs import Prepared, prepare
from clinfit.runs.steps.plan import Run, Step
from clinfit.runs.steps.record import blank_record, is_changed, planned, why_to_do
from clinfit.runs.steps.reuse import run_with, sibling_with
from clinfit.study.schema import Study

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
    study: Study, out: Path | None, models: Sequence[str] | None, fresh: bool, console: Console | None = None
) -> None:
    """Print the plan as a table."""
    console = console or new_console()
    prepared = prepare(study, out, models, fresh)
    found = list(lines(prepared))
    table = Table("run", "step", "worker", "state", "why", title=str(prepared.folder.path), title_justify="left")
    for line in found:
        table.add_row(line.step.run, what(line.step), line.step.worker, line.state, line.why)
    left = sum(line.state == "to do" for line in found)
    table.caption, table.caption_justify = f"{len(found)} steps, {left} to do", "left"
    console.print(table)


def what(step: Step) -> str:
    """A step in words."""
    if step.action == "search":
        return "search hyperparameters"
    if step.action == "fit":
        return f"fit stage {step.stage}"
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
