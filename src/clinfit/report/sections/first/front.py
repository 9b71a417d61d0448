"""The first pages of a task, which a clinician may print and stop at: the verdict, the warnings that matter and what to
do next; the main table, and three figures of the model. Everything else is appendix.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from clinfit.evaluation.results import TaskResult
from clinfit.findings import FindingDict
from clinfit.report.figures.counts import counts_figure
from clinfit.report.figures.risk_coverage import risk_coverage_figure
from clinfit.report.figures.svg import FRONT
from clinfit.report.format import Cell, decimal
from clinfit.report.glossary import BRIEFLY, definition
from clinfit.report.kinds import asked, kind_of
from clinfit.report.section import section
from clinfit.report.sections.answers.labels import f1_figure
from clinfit.report.sections.first.next_steps import Step, next_steps
from clinfit.report.sections.first.verdict import VerdictView, findings, scope, tested, verdict_view, where
from clinfit.report.sections.performance import panels
from clinfit.report.sections.subject import Subject
from clinfit.report.sections.systems.systems import forest
from clinfit.report.tables import Column, SystemRow, columns_named, system_rows, the_model

#: Rows of the main table and warnings that a page has room for; figures that stand in a row.
MOST_ROWS, MOST_WARNINGS, FIGURES = 8, 6, 3
#: A confusion matrix with more labels is no figure for a page.
MOST_LABELS = 8


@dataclass(frozen=True)
class Warnings:
    """What stands on the first page: all errors, and warnings about the data or the model. others: how many more
    findings the appendix has."""

    shown: list[FindingDict]
    others: int


@dataclass(frozen=True)
class MainTable:
    """briefly: what the columns mean, in a few words. left_out: systems that only the appendix has."""

    where: str
    scope: str
    columns: list[Column]
    rows: list[SystemRow]
    briefly: list[tuple[str, str]]
    left_out: int
    unreliable: bool


@dataclass(frozen=True)
class Front:
    """asked: what is asked of a record. model: its name, '' where none was chosen."""

    name: str
    anchor: str
    confidence: str
    asked: str
    model: str
    box: VerdictView
    warnings: Warnings
    steps: list[Step]
    table: MainTable
    figures: list[panels.Shown]


def front(subject: Subject) -> Front:
    task = subject.task
    model = the_model(task)
    return Front(
        subject.name,
        subject.anchor,
        f"{subject.confidence:.0%}",
        asked(task),
        "" if model is None else model["name"],
        verdict_view(subject),
        warnings(task),
        next_steps(subject),
        main_table(subject),
        figures(subject),
    )


def warnings(task: TaskResult) -> Warnings:
    """Errors first, then warnings about the data and about the model; those about others are for the appendix."""
    model = the_model(task)
    about = (None, None if model is None else model["name"])
    errors, all_warnings = findings(task, "error"), findings(task, "warn")
    mattering = sorted((f for f in all_warnings if f["system"] in about), key=lambda f: f["system"] is not None)
    shown = [*errors, *mattering[: max(0, MOST_WARNINGS - len(errors))]]
    return Warnings(shown, len(errors) + len(all_warnings) - len(shown))


# ---------------------------------------------------------------- main table


def main_table(subject: Subject) -> MainTable:
    """Every system where there is room; else the model, the baseline, means over seeds and the best of the others."""
    task = subject.task
    columns = columns_named(task, kind_of(task).front(task))
    if not any(system["unparsed"] for system in task["systems"] if system["trained"]):
        columns = [column for column in columns if column.key != "unparsed"]
    rows = [_without_reasons(row) for row in system_rows(task, columns, subject.failures)]
    shown = rows if len(rows) <= MOST_ROWS else _most_telling(rows)
    return MainTable(
        where(task),
        scope(task),
        columns,
        shown,
        [(column.title, BRIEFLY[column.key]) for column in columns if column.key in BRIEFLY],
        len(rows) - len(shown),
        any(cell.text.endswith("*") for row in shown for cell in row.cells),
    )


def _without_reasons(row: SystemRow) -> SystemRow:
    """Why a number is missing is left to the note of its cell and to the appendix."""
    cells = [Cell(cell.text, note=cell.interval or cell.note) if cell.empty else cell for cell in row.cells]
    return replace(row, cells=cells)


def _most_telling(rows: Sequence[SystemRow]) -> list[SystemRow]:
    """As many as there is room for, in the order of the table."""
    ranked = sorted(
        range(len(rows)), key=lambda k: (not rows[k].model, not rows[k].best_simple, not rows[k].instead, k)
    )
    return [rows[k] for k in sorted(ranked[:MOST_ROWS])]


# ---------------------------------------------------------------- figures


def figures(subject: Subject) -> list[panels.Shown]:
    """Three of the model: what can be drawn of it, in the order of what a reader needs first."""
    task = subject.task
    if task["withheld"] or the_model(task) is None:
        return []
    return [shown for make in (binary, counts, labels, coverage, against_others) for shown in make(subject)][:FIGURES]


def binary(subject: Subject) -> list[panels.Shown]:
    """ROC, calibration and decision curve of the model alone."""
    task, anchor, event = subject.task, subject.anchor, subject.task["positive"]
    model = the_model(task)
    drawn = [curves for curves in panels.drawn_systems(task)[:1] if curves.system is model]
    if event is None or not drawn:
        return []
    return [
        replace(
            panels.roc(drawn, f"{anchor}-front-roc", FRONT),
            caption="The dot marks where it decides, the dashed diagonal is chance. In the legend the area.",
        ),
        replace(
            panels.calibration(drawn[0], event, subject.confidence, f"{anchor}-front-cal", FRONT),
            caption="On the dashed line risks are right; below it they are too high, above it too low.",
        ),
        replace(
            panels.decision(
                drawn, subject.decision_range, event, subject.confidence, f"{anchor}-front-decision", FRONT
            ),
            caption="Worth using where its curve is above grey and black. "
            + panels.avoided_sentence(drawn[0], subject.decision_range),
        ),
    ]


def counts(subject: Subject) -> list[panels.Shown]:
    """How many records of each label got each answer; the column of unparsed answers only where there are such."""
    model = the_model(subject.task)
    confusion = None if model is None else section(model, "confusion")
    if model is None or confusion is None or len(confusion["rows"]) > MOST_LABELS:
        return []
    last = None if model["unparsed"] else -1
    lines = [line[:last] for line in confusion["counts"]]
    figure = counts_figure(
        model["name"], confusion["rows"], confusion["columns"][:last], lines, f"{subject.anchor}-front-counts"
    )
    counted = tested(subject.task)
    told = f"{counted[0].upper()}{counted[1:]}, by truth (rows) and answer (columns)"
    return [panels.Shown(figure, f"{told}. Blue is right, orange is wrong.")]


def labels(subject: Subject) -> list[panels.Shown]:
    """F1 of each label, of a task in which any number of labels may hold."""
    model = the_model(subject.task)
    if model is None or not section(model, "classes") or section(model, "confusion"):
        return []
    figure = f1_figure([model], subject.confidence, f"{subject.anchor}-front-f1", MOST_LABELS)
    which = "each label" if len(section(model, "classes")) <= MOST_LABELS else f"the {MOST_LABELS} commonest labels"
    return [panels.Shown(figure, f"F1 of {which} ({BRIEFLY['f1']}); in brackets the test records that have it.")]


def coverage(subject: Subject) -> list[panels.Shown]:
    model = the_model(subject.task)
    selective = None if model is None else section(model, "selective")
    if model is None or selective is None:
        return []
    curve = panels.figures.Curve(f"{model['name']}: area {decimal(selective['aurc'])}", selective["risk_coverage"])
    figure = risk_coverage_figure([curve], f"{subject.anchor}-front-coverage", FRONT)
    caption = "How often it is wrong when it answers only the records of which it is surest: low on the left is good."
    return [panels.Shown(figure, caption)]


def against_others(subject: Subject) -> list[panels.Shown]:
    figure = forest(subject.task, subject.confidence, f"{subject.anchor}-front-forest", width=FRONT[0])
    if figure is None:
        return []
    title = definition(subject.task["primary"]).title
    chance = " The dashed line is an even guess." if section(subject.task, "chance") else ""
    return [panels.Shown(figure, f"{title} of every system with its interval; hollow: simple baselines.{chance}")]
