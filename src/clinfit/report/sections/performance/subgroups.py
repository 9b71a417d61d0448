"""Results by subgroup and site: a table and a forest plot for each column and system, and the largest gaps."""

from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup

from clinfit.evaluation.results import SubgroupGap, SubgroupResult, TaskResult
from clinfit.evaluation.system_results import SystemResult
from clinfit.report.figures.subgroups import GroupEstimate, subgroup_figure
from clinfit.report.format import NOTHING, Cell, count, decimal, interval, metric_cell, p_value, per_cent, signed
from clinfit.report.glossary import definition
from clinfit.report.section import section
from clinfit.report.sections.subject import Subject
from clinfit.report.tables import Grid, cell_of, metric_of, number_cell


@dataclass(frozen=True)
class SubgroupView:
    """One column for one system. note: suppressed groups, equalized odds, spread between sites, in sentences."""

    system: str
    table: Grid
    gaps: Grid | None
    figure: Markup | None
    note: str


@dataclass(frozen=True)
class ColumnView:
    """One column: the best system in the open, the others folded away."""

    title: str
    first: SubgroupView
    others: list[SubgroupView]


def subgroup_views(subject: Subject) -> list[ColumnView]:
    """In the order of the study's columns."""
    task = subject.task
    systems = {system["name"]: system for system in task["systems"]}
    by_column: dict[str, list[SubgroupView]] = {}
    titles: dict[str, str] = {}
    for place, result in enumerate(section(task, "subgroups") or []):
        view = _view(result, systems[result["system"]], task, subject.confidence, f"{subject.anchor}-group{place}")
        by_column.setdefault(result["column"], []).append(view)
        titles[result["column"]] = f"Sites: {result['title']}" if result["site"] else result["title"]
    return [ColumnView(titles[column], views[0], views[1:]) for column, views in by_column.items()]


def _view(result: SubgroupResult, system: SystemResult, task: TaskResult, confidence: float, name: str) -> SubgroupView:
    names = list(next((row["metrics"] for row in result["rows"] if not row["suppressed"]), {}))
    return SubgroupView(
        result["system"],
        _table(result, system, names, task["positive"]),
        _gaps(result) if result["gaps"] else None,
        _figure(result, system, task["primary"], confidence, name) if names else None,
        " ".join([*_suppressed(result), *_odds(result), *_spread(result["spread"])]),
    )


def _table(result: SubgroupResult, system: SystemResult, names: list[str], positive: str | None) -> Grid:
    events = next((entry["support"] for entry in section(system, "classes") or () if entry["label"] == positive), None)
    rows = [("All records", [*_sizes(system["n"], events, positive), *(cell_of(system, name) for name in names)])]
    for row in result["rows"]:
        if row["suppressed"]:
            hidden = [Cell("too few", "to be shown"), *_sizes(None, None, positive)[1:]]
            rows.append((row["group"], [*hidden, *(NOTHING for _ in names)]))
            continue
        cells = [metric_cell(row["metrics"].get(name), percent=definition(name).percent) for name in names]
        rows.append((row["group"], [*_sizes(row["n"], row["events"], positive), *cells]))
    heads = ["Group", "Records", *(["Events"] if positive else []), *(definition(name).title for name in names)]
    return Grid(f"{result['system']} by {result['title']}", heads, rows)


def _sizes(n: int | None, events: int | None, positive: str | None) -> list[Cell]:
    """Records, and events where there are such."""
    return [number_cell(n), *([number_cell(events)] if positive else [])]


def _gaps(result: SubgroupResult) -> Grid:
    rows = []
    for gap in result["gaps"]:
        p = NOTHING if gap["p_holm"] is None else Cell(p_value(gap["p_holm"]), "", repr(gap["p_holm"]))
        pair = Cell(gap["high"], f"against {gap['low']}", gap["high"])
        rows.append((definition(gap["metric"]).title, [pair, gap_cell(gap), p]))
    return Grid("Largest difference between two groups", ["Metric", "Groups", "Difference", "p (Holm)"], rows)


def gap_cell(gap: SubgroupGap) -> Cell:
    """Points for shares, the plain difference otherwise."""
    difference, percent = gap["difference"], definition(gap["metric"]).percent
    value = difference["value"]
    assert value is not None, "gaps are kept only between groups that have the metric"
    shown = interval(difference["low"], difference["high"], percent=percent) or f"({difference['reason']})"
    note = "; ".join(filter(None, [repr(value), difference["method"], f"n = {difference['n']}"]))
    return Cell(signed(100 * value, 1) if percent else signed(value, 3), shown, repr(value), note)


def _figure(result: SubgroupResult, system: SystemResult, primary: str, confidence: float, name: str) -> Markup:
    groups = []
    for row in result["rows"]:
        metric = row["metrics"].get(primary)
        size = "too few" if row["n"] is None else f"n {count(row['n'])}"
        size += "" if row["events"] is None else f", {count(row['events'])} events"
        value = (None, None, None) if metric is None else (metric["value"], metric["low"], metric["high"])
        groups.append(GroupEstimate(row["group"], size, *value))
    known, whole = definition(primary), metric_of(system, primary)
    overall = None if whole is None else whole["value"]
    return subgroup_figure(groups, overall, known.title, known.percent, confidence, name)


# ---------------------------------------------------------------- sentences


def _suppressed(result: SubgroupResult) -> list[str]:
    hidden = [row["group"] for row in result["rows"] if row["suppressed"]]
    if not hidden:
        return []
    return [f"Too few records to be shown: {', '.join(hidden)}."]


def _odds(result: SubgroupResult) -> list[str]:
    value = result["equalized_odds"]
    if value is None:
        return []
    return [
        f"Equalized-odds difference: {decimal(100 * value, 1)} points (the larger of the gaps in sensitivity and in "
        "1 − specificity; 0 would mean that errors are as frequent in every group)."
    ]


def _spread(spread: Mapping[str, float | None]) -> list[str]:
    known = {name: value for name, value in spread.items() if value is not None}
    if not known:
        return []
    shown = ", ".join(
        f"{definition(name).title} {per_cent(value) if definition(name).percent else decimal(value)}"
        for name, value in known.items()
    )
    return [f"Standard deviation between sites, sampling error included: {shown}."]
