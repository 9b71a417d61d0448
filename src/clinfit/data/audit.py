"""What is suspicious about a task's records, before anything is trained on them.

Errors withhold headline figures, warnings stand on the report's first page. Evidence is counts and record ids, never
text.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from statistics import median

from clinfit.data.duplicates import Duplicates, find_duplicates, leaked_ids
from clinfit.data.load import TaskData
from clinfit.data.records import SPLITS, Record, in_split
from clinfit.data.splits import groups_that_straddle
from clinfit.data.values import shown_ids
from clinfit.findings import Finding
from clinfit.study import Task

#: Fewer test records of a label than this make every interval wide (Collins, Ogundimu and Altman, 2016: at least 100
#: events and 100 non-events to validate a model).
LEAST_EVENTS = 100

#: A label with less than this share of an even division is scarce; one with less than RARE of all records is rare.
SCARCE, RARE = 0.5, 0.05

#: A text of more words than this, and of LONG_RATIO medians, is likely to be several documents or a broken file.
LONG_WORDS, LONG_RATIO = 5_000, 20

#: A label that stands in this share of its own records' texts, and rarely elsewhere, may be given away by them.
LABEL_WORD_SHARE = 0.05

#: Share of missing values from which an input is worth a warning.
MUCH_MISSING = 0.3


def audit(task: Task, data: TaskData, duplicates: Duplicates | None = None) -> list[Finding]:
    """All findings about the records, errors first. duplicates: as `find_duplicates` gives them, where known."""
    records = data.records
    duplicates = duplicates or find_duplicates(records)
    found = [
        *_group_leakage(records),
        *_label_support(task, records),
        *_cross_split(records, duplicates),
        *_conflicting_labels(records, duplicates),
        *_within_split(records, duplicates),
        *_coarse_inputs(records, duplicates),
        *_small_test(task, records),
        *_imbalance(task, records),
        *_missing(task, records),
        *_text_lengths(task, records),
        *_repeated_columns(data),
        *_label_words(task, records),
    ]
    return sorted(found, key=lambda finding: ("error", "warn", "info").index(finding.level))


def _text_inputs(task: Task) -> list[str]:
    return [name for name, column in task.data.columns.items() if column.type == "text"]


# ---------------------------------------------------------------- leakage and duplicates


def _group_leakage(records: Sequence[Record]) -> Iterator[Finding]:
    straddling = groups_that_straddle([r.group for r in records], [r.split for r in records])
    if straddling:
        groups = set(straddling)
        affected = [record.id for record in records if record.group in groups]
        yield Finding(
            "error",
            "group-leakage",
            f"{len(straddling)} groups have records in more than one split",
            f"{len(affected)} records, such as {shown_ids(affected)}",
            "divide by ratio with `group`, or put each group into one split of the file",
        )


def _cross_split(records: Sequence[Record], duplicates: Duplicates) -> Iterator[Finding]:
    leaked = leaked_ids(records, duplicates)
    tests = len(in_split(records, "test"))
    near = [first + second for first, second in duplicates.near]
    for code, what, groups in (
        ("duplicates-across-splits", "the same", duplicates.exact),
        ("near-duplicates-across-splits", "nearly the same", near),
    ):
        crossing = [group for group in groups if len({records[at].split for at in group}) > 1]
        if not crossing:
            continue
        ids = _ids(records, crossing)
        between = Counter(
            f"{one} and {other}"
            for group in crossing
            for one, other in combinations(SPLITS, 2)
            if {one, other} <= {records[at].split for at in group}
        )
        where = ", ".join(f"{count} between {pair}" for pair, count in between.most_common())
        yield Finding(
            "warn",
            code,
            f"{len(ids)} records in different splits are {what}",
            f"{where}; {shown_ids(ids)}; in all, {len(leaked)} of {tests} test records repeat a training record",
            "read the figures without these records too; `clean: {drop_duplicates: true}` removes what is the same, a "
            "`group` column keeps together what belongs together",
        )


def _conflicting_labels(records: Sequence[Record], duplicates: Duplicates) -> Iterator[Finding]:
    conflicting = [group for group in duplicates.exact if len({records[at].target for at in group}) > 1]
    if conflicting:
        ids = _ids(records, conflicting)
        yield Finding(
            "warn",
            "conflicting-labels",
            f"{len(conflicting)} inputs stand in the data more than once with different labels",
            f"{len(ids)} records; {shown_ids(ids)}",
            "no model can be right on all of them: settle their labels, or take the task as one with several labels",
        )


def _within_split(records: Sequence[Record], duplicates: Duplicates) -> Iterator[Finding]:
    for code, what, groups in (
        ("duplicates", "the same inputs as another record", duplicates.exact),
        ("near-duplicates", "nearly the same text as another record", [a + b for a, b in duplicates.near]),
    ):
        within = [
            part
            for group in groups
            for split in SPLITS
            if len(part := [at for at in group if records[at].split == split]) > 1
        ]
        if within:
            ids = _ids(records, within)
            yield Finding(
                "info",
                code,
                f"{len(ids)} records have {what} of their split",
                shown_ids(ids),
                "repeated records weigh more than once in training and in the figures",
            )


def _coarse_inputs(records: Sequence[Record], duplicates: Duplicates) -> Iterator[Finding]:
    if duplicates.combinations is not None:
        yield Finding(
            "info",
            "coarse-inputs",
            f"the inputs can tell only {duplicates.combinations} records apart",
            f"{len(records)} records; repeats are unavoidable and were not looked for",
            "more inputs, or finer ones, may help every model",
        )


def _ids(records: Sequence[Record], groups: Iterable[list[int]]) -> list[str]:
    """The ids of all records in the groups, in the order of the records."""
    return [records[at].id for at in sorted({at for group in groups for at in group})]


# ---------------------------------------------------------------- labels


def _label_support(task: Task, records: Sequence[Record]) -> Iterator[Finding]:
    for split in SPLITS:
        counts = _label_counts(task, in_split(records, split))
        present = [label for label, count in counts.items() if count]
        absent = [label for label, count in counts.items() if not count]
        if not present or not absent:
            continue
        evidence = f"{', '.join(map(repr, absent))} has none of {sum(counts.values())} records"
        if len(present) == 1:
            yield Finding(
                "error" if split == "test" else "warn",
                f"one-class-{split}",
                f"all records of the {split} split have the label {present[0]!r}",
                evidence,
                "most metrics are undefined on one class: divide again with stratify: true, or add records",
            )
        else:
            yield Finding(
                "warn",
                f"label-missing-in-{split}",
                f"{len(absent)} of {len(counts)} labels have no record in the {split} split",
                evidence,
                "figures of these labels are undefined: divide again with stratify: true, or add records",
            )


def _small_test(task: Task, records: Sequence[Record]) -> Iterator[Finding]:
    counts = _label_counts(task, in_split(records, "test"))
    few = {label: count for label, count in counts.items() if 0 < count < LEAST_EVENTS}
    if few:
        yield Finding(
            "warn",
            "small-test",
            f"the test split has fewer than {LEAST_EVENTS} records of {len(few)} of {len(counts)} labels",
            ", ".join(f"{label} {count}" for label, count in few.items()),
            "intervals will be wide: read them before the figures, and add test records where you can",
        )


def _imbalance(task: Task, records: Sequence[Record]) -> Iterator[Finding]:
    counts = _label_counts(task, in_split(records, "train"))
    total = max(1, sum(counts.values()))
    rare = {label: count for label, count in counts.items() if count / total < SCARCE / len(counts)}
    if rare:
        level = "warn" if min(rare.values()) / total < RARE else "info"
        majority = max(counts.values()) / total
        yield Finding(
            level,
            "imbalance",
            f"labels are unbalanced: always answering {max(counts, key=counts.__getitem__)!r} is right in "
            f"{majority:.1%} of the training records",
            ", ".join(f"{label} {count} ({count / total:.1%})" for label, count in counts.items()),
            "judge by balanced accuracy, AUROC or AUPRC; class_weights: balanced or sampling may help",
        )


def _label_counts(task: Task, records: Sequence[Record]) -> dict[str, int]:
    counts = Counter(record.target for record in records)
    return {label: counts[label] for label in task.labels}


def _label_words(task: Task, records: Sequence[Record]) -> Iterator[Finding]:
    """Labels whose own name stands in the text of their records more than twice as often as in other records."""
    texts = _text_inputs(task)
    joined = [" ".join(str(r.inputs[name]) for name in texts if r.inputs[name] is not None).casefold() for r in records]
    for label in task.labels:
        folded = label.casefold()
        word = re.compile(rf"(?<!\w){re.escape(folded)}(?!\w)")
        holds = [folded in text and word.search(text) is not None for text in joined]
        own = [held for held, record in zip(holds, records, strict=True) if record.target == label]
        other = [held for held, record in zip(holds, records, strict=True) if record.target != label]
        share, elsewhere = sum(own) / max(1, len(own)), sum(other) / max(1, len(other))
        if share >= LABEL_WORD_SHARE and share > 2 * elsewhere:
            yield Finding(
                "info",
                "label-in-text",
                f"the label {label!r} stands literally in {share:.0%} of the texts that have it",
                f"{sum(own)} of {len(own)} records; in other records {sum(other)} of {len(other)}",
                "compare with a keyword baseline: a model may only look for the word",
            )


# ---------------------------------------------------------------- inputs


def _missing(task: Task, records: Sequence[Record]) -> Iterator[Finding]:
    counts = {name: sum(record.inputs[name] is None for record in records) for name in task.data.columns}
    some = {name: count for name, count in counts.items() if count}
    empty = [record.id for record in records if all(value is None for value in record.inputs.values())]
    if some:
        yield Finding(
            "warn" if max(some.values()) >= MUCH_MISSING * len(records) else "info",
            "missing-values",
            f"{len(some)} of {len(counts)} inputs have missing values",
            ", ".join(f"{name} {count} ({count / len(records):.1%})" for name, count in some.items()),
            "prompts say that the value is unknown; classical models fill it in and say so",
        )
    if empty:
        yield Finding(
            "warn",
            "empty-records",
            f"{len(empty)} records have no input at all",
            shown_ids(empty),
            "clean: {drop_missing: [...]} drops them, and counts them",
        )


def _text_lengths(task: Task, records: Sequence[Record]) -> Iterator[Finding]:
    for name in _text_inputs(task):
        words = {r.id: len(text.split()) for r in records if isinstance(text := r.inputs[name], str)}
        typical = median(words.values()) if words else 0
        long = [record for record, count in words.items() if count > max(LONG_WORDS, LONG_RATIO * typical)]
        if long:
            yield Finding(
                "warn",
                "very-long-texts",
                f"{len(long)} texts of {name} have more than {max(LONG_WORDS, LONG_RATIO * typical):,.0f} words",
                f"median {typical:,.0f}, longest {max(words.values()):,}; {shown_ids(long)}",
                "check these records: several documents in one cell, or a quote that is not closed",
            )


def _repeated_columns(data: TaskData) -> Iterator[Finding]:
    for column, distinct in data.notes.repeated_columns.items():
        yield Finding(
            "warn",
            "group-not-declared",
            f"column {column!r} repeats: {data.notes.rows} rows, {distinct} values, and no `group` is declared",
            f"{data.notes.rows / distinct:.1f} rows a value",
            f"if it names a patient or a document, write group: {column}, so that none is in two splits",
        )
