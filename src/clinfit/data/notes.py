"""What reading noticed on the way, and what the columns of a file say beside the inputs: counts, and no cells."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from clinfit.data.catalog.entry import SetNote
from clinfit.data.records import Target
from clinfit.data.split_checks import label_drift
from clinfit.data.splits import dates
from clinfit.data.targets import labels_to_learn
from clinfit.data.values import NUMBER, as_category, cells_of
from clinfit.study.data import Data
from clinfit.study.tasks import Task

#: Columns called so are likely to name what a record is about; see `DataNotes.repeated_columns`.
SUBJECT_COLUMN = re.compile(
    r"patient|subject(?!_?(name|area))|person|participant|\bmrn\b|pmid|document|_?doc_?id|hadm|case_?(id|no)", re.I
)

#: As inputs only those are named that can hardly be anything else: not `patient_age`.
SUBJECT_ID = re.compile(
    r"(patient|subject|person|participant|document|doc|case|hadm)[_ ]?(id|no|nr|num|number)|patient|subject|mrn|pmid",
    re.I,
)


@dataclass(frozen=True)
class DataNotes:
    """What reading did, in counts.

    rows: rows read (after `limit`). dropped: reason -> records. changed: cleaning step -> records.
    repeated_columns: columns named like a patient or document that were not declared as `group`, and in which values
    repeat: column -> number of distinct values. same_numbers: input -> categories that the file writes in several ways
    as one number with decimals. other_sheets: file -> its sheets that were not read, where the study names none. drift:
    column of dates -> labels whose shares change with it, where the records are divided by ratio. sets: those of the
    catalogue that were read.
    """

    rows: int
    dropped: dict[str, int] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)
    repeated_columns: dict[str, int] = field(default_factory=dict)
    same_numbers: dict[str, int] = field(default_factory=dict)
    other_sheets: dict[str, list[str]] = field(default_factory=dict)
    drift: dict[str, list[str]] = field(default_factory=dict)
    sets: list[SetNote] = field(default_factory=list)


def repeated_columns(rows: pd.DataFrame, data: Data) -> dict[str, int]:
    """Columns that may name a patient and repeat -> different values, where the study declares no group."""
    if data.group is not None:
        return {}
    used = {column.column for column in data.columns.values()}
    found = {}
    for name in (str(name) for name in rows.columns):
        if SUBJECT_COLUMN.search(name) and (name not in used or SUBJECT_ID.fullmatch(name)):
            distinct = len(set(rows[name].astype(str)))
            if 1 < distinct < len(rows):
                found[name] = distinct
    return found


def drift(rows: pd.DataFrame, task: Task, targets: Sequence[Target]) -> dict[str, list[str]]:
    """Column of dates, whether a model sees it or not -> labels that change with it (see `label_drift`)."""
    rule = task.data.split
    if task.data.files is not None or rule.column is not None or rule.by is not None:
        return {}
    found = {}
    for name in (str(name) for name in rows.columns):
        times = dates(cells_of(rows[name]))
        if times is not None and (told := label_drift(times, targets, labels_to_learn(task))):
            found[name] = told
    return found


def same_numbers(rows: pd.DataFrame, data: Data) -> dict[str, int]:
    """Input -> how many of its categories the file writes in several ways as one number, such as 1.1 and 1.10."""
    found = {}
    for name, column in data.columns.items():
        if column.type == "category":
            written = {cell.strip() for cell in cells_of(rows[column.column]) if isinstance(cell, str) and "." in cell}
            forms = Counter(form for text in written if "." in (form := as_category(text) or ""))
            if several := sum(times > 1 for form, times in forms.items() if NUMBER.fullmatch(form)):
                found[name] = several
    return found
