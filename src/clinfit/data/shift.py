"""How far the test records differ from those that were learned from: standardised differences, no text, no words.

Numbers: difference of the means over the pooled standard deviation (Cohen's d with the mean of the two variances).
Categories: Yang and Dalton's (2012) difference for several proportions; a share is the case of two. A difference of
0.25 or more is called large: a rule of thumb (Stuart, 2010), not a test. In small splits chance alone gives such
differences, so each has a p value: d^2 n m / (n + m) is chi-squared, with one degree of freedom or one fewer than there
are categories, where both splits come from one source.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from clinfit.data.records import Record, Value, in_split, labels_in
from clinfit.data.values import SMALL_CELL
from clinfit.study.data import InputColumn
from clinfit.study.tasks import Extraction, Task

#: From this standardised difference on a row is called large (Stuart, 2010).
LARGE = 0.25

#: A category with more distinct values may be free text.
NAMED_CATEGORIES = 20

#: What counts as a word of a vocabulary: letters only, so that numbers are not new words.
WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True)
class Shift:
    """One property in training against test. difference: standardised, None without limit; alert: whether it is large.
    p: how often chance alone gives as much, uncorrected; None for a vocabulary.

    kind: label, field, missing, number, category, text length, vocabulary (which has no standard scale and never
    alerts).
    """

    name: str
    kind: str
    train: str
    test: str
    difference: float | None
    alert: bool
    p: float | None


def shift_rows(task: Task, records: Sequence[Record]) -> list[Shift]:
    """Labels, inputs, missing values, text lengths and vocabulary in training against test; none if one is empty."""
    train, test = in_split(records, "train"), in_split(records, "test")
    if not train or not test:
        return []
    rows = [row for rows_of in LABELS[task.kind] for row in rows_of(task, train, test)]
    for name, column in task.data.columns.items():
        rows += _input(name, column, [r.inputs[name] for r in train], [r.inputs[name] for r in test])
    return rows


def mean_difference(train: NDArray[np.float64], test: NDArray[np.float64]) -> float | None:
    """Difference of means, test minus train, in units of the pooled standard deviation; None where nothing varies."""
    spread = float(np.sqrt((_variance(train) + _variance(test)) / 2))
    return float(test.mean() - train.mean()) / spread if spread > 0 else None


def category_difference(train: NDArray[np.float64], test: NDArray[np.float64]) -> float | None:
    """Distance of two vectors of shares over K categories, 0 or more (Yang and Dalton, 2012).

    sqrt(d' S^-1 d) with the last category left out, S the mean of the two multinomial covariances; for two categories
    the standardised difference of a share. None where S has no inverse because a split holds a single category.
    """
    held = (train > 0) | (test > 0)
    p, q = train[held], test[held]
    if len(p) == 1:
        return 0.0
    p, q = p[:-1], q[:-1]
    covariance = (np.diag(p) - np.outer(p, p) + np.diag(q) - np.outer(q, q)) / 2
    if np.linalg.cond(covariance) > 1e10:
        return None
    distance = float((q - p) @ np.linalg.solve(covariance, q - p))
    return float(np.sqrt(max(distance, 0.0)))


def _labels(task: Task, train: Sequence[Record], test: Sequence[Record]) -> Iterator[Shift]:
    """The share of records that have each label; of a binary task, of the positive one alone."""
    shown = task.labels if task.positive_label is None else [task.positive_label]
    for label in shown:
        held = [[label in labels_in(record.target) for record in part] for part in (train, test)]
        yield _share(f"share of {label!r}", "label", *held)


def _reference_words(_: Task, train: Sequence[Record], test: Sequence[Record]) -> Iterator[Shift]:
    words = [[float(len(str(record.target).split())) for record in part] for part in (train, test)]
    yield _number("words of the reference", "reference length", *map(np.array, words))


def _labels_a_record(_: Task, train: Sequence[Record], test: Sequence[Record]) -> Iterator[Shift]:
    counts = [np.array([len(labels_in(record.target)) for record in part], dtype=np.float64) for part in (train, test)]
    yield _number("labels a record", "label", *counts)


def _field_values(task: Task, train: Sequence[Record], test: Sequence[Record]) -> Iterator[Shift]:
    """Of fields that may lack a value the share that has one, of those with a list the shares of its values."""
    assert isinstance(task, Extraction)
    objects = [[json.loads(str(record.target)) for record in part] for part in (train, test)]
    for name, field in task.declared.items():
        columns = [[values[name] for values in part] for part in objects]
        if not field.required:
            yield _share(f"share with a value in {name}", "field", *([v is not None for v in part] for part in columns))
        if field.type == "string" and field.values is not None:
            known = [[str(value) for value in part if value is not None] for part in columns]
            if all(known):
                yield replace(_category(name, *known), name=f"values of {name}", kind="field")


#: What is compared of the answers, by kind of task.
LABELS: dict[str, tuple[Callable[[Task, Sequence[Record], Sequence[Record]], Iterator[Shift]], ...]] = {
    "classification": (_labels,),
    "multilabel": (_labels, _labels_a_record),
    "multiple-choice": (_labels,),
    "generation": (_reference_words,),
    "extraction": (_field_values,),
}


def _input(name: str, column: InputColumn, train: Sequence[Value], test: Sequence[Value]) -> Iterator[Shift]:
    known, met = ([value for value in part if value is not None] for part in (train, test))
    if len(known) < len(train) or len(met) < len(test):
        yield _missing(name, [value is None for value in train], [value is None for value in test])
    if not known or not met:
        return
    if column.type == "number":
        found = _number(name, "number", np.array(known, dtype=np.float64), np.array(met, dtype=np.float64))
        sizes = _told_size(train), _told_size(test)
        yield found if found.difference is None else replace(found, p=by_chance(found.difference, sizes))
        return
    old, new = [str(value) for value in known], [str(value) for value in met]
    if column.type == "category":
        yield _category(name, old, new)
    else:
        yield _number(f"{name}: words", "text length", _lengths(old), _lengths(new))
        yield _vocabulary(name, old, new)


def _missing(name: str, train: Sequence[bool], test: Sequence[bool]) -> Shift:
    """The shares, but of fewer records than the first table counts (characteristics.py); those are compared by the
    least difference that any such count makes, so that the count cannot be worked out."""
    sizes = len(train), len(test)
    told = [sum(part) == 0 or sum(part) >= SMALL_CELL for part in (train, test)]
    counts = [
        [sum(part)] if is_told else range(1, min(SMALL_CELL, len(part) + 1))
        for part, is_told in zip((train, test), told, strict=True)
    ]
    least = min(product(*counts), key=lambda pair: abs(pair[0] / sizes[0] - pair[1] / sizes[1]))
    old, new = ([at < count for at in range(size)] for count, size in zip(least, sizes, strict=True))
    found = _share(f"{name}: missing", "missing", old, new)
    few = f"<{SMALL_CELL} records"
    return replace(found, train=found.train if told[0] else few, test=found.test if told[1] else few)


def _told_size(values: Sequence[Value]) -> int:
    """How many are known; all, where one could tell of this how few are missing."""
    known = sum(value is not None for value in values)
    return known if len(values) - known >= SMALL_CELL else len(values)


def _lengths(texts: Sequence[str]) -> NDArray[np.float64]:
    return np.array([len(text.split()) for text in texts], dtype=np.float64)


def _number(name: str, kind: str, train: NDArray[np.float64], test: NDArray[np.float64]) -> Shift:
    difference = mean_difference(train, test)
    if difference is None and train.mean() == test.mean():
        difference = 0.0
    old, new = (f"mean {part.mean():.4g}, SD {_variance(part) ** 0.5:.4g}" for part in (train, test))
    return _row(name, kind, old, new, difference, (len(train), len(test)))


def _share(name: str, kind: str, train: Sequence[bool], test: Sequence[bool]) -> Shift:
    old, new = np.array(train, dtype=np.float64), np.array(test, dtype=np.float64)
    difference = mean_difference(old, new)
    if difference is None and old.mean() == new.mean():
        difference = 0.0
    return _row(name, kind, f"{old.mean():.1%}", f"{new.mean():.1%}", difference, (len(old), len(new)))


def _category(name: str, train: Sequence[str], test: Sequence[str]) -> Shift:
    """The whole distribution; what is shown is the category whose share changed most."""
    counts = Counter(train), Counter(test)
    values = sorted(counts[0] | counts[1])
    p, q = (np.array([count[value] for value in values]) / count.total() for count in counts)
    most = values[int(np.abs(q - p).argmax())]
    texts = [f"{len(count)} different values" for count in counts]
    if len(values) <= NAMED_CATEGORIES and max(count[most] for count in counts) >= SMALL_CELL:
        texts = [
            f"{most} {count[most] / count.total():.1%}"
            if count[most] >= SMALL_CELL
            else f"{most}: <{SMALL_CELL} records"
            for count in counts
        ]
    sizes = (len(train), len(test))
    return _row(name, "category", texts[0], texts[1], category_difference(p, q), sizes, max(1, len(values) - 1))


def _vocabulary(name: str, train: Sequence[str], test: Sequence[str]) -> Shift:
    """Share of the running words, and of the distinct ones, that training does not hold; it has no standard scale."""
    known, met = ({word for text in part for word in WORD.findall(text.casefold())} for part in (train, test))
    running = Counter(word for text in test for word in WORD.findall(text.casefold()))
    total = max(1, running.total())
    different = len(met - known) / max(1, len(met))
    unseen = sum(count for word, count in running.items() if word not in known)
    return Shift(
        name=f"{name}: vocabulary",
        kind="vocabulary",
        train=f"{len(known):,} different words",
        test=f"{unseen / total:.1%} of all words, {different:.1%} of the different ones unseen",
        difference=None,
        alert=False,
        p=None,
    )


def _row(
    name: str, kind: str, train: str, test: str, difference: float | None, sizes: tuple[int, int], free: int = 1
) -> Shift:
    """A difference of None is one without limit: a split in which nothing varies against another value. free: degrees
    of freedom."""
    alert = difference is None or abs(difference) >= LARGE
    p = 0.0 if difference is None else by_chance(difference, sizes, free)
    return Shift(name=name, kind=kind, train=train, test=test, difference=difference, alert=alert, p=p)


def by_chance(difference: float, sizes: tuple[int, int], free: int = 1) -> float:
    """How often two samples of these sizes from one source differ by as much or more."""
    from scipy.special import gammaincc  # half a second, which `clinfit status` need not wait for

    n, m = sizes
    return float(gammaincc(free / 2, difference**2 * n * m / (n + m) / 2))


def _variance(values: NDArray[np.float64]) -> float:
    return float(values.var(ddof=1)) if len(values) > 1 else 0.0
