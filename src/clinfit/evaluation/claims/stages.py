"""What may be said of stages over all tasks: whether something was forgotten, and which remedy keeps all tasks."""

from collections.abc import Mapping

import numpy as np
from scipy.stats import rankdata

from clinfit.evaluation.claims.wording import change, unit
from clinfit.evaluation.results import TaskResult
from clinfit.evaluation.stage_results import StageChange, StagedModel, StagesResult

#: Models by name, each as every task sees it.
Staged = Mapping[str, Mapping[str, StagedModel]]


def stages_verdict(tasks: Mapping[str, TaskResult]) -> StagesResult | None:
    """None where no model went through stages with numbers for several tasks that it knows."""
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
    lines = retention(whole[first])
    if chosen is not None:
        lines.append(_best(chosen, whole, naive, {name: task["primary"] for name, task in tasks.items()}))
        lines += [] if chosen == first else retention(whole[chosen])
    return StagesResult(chosen=chosen, verdict=lines)


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
