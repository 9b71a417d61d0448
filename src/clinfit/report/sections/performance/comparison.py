"""Two systems on the same records: before and after training, and every other pair."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isclose

from clinfit.evaluation.results import Comparison, Difference, TaskResult
from clinfit.evaluation.system_results import SystemResult
from clinfit.report.format import NOTHING, Cell, decimal, interval, metric_cell, p_value, per_cent, signed
from clinfit.report.kinds import kind_of
from clinfit.report.sections.first.verdict import counted, tested
from clinfit.report.sections.subject import Subject
from clinfit.report.tables import metric_of


@dataclass(frozen=True)
class ChangeRow:
    """One metric before and after. shown: in a word or two whether the difference is more than chance. over: the items
    that it is over, where some have a value with one of the two only; else ''."""

    title: str
    before: Cell
    after: Cell
    change: Cell
    relative: Cell
    p: Cell
    direction: str
    shown: str
    over: str


@dataclass(frozen=True)
class BeforeAfter:
    """labels: what is said of each label, where there are more than two of them."""

    before: str
    after: str
    n: int
    rows: list[ChangeRow]
    labels: list[ChangeRow]
    sentence: str
    within: str
    agreement: str


@dataclass(frozen=True)
class Pair:
    """Two systems on the same records, by the primary metric; every other metric is in `rows`."""

    new: str
    reference: str
    difference: Cell
    p: Cell
    agreement: str
    sentence: str
    within: str
    rows: list[ChangeRow]


@dataclass(frozen=True)
class ComparisonView:
    before_after: list[BeforeAfter]
    pairs: list[Pair]


def comparison_view(subject: Subject) -> ComparisonView | None:
    """None where nothing is compared."""
    view = ComparisonView(before_after(subject.task), pairs(subject.task))
    return view if view.before_after or view.pairs else None


def before_after(task: TaskResult) -> list[BeforeAfter]:
    systems = {system["name"]: system for system in task["systems"]}
    return [
        BeforeAfter(
            comparison["reference"],
            comparison["new"],
            comparison["n"],
            *apart(comparison, systems, task),
            comparison["sentence"],
            _within(comparison),
            _agreement(comparison, task),
        )
        for comparison in task["comparisons"]
        if comparison["kind"] == "before-after"
    ]


def pairs(task: TaskResult) -> list[Pair]:
    """Every comparison that is not before against after: with the majority, with the baseline, and those declared."""
    systems = {system["name"]: system for system in task["systems"]}
    found = []
    for comparison in task["comparisons"]:
        if comparison["kind"] == "before-after":
            continue
        row = next((r for r in comparison["rows"] if r["metric"] == task["primary"] and r["label"] is None), None)
        found.append(
            Pair(
                comparison["new"],
                comparison["reference"],
                change_cell(row) if row else NOTHING,
                p_cell(row) if row else NOTHING,
                _agreement(comparison, task),
                comparison["sentence"],
                _within(comparison),
                change_rows(comparison, systems, counted(task)),
            )
        )
    return found


def apart(
    comparison: Comparison, systems: Mapping[str, SystemResult], task: TaskResult
) -> tuple[list[ChangeRow], list[ChangeRow]]:
    """The rows of all records, and those of each label; of two labels both stand in one table."""
    if len(task["labels"]) <= 2:
        return change_rows(comparison, systems, counted(task)), []
    of_all, of_labels = (
        [row for row in comparison["rows"] if (row["label"] is None) == whole] for whole in (True, False)
    )
    return (
        change_rows({**comparison, "rows": of_all}, systems, counted(task)),
        change_rows({**comparison, "rows": of_labels}, systems, counted(task)),
    )


def change_rows(comparison: Comparison, systems: Mapping[str, SystemResult], counted: str) -> list[ChangeRow]:
    """One row a metric; values keep the interval of their own system where the results hold it. counted: what answers
    are counted by.

    The F1 of the positive label stands once, whether as such or as that of its label.
    """
    rows, told = [], {_same_number(row) for row in comparison["rows"] if row["metric"] == "f1"}
    for row in comparison["rows"]:
        if row["metric"].startswith("f1:") and _same_number(row) in told:
            continue
        old, new = (systems.get(comparison[side]) for side in ("reference", "new"))
        rows.append(
            ChangeRow(
                row["title"],
                _value_cell(row["reference"], row, old),
                _value_cell(row["new"], row, new),
                change_cell(row),
                _relative_cell(row),
                p_cell(row),
                row["direction"] if row["supported"] else "",
                _shown(row),
                _over(row, comparison, counted),
            )
        )
    return rows


def _over(row: Difference, comparison: Comparison, counted: str) -> str:
    """over 40 items; 60 that have a value with tiny (before) only are left out."""
    common = row["common"]
    if common is None or not (common["reference"] or common["new"]):
        return ""
    told = {comparison["reference"]: common["reference"], comparison["new"]: common["new"]}
    only = " and ".join(f"{n} that have a value with {name} only" for name, n in told.items() if n)
    return f"over {common['both']} {counted}; {only} are left out"


def _same_number(row: Difference) -> tuple[float | None, ...]:
    return row["reference"], row["new"], row["low"], row["high"]


def _shown(row: Difference) -> str:
    """What the paired test supports; the comparison's sentence says the rest, once."""
    if row["direction"] == "better" and not row["supported"]:
        return "better, but not than a constant answer"
    return {"better": "yes, better", "worse": "yes, worse", "no difference shown": "no"}.get(row["direction"], "—")


def _value_cell(value: float | None, row: Difference, system: SystemResult | None) -> Cell:
    name = row["metric"].partition(":")[0]  # a label's own metric is called precision:<label>
    metric = metric_of(system, name, row["label"]) if system else None
    known = metric["value"] if metric is not None else None
    if metric is not None and (known is value or (known is not None and value is not None and isclose(known, value))):
        return metric_cell(metric, percent=row["percent"])
    if value is None:
        return Cell("not estimable")
    return Cell(per_cent(value) if row["percent"] else decimal(value), "", repr(value), repr(value))


def change_cell(row: Difference) -> Cell:
    """Points for shares, the plain difference otherwise, with the paired interval in the same unit."""
    if row["difference"] is None:
        return Cell("not estimable", f"({row['reason']})" if row["reason"] else "")
    shown = row["points"] if row["percent"] else row["difference"]
    assert shown is not None, "a share that has a difference has points"
    text = signed(shown, 1) if row["percent"] else signed(shown, 3)
    note = "; ".join(filter(None, [repr(shown), row["method"] and f"interval: {row['method']}", row["reason"]]))
    return Cell(text, interval(row["low"], row["high"], percent=row["percent"]), repr(shown), note)


def _relative_cell(row: Difference) -> Cell:
    if row["relative"] is None:
        return NOTHING
    return Cell(f"{signed(row['relative'] * 100)} %", "", repr(row["relative"]), repr(row["relative"]))


def p_cell(row: Difference) -> Cell:
    """The p value of the row's own test and, beneath, after Holm's correction."""
    if row["p"] is None:
        return NOTHING
    holm = "" if row["p_holm"] is None else f"Holm {p_value(row['p_holm'])}"
    return Cell(p_value(row["p"]), holm, repr(row["p"]), "; ".join(filter(None, [row["test"], repr(row["p"])])))


def _within(comparison: Comparison) -> str:
    """What the study's margin says; '' without one."""
    return "" if comparison["non_inferiority"] is None else comparison["non_inferiority"]["sentence"]


def _agreement(comparison: Comparison, task: TaskResult) -> str:
    """The half of the 2 x 2 table that the comparison's sentence does not tell."""
    flips, right = comparison["flips"], kind_of(task).right
    if flips is None:
        return ""
    counted = f"both are wrong on {flips['both_wrong']} {tested(task)}"
    return f"Both are {right} on {flips['both_right']} and {counted}."
