"""What each stage gained and what it cost the tasks before it: over all tasks, behind the summary."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from clinfit.evaluation.metrics.definitions import LOWER_IS_BETTER
from clinfit.evaluation.results import Results, TaskResult
from clinfit.evaluation.stage_results import StageChange, StagedModel, StagesOfBase, StageValue
from clinfit.report.figures.stages import Line, Point, stages_figure
from clinfit.report.format import NOTHING, Cell, decimal, duration, interval, metric_cell, per_cent, signed
from clinfit.report.glossary import definition
from clinfit.report.tables import number_cell

#: Shades of the matrix, from the base to the best value of the task.
SHADES = 5

#: What a model is held against at the end, in the words of a column.
CONTROLS = {
    "naive": "against no remedy",
    "joint": "against all at once",
    "single": "against this task alone",
}


@dataclass(frozen=True)
class MatrixCell:
    """One task after one stage. shade: 0 to SHADES. taught: by this stage. seeds: the value of each, and their standard
    deviation; "" of one. answers: how often each label is given. mass: probability of all labels together."""

    value: Cell
    shade: int
    taught: bool
    seeds: str
    answers: str
    recall: str
    log_loss: Cell
    ece: Cell
    mass: Cell


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
    """One task in the table of remedies: its value at the end, what became of it, and against each control."""

    final: Cell
    changed: Cell
    changed_by: str
    against: list[Cell]


@dataclass(frozen=True)
class Drift:
    """What one task lost at most (Chaudhry et al., 2018), and its calibration error before and after."""

    forgotten: Cell
    ece: Cell


@dataclass(frozen=True)
class Remedy:
    """One way through the stages. general: perplexity of general text before and after."""

    model: str
    way: str
    chosen: bool
    tasks: list[Kept]
    drifts: list[Drift]
    general: Cell
    time: Cell


@dataclass(frozen=True)
class WaysView:
    """Models of one base that learned the same tasks. anchor: begins ids on the page. conclusion: one sentence;
    sentences: what it rests on. tasks: title and primary metric of each. controls: what models are held against, in
    words. calibrated: whether any task has a calibration error."""

    anchor: str
    base: str
    conclusion: str
    sentences: list[str]
    statements: list[str]
    tasks: list[tuple[str, str]]
    matrices: list[Matrix]
    remedies: list[Remedy]
    controls: list[str]
    calibrated: bool
    figures: list[Markup]


def stages_view(results: Results) -> list[WaysView] | None:
    """None where no model learned several tasks in several stages."""
    if "stages" not in results:
        return None
    return [_ways(results, ways, number) for number, ways in enumerate(results["stages"]["ways"], 1)]


def _ways(results: Results, ways: StagesOfBase, number: int) -> WaysView:
    tasks = {name: results["tasks"][name] for name in ways["tasks"]}
    models, chosen = ways["models"], ways["chosen"]
    found = [entry for task in tasks.values() for entry in _entries(task) if entry["model"] in models]
    anchor = "stages" if number == 1 else f"stages{number}"
    changes = [
        change
        for model in models
        for task in tasks.values()
        if (entry := _entry(task, model)) is not None
        for change in entry["changes"]
    ]
    controls = [kind for kind in CONTROLS if any(change["kind"] == kind for change in changes)]
    return WaysView(
        anchor=anchor,
        base=ways["base"],
        conclusion=ways["conclusion"],
        sentences=ways["verdict"],
        statements=[change["sentence"] for change in changes],
        tasks=[(name, definition(task["primary"]).title) for name, task in tasks.items()],
        matrices=[_matrix(model, tasks, chosen) for model in models],
        remedies=[_remedy(model, tasks, chosen, controls) for model in models],
        controls=[CONTROLS[kind] for kind in controls],
        calibrated=any(row["ece"] is not None for entry in found for row in entry["rows"]),
        figures=[figure for name, task in tasks.items() if (figure := _figure(name, task, models, anchor)) is not None],
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
        return MatrixCell(NOTHING, 0, False, "", "", "", NOTHING, NOTHING, NOTHING)
    percent = definition(task["primary"]).percent
    return MatrixCell(
        value=metric_cell(row["metric"], percent=percent),
        shade=_shade(task, row),
        taught=row["taught"],
        seeds=_seeds(row, percent),
        answers=", ".join(f"{label} {per_cent(share, 0)}" for label, share in row["predicted"].items() if share > 0),
        recall=", ".join(
            f"{label} {'—' if value is None else per_cent(value, 0)}" for label, value in row["recall"].items()
        ),
        log_loss=number_cell(row["log_loss"], decimal),
        ece=number_cell(row["ece"], decimal),
        mass=number_cell(row["label_mass"], decimal),
    )


def _seeds(row: StageValue, percent: bool) -> str:
    """44.1, 45.0, 43.2 (SD 0.9): of several seeds."""
    if len(row["by_seed"]) < 2:
        return ""
    scale, digits = (100, 1) if percent else (1, 3)
    values = (NOTHING.text if value is None else decimal(value * scale, digits) for value in row["by_seed"].values())
    spread = "" if row["sd"] is None else f" (SD {decimal(row['sd'] * scale, digits)})"
    return ", ".join(values) + spread


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


def _remedy(model: str, tasks: Mapping[str, TaskResult], chosen: str | None, controls: Sequence[str]) -> Remedy:
    entries = {name: entry for name, task in tasks.items() if (entry := _entry(task, model)) is not None}
    seconds = [entry["seconds"] for entry in entries.values() if entry["seconds"] is not None]
    return Remedy(
        model=model,
        way=next(iter(entries.values()))["way"],
        chosen=model == chosen,
        tasks=[_kept(tasks[name], entry, controls) for name, entry in entries.items()],
        drifts=[_drift(tasks[name], entry) for name, entry in entries.items()],
        general=_general(next(iter(entries.values()))),
        time=number_cell(seconds[0] if seconds else None, duration),
    )


def _general(entry: StagedModel) -> Cell:
    """61 to 75: of the base, and after the last stage; of that alone, where nobody asked the base."""
    first, last = entry["base_perplexity"], entry["rows"][-1]["perplexity"]
    if last is None:
        return NOTHING
    if first is None:
        return Cell(f"{decimal(last, 1)} at the end", "", repr(last))
    return Cell(f"{decimal(first, 1)} to {decimal(last, 1)}", "", repr(last), f"{first} to {last}")


def _drift(task: TaskResult, entry: StagedModel) -> Drift:
    """The error of calibration of the base, when the task was learned, and at the end."""
    percent = definition(task["primary"]).percent
    scale, digits = (100, 1) if percent else (1, 3)
    lost = number_cell(entry["forgotten"], lambda value: decimal(value * scale, digits))
    last = entry["rows"][-1]["stage"]
    places = {0: "before", entry["learned"]: "when learned", last: "at the end"}
    found = [
        f"{decimal(row['ece'])} {places[row['stage']]}"
        for row in entry["rows"]
        if row["stage"] in places and row["ece"] is not None
    ]
    return Drift(lost, Cell(", ".join(found), "", repr(entry["rows"][-1]["ece"])) if found else NOTHING)


def _kept(task: TaskResult, entry: StagedModel, controls: Sequence[str]) -> Kept:
    percent = definition(task["primary"]).percent
    final = entry["rows"][-1]
    kept = _of_kind(entry, "retention") or _of_kind(entry, "gain")
    by = "" if kept is None else "since it was learned" if kept["kind"] == "retention" else "by its own stage"
    return Kept(
        final=metric_cell(final["metric"], percent=percent),
        changed=_change(kept, percent),
        changed_by=by,
        against=[_change(_of_kind(entry, kind), percent) for kind in controls],
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


def _figure(name: str, task: TaskResult, models: Sequence[str], anchor: str) -> Markup | None:
    lines = [
        Line(model, points)
        for model in models
        if (entry := _entry(task, model)) is not None and (points := _points(entry))
    ]
    if not lines:
        return None
    known = definition(task["primary"])
    return stages_figure(lines, name, known.title, known.percent, f"{anchor}-{name}", _joint(task, models))


def _points(entry: StagedModel) -> list[Point]:
    return [
        Point(row["stage"], value, row["metric"]["low"], row["metric"]["high"])
        for row in entry["rows"]
        if (value := row["metric"]["value"]) is not None
    ]


def _joint(task: TaskResult, models: Sequence[str]) -> float | None:
    """What a model reaches that learned all tasks at once: the value that every difference from it implies."""
    for entry in (entry for entry in _entries(task) if entry["model"] in models):
        found, end = _of_kind(entry, "joint"), entry["rows"][-1]["metric"]["value"]
        if found is not None and found["difference"] is not None and end is not None:
            return end - found["difference"]
    return None
