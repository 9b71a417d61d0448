"""Inputs that tell the answer by themselves: a field, a word, or that a value is missing. They are asked about by name.

Nothing here can know whether an input was known when the question was. An AUROC is that of one input alone for one
label against the others, whichever way round it is larger; a category counts by the share of the label among its own
records, categories of fewer than SMALL_CELL records together.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clinfit.data.clean import normalised
from clinfit.data.records import Record, Value, labels_in
from clinfit.data.values import SMALL_CELL
from clinfit.findings import Finding
from clinfit.study.data import InputColumn
from clinfit.study.tasks import Task

#: From this AUROC on an input separates the classes by itself. A single measurement of the Wisconsin breast cancer set,
#: where separation is real, reaches 0.976.
SEPARATES = 0.99
#: An AUROC that is worth a question when it is this much above that of every other input.
STRONG, FAR_ABOVE = 0.9, 0.2
#: AUROC of missing values from which they are worth a note, and a warning.
MISSING_NOTE, MISSING_WARNING = 0.6, 0.7
#: Texts are looked at up to this number, and words that a tenth of a label's texts hold.
MOST_TEXTS = 4_000

Bools = NDArray[np.bool_]


def giveaways(task: Task, records: Sequence[Record]) -> Iterator[Finding]:
    """All findings about inputs that tell the answer; of multiple-choice tasks none, whose letters mean nothing."""
    labels = [label for label in task.labels if _divides(_held(label, records))]
    if task.kind == "multiple-choice" or not labels:
        return
    yield from _fields(task, records, labels)
    yield from _words(task, records, labels)
    yield from _missing(task, records, labels)


def auroc(scores: NDArray[np.float64], held: Bools) -> float:
    """Probability that a record with the label has the larger score, ties half."""
    ranks = pd.Series(scores).rank().to_numpy()
    positive = int(held.sum())
    return float((ranks[held].sum() - positive * (positive + 1) / 2) / (positive * (len(held) - positive)))


def _held(label: str, records: Sequence[Record]) -> Bools:
    return np.array([label in labels_in(record.target) for record in records], dtype=bool)


def _divides(held: Bools) -> bool:
    return min(int(held.sum()), int((~held).sum())) >= SMALL_CELL


def _fields(task: Task, records: Sequence[Record], labels: Sequence[str]) -> Iterator[Finding]:
    best: dict[str, tuple[float, str]] = {}
    for name, column in task.data.columns.items():
        if column.type != "text":
            values = [record.inputs[name] for record in records]
            scored = [(_alone(values, column, _held(label, records)), label) for label in labels]
            best[name] = max(scored)
    ranked = sorted(best, key=lambda name: best[name], reverse=True)
    for place, name in enumerate(ranked):
        value, label = best[name]
        others = [best[other][0] for other in ranked if other != name]
        if value >= SEPARATES:
            yield Finding(
                "warn",
                "input-tells-label",
                f"the input {name} separates {label!r} from the rest by itself",
                f"AUROC {value:.3f} of this input alone",
                "was it known before the answer was? Take out what follows from the answer: codes, results, treatments",
            )
        elif place == 0 and len(others) >= 2 and value >= STRONG and value - max(others) >= FAR_ABOVE:
            yield Finding(
                "info",
                "input-stands-out",
                f"the input {name} tells {label!r} far better than any other",
                f"AUROC {value:.3f} of this input alone, the next one {max(others):.3f}",
                "was it known before the answer was?",
            )


def _alone(values: Sequence[Value], column: InputColumn, held: Bools) -> float:
    """The AUROC of one input, 0.5 where it is known in too few records."""
    known = np.array([value is not None for value in values], dtype=bool)
    if not _divides(held[known]):
        return 0.5
    present, wanted = [value for value in values if value is not None], held[known]
    if column.type == "number":
        scores = np.array(present, dtype=np.float64)
    else:
        counts = Counter(present)
        pooled = [value if counts[value] >= SMALL_CELL else None for value in present]
        totals, hits = Counter(pooled), Counter(value for value, hit in zip(pooled, wanted, strict=True) if hit)
        scores = np.array([hits[value] / totals[value] for value in pooled], dtype=np.float64)
    found = auroc(scores, wanted)
    return max(found, 1 - found)


def _words(task: Task, records: Sequence[Record], labels: Sequence[str]) -> Iterator[Finding]:
    """A word that nearly all texts of a label hold, and nearly none of the others. It is not shown."""
    some = records[:: max(1, len(records) // MOST_TEXTS)]
    for name in task.text_inputs:
        texts = [set(normalised(str(record.inputs[name] or "")).split()) for record in some]
        for label in labels:
            held = _held(label, some)
            if not _divides(held):
                continue
            inside = Counter(word for words, hit in zip(texts, held, strict=True) if hit for word in words)
            outside = Counter(word for words, hit in zip(texts, held, strict=True) if not hit for word in words)
            positive, negative = int(held.sum()), int((~held).sum())
            best = max((inside[word] / positive - outside[word] / negative for word in inside), default=0.0)
            if (1 + best) / 2 >= SEPARATES:
                yield Finding(
                    "warn",
                    "word-tells-label",
                    f"one word in {name} separates {label!r} from the rest by itself",
                    f"AUROC {(1 + best) / 2:.3f} of this word alone, in {len(some)} texts",
                    "the answer may be written in the text (a diagnosis, a heading, a template): take it out, or "
                    "compare with a keyword rule",
                )


def _missing_in(absent: Bools, held: Bools) -> str:
    """The shares, and the AUROC by which each could be worked out of the other; none of fewer than SMALL_CELL records
    with or without a value."""
    parts = absent[held], absent[~held]
    if any(0 < count < SMALL_CELL for part in parts for count in (int(part.sum()), int((~part).sum()))):
        more = "more" if parts[0].mean() > parts[1].mean() else "less"
        return (
            f"missing {more} often in its records than in the others; fewer than {SMALL_CELL} records are not counted"
        )
    value = auroc(absent.astype(np.float64), held)
    own, other = (part.mean() for part in parts)
    return f"missing in {own:.0%} of its records and in {other:.0%} of the others: AUROC {max(value, 1 - value):.3f}"


def _missing(task: Task, records: Sequence[Record], labels: Sequence[str]) -> Iterator[Finding]:
    for name in task.data.columns:
        absent = np.array([record.inputs[name] is None for record in records], dtype=bool)
        if min(int(absent.sum()), int((~absent).sum())) < SMALL_CELL:
            continue
        scored = []
        for label in labels:
            held = _held(label, records)
            value = auroc(absent.astype(np.float64), held)
            scored.append((max(value, 1 - value), label))
        value, label = max(scored)
        if value >= MISSING_NOTE:
            yield Finding(
                "warn" if value >= MISSING_WARNING else "info",
                "missing-tells-label",
                f"whether {name} is missing says something about {label!r}",
                _missing_in(absent, _held(label, records)),
                "find out why it was not measured: if because of the answer, the model learns that and no more",
            )
