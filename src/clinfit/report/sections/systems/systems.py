"""All systems of a task beside each other: their metrics, and what they cost."""

from dataclasses import dataclass

from markupsafe import Markup

from clinfit.evaluation.results import TaskResult
from clinfit.report.figures import basic as figures
from clinfit.report.figures.pareto import pareto
from clinfit.report.format import decimal, per_cent, text_of
from clinfit.report.glossary import definition
from clinfit.report.section import section
from clinfit.report.sections.first.verdict import scope, where
from clinfit.report.sections.subject import Subject
from clinfit.report.tables import (
    Column,
    Grid,
    Plain,
    SystemRow,
    by_rank,
    columns_of,
    cost_table,
    every_metric,
    is_simple,
    metric_of,
    system_rows,
)


@dataclass(frozen=True)
class SystemsView:
    where: str
    scope: str
    unreliable: bool
    columns: list[Column]
    rows: list[SystemRow]
    chance: bool
    forest: Markup | None
    every: Grid | None


def systems_view(subject: Subject) -> SystemsView:
    task, columns = subject.task, columns_of(subject.task)
    return SystemsView(
        where(task),
        scope(task),
        any(m["status"] == "unreliable" for system in task["systems"] for m in system["metrics"].values()),
        columns,
        system_rows(task, columns, subject.failures),
        section(task, "chance") is not None,
        forest(task, subject.confidence, f"{subject.anchor}-forest"),
        None if task["withheld"] else every_metric(task),
    )


def forest(task: TaskResult, confidence: float, name: str, width: float = figures.FOREST) -> Markup | None:
    """The primary metric of every system that has one, with the level of an even guess where that is known."""
    estimates = []
    for system in by_rank(task):
        metric = metric_of(system, task["primary"])
        if metric is not None and metric["value"] is not None:
            estimates.append(
                figures.Estimate(system["name"], metric["value"], metric["low"], metric["high"], is_simple(system))
            )
    known, chance = definition(task["primary"]), (section(task, "chance") or {}).get(task["primary"])
    if not estimates:
        return None
    return figures.forest_figure(estimates, known.title, known.percent, confidence, name, chance, width)


# ---------------------------------------------------------------- cost and seeds


@dataclass(frozen=True)
class CostView:
    """unbeaten: the systems that no other beats in quality and time at once."""

    table: Grid
    pareto: Markup | None
    unbeaten: str
    seeds: Plain | None


def cost_view(subject: Subject) -> CostView:
    task = subject.task
    front = section(task, "pareto") or []
    return CostView(
        cost_table(task),
        pareto(task, f"{subject.anchor}-pareto"),
        ", ".join(name for name in task["ranking"] if name in front),
        seed_table(task),
    )


def seed_table(task: TaskResult) -> Plain | None:
    """Spread over training seeds, apart from the sampling error of the test set."""
    rows = [
        [
            f"{entry['system']}: {definition(metric).title}",
            text_of(spread.get("n")),
            *(_shown(spread.get(key), definition(metric).percent) for key in ("mean", "sd", "min", "max")),
        ]
        for entry in task["seeds"]
        for metric, spread in entry["metrics"].items()
    ]
    if not rows:
        return None
    hint = "The same model trained again from other seeds: this spread is not in the intervals above."
    return Plain(
        "Spread over training seeds", hint, ["System and metric", "Seeds", "Mean", "SD", "Lowest", "Highest"], rows
    )


def _shown(value: float | None, percent: bool) -> str:
    return "\N{EM DASH}" if value is None else per_cent(value) if percent else decimal(value)
