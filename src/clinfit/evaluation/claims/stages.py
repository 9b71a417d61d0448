"""What may be said of stages over all tasks: whether something was forgotten, and which remedy keeps all tasks."""

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Literal

import numpy as np
from scipy.stats import rankdata

from clinfit.evaluation.claims.wording import change, unit
from clinfit.evaluation.metrics.definitions import LOWER_IS_BETTER, METRICS
from clinfit.evaluation.results import TaskResult
from clinfit.evaluation.stage_results import StageAverage, StageChange, StagedModel, StagesResult
from clinfit.evaluation.statistics.intervals import z_value

#: Models by name, each as every task sees it.
Staged = Mapping[str, Mapping[str, StagedModel]]


def stages_verdict(
    tasks: Mapping[str, TaskResult], confidence: float, origins: Mapping[str, str]
) -> StagesResult | None:
    """None where no model went through stages with numbers for several tasks that it knows.

    origins: where the records of each task come from; tasks of one origin may ask about the same patients.
    """
    staged: dict[str, dict[str, StagedModel]] = {}
    for name, task in tasks.items():
        for entry in task["sections"].get("stages", []):
            if entry["learned"] is not None:
                staged.setdefault(entry["model"], {})[name] = entry
    whole = {model: entries for model, entries in staged.items() if len(entries) > 1}
    if not whole:
        return None
    chosen = best_on_validation(whole)
    best = chosen or next(iter(whole))
    naive = naive_of(whole[best])
    first = naive if naive is not None and naive in whole else best
    primaries = {name: task["primary"] for name, task in tasks.items()}
    averages = averages_of(whole, primaries, confidence, origins)
    lines = [*retention(whole[first]), *_said_of(first, averages)]
    if chosen is not None:
        lines.append(_best(chosen, whole, naive, primaries))
        lines += [] if chosen == first else [*retention(whole[chosen]), *_said_of(chosen, averages)]
    return StagesResult(chosen=chosen, verdict=lines, averages=averages)


def averages_of(
    staged: Staged, primaries: Mapping[str, str], confidence: float, origins: Mapping[str, str]
) -> list[StageAverage]:
    """Backward and forward transfer of each model, averaged over the tasks that have them, if they are several."""
    kinds: tuple[Literal["retention", "transfer"], ...] = ("retention", "transfer")
    found: list[StageAverage] = []
    for model, entries in staged.items():
        for kind in kinds:
            changed = {task: change for task, entry in entries.items() if (change := of_kind(entry, kind)) is not None}
            apart = len({origins[task] for task in changed}) == len(changed)
            average = _average(model, kind, changed, [primaries[task] for task in changed], confidence, apart)
            found += [] if average is None else [average]
    return found


def _average(
    model: str,
    kind: Literal["retention", "transfer"],
    changed: Mapping[str, StageChange],
    metrics: Sequence[str],
    confidence: float,
    apart: bool,
) -> StageAverage | None:
    """None for fewer than two tasks, for metrics that cannot be averaged, and where one has no interval.

    Standard errors of independent tasks add in squares. apart: whether they are independent; where they may share
    patients, the errors themselves are added, which holds whatever the correlation.
    """
    if len(changed) < 2 or not _have_a_common_unit(metrics):
        return None
    z, differences, errors = z_value(confidence), [], []
    for found in changed.values():
        if found["difference"] is None or found["low"] is None or found["high"] is None:
            return None
        differences.append(found["difference"])
        errors.append((found["high"] - found["low"]) / (2 * z))
    error = sqrt(sum(error**2 for error in errors)) if apart else sum(errors)
    mean, half = sum(differences) / len(changed), z * error / len(changed)
    low, high = mean - half, mean + half
    helped, harmed = _ENDS[kind]
    end = helped if low > 0 else harmed if high < 0 else "no difference shown"
    sentence = (
        f"{model}: {_ABOUT[kind]} over {len(changed)} tasks, {change(metrics[0], mean)}{unit(metrics[0])} on average "
        f"({100 * confidence:g} % interval {change(metrics[0], low)} to {change(metrics[0], high)}); {end}."
    )
    return StageAverage(
        model=model, kind=kind, tasks=list(changed), difference=mean, low=low, high=high, sentence=sentence
    )


_ABOUT = {"retention": "backward transfer", "transfer": "forward transfer"}
#: What it means to lie above 0, and below.
_ENDS = {
    "retention": ("they even gained", "forgotten"),
    "transfer": ("earlier stages helped", "earlier stages did harm"),
}


def _have_a_common_unit(metrics: Sequence[str]) -> bool:
    """Whether their differences may be averaged: one metric throughout, or shares; more is better."""
    alike = len(set(metrics)) == 1 or all(METRICS[metric.partition(":")[0]].percent for metric in metrics)
    return alike and not any(metric in LOWER_IS_BETTER for metric in metrics)


def _said_of(model: str, averages: Sequence[StageAverage]) -> list[str]:
    return [average["sentence"] for average in averages if average["model"] == model]


def best_on_validation(staged: Staged) -> str | None:
    """The model with the best mean rank over its tasks, on validation after the last stage; the first of equal ones.

    Ranks, because metrics of different tasks have no common unit; of models that know the same tasks as most.
    """
    tasks = max((tuple(entries) for entries in staged.values()), key=len)
    values = {
        model: [entries[task]["rows"][-1]["validation"] for task in tasks]
        for model, entries in staged.items()
        if set(tasks) <= set(entries)
    }
    known = {model: found for model, found in values.items() if None not in found}
    if len(known) < 2:
        return None
    ranks = rankdata(-np.array(list(known.values()), dtype=np.float64), axis=0).mean(axis=1)
    return list(known)[int(np.argmin(ranks))]


def naive_of(entries: Mapping[str, StagedModel]) -> str | None:
    """The model of the same base that retained nothing, which a model is held against."""
    return next((found["of"] for entry in entries.values() if (found := of_kind(entry, "naive")) is not None), None)


def retention(entries: Mapping[str, StagedModel]) -> list[str]:
    """What became of the tasks that were learned before the last stage."""
    return [found["sentence"] for entry in entries.values() if (found := of_kind(entry, "retention")) is not None]


def of_kind(entry: StagedModel, kind: str) -> StageChange | None:
    """The change of that kind."""
    return next((found for found in entry["changes"] if found["kind"] == kind), None)


def _best(chosen: str, staged: Staged, naive: str | None, primaries: Mapping[str, str]) -> str:
    """Which way did best on validation, and what it is worth on test against going on without a remedy."""
    start = f"Of {len(staged)} ways through the stages, {chosen} did best over all tasks on validation"
    against = [
        f"{task} {_moved(found, primaries[task])}"
        for task, entry in staged[chosen].items()
        if (found := of_kind(entry, "naive")) is not None
    ]
    return f"{start}; on test, against {naive}: {' and '.join(against)}." if against else f"{start}."


def _moved(found: StageChange, metric: str) -> str:
    """+5.0 points (+0.6 to +9.4; better)."""
    if found["difference"] is None:
        return "not estimable"
    moved = f"{change(metric, found['difference'])}{unit(metric)}"
    if found["low"] is None or found["high"] is None:
        return f"{moved} (no interval)"
    return f"{moved} ({change(metric, found['low'])} to {change(metric, found['high'])}; {found['direction']})"
