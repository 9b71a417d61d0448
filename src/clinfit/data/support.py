"""Whether each label has enough records in a split; said of the data before training, and of the items that are scored.

Both take the same findings from here, so that nothing is judged twice in different words. counts: records of each
declared label in the split.
"""

import math
from collections.abc import Iterator, Mapping

from clinfit.findings import Finding

#: Fewer test records of a label than this make every interval wide (Collins, Ogundimu and Altman, 2016: at least 100
#: events and 100 non-events to validate a model).
LEAST_EVENTS = 100
#: With fewer than this, a good model and a useless one look alike.
TOO_FEW = 20


def check_support(split: str, counts: Mapping[str, int]) -> Iterator[Finding]:
    """Everything of labels of which each record has one."""
    yield from one_class(split, counts)
    yield from absent_labels(split, counts)
    if split == "test":
        yield from few_test_records(counts)


def one_class(split: str, counts: Mapping[str, int]) -> Iterator[Finding]:
    """A split in which every record has the same label."""
    present, absent = _divided(counts)
    if len(present) == 1 and absent:
        yield Finding(
            "error" if split == "test" else "warn",
            f"one-class-{split}",
            f"all records of the {split} split have the label {present[0]!r}",
            f"{', '.join(map(repr, absent))} has none of {sum(counts.values())} records; always answering "
            f"{present[0]!r} would score an accuracy of 100 %, whatever was learned",
            "most metrics are undefined on one class: check the label map (true is not 'true'), and divide again with "
            "stratify: true, or add records",
        )


def absent_labels(split: str, counts: Mapping[str, int]) -> Iterator[Finding]:
    """A split that lacks a label, unless it holds one label or no record."""
    present, absent = _divided(counts)
    if absent and len(present) > 1:
        yield Finding(
            "warn",
            f"label-missing-in-{split}",
            f"{len(absent)} of {len(counts)} labels have no record in the {split} split",
            f"{', '.join(map(repr, absent))} has none of {sum(counts.values())} records",
            "figures of these labels are undefined: divide again with stratify: true, or add records",
        )


def few_test_records(counts: Mapping[str, int]) -> Iterator[Finding]:
    """Labels of which the test split has some records, and fewer than LEAST_EVENTS."""
    few = {label: count for label, count in counts.items() if 0 < count < LEAST_EVENTS}
    if few:
        smallest = min(few.values())
        yield _small_test(
            f"the test split has {smallest} records of {min(few, key=few.__getitem__)!r}"
            if smallest < TOO_FEW
            else f"the test split has fewer than {LEAST_EVENTS} records of {len(few)} of {len(counts)} labels",
            ", ".join(f"{label} {count}" for label, count in few.items()),
            smallest,
        )


def set_support(split: str, n: int, counts: Mapping[str, int]) -> Iterator[Finding]:
    """Everything of labels of which a record may have any number, also none. n: records of the split."""
    absent = [label for label, count in counts.items() if not count]
    if absent and n:
        yield Finding(
            "warn",
            f"label-missing-in-{split}",
            f"{len(absent)} of {len(counts)} labels have no record in the {split} split",
            f"{', '.join(map(repr, absent))} has none of {n} records",
            "figures of these labels are undefined: divide again with stratify: true, or add records",
        )
    pairs = {label: (count, n - count) for label, count in counts.items() if count}
    few = {label: pair for label, pair in pairs.items() if min(pair) < LEAST_EVENTS}
    if split == "test" and few:
        smallest = min(map(min, few.values()))
        least = TOO_FEW if smallest < TOO_FEW else LEAST_EVENTS
        affected = sum(min(pair) < least for pair in few.values())
        yield _small_test(
            f"{affected} of {len(counts)} labels have fewer than {least} test records with, or without, them",
            ", ".join(
                f"{label} {there}" if there <= without else f"{label} {without} without it"
                for label, (there, without) in few.items()
            ),
            smallest,
        )


def few_test_questions(count: int) -> Iterator[Finding]:
    """A test split of fewer than LEAST_EVENTS multiple-choice questions."""
    if 0 < count < LEAST_EVENTS:
        least = TOO_FEW if count < TOO_FEW else LEAST_EVENTS
        yield _small_test(f"the test split has fewer than {least} questions", f"{count} records", count)


def few_test_texts(count: int) -> Iterator[Finding]:
    """A test split of fewer than LEAST_EVENTS records of which a text is asked."""
    if 0 < count < LEAST_EVENTS:
        few = "too few to tell a good model from a useless one" if count < TOO_FEW else "intervals are wide"
        yield Finding(
            "warn",
            "small-test",
            f"the test split has {count} records: {few}",
            f"fewer than {TOO_FEW if count < TOO_FEW else LEAST_EVENTS}",
            "do not cite figures of this split" if count < TOO_FEW else "read the intervals before the figures",
        )


def _small_test(title: str, evidence: str, smallest: int) -> Finding:
    """smallest: records of the rarest, 0 where there are none on one side. A share of one half of n has a 95 % interval
    of about 0.98 / sqrt(n) either way."""
    n = max(smallest, 1)
    uncertain = f"of {n} records a share of 50 % is uncertain by {min(50, round(98 / math.sqrt(n)))} points either way"
    if smallest < TOO_FEW:
        return Finding(
            "warn",
            "small-test",
            f"{title}: too few to tell a good model from a useless one",
            evidence,
            f"{uncertain}: do not cite figures of this split; test on {LEAST_EVENTS} records of each label or more",
        )
    return Finding(
        "warn",
        "small-test",
        title,
        evidence,
        f"{uncertain}: read the intervals before the figures, and add test records where you can",
    )


def _divided(counts: Mapping[str, int]) -> tuple[list[str], list[str]]:
    """Labels with and without records."""
    return [label for label, count in counts.items() if count], [label for label, count in counts.items() if not count]
