"""The shell that every kind of task has in metrics.json: systems with their metrics and costs, split counts, seeds."""

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np

from clinfit.evaluation.answers import Rows, items_of, repeats_of
from clinfit.evaluation.context import Context, Measured, MeasuredContext
from clinfit.evaluation.facts import KnownCounts
from clinfit.evaluation.metrics.metric import Metric
from clinfit.evaluation.results import SeedSummary, SplitCounts, TaskResult, TaskSections
from clinfit.evaluation.system_results import SystemResult, SystemSections
from clinfit.evaluation.systems import System
from clinfit.findings import Finding
from clinfit.study.tasks import Task


def split_counts(system: System, task: Task, known: Mapping[str, KnownCounts]) -> dict[str, SplitCounts]:
    """Records, groups and labels of each split: from the data where known, else from the system's own rows."""
    rows = {"validation": system.validation, "test": system.test}
    counts: dict[str, SplitCounts] = {}
    for split in ("train", "validation", "test"):
        own = rows.get(split)
        found = known.get(split) or _own_counts(own, task)
        if found is not None:
            groups = None if own is None or not len(own) else len(np.unique(own.groups))
            counts[split] = SplitCounts(n=found["n"], groups=groups, labels=dict(found["labels"]))
    return counts


def _own_counts(rows: Rows | None, task: Task) -> KnownCounts | None:
    """None when there are no rows."""
    if rows is None or not len(rows):
        return None
    return KnownCounts(
        n=items_of(rows.answers), labels=dict(zip(task.labels, rows.answers.support.tolist(), strict=True))
    )


# ---------------------------------------------------------------- a task


def measured_task(
    context: MeasuredContext,
    systems: Sequence[SystemResult],
    sections: TaskSections,
    findings: Sequence[Finding],
    verdict: Sequence[str],
    advice: Sequence[str],
) -> TaskResult:
    """A task with its numbers."""
    return TaskResult(
        kind=context.task.kind,
        labels=list(context.task.labels),
        positive=context.task.positive_label,
        primary=context.primary,
        counts=context.counts,
        systems=list(systems),
        ranking=list(context.ranking),
        baseline=None if context.baseline is None else context.baseline.name,
        chosen=context.chosen,
        seeds=seed_summaries(context.measured),
        comparisons=list(context.comparisons),
        findings=[finding.as_dict() for finding in findings],
        verdict=list(verdict),
        advice=list(advice),
        withheld=False,
        sections=sections,
    )


def withheld_task(
    context: Context,
    systems: Sequence[SystemResult],
    sections: TaskSections,
    findings: Sequence[Finding],
    verdict: Sequence[str],
) -> TaskResult:
    """A task whose numbers an error hides."""
    return TaskResult(
        kind=context.task.kind,
        labels=list(context.task.labels),
        positive=context.task.positive_label,
        primary=context.primary,
        counts=context.counts,
        systems=list(systems),
        ranking=[],
        baseline=None,
        chosen=None,
        seeds=[],
        comparisons=[],
        findings=[finding.as_dict() for finding in findings],
        verdict=list(verdict),
        advice=[],
        withheld=True,
        sections=sections,
    )


# ---------------------------------------------------------------- a system


def measured_system(context: Context, item: Measured, sections: SystemSections) -> SystemResult:
    """One system's entry."""
    return _system(context, item.system, item.metrics, sections)


def withheld_system(context: Context, system: System, why: str, sections: SystemSections) -> SystemResult:
    """An entry without numbers: the headline metrics are withheld."""
    names = context.engine.headline(system.test.answers, context.primary)
    metric = Metric(None, n=items_of(system.test.answers)).withheld(why)
    return _system(context, system, dict.fromkeys(names, metric), sections)


def _system(context: Context, system: System, metrics: Mapping[str, Metric], sections: SystemSections) -> SystemResult:
    known = context.facts.models.get(system.run, {})
    cost = cast(
        dict[str, float | int | None],
        {name: known.get(name) for name in ("train_seconds", "peak_memory_mb", "parameters", "trainable_parameters")},
    )
    return SystemResult(
        name=system.name,
        model=system.model,
        seed=system.seed,
        stage=system.stage,
        moment=system.moment,
        family=system.family,
        trained=system.trained,
        n=items_of(system.test.answers),
        unparsed=int((~system.test.answers.parsed).sum()) // repeats_of(system.test.answers),
        metrics={name: metric.as_dict() for name, metric in metrics.items()},
        cost=cost | _inference_cost(system.test),
        alarms=list(known.get("alarms", [])) if system.trained else [],
        sections=sections,
    )


def _inference_cost(rows: Rows) -> dict[str, float | int | None]:
    """Seconds an item (median and 95th percentile) and prompt tokens an item (mean)."""
    seconds = rows.seconds[np.isfinite(rows.seconds)]
    tokens = rows.prompt_tokens[np.isfinite(rows.prompt_tokens)]
    return {
        "seconds_p50": float(np.quantile(seconds, 0.5)) if len(seconds) else None,
        "seconds_p95": float(np.quantile(seconds, 0.95)) if len(seconds) else None,
        "prompt_tokens_mean": float(tokens.mean()) if len(tokens) else None,
    }


# ---------------------------------------------------------------- seeds


def seed_summaries(measured: Sequence[Measured]) -> list[SeedSummary]:
    """Mean, standard deviation and range over seeds, for each model and stage that has several."""
    by_model: dict[tuple[str, int], list[Measured]] = {}
    for item in measured:
        by_model.setdefault((item.system.model, item.system.stage), []).append(item)
    summaries = []
    for (model, _), items in by_model.items():
        if len(items) < 2:
            continue
        moment = items[0].system.moment
        spread: dict[str, dict[str, float | int | None]] = {}
        for name in items[0].metrics:
            values = [item.metrics[name].value for item in items if name in item.metrics]
            defined = np.array([value for value in values if value is not None])
            if len(defined) > 1:
                spread[name] = {
                    "mean": float(defined.mean()),
                    "sd": float(defined.std(ddof=1)),
                    "min": float(defined.min()),
                    "max": float(defined.max()),
                    "n": len(defined),
                }
        title = f"{model} ({moment})" if moment else model
        summaries.append(SeedSummary(system=title, seeds=[item.system.seed for item in items], metrics=spread))
    return summaries
