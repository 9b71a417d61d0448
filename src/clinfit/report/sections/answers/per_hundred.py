"""A confusion matrix as natural frequencies (of 100 records like these ...) and at other prevalences."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clinfit.evaluation.claims.natural_frequencies import natural_frequencies
from clinfit.evaluation.decisions.operating_point import OperatingPoint, operating_point
from clinfit.evaluation.results import TaskResult
from clinfit.evaluation.system_results import SystemResult
from clinfit.report.format import Cell, count, per_cent
from clinfit.report.section import section
from clinfit.report.tables import Grid, Plain, model_first

#: Prevalences at which predictive values are shown: from screening to a specialist clinic.
PREVALENCES = (0.01, 0.05, 0.1, 0.2, 0.5)


@dataclass(frozen=True)
class PerHundred:
    sentence: str
    table: Plain


def per_hundred(task: TaskResult) -> dict[str, PerHundred]:
    """By system, best first; nothing for more than two labels, one class, and withheld results."""
    event = task["positive"]
    test = task["counts"].get("test")
    if (
        event is None
        or task["withheld"]
        or test is None
        or 0 in (test["labels"].get(name, 0) for name in task["labels"])
    ):
        return {}
    counted = [system for system in model_first(task) if "confusion" in system["sections"]]
    return {system["name"]: frequencies(system, event) for system in counted}


def frequencies(system: SystemResult, event: str) -> PerHundred:
    """Whole records of 100, or of 1,000 or 10,000 where events are rare, rounded so that they add up."""
    confusion = section(system, "confusion")
    yes = confusion["rows"].index(event)
    order = [yes, 1 - yes]
    counts = np.array(confusion["counts"])[order][:, [*order, 2]]
    base, whole = natural_frequencies(counts)

    def told(rows: Sequence[int] | slice, columns: Sequence[int] | slice) -> str:
        """The rounded number; what there is and rounds to nothing is not none."""
        exact, shown = counts[rows, columns].sum(), int(whole[rows, columns].sum())
        return "fewer than 1" if exact and not shown else count(shown) if shown else "none"

    every = slice(None)
    sentence = (
        f"Of {count(base)} records like these, {told([0], every)} are truly {event}. {system['name']} flags "
        f"{told(every, [0])}, of whom {told([0], [0])} are truly {event} and {told([1], [0])} are not; it misses "
        f"{told([0], [1])}."
    )
    if counts[:, 2].any():
        sentence += f" Of {told(every, [2])} the answer cannot be read, {told([0], [2])} of them truly {event}."
    columns = ["flagged", "not flagged", *(["unparsed"] if counts[:, 2].any() else [])]
    names = [f"truly {event}", f"truly {confusion['rows'][1 - yes]}"]
    rows = [[name, *(told([k], [j]).replace("none", "0") for j in range(len(columns)))] for k, name in enumerate(names)]
    n = int(counts.sum())
    hint = f"Scaled from {count(n)} {'test records' if n == system['n'] else 'answers'}."
    return PerHundred(sentence, Plain(f"Of {count(base)} records", hint, ["Truth", *columns], rows))


def prevalence_table(task: TaskResult, confidence: float) -> Grid | None:
    """Predictive values of every system that flags anything, at other prevalences, with intervals where items are
    independent."""
    event = task["positive"]
    if event is None or task["withheld"]:
        return None
    rows = []
    for system in model_first(task):
        point = operating_point(system, event)
        if point.found + point.alarms == 0 or not point.positives or not point.negatives:
            continue
        level = confidence if independent(system) else None
        rows.append((system["name"], [_predictive(point, prevalence, level) for prevalence in PREVALENCES]))
    if not rows:
        return None
    heads = [f"Prevalence {per_cent(prevalence, 0)}" for prevalence in PREVALENCES]
    return Grid("PPV and NPV at other prevalences", ["System", *heads], rows)


def independent(system: SystemResult) -> bool:
    """Whether no items share a group: intervals of shares are then Wilson's."""
    metric = system["metrics"].get("sensitivity")
    return metric is not None and metric["method"] == "Wilson"


def _predictive(point: OperatingPoint, prevalence: float, confidence: float | None) -> Cell:
    """PPV above and NPV below, each with its interval. confidence: None where there can be none."""
    ppv, npv = point.ppv_at(prevalence), point.npv_at(prevalence)
    if ppv is None:
        return Cell("not estimable", "(flags nobody)")
    ends = (
        (None, None)
        if confidence is None
        else (
            point.ppv_interval(prevalence, confidence),
            point.npv_interval(prevalence, confidence),
        )
    )
    under = "NPV not estimable" if npv is None else f"NPV {_with_ends(npv, ends[1])}"
    return Cell(_with_ends(ppv, ends[0]), under, repr(ppv), repr(ppv))


def _with_ends(value: float, ends: tuple[float, float] | None) -> str:
    return per_cent(value) if ends is None else f"{per_cent(value)} [{per_cent(ends[0])}, {per_cent(ends[1])}]"
