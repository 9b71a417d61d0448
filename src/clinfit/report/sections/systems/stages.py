"""What each stage gained and what it cost the tasks before it: over all tasks, behind the summary."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from clinfit.evaluation.metrics.definitions import LOWER_IS_BETTER
from clinfit.evaluation.results import Results, TaskResult
from clinfit.evaluation.stage_results import StageChange, StagedModel, StageValue
from clinfit.report.figures.stages import Line, Point, stages_figure
from clinfit.report.format import NOTHING, Cell, decimal, duration, interval, metric_cell, per_cent, signed
from clinfit.report.glossary import definition
from clinfit.report.tables import number_cell

#: Shades of the matrix, from the base to the best value of the task.
SHADES = 5


@dataclass(frozen=True)
class MatrixCell:
    """One task after one stage. shade: 0 to SHADES. taught: by this stage. answers: how often each label is given."""

    value: Cell
    shade: int
    taught: bool
    answers: str
    recall: str
    log_loss: Cell


@dataclass(frozen=True)
class MatrixRow:
    """One stage of one model. words: what it did."""

    stage: str
    words: str
    cells: list[MatrixCell]


@dataclass(frozen=True)
class Matrix:
    """One model. chosen: on validation. rows: its stages."""

    model: str
    seeds: int
    chosen: bool
    rows: list[MatrixRow]


@dataclass(frozen=True)
class Kept:
    """One task in the table of remedies: its value at the end, what became of it, against going on without a remedy."""

    final: Cell
    changed: Cell
    changed_by: str
    naive: Cell


@dataclass(frozen=True)
class Remedy:
    """One way through the stages. general: perplexity of general text before and after."""

    model: str
    way: str
    chosen: bool
    tasks: list[Kept]
    general: Cell
    time: Cell


@dataclass(frozen=True)
class StagesView:
    """tasks: title and primary metric of each. naive: whether any is held against one without a remedy."""

    sentences: list[str]
    statements: list[str]
    tasks: list[tuple[str, str]]
    matrices: list[Matrix]
    remedies: list[Remedy]
    naive: bool
    figures: list[Markup]


def stages_view(results: Results) -> StagesView | None:
    """None where no model learned several tasks in several stages."""
    if "stages" not in results:
        return None
    tasks = {name: task for name, task in results["tasks"].items() if task["sections"].get("stages")}
    models = list(dict.fromkeys(entry["model"] for task in tasks.values() for entry in _entries(task)))
    chosen = results["stages"]["chosen"]
    whole = [model for model in models if all(_entry(task, model) for task in tasks.values())]
    changes = [
        change
        for model in whole
        for task in tasks.values()
        if (entry := _entry(task, model)) is not None
        for change in entry["changes"]
    ]
    return StagesView(
        sentences=results["stages"]["verdict"],
        statements=[change["sentence"] for change in changes if change["kind"] in {"gain", "transfer", "retention"}],
        tasks=[(name, definition(task["primary"]).title) for name, task in tasks.items()],
        matrices=[_matrix(model, tasks, chosen) for model in whole],
        remedies=[_remedy(model, tasks, chosen) for model in whole],
        naive=any(change["kind"] == "naive" for change in changes),
        figures=[figure for name, task in tasks.items() if (figure := _figure(name, task, whole)) is not None],
    )


def _entries(task: TaskResult) -> Sequence[StagedModel]:
    return task["sections"].get("stages", [])


def _entry(task: TaskResult, model: str) -> StagedModel | None:
    return next((entry for entry in _entries(task) if entry["model"] == model), None)


# ---------------------------------------------------------------- the matrix


def _matrix(model: str, tasks: Mapping[str, TaskResult], chosen: str | None) -> Matrix:
    entries = {name: entry for name, task in tasks.items() if (entry := _entry(task, model)) is not None}
    stages = sorted({row["stage"]: row["words"] for entry in entries.values() for row in entry["rows"]}.items())
    rows = [
        MatrixRow(
            "before training" if stage == 0 else f"stage {stage}",
            "" if stage == 0 else words,
            [_cell(tasks[name], entry, stage) for name, entry in entries.items()],
        )
        for stage, words in stages
    ]
    return Matrix(model, max(len(entry["seeds"]) for entry in entries.values()), model == chosen, rows)


def _cell(task: TaskResult, entry: StagedModel, stage: int) -> MatrixCell:
    row = next((row for row in entry["rows"] if row["stage"] == stage), None)
    if row is None:
        return MatrixCell(NOTHING, 0, False, "", "", NOTHING)
    percent = definition(task["primary"]).percent
    return MatrixCell(
        value=metric_cell(row["metric"], percent=percent),
        shade=_shade(task, row),
        taught=row["taught"],
        answers=", ".join(f"{label} {per_cent(share, 0)}" for label, share in row["predicted"].items() if share > 0),
        recall=", ".join(
            f"{label} {'—' if value is None else per_cent(value, 0)}" for label, value in row["recall"].items()
        ),
        log_loss=number_cell(row["log_loss"], decimal),
    )


def _shade(task: TaskResult, row: StageValue) -> int:
    """Where the value stands between the worst and the best of the task's staged values."""
    values = [
        other["metric"]["value"]
        for entry in _entries(task)
        for other in entry["rows"]
        if other["metric"]["value"] is not None
    ]
    value = row["metric"]["value"]
    if value is None or max(values) == min(values):
        return 0
    place = (value - min(values)) / (max(values) - min(values))
    return round(SHADES * (1 - place if task["primary"] in LOWER_IS_BETTER else place))


# ---------------------------------------------------------------- remedies


def _remedy(model: str, tasks: Mapping[str, TaskResult], chosen: str | None) -> Remedy:
    entries = {name: entry for name, task in tasks.items() if (entry := _entry(task, model)) is not None}
    seconds = [entry["seconds"] for entry in entries.values() if entry["seconds"] is not None]
    return Remedy(
        model=model,
        way=next(iter(entries.values()))["way"],
        chosen=model == chosen,
        tasks=[_kept(tasks[name], entry) for name, entry in entries.items()],
        general=_general(next(iter(entries.values()))),
        time=number_cell(seconds[0] if seconds else None, duration),
    )


def _general(entry: StagedModel) -> Cell:
    """61 to 75: of the base, and after the last stage."""
    first, last = entry["rows"][0]["perplexity"], entry["rows"][-1]["perplexity"]
    if first is None or last is None:
        return NOTHING
    return Cell(f"{decimal(first, 1)} to {decimal(last, 1)}", "", repr(last), f"{first} to {last}")


def _kept(task: TaskResult, entry: StagedModel) -> Kept:
    percent = definition(task["primary"]).percent
    final = entry["rows"][-1]
    kept = _of_kind(entry, "retention") or _of_kind(entry, "gain")
    by = "" if kept is None else "since it was learned" if kept["kind"] == "retention" else "by its own stage"
    return Kept(
        final=metric_cell(final["metric"], percent=percent),
        changed=_change(kept, percent),
        changed_by=by,
        naive=_change(_of_kind(entry, "naive"), percent),
    )


def _of_kind(entry: StagedModel, kind: str) -> StageChange | None:
    return next((change for change in entry["changes"] if change["kind"] == kind), None)


def _change(found: StageChange | None, percent: bool) -> Cell:
    if found is None or found["difference"] is None:
        return NOTHING
    scale, digits = (100, 1) if percent else (1, 3)
    return Cell(
        signed(found["difference"] * scale, digits),
        interval(found["low"], found["high"], percent=percent),
        repr(found["difference"]),
        found["sentence"],
    )


# ---------------------------------------------------------------- the figure


def _figure(name: str, task: TaskResult, models: Sequence[str]) -> Markup | None:
    lines = [
        Line(model, points)
        for model in models
        if (entry := _entry(task, model)) is not None and (points := _points(entry))
    ]
    if not lines:
        return None
    known = definition(task["primary"])
    return stages_figure(lines, name, known.title, known.percent, f"stages-{name}", _joint(task))


def _points(entry: StagedModel) -> list[Point]:
    return [
        Point(row["stage"], value, row["metric"]["low"], row["metric"]["high"])
        for row in entry["rows"]
        if (value := row["metric"]["value"]) is not None
    ]


def _joint(task: TaskResult) -> float | None:
    """What a model reaches that learned all tasks at once: the value that every difference from it implies."""
    for entry in _entries(task):
        found, end = _of_kind(entry, "joint"), entry["rows"][-1]["metric"]["value"]
        if found is not None and found["difference"] is not None and end is not None:
            return end - found["difference"]
    return None
