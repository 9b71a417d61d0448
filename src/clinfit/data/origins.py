"""Where the records of tasks come from, and records that one task tests and another task of the same model teaches."""

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations

from clinfit.data.catalog.entry import CATALOG_PREFIX
from clinfit.data.catalog.sets import entry_of
from clinfit.data.clean import normalised, words_of
from clinfit.data.duplicates import LEAST_WORDS
from clinfit.data.load import TaskData
from clinfit.data.records import Record, in_split
from clinfit.data.values import shown_ids
from clinfit.findings import Finding
from clinfit.study.schema import Study
from clinfit.study.tasks import Task
from clinfit.study.taught import stages_of


def origins_of(tasks: Mapping[str, Task]) -> dict[str, str]:
    """Task -> what stands for its source: the same for tasks that read a file in common, also by way of a third one."""
    origins: dict[str, str] = {}
    holders: dict[str, str] = {}
    for name, task in tasks.items():
        origins[name] = name
        for file in _files(task):
            joined, kept = origins[name], origins[holders.setdefault(file, name)]
            origins = {other: kept if origin == joined else origin for other, origin in origins.items()}
    return origins


def _files(task: Task) -> frozenset[str]:
    """What a task reads: of a set of the catalogue its files, which other sets may be made of too."""
    found: set[str] = set()
    for source in [task.data.path] if task.data.path is not None else (task.data.files or {}).values():
        entry = entry_of(source) if source.startswith(CATALOG_PREFIX) else None
        found |= {os.path.normpath(source)} if entry is None or not entry.files else {file.path for file in entry.files}
    return frozenset(found)


def leaks_between_tasks(study: Study, data: Mapping[str, TaskData]) -> dict[str, list[Finding]]:
    """Task -> findings of test records that are training records of another task that a model learns with it.

    data: of every task; of a cross-validation the first fold is looked at. A record is told by its id or group where
    both tasks read the same rows, and by its normalised texts in all: all text inputs together, or any that is long.
    """
    teachers: dict[tuple[str, str], list[str]] = {}
    for spec in study.models:
        if not spec.neural or spec.prompting:  # others learn each task by itself, or none
            continue
        learned = {name for stage in stages_of(study, spec) for name in stage.learned}
        for pair in permutations([name for name in study.tasks if name in learned], 2):
            teachers.setdefault(pair, []).append(spec.name)
    folds = study.folds
    records = {
        name: (data[name].of(folds[0]) if folds else data[name]).records for name in {n for p in teachers for n in p}
    }
    texts = {name: [_texts(study.tasks[name], record) for record in found] for name, found in records.items()}
    findings: dict[str, list[Finding]] = {}
    for (tested, taught), models in teachers.items():
        findings.setdefault(tested, []).extend(_between(study, tested, taught, models, records, texts))
    return findings


def _between(
    study: Study,
    tested: str,
    taught: str,
    models: Sequence[str],
    records: Mapping[str, Sequence[Record]],
    texts: Mapping[str, Sequence[frozenset[str]]],
) -> Iterator[Finding]:
    one, other = study.tasks[tested], study.tasks[taught]
    known_texts = frozenset[str]().union(
        *(own for record, own in zip(records[taught], texts[taught], strict=True) if record.split == "train")
    )
    train = in_split(records[taught], "train")
    rows = _same_rows(one, other)
    ids = {record.id for record in train} if rows and one.data.id == other.data.id else set[str]()
    groups = {record.group for record in train} if rows and _groups_alike(one, other) else set[str]()
    tests = [
        (record, own) for record, own in zip(records[tested], texts[tested], strict=True) if record.split == "test"
    ]
    by_key = {record.id for record, _ in tests if record.id in ids or record.group in groups}
    by_text = {record.id for record, own in tests if own & known_texts}
    if not by_key | by_text:
        return
    leaked = [record.id for record, _ in tests if record.id in by_key | by_text]
    where = " of the first fold" if study.folds else ""
    yield Finding(
        "warn",
        "leak-between-tasks",
        f"{len(leaked)} of {len(tests)} test records{where} are training records of task {taught}, which "
        f"{', '.join(models)} also learn{'s' if len(models) == 1 else ''}",
        f"by id or group {len(by_key)}, by text {len(by_text)}; {shown_ids(leaked)}",
        "figures on them may be too good: divide both tasks alike, by one column or one group",
    )


def _same_rows(one: Task, other: Task) -> bool:
    """Whether ids mean the same in both: one file, or sets of the catalogue that are made of the same files."""
    return one.data.path is not None and other.data.path is not None and _files(one) == _files(other)


def _groups_alike(one: Task, other: Task) -> bool:
    return one.data.group is not None and one.data.group == other.data.group


def _texts(task: Task, record: Record) -> frozenset[str]:
    """What a record is told by: its text inputs together, and each that is long; normalised, nothing of a table."""
    values = [value for name in task.text_inputs if isinstance(value := record.inputs[name], str)]
    long = [value for value in values if len(words_of(value)) >= LEAST_WORDS]
    return frozenset(text for value in {" ".join(values), *long} if (text := normalised(value)))
