"""What is suspicious about how records are divided: other shares of labels, one group that decides, drift over time."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from clinfit.data.records import Record, Target, in_split, label_counts, labels_in
from clinfit.data.values import SMALL_CELL
from clinfit.findings import Finding
from clinfit.study.tasks import Task

#: Two shares differ where they do so by this much, and by this many standard errors (a chance of 1 in 10,000).
APART, STANDARD_ERRORS = 0.1, 3.9
#: A group with this share of the test records, or of those with a label, decides the figures.
DOMINANT = 0.5


def split_findings(task: Task, records: Sequence[Record]) -> Iterator[Finding]:
    """All findings about the division."""
    yield from _validation_and_test(task, records)
    yield from _dominant_groups(task, records)


def differ(one: int, of_one: int, other: int, of_other: int) -> bool:
    """Whether two shares differ by APART and by more than chance (a two-sample test of proportions)."""
    if not of_one or not of_other:
        return False
    pooled = (one + other) / (of_one + of_other)
    error = math.sqrt(pooled * (1 - pooled) * (1 / of_one + 1 / of_other))
    difference = abs(one / of_one - other / of_other)
    return difference >= APART and difference > STANDARD_ERRORS * error


def _validation_and_test(task: Task, records: Sequence[Record]) -> Iterator[Finding]:
    validation, test = in_split(records, "validation"), in_split(records, "test")
    counts = label_counts(task.labels, validation), label_counts(task.labels, test)
    apart = [
        f"{label} {counts[0][label] / len(validation):.1%} and {counts[1][label] / len(test):.1%}"
        for label in task.labels
        if differ(counts[0][label], len(validation), counts[1][label], len(test))
    ]
    if apart:
        yield Finding(
            "warn",
            "validation-test-prevalence",
            "labels have other shares on validation than on test",
            ", ".join(apart),
            "thresholds and recalibration are chosen on validation, and do not carry over to other shares: take "
            "validation from where the test comes from",
        )


def _dominant_groups(task: Task, records: Sequence[Record]) -> Iterator[Finding]:
    test = in_split(records, "test")
    groups = Counter(record.group for record in test)
    if len(groups) == len(test) or len(test) < 2 * SMALL_CELL:
        return
    told = (
        [f"all records: {max(groups.values())} of {len(test)}"] if max(groups.values()) > DOMINANT * len(test) else []
    )
    for label in task.labels if task.kind != "multiple-choice" else ():
        own = Counter(record.group for record in test if label in labels_in(record.target))
        if own.total() >= SMALL_CELL and max(own.values()) > DOMINANT * own.total() and len(groups) > 1:
            told.append(f"{label!r}: {max(own.values())} of {own.total()}")
    if told:
        yield Finding(
            "warn",
            "dominant-group",
            "one group holds most of the test split, or of a label in it",
            "; ".join(told),
            "the figures are about that group: test on more groups, or say so",
        )


def label_drift(times: Sequence[float | None], targets: Sequence[Target], labels: Sequence[str]) -> list[str]:
    """Labels whose share in the later half of the records differs from that in the earlier, with both shares."""
    dated = sorted((time, at) for at, time in enumerate(times) if time is not None)
    half = len(dated) // 2
    earlier, later = ([targets[at] for _, at in part] for part in (dated[:half], dated[half:]))
    told = []
    for label in labels:
        one, other = (sum(label in labels_in(target) for target in part) for part in (earlier, later))
        if differ(one, len(earlier), other, len(later)):
            told.append(f"{label} {one / len(earlier):.1%} and {other / len(later):.1%}")
    return told
