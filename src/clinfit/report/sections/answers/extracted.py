"""Answers of which declared fields are asked: how many are valid, what is wrong with the others, and each field."""

from collections.abc import Sequence
from dataclasses import dataclass

from clinfit.data.fields import FAULTS
from clinfit.evaluation.system_results import ExtractedDict, FieldResult, SystemResult
from clinfit.report.format import NOTHING, Cell, count, metric_cell
from clinfit.report.glossary import definition
from clinfit.report.section import section
from clinfit.report.sections.answers.texts import of_all, spread
from clinfit.report.sections.subject import Subject
from clinfit.report.tables import Grid, Plain, by_rank, model_first

#: Metrics of each field, in the order of the table.
SHOWN = ("accuracy", "precision", "recall", "f1")
TITLES = {"accuracy": "Right", "f1": "F1"}


@dataclass(frozen=True)
class ExtractedView:
    """counts: a row a system. first: the fields of the model. others: those of the other systems."""

    counts: Plain
    first: Grid
    others: list[Grid]


def extracted_view(subject: Subject) -> ExtractedView | None:
    """None for tasks that declare no fields."""
    found = [(system, section(system, "extracted")) for system in model_first(subject.task)]
    tables = [field_table(system["name"], each["fields"]) for system, each in found if each]
    if not tables:
        return None
    ranked = [(system, each) for system in by_rank(subject.task) if (each := section(system, "extracted"))]
    return ExtractedView(counts_table(ranked), tables[0], tables[1:])


def counts_table(found: Sequence[tuple[SystemResult, ExtractedDict]]) -> Plain:
    """A row a system: how many answers are valid, and what is wrong with the others."""
    rows = [
        [
            system["name"],
            count(each["n"]),
            of_all(each["valid"], each["n"]),
            *(of_all(each["faults"][fault], each["n"]) for fault in FAULTS),
            of_all(each["cut_off"], each["n"]),
            spread(each["tokens"], 0),
        ]
        for system, each in found
    ]
    hint = (
        "An answer that is no object of the declared fields is never put right and is wrong in every figure. It may "
        "have several faults. Cut off: ended at the limit of tokens. Tokens: median (quartiles; lowest to highest)."
    )
    faults = [definition(fault).title for fault in FAULTS]
    return Plain(
        "Are the answers valid?", hint, ["System", "Answers", "Valid", *faults, "Cut off", "Tokens written"], rows
    )


def field_table(name: str, fields: Sequence[FieldResult]) -> Grid:
    """A row a field."""
    heads = [TITLES.get(metric, definition(metric).title) for metric in SHOWN]
    return Grid(
        name,
        ["Field", "Type", "Values in the references", "Values given", *heads],
        [
            (
                field["field"],
                [
                    Cell(field["type"]),
                    Cell(count(field["true"])),
                    Cell(count(field["given"])),
                    *(_cell(field, metric) for metric in SHOWN),
                ],
            )
            for field in fields
        ],
    )


def _cell(field: FieldResult, metric: str) -> Cell:
    """Why a number is missing is left to the note."""
    cell = metric_cell(field["metrics"].get(metric), percent=definition(metric).percent)
    return Cell(NOTHING.text, note=cell.interval) if cell.empty else cell
