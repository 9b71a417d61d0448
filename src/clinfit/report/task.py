"""Everything that the report says of one task, in the order in which it says it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from clinfit.evaluation.results import TaskResult
from clinfit.report import figures
from clinfit.report.cohort import DataView, data_view
from clinfit.report.decisions import DecisionsView, decisions_view
from clinfit.report.explorer import Explorer, explorer
from clinfit.report.format import Cell, count, per_cent, text_of
from clinfit.report.freeze import FreezeView, freeze_view
from clinfit.report.glossary import definition
from clinfit.report.language import LanguageView, language_view
from clinfit.report.mistakes import ErrorsView, errors_view
from clinfit.report.panels import Panels, panels
from clinfit.report.pareto import pareto
from clinfit.report.per_hundred import PerHundred, per_hundred, prevalence_table
from clinfit.report.subgroups import ColumnView, subgroup_views
from clinfit.report.tables import (
    BeforeAfter,
    Column,
    Grid,
    Matrix,
    Pair,
    Plain,
    SystemRow,
    before_after,
    best,
    by_rank,
    cell_of,
    columns_of,
    cost_table,
    every_metric,
    is_simple,
    label_table,
    matrix,
    metric_of,
    pairs,
    system_rows,
)


@dataclass(frozen=True)
class TaskView:
    """level: error, warn or ok, the colour of the verdict box."""

    name: str
    anchor: str
    level: str
    withheld: bool
    errors: list[dict[str, Any]]
    warnings: list[dict[str, Any]]
    notes: list[dict[str, Any]]
    headline: list[tuple[str, Cell]]
    sentences: list[str]
    advice: list[str]
    confidence: str
    scope: str
    unreliable: bool
    columns: list[Column]
    rows: list[SystemRow]
    primary: str
    forest: Markup | None
    before_after: list[BeforeAfter]
    pairs: list[Pair]
    matrices: list[Matrix]
    labels: list[Grid]
    decisions: DecisionsView | None
    every: Grid | None
    cost: Grid
    seeds: Plain | None
    panels: list[Panels]
    explorer: Explorer | None
    per_hundred: dict[str, PerHundred]
    prevalences: Grid | None
    data: DataView
    subgroups: list[ColumnView]
    mistakes: ErrorsView | None
    canaries: list[tuple[str, bool, str]]
    pareto: Markup | None
    unbeaten: str
    freeze: FreezeView | None
    language: LanguageView | None


def task_view(
    number: int,
    name: str,
    task: TaskResult,
    confidence: float,
    described: Mapping[str, Any],
    failures: Mapping[str, str],
    records: Sequence[Mapping[str, Any]] = (),
    decision_range: Sequence[float] | None = None,
) -> TaskView:
    """number: position of the task in the study, for anchors. described: data/<task>.json. failures: model -> why.

    records: the run.json of every model and seed. decision_range: the study's clinically reasonable thresholds.
    """
    anchor = f"task{number + 1}"
    by_level = {level: [f for f in task["findings"] if f["level"] == level] for level in ("error", "warn", "info")}
    columns = columns_of(task)
    systems = [system for system in task["systems"] if system["classes"]]
    return TaskView(
        name=name,
        anchor=anchor,
        level="error" if by_level["error"] else "warn" if by_level["warn"] else "ok",
        withheld=task["withheld"],
        errors=by_level["error"],
        warnings=by_level["warn"],
        notes=by_level["info"],
        headline=headline(task),
        sentences=task["verdict"],
        advice=task["advice"],
        confidence=f"{confidence:.0%}",
        scope=scope(task),
        unreliable=any(m["status"] == "unreliable" for system in task["systems"] for m in system["metrics"].values()),
        columns=columns,
        rows=system_rows(task, columns, failures),
        primary=definition(task["primary"]).title,
        forest=forest(task, confidence, f"{anchor}-forest"),
        before_after=before_after(task),
        pairs=pairs(task),
        matrices=[matrix(system) for system in task["systems"]],
        labels=[] if task["withheld"] else [label_table(system) for system in systems],
        decisions=decisions_view(task, anchor),
        every=None if task["withheld"] else every_metric(task),
        cost=cost_table(task),
        seeds=seed_table(task),
        panels=panels(task, confidence, anchor, decision_range),
        explorer=explorer(task, anchor, decision_range),
        per_hundred=per_hundred(task),
        prevalences=prevalence_table(task),
        data=data_view(task, described),
        subgroups=subgroup_views(task, confidence, anchor),
        mistakes=errors_view(task),
        canaries=[(canary["name"], canary["passed"], canary_text(canary)) for canary in task["canaries"]],
        pareto=pareto(task, f"{anchor}-pareto"),
        unbeaten=", ".join(name for name in task["ranking"] if name in task["pareto"]),
        freeze=freeze_view(task["freeze"]),
        language=language_view(task, records),
    )


def scope(task: TaskResult) -> str:
    """n and events of the test split in words."""
    test = task["counts"].get("test")
    if test is None:
        return "no test records"
    positive = task["positive"]
    events = "" if positive is None else f", {count(test['labels'].get(positive, 0))} of them {positive}"
    return f"{count(test['n'])} records{events}"


def headline(task: TaskResult) -> list[tuple[str, Cell]]:
    """The few numbers of the verdict box: how many records, the best trained model and the best simple baseline."""
    test = task["counts"].get("test", {"n": 0, "groups": None, "labels": {}})
    n, positive = test["n"], task["positive"]
    items = [("Test records", Cell(count(n), "", repr(n)))]
    if positive is None:
        items.append(("Labels", Cell(str(len(task["labels"])), ", ".join(task["labels"]), str(len(task["labels"])))))
    else:
        events = test["labels"].get(positive, 0)
        items.append((f"Events ({positive})", Cell(count(events), per_cent(events / n) if n else "", repr(events))))
    title = definition(task["primary"]).title
    for words, system in (("", best(task, simple=False)), ("best simple baseline: ", best(task, simple=True))):
        if system is not None:
            items.append((f"{title}, {words}{system['name']}", cell_of(system, task["primary"])))
    return items


def forest(task: TaskResult, confidence: float, name: str) -> Markup | None:
    """The primary metric of every system that has one."""
    estimates = []
    for system in by_rank(task):
        metric = metric_of(system, task["primary"])
        if metric is not None and metric["value"] is not None:
            estimates.append(
                figures.Estimate(system["name"], metric["value"], metric["low"], metric["high"], is_simple(system))
            )
    known = definition(task["primary"])
    return figures.forest_figure(estimates, known.title, known.percent, confidence, name) if estimates else None


# ---------------------------------------------------------------- seeds, canaries


def seed_table(task: TaskResult) -> Plain | None:
    """Spread over training seeds, apart from the sampling error of the test set."""
    rows = []
    for entry in task["seeds"]:
        for metric, spread in entry["metrics"].items():
            known = definition(metric)
            show = (
                (lambda v: "—" if v is None else per_cent(v))
                if known.percent
                else (lambda v: "—" if v is None else f"{v:.3f}")
            )
            rows.append(
                [
                    f"{entry['system']}: {known.title}",
                    text_of(spread.get("n")),
                    *(show(spread.get(k)) for k in ("mean", "sd", "min", "max")),
                ]
            )
    if not rows:
        return None
    hint = "The same model trained again from other seeds: this spread is not in the intervals above."
    return Plain(
        "Spread over training seeds", hint, ["System and metric", "Seeds", "Mean", "SD", "Lowest", "Highest"], rows
    )


def canary_text(canary: Mapping[str, Any]) -> str:
    """Expected and found values; only those that differ when the canary failed."""
    expected, found = canary["expected"], canary["found"]
    return "; ".join(
        f"{definition(name).title} {_number(found.get(name))}"
        + ("" if canary["passed"] else f" (expected {_number(value)})")
        for name, value in expected.items()
    )


def _number(value: float | None) -> str:
    return "not estimable" if value is None else f"{value:.3g}"
