"""What is suspicious about a task's records, before anything is trained on them.

Errors withhold headline figures, warnings stand on the report's first page. Evidence is counts and record ids, never
text.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import replace
from itertools import combinations
from statistics import median

from clinfit.data.catalog.findings import set_findings
from clinfit.data.clean import normalised
from clinfit.data.declared import impossible_words, range_words
from clinfit.data.deidentify import Kind, count_identifiers
from clinfit.data.duplicates import Duplicates, find_duplicates, leaked_ids
from clinfit.data.giveaways import giveaways
from clinfit.data.input_checks import input_findings
from clinfit.data.label_checks import label_findings
from clinfit.data.load import TaskData
from clinfit.data.records import SPLITS, Record, holds_nothing, in_split
from clinfit.data.split_checks import split_findings
from clinfit.data.splits import groups_that_straddle
from clinfit.data.values import SMALL_CELL, shown_ids
from clinfit.findings import Finding
from clinfit.study.data import SYNTHETIC
from clinfit.study.quick import QUICK
from clinfit.study.tasks import Generation, Task

#: A text of more words than this, and of LONG_RATIO medians, is likely to be several documents or a broken file.
LONG_WORDS, LONG_RATIO = 5_000, 20

#: What to do about a quick run.
WHOLE = "run the study without --quick before anything is concluded"

#: What else conflicting labels may mean, by kind of task.
ALTERNATIVES = {"classification": ", or ask for several labels: kind: multilabel"}

#: Share of test records that repeat another one from which the test split is smaller than it looks.
REPEATED_TESTS = 0.1

#: Words in a row that a prompt and a record share only if the one was written with the other in view.
PROMPT_WORDS = 12

#: Records that are looked at for identifiers, spread over all of them; share of these with more than dates that warns.
IDENTIFIED_RECORDS, IDENTIFIED = 5_000, 0.05
#: What the targets of texts are called beside the inputs.
REFERENCES = "the references"

#: Findings about the one test split; in a cross-validation all records are tested, and evaluation tells of them.
OF_ONE_TEST_SPLIT = {"small-test", "one-class-test", "label-missing-in-test", "validation-test-prevalence"}

#: Share of missing values from which an input is worth a warning.
MUCH_MISSING = 0.3
#: Share of an input's values outside its declared range above which the range or the unit is doubted.
MANY_IMPOSSIBLE = 0.05


def audit(task: Task, data: TaskData, duplicates: Duplicates | None = None) -> list[Finding]:
    """All findings about the records, errors first. duplicates: as `find_duplicates` gives them, where known.

    Of a cross-validation what is said of records is said once, of all of them; of the divisions of the first repeat
    each kind of finding once, the worst, with the number of folds it is found in.
    """
    duplicates = duplicates or find_duplicates(data.records)
    if not data.folds:
        found = [*_of_division(task, data.records, duplicates), *label_findings(task, data.records)]
        return _worst_first([*found, *_of_records(task, data, duplicates)])
    # Every record is one to learn from, and none is one of a single test split.
    learned = [replace(record, split="train") for record in data.records]
    found = [*label_findings(task, learned), *_of_records(task, data, duplicates)]
    return _worst_first([*found, *_of_folds(task, data, duplicates, {finding.code for finding in found})])


def _of_division(task: Task, records: Sequence[Record], duplicates: Duplicates) -> Iterator[Finding]:
    """What depends on how the records are divided."""
    yield from _group_leakage(records)
    yield from _no_validation(records)
    yield from split_findings(task, records)
    yield from _cross_split(records, duplicates)


def _of_folds(task: Task, data: TaskData, duplicates: Duplicates, known: Set[str]) -> Iterator[Finding]:
    """Of the folds of the first repeat. known: codes of what is said of all records."""
    folds = [data.of(fold).records for fold in data.folds if fold.repeat == 1]
    kinds: dict[str, list[Finding]] = {}
    for records in folds:
        found = _worst_first([*_of_division(task, records, duplicates), *label_findings(task, records)])
        for code, finding in {finding.code: finding for finding in reversed(found)}.items():
            if code not in known | OF_ONE_TEST_SPLIT:
                kinds.setdefault(code, []).append(finding)
    for several in kinds.values():
        worst = _worst_first(several)[0]
        often = f"in {len(several)} of {len(folds)} folds"
        yield replace(worst, evidence=f"{worst.evidence}; {often}" if worst.evidence else often)


def _of_records(task: Task, data: TaskData, duplicates: Duplicates) -> Iterator[Finding]:
    """What is said of the records, each of which is tested in a cross-validation."""
    records = data.records
    yield from _quick(task)
    yield from _synthetic(task)
    yield from _conflicting_labels(task, records, duplicates)
    yield from _within_split(records, duplicates)
    yield from _coarse_inputs(records, duplicates)
    yield from input_findings(task, records)
    yield from giveaways(task, records)
    yield from _records_in_prompt(task, records)
    yield from _one_number(data)
    yield from _missing(task, records)
    yield from _out_of_range(data)
    yield from _text_lengths(task, records)
    yield from _identifiers(task, records)
    yield from _repeated_columns(data)
    yield from _drift(data)
    yield from _other_sheets(data)
    yield from set_findings(task)


def _worst_first(findings: Iterable[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda finding: ("error", "warn", "info").index(finding.level))


def _quick(task: Task) -> Iterator[Finding]:
    if task.data.quick is not None:
        yield Finding("warn", "quick-run", "This is a quick run: no figure of it means anything", QUICK, WHOLE)


def _synthetic(task: Task) -> Iterator[Finding]:
    if task.data.synthetic:
        title = "The records are synthetic: no figure on them says anything about patients"
        advice = "put records of patients in their place, and take data.synthetic out, before anything is concluded"
        yield Finding("warn", "synthetic-data", title, SYNTHETIC, advice)


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


def _no_validation(records: Sequence[Record]) -> Iterator[Finding]:
    if records and not in_split(records, "validation"):
        yield Finding(
            "warn",
            "no-validation",
            "no record is in the validation split",
            f"{len(records)} records",
            "nothing can be chosen without the test split, neither threshold nor checkpoint nor the best simple model: "
            "give validation a share, a file, or split: {validation_of_train: 0.2}",
        )


def _conflicting_labels(task: Task, records: Sequence[Record], duplicates: Duplicates) -> Iterator[Finding]:
    conflicting = [group for group in duplicates.exact if len({records[at].target for at in group}) > 1]
    if isinstance(task, Generation):  # one question may have several good answers
        return
    if conflicting:
        ids = _ids(records, conflicting)
        yield Finding(
            "warn",
            "conflicting-labels",
            f"{len(conflicting)} inputs stand in the data more than once with different labels",
            f"{len(ids)} records; {shown_ids(ids)}",
            f"no model can be right on all of them: settle their labels{ALTERNATIVES.get(task.kind, '')}",
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
            tests = len(in_split(records, "test"))
            spare = sum(len(part) - 1 for part in within if records[part[0]].split == "test")
            yield Finding(
                "warn" if spare >= REPEATED_TESTS * tests > 0 else "info",
                code,
                f"{len(ids)} records have {what} of their split",
                shown_ids(ids) + (f"; {spare} of {tests} test records say nothing new" if spare else ""),
                "repeated records weigh more than once in training and in the figures"
                + (", whose intervals are then too narrow: a `group` resamples them together" if spare else ""),
            )


def _coarse_inputs(records: Sequence[Record], duplicates: Duplicates) -> Iterator[Finding]:
    if duplicates.combinations is not None:
        yield Finding(
            "info",
            "coarse-inputs",
            f"the inputs can tell only {duplicates.combinations} records apart",
            f"{len(records)} records: different people are alike by chance, so that repeats are not told as leaks",
            "more inputs, or finer ones, may help every model",
        )


def _ids(records: Sequence[Record], groups: Iterable[list[int]]) -> list[str]:
    """The ids of all records in the groups, in the order of the records."""
    return [records[at].id for at in sorted({at for group in groups for at in group})]


# ---------------------------------------------------------------- inputs


def _missing(task: Task, records: Sequence[Record]) -> Iterator[Finding]:
    counts = {name: sum(record.inputs[name] is None for record in records) for name in task.data.columns}
    some = {name: count for name, count in counts.items() if count}
    empty = [record.id for record in records if holds_nothing(record)]
    if some:
        yield Finding(
            "warn" if max(some.values()) >= MUCH_MISSING * len(records) else "info",
            "missing-values",
            f"{len(some)} of {len(counts)} inputs have missing values",
            ", ".join(f"{name} {_missing_words(count, len(records))}" for name, count in some.items()),
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


def _missing_words(count: int, of: int) -> str:
    """A report shows findings and the first table, which does not tell a small count either (characteristics.py)."""
    return f"fewer than {SMALL_CELL}" if count < SMALL_CELL else f"{count} ({count / of:.1%})"


def _one_number(data: TaskData) -> Iterator[Finding]:
    """Codes such as 1.1 and 1.10, which programs that read a table cannot tell apart either."""
    for name, count in data.notes.same_numbers.items():
        yield Finding(
            "warn",
            "category-numbers",
            f"{count} categories of {name} are written in several ways as one number (1.1 and 1.10, for instance)",
            "they are read as one category",
            "if they are different codes, put a letter before them: as numbers no program keeps them apart",
        )


def _records_in_prompt(task: Task, records: Sequence[Record]) -> Iterator[Finding]:
    """Records whose text stands in the prompt, as an example would."""
    asked = _runs(task.prompt or "")
    told: dict[str, list[str]] = {}
    for record in records if asked else ():
        if any(asked & _runs(str(value)) for name in task.text_inputs if (value := record.inputs[name]) is not None):
            told.setdefault(str(record.split), []).append(record.id)
    if told:
        tests = told.get("test", [])
        yield Finding(
            "warn" if tests else "info",
            "record-in-prompt",
            f"the prompt holds text of {len(tests)} test records" if tests else "the prompt holds text of records",
            f"{PROMPT_WORDS} words in a row; " + "; ".join(f"{split}: {shown_ids(ids)}" for split, ids in told.items()),
            "take examples from training records: of a test record the model is told the answer",
        )


def _runs(text: str) -> set[str]:
    words = normalised(text).split()
    return {" ".join(words[at : at + PROMPT_WORDS]) for at in range(len(words) - PROMPT_WORDS + 1)}


def _out_of_range(data: TaskData) -> Iterator[Finding]:
    """Inputs of which a declared range takes much away: more likely in another unit than impossible."""
    for name, column in data.task.data.columns.items():
        lost = data.notes.changed.get(impossible_words(name, column), 0)
        if not lost:
            continue
        there = sum(record.inputs[name] is not None for record in data.records)
        if lost > MANY_IMPOSSIBLE * (there + lost):
            yield Finding(
                "warn",
                "out-of-range",
                f"{lost} values of {name} lie outside its declared range and are read as missing",
                f"{100 * lost / (there + lost):.0f} % of its values; the range is {range_words(column)}",
                "look at the unit of the column (months for years, mg for g) and at `range`",
            )


def _text_lengths(task: Task, records: Sequence[Record]) -> Iterator[Finding]:
    for name in task.text_inputs:
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


def _identifiers(task: Task, records: Sequence[Record]) -> Iterator[Finding]:
    """Names, dates, numbers and addresses of people in text inputs, and in the texts that a model learns to write;
    counted, never quoted."""
    looked_at = records[:: -(-len(records) // IDENTIFIED_RECORDS) or 1]
    counts: dict[str, Counter[Kind]] = {name: Counter() for name in (*task.text_inputs, REFERENCES)}
    holding: set[str] = set()
    for record in looked_at:
        texts = {name: text for name in task.text_inputs if isinstance(text := record.inputs[name], str)}
        if isinstance(task, Generation) and isinstance(record.target, str):
            texts[REFERENCES] = record.target
        for name, found in zip(texts, count_identifiers(list(texts.values())), strict=True):
            counts[name] += found
            if found.keys() - {"date"}:
                holding.add(record.id)
    if any(counts.values()):
        by_input = [
            f"{name}: " + ", ".join(f"{kind} {count}" for kind, count in found.most_common())
            for name, found in counts.items()
            if found
        ]
        yield Finding(
            "warn" if len(holding) >= IDENTIFIED * len(looked_at) else "info",
            "identifiers",
            f"{len(holding)} of {len(looked_at)} records seem to name a person, a number or an address",
            "; ".join(by_input) + ", found by rules",
            "clean: {deidentify: true} puts placeholders there, in training and new data alike; rules miss some",
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


def _other_sheets(data: TaskData) -> Iterator[Finding]:
    for source, names in data.notes.other_sheets.items():
        yield Finding(
            "info",
            "other-sheets",
            f"only the first sheet of {source} is read",
            f"it holds {len(names)} more: {', '.join(names)}",
            "name the right one: sheet: ... in the data block",
        )


def _drift(data: TaskData) -> Iterator[Finding]:
    for column, told in data.notes.drift.items():
        yield Finding(
            "warn",
            "drift",
            f"labels change with {column!r}, and the records are divided at random",
            f"in the earlier and the later half: {', '.join(told)}",
            f"a model will meet the future only: test on the latest records, with split: {{by: {column}}}",
        )
