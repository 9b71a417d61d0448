"""What each system answers where: confusion matrices, natural frequencies, and each label against the rest."""

from collections.abc import Mapping
from dataclasses import dataclass

from clinfit.evaluation.results import TaskResult
from clinfit.evaluation.system_results import Confusion, SystemResult
from clinfit.report.format import count, per_cent
from clinfit.report.glossary import definition
from clinfit.report.section import section
from clinfit.report.sections.answers.per_hundred import PerHundred, per_hundred, prevalence_table
from clinfit.report.sections.subject import Subject
from clinfit.report.tables import Grid, cell_of, number_cell, rule_in_force


@dataclass(frozen=True)
class Share:
    """A cell of a confusion matrix. tint: opacity of its shading; wrong answers have another colour."""

    count: str
    share: str
    tint: float
    right: bool


@dataclass(frozen=True)
class Matrix:
    name: str
    hint: str
    columns: list[str]
    rows: list[tuple[str, list[Share]]]


@dataclass(frozen=True)
class ConfusionView:
    """layout: how many stand beside each other, a class of the page. labels: each label against the rest; open: whether
    they are seen at once. per_hundred, prevalences: of a binary task only."""

    matrices: list[Matrix]
    layout: str
    labels: list[Grid]
    open: bool
    per_hundred: Mapping[str, PerHundred]
    prevalences: Grid | None


def confusion_view(subject: Subject) -> ConfusionView | None:
    """None where no system has a confusion matrix: any number of labels may be right at once."""
    task = subject.task
    systems = [system for system in task["systems"] if section(system, "confusion") is not None]
    if not systems:
        return None
    return ConfusionView(
        [matrix(system) for system in systems],
        _layout(systems[0]),
        _labels(task),
        len(task["labels"]) > 2 and not any(section(system, "positions") for system in systems),
        per_hundred(task),
        prevalence_table(task, subject.confidence),
    )


def _layout(system: SystemResult) -> str:
    """As many in a row as the names of the columns leave room for."""
    columns: list[str] = section(system, "confusion")["columns"]
    if len(columns) <= 4:
        return ""
    return "paired" if sum(max(len(name), 6) for name in columns) <= 48 else "broad"


def _labels(task: TaskResult) -> list[Grid]:
    if task["withheld"]:
        return []
    return [label_table(system) for system in task["systems"] if section(system, "classes")]


def matrix(system: SystemResult) -> Matrix:
    """Counts and per cent of each row; the last column is what could not be read as a label."""
    confusion: Confusion = section(system, "confusion")
    threshold = section(system, "threshold")
    rule = "" if threshold is None else rule_in_force(system)
    rows = []
    for label, counts in zip(confusion["rows"], confusion["counts"], strict=True):
        total = sum(counts)
        shares = [value / total if total else 0.0 for value in counts]
        cells = [
            Share(count(value), per_cent(share, 0) if total else "—", 0.4 * share, column == label)
            for value, share, column in zip(counts, shares, confusion["columns"], strict=True)
        ]
        rows.append((label, cells))
    return Matrix(system["name"], rule, confusion["columns"], rows)


def label_table(system: SystemResult) -> Grid:
    """Each label against the rest: support, how often it was answered, precision, recall, F1 and AUROC."""
    names = list(section(system, "classes")[0]["metrics"])
    rows = [
        (
            entry["label"],
            [
                number_cell(entry["support"]),
                number_cell(entry["predicted"]),
                *(cell_of(system, name, entry["label"]) for name in names),
            ],
        )
        for entry in section(system, "classes")
    ]
    heads = ["F1" if name == "f1" else definition(name).title for name in names]
    return Grid(system["name"], ["Label", "Records", "Answered", *heads], rows)
