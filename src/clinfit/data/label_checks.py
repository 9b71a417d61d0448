"""What is suspicious about a task's answers, by kind of task: labels that are absent, rare, or given away by the text;
options that cannot be told apart."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from clinfit.data.clean import normalised
from clinfit.data.records import SPLITS, Record, in_split, label_counts, labels_in
from clinfit.data.support import (
    absent_labels,
    few_test_questions,
    few_test_records,
    few_test_texts,
    one_class,
    set_support,
)
from clinfit.data.values import shown_ids
from clinfit.findings import Finding
from clinfit.study.load import flow_yaml
from clinfit.study.tasks import Classification, Extraction, MultipleChoice, Task

#: A label with less than this share of an even division is scarce; one with less than RARE of all records is rare.
SCARCE, RARE = 0.5, 0.05

#: A label that stands in this share of its own records' texts, and rarely elsewhere, may be given away by them.
LABEL_WORD_SHARE = 0.05

#: Names of labels that say that nothing was found.
HEALTHY_NAME = re.compile(
    r"(no|non|not|none|without|negative|neg|healthy|normal|benign|absent|absence|control|controls|well|unaffected|false|0)\b"
    r"|.*[ _-]free$",
    re.I,
)

#: An option that is right this many times as often as an even division would have it.
FAVOURED = 1.25

#: References of at most so many words are short; the share of all records from which that, and references that stand
#: in their own record, are told; the share from which one reference for many records is.
SHORT_WORDS, SHORT_SHARE, SAME_SHARE = 3, 0.05, 0.1
#: Share of the records with one value in a field from which that is worth a note.
SAME_FIELD = 0.95


def label_findings(task: Task, records: Sequence[Record]) -> Iterator[Finding]:
    """All findings about the answers."""
    for check in CHECKS[task.kind]:
        yield from check(task, records)


# ---------------------------------------------------------------- classification


def _one_class(task: Task, records: Sequence[Record]) -> Iterator[Finding]:
    """Splits in which every record has the same label."""
    for split in SPLITS:
        yield from one_class(split, label_counts(task.labels, in_split(records, split)))


def _absent_labels(task: Task, records: Sequence[Record]) -> Iterator[Finding]:
    """Splits that lack a label, unless they hold one label or no record (see `_one_class`)."""
    for split in SPLITS:
        yield from absent_labels(split, label_counts(task.labels, in_split(records, split)))


def _few_test_records(task: Task, records: Sequence[Record]) -> Iterator[Finding]:
    """Labels of which the test split has some records, and fewer than LEAST_EVENTS."""
    yield from few_test_records(label_counts(task.labels, in_split(records, "test")))


def _unbalanced_labels(task: Task, records: Sequence[Record]) -> Iterator[Finding]:
    counts = label_counts(task.labels, in_split(records, "train"))
    total = max(1, sum(counts.values()))
    rare = {label: count for label, count in counts.items() if count / total < SCARCE / len(counts)}
    if rare:
        level = "warn" if min(rare.values()) / total < RARE else "info"
        yield Finding(
            level,
            "imbalance",
            f"labels are unbalanced: always answering {max(counts, key=counts.__getitem__)!r} is right in "
            f"{max(counts.values()) / total:.1%} of the training records",
            _shares(counts, total),
            "judge by balanced accuracy, AUROC or AUPRC; class_weights: balanced or sampling may help",
        )


def _healthy_positive(task: Task, records: Sequence[Record]) -> Iterator[Finding]:
    yield from healthy_positive(task)


def healthy_positive(task: Task) -> Iterator[Finding]:
    """A positive label that sounds like the class of those who have nothing; nobody may have chosen it."""
    positive = task.positive_label
    (other,) = [label for label in task.labels if label != positive] if positive else ("",)
    if positive is None or not HEALTHY_NAME.match(positive) or HEALTHY_NAME.match(other):
        return
    chosen = isinstance(task, Classification) and task.positive is not None
    yield Finding(
        "info" if chosen else "warn",
        "positive-label",
        f"the positive label is {positive!r}, which sounds like the healthy class",
        "as the study says" if chosen else "it is the last of the labels, and the study names none",
        f"sensitivity, predictive values and the decision curve are about {positive!r}: if {other!r} is meant, write "
        f"positive: {flow_yaml(other)}",
    )


def _label_words(task: Task, records: Sequence[Record]) -> Iterator[Finding]:
    """Labels whose own name stands in the text of their records more than twice as often as in other records."""
    texts = task.text_inputs
    joined = [" ".join(str(r.inputs[name]) for name in texts if r.inputs[name] is not None).casefold() for r in records]
    for label in task.labels:
        folded = label.casefold()
        word = re.compile(rf"(?<!\w){re.escape(folded)}(?!\w)")
        holds = [folded in text and word.search(text) is not None for text in joined]
        own = [held for held, record in zip(holds, records, strict=True) if label in labels_in(record.target)]
        other = [held for held, record in zip(holds, records, strict=True) if label not in labels_in(record.target)]
        share, elsewhere = sum(own) / max(1, len(own)), sum(other) / max(1, len(other))
        if share >= LABEL_WORD_SHARE and share > 2 * elsewhere:
            yield Finding(
                "info",
                "label-in-text",
                f"the label {label!r} stands literally in {share:.0%} of the texts that have it",
                f"{sum(own)} of {len(own)} records; in other records {sum(other)} of {len(other)}",
                "compare with a keyword baseline: a model may only look for the word",
            )


def _shares(counts: dict[str, int], total: int) -> str:
    return ", ".join(f"{label} {count} ({count / total:.1%})" for label, count in counts.items())


# ---------------------------------------------------------------- multilabel


def _set_support(task: Task, records: Sequence[Record]) -> Iterator[Finding]:
    """Splits that lack a label, and labels that few test records have, or lack."""
    for split in SPLITS:
        part = in_split(records, split)
        yield from set_support(split, len(part), label_counts(task.labels, part))


def _rare_labels(task: Task, records: Sequence[Record]) -> Iterator[Finding]:
    """Labels that hold for few records, or for nearly all: answering the same for every record is then hard to beat."""
    train = in_split(records, "train")
    counts = label_counts(task.labels, train)
    one_sided = {
        label: count for label, count in counts.items() if train and min(count, len(train) - count) < RARE * len(train)
    }
    if one_sided:
        yield Finding(
            "info",
            "imbalance",
            f"{len(one_sided)} of {len(counts)} labels hold for fewer than {RARE:.0%} of the training records, or for "
            f"more than {1 - RARE:.0%}",
            _shares(one_sided, len(train)),
            "judge by macro-averaged F1 or AUROC, and look at each label; threshold: {rule: f1} chooses one a label",
        )


# ---------------------------------------------------------------- multiple choice


def _few_test_questions(_: Task, records: Sequence[Record]) -> Iterator[Finding]:
    yield from few_test_questions(len(in_split(records, "test")))


def _favoured_letter(task: Task, records: Sequence[Record]) -> Iterator[Finding]:
    """Options that are right more often than others, so that their letter alone says something."""
    counts = label_counts(task.labels, in_split(records, "train"))
    total = max(1, sum(counts.values()))
    if max(counts.values()) / total >= FAVOURED / len(counts):
        yield Finding(
            "info",
            "imbalance",
            f"the letters are unbalanced: always answering {max(counts, key=counts.__getitem__)!r} is right in "
            f"{max(counts.values()) / total:.1%} of the training records",
            _shares(counts, total),
            "a model can gain by the letter alone: compare with the majority baseline, not with an even guess",
        )


def _unclear_options(task: Task, records: Sequence[Record]) -> Iterator[Finding]:
    """Questions whose right option is empty, or reads the same as another one."""
    assert isinstance(task, MultipleChoice)
    empty, repeated = [], []
    for record in records:
        texts = {
            letter: normalised(str(value))
            for letter, name in zip(task.labels, task.options, strict=True)
            if (value := record.inputs[name]) is not None
        }
        for letter in labels_in(record.target):
            if letter not in texts:
                empty.append(record.id)
            elif list(texts.values()).count(texts[letter]) > 1:
                repeated.append(record.id)
    for ids, what in ((empty, "is empty"), (repeated, "reads the same as another one")):
        if ids:
            yield Finding(
                "warn",
                "unclear-options",
                f"the right option {what} in {len(ids)} of {len(records)} records",
                shown_ids(ids),
                "check the label map first (do the letters begin with 0 or with 1?), then correct these records",
            )


# ---------------------------------------------------------------- generation


def _few_test_texts(_: Task, records: Sequence[Record]) -> Iterator[Finding]:
    yield from few_test_texts(len(in_split(records, "test")))


def _short_references(_: Task, records: Sequence[Record]) -> Iterator[Finding]:
    """References of a few words, with which overlap of words says little."""
    short = [record.id for record in records if len(str(record.target).split()) <= SHORT_WORDS]
    if len(short) >= SHORT_SHARE * len(records) > 0:
        yield Finding(
            "info",
            "short-references",
            f"{len(short)} of {len(records)} references have at most {SHORT_WORDS} words",
            shown_ids(short),
            "one word more or less decides the scores of these: look at them apart (evaluation.subgroups)",
        )


def _same_references(_: Task, records: Sequence[Record]) -> Iterator[Finding]:
    """One text that is the answer to many records."""
    counts = Counter(normalised(str(record.target)) for record in records)
    most = max(counts.values(), default=0)
    if most >= SAME_SHARE * len(records) and most > 1:
        yield Finding(
            "info",
            "same-references",
            f"{most} of {len(records)} records have the same reference text",
            "",
            "a model may learn this one text: the baseline `nearest` shows how far that goes",
        )


def _reference_in_source(task: Task, records: Sequence[Record]) -> Iterator[Finding]:
    """References that stand in their own record word for word."""
    texts = {r.id: normalised(" ".join(str(r.inputs[name]) for name in task.text_inputs)) for r in records}
    wanted = {r.id: normalised(str(r.target)) for r in records}
    held = [r.id for r in records if len(wanted[r.id].split()) > SHORT_WORDS and wanted[r.id] in texts[r.id]]
    if len(held) >= SHORT_SHARE * len(records) > 0:
        yield Finding(
            "warn",
            "reference-in-source",
            f"{len(held)} of {len(records)} references stand in their own record word for word",
            shown_ids(held),
            "the task is then to find a passage: is the answer part of the question? The baseline `copy` shows what "
            "copying reaches",
        )


# ---------------------------------------------------------------- extraction


def _constant_fields(task: Task, records: Sequence[Record]) -> Iterator[Finding]:
    """Fields with one value in nearly all records, which need no model."""
    assert isinstance(task, Extraction)
    objects = [json.loads(str(record.target)) for record in records]
    for name in task.fields:
        counts = Counter(json.dumps(values[name]) for values in objects)
        most = max(counts.values(), default=0)
        if most >= SAME_FIELD * len(records) > 1:
            yield Finding(
                "info",
                "constant-field",
                f"field {name!r} has one value in {most} of {len(records)} records",
                "",
                "saying it always is nearly always right: the baseline `majority` shows how far that goes",
            )


CHECKS: dict[str, tuple[Callable[[Task, Sequence[Record]], Iterator[Finding]], ...]] = {
    "classification": (
        _one_class,
        _absent_labels,
        _few_test_records,
        _healthy_positive,
        _unbalanced_labels,
        _label_words,
    ),
    "multilabel": (_set_support, _rare_labels, _label_words),
    "multiple-choice": (_few_test_questions, _favoured_letter, _unclear_options),
    "generation": (_few_test_texts, _short_references, _same_references, _reference_in_source),
    "extraction": (_few_test_texts, _constant_fields),
}
