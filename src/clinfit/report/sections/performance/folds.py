"""A cross-validation for the report: how the records were divided, and what each fold gave."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from clinfit.evaluation.results import CrossValidation
from clinfit.report.format import count, decimal, per_cent
from clinfit.report.glossary import definition
from clinfit.report.section import section
from clinfit.report.sections.subject import Subject
from clinfit.report.tables import Plain, by_rank


@dataclass(frozen=True)
class FoldsView:
    """labels: whether labels are asked for, so that something is decided. sizes: records of each fold. values: the
    primary metric of each system in each fold, None where numbers are withheld."""

    words: str
    labels: bool
    sizes: Plain
    values: Plain | None


def folds_view(subject: Subject) -> FoldsView | None:
    """None in a study that divides once."""
    divided: CrossValidation | None = section(subject.task, "cross_validation")
    if divided is None:
        return None
    rows = [[_fold(row), *(count(row[split]) for split in ("train", "validation", "test"))] for row in divided["sizes"]]
    sizes = Plain("Records of each fold", "", ["Fold", "Train", "Validation", "Test"], rows)
    labels = subject.task["kind"] not in ("generation", "extraction")
    return FoldsView(divided["words"], labels, sizes, _values(subject, divided))


def _fold(row: Mapping[str, Any]) -> str:
    return f"repeat {row['repeat']}, fold {row['fold']}"


def _values(subject: Subject, divided: CrossValidation) -> Plain | None:
    task, known = subject.task, definition(subject.task["primary"])
    shown = per_cent if known.percent else decimal
    systems = {system["name"]: found for system in by_rank(task) if (found := section(system, "folds")) is not None}
    if not systems:
        return None
    columns = [[row["primary"] for row in found] for found in systems.values()]
    rows = [
        [_fold(row), *("—" if values[at] is None else shown(values[at]) for values in columns)]
        for at, row in enumerate(divided["sizes"])
    ]
    for name, summary in (("mean", fmean), ("standard deviation", stdev)):
        known_values = [[value for value in values if value is not None] for values in columns]
        rows.append([name, *(shown(summary(values)) if len(values) > 1 else "—" for values in known_values)])
    hint = (
        "The folds share training records, so that this standard deviation over the square root of their number is no "
        "standard error."
    )
    return Plain(f"{known.title} of each fold", hint, ["Fold", *systems], rows)
