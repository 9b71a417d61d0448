"""The threshold explorer: what each system would do at every threshold, as a table and for the slider of the page.

All texts are made here. The page's script only looks them up, so that it cannot disagree with the tables or with
metrics.json, and the page says the same without it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clinfit.evaluation.decisions.net_benefit import interventions_avoided, treat_all
from clinfit.evaluation.decisions.operating_point import OperatingPoint, operating_point, swept_points
from clinfit.evaluation.system_results import SystemResult
from clinfit.report.format import decimal, per_cent
from clinfit.report.section import section
from clinfit.report.sections.performance.panels import DRAWN, drawn_systems
from clinfit.report.sections.subject import Subject
from clinfit.report.tables import threshold_in_force, thresholds_of_folds

#: Thresholds of the table, beside those of the study.
USUAL = (0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
COLUMNS = (
    "Sensitivity",
    "Specificity",
    "PPV",
    "NPV",
    "Alerts per 100",
    "Misses per 100",
    "Net benefit",
    "Avoided per 100",
)


@dataclass(frozen=True)
class ThresholdTable:
    """rows: threshold as text, its values in the order of COLUMNS, whether it is the study's own."""

    name: str
    rule: str
    rows: list[tuple[str, list[str], bool]]


@dataclass(frozen=True)
class Explorer:
    """data: what the script reads: for each system its name, the place of the study's threshold and its texts."""

    anchor: str
    event: str
    columns: Sequence[str]
    tables: list[ThresholdTable]
    data: list[dict[str, Any]]


def explorer(subject: Subject) -> Explorer | None:
    """None where no system has a sweep: more than two labels, one class, withheld results, constant predictions."""
    task, event, declared = subject.task, subject.task["positive"], subject.decision_range
    if event is None or task["withheld"]:
        return None
    systems = [drawn.system for drawn in drawn_systems(task)][:DRAWN]
    if not systems:
        return None
    tables = [threshold_table(system, event, declared) for system in systems]
    return Explorer(subject.anchor, event, COLUMNS, tables, [slider_data(system, event) for system in systems])


def values(point: OperatingPoint) -> list[str]:
    """The values of a threshold as texts, in the order of COLUMNS."""
    shares = [point.sensitivity, point.specificity, point.ppv, point.npv]
    benefit = point.net_benefit
    texts = ["not estimable" if share is None else per_cent(share) for share in shares]
    texts += [decimal(point.alerts_per_100, 1), decimal(point.misses_per_100, 1)]
    if benefit is None or point.threshold <= 0:
        return [*texts, "not estimable", "not estimable"]
    everybody = treat_all(point.positives / point.n, point.threshold)
    avoided = interventions_avoided(benefit, everybody, point.threshold)
    return [*texts, decimal(benefit), decimal(float(avoided), 1)]


def threshold_table(system: SystemResult, event: str, declared: Sequence[float] | None) -> ThresholdTable:
    """The usual thresholds, the ends of the declared range, and the study's own with the decisions really made."""
    made = operating_point(system, event)
    wanted = {round(100 * t) for t in (*USUAL, *(declared or ()))}
    points = [(point, False) for point in swept_points(system, event) if round(100 * point.threshold) in wanted]
    points = [entry for entry in points if entry[0].threshold != made.threshold]
    points = sorted([*points, (made, True)], key=lambda entry: entry[0].threshold)
    rows = [
        (threshold_words(system, point) if own else f"{point.threshold:.2f}", values(point), own)
        for point, own in points
    ]
    if thresholds_of_folds(system):  # decisions under several thresholds have no net benefit at one
        rows = [(words, [*texts[:-2], *["not estimable"] * 2] if own else texts, own) for words, texts, own in rows]
    return ThresholdTable(system["name"], rule_of(system), rows)


def threshold_words(system: SystemResult, point: OperatingPoint) -> str:
    return threshold_in_force(system) if thresholds_of_folds(system) else f"{point.threshold:.3f}"


def rule_of(system: SystemResult) -> str:
    """How the study's threshold came about."""
    threshold = section(system, "threshold")
    if threshold["value"] is None:
        return "0.5 (the more probable label is taken)"
    where = f", chosen on {threshold['split']}" if threshold["split"] else ""
    return f"{threshold_in_force(system)} ({threshold['rule']}{where})"


def slider_data(system: SystemResult, event: str) -> dict[str, Any]:
    """name, rule, own: the study's threshold; rows: [threshold, *values] as texts."""
    rows = [[f"{point.threshold:.2f}", *values(point)] for point in swept_points(system, event)]
    return {
        "name": system["name"],
        "rule": rule_of(system),
        "own": operating_point(system, event).threshold,
        "rows": rows,
    }
