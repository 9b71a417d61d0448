"""What may be said of stages over all tasks: whether something was forgotten, and which remedy keeps all tasks."""

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Literal

import numpy as np
from scipy.stats import rankdata

from clinfit.evaluation.claims.paired_seeds import Errors
from clinfit.evaluation.claims.wording import change, unit
from clinfit.evaluation.metrics.definitions import LOWER_IS_BETTER, METRICS
from clinfit.evaluation.results import TaskResult
from clinfit.evaluation.stage_results import StageAverage, StageChange, StagedModel, StagesOfBase, StagesResult
from clinfit.evaluation.statistics.intervals import student_interval

#: Models by name, each as every task sees it.
Staged = Mapping[str, Mapping[str, StagedModel]]


def stages_verdict(
    tasks: Mapping[str, TaskResult], confidence: float, origins: Mapping[str, str]
) -> StagesResult | None:
    """None where no model went through stages with numbers for several tasks that it knows.

    Models of one base that learned the same tasks are ways that may be held against each other; others are not.
    origins: where the records of each task come from; tasks of one origin may ask about the same patients.
    """
    staged: dict[str, dict[str, StagedModel]] = {}
    for name, task in tasks.items():
        for entry in task["sections"].get("stages", []):
            if entry["learned"] is not None:
                staged.setdefault(entry["model"], {})[name] = entry
    groups: dict[tuple[str, tuple[str, ...]], dict[str, Mapping[str, StagedModel]]] = {}
    for model, entries in staged.items():
        if len(entries) > 1:
            base = next(iter(entries.values()))["base"]
            groups.setdefault((base, tuple(entries)), {})[model] = entries
    primaries = {name: task["primary"] for name, task in tasks.items()}
    ways = [_ways(base, ways, primaries, confidence, origins) for (base, _), ways in groups.items()]
    return StagesResult(ways=ways) if ways else None


def _ways(
    base: str, staged: Staged, primaries: Mapping[str, str], confidence: float, origins: Mapping[str, str]
) -> StagesOfBase:
    chosen = best_on_validation(staged)
    best = chosen or next(iter(staged))
    naive = naive_of(staged[best])
    first = naive if naive is not None and naive in staged else best
    averages = averages_of(staged, primaries, confidence, origins)
    lines = [*retention(staged[first]), *_said_of(first, averages)]
    if chosen is not None:
        lines.append(_best(chosen, staged, naive, primaries))
        lines += [] if chosen == first else [*retention(staged[chosen]), *_said_of(chosen, averages)]
    return StagesOfBase(
        base=base,
        tasks=list(next(iter(staged.values()))),
        models=list(staged),
        chosen=chosen,
        conclusion=conclusion(staged, first, chosen, naive, primaries),
        verdict=lines,
        averages=averages,
    )


def conclusion(staged: Staged, first: str, chosen: str | None, naive: str | None, primaries: Mapping[str, str]) -> str:
    """What was forgotten, what keeps it, and what that costs, in one sentence.

    first: the way without a remedy, where there is one. chosen: on validation; what is said of it are its own test
    differences, so that no remedy is picked by them.
    """
    said = _forgot(first, staged[first], primaries)
    if chosen is None and len(staged) > 1:
        return f"{said}; of {len(staged)} ways none was chosen, since not all have a value on validation."
    if chosen is None:
        return f"{said}; there is no other way to hold against it."
    if chosen == first:
        return f"{said}; of {len(staged)} ways none did better than {first} over all tasks on validation, by mean rank."
    kept = f"{said}; {chosen}, the best of {len(staged)} ways on validation, {_keeps(staged[chosen], primaries)}"
    price = "" if naive is None else _price(staged[chosen], staged.get(naive, {}), naive, primaries)
    return f"{kept}{price}."


def _forgot(model: str, entries: Mapping[str, StagedModel], primaries: Mapping[str, str]) -> str:
    """naive forgot exam: -12.0 points (-15.1 to -8.9; worse); of several tasks one clause for each end."""
    changed = {task: found for task, entry in entries.items() if (found := of_kind(entry, "retention")) is not None}
    if not changed:
        return f"{model} has learned no task before its last stage"
    clauses = []
    unlearned = [task for task in changed if entries[task]["mastered"] is False]
    for end, words in _FORGOT.items():
        of_end = [task for task, found in changed.items() if found["direction"] == end and task not in unlearned]
        moved = " and ".join(f"{task}: {_moved(changed[task], primaries[task])}" for task in of_end)
        clauses += [f"{words} {moved}"] if of_end else []
    if unlearned:
        clauses.append(_unlearned({task: entries[task] for task in unlearned}, primaries))
    return f"{model} {' and '.join(clauses)}"


def _unlearned(entries: Mapping[str, StagedModel], primaries: Mapping[str, str]) -> str:
    """Of tasks that the stage which taught them is not shown to have taught: nothing that could be forgotten."""
    gains = []
    for task, entry in entries.items():
        gain = of_kind(entry, "gain")
        gains.append(task if gain is None else f"{task} ({_moved(gain, primaries[task])} by its own stage)")
    it = "it" if len(entries) == 1 else "them"
    return f"is not shown to have learned {' and '.join(gains)}, so that nothing is said of forgetting {it}"


_FORGOT = {
    "worse": "forgot",
    "no difference shown": "is not shown to have forgotten",
    "better": "even gained in",
    "not estimable": "leaves open, without an interval, whether it forgot",
}


def _keeps(entries: Mapping[str, StagedModel], primaries: Mapping[str, str]) -> str:
    """Whether the tasks that were learned earlier are kept: shown by the margin, lost, or open."""
    changed = {task: found for task, entry in entries.items() if (found := of_kind(entry, "retention")) is not None}
    if not changed:
        return "has learned no task before its last stage"
    known = {task: found for task, found in changed.items() if entries[task]["mastered"] is not False}
    clauses = [f"{_kept(found)} {task}: {_moved(found, primaries[task])}" for task, found in known.items()]
    if unlearned := {task: entries[task] for task in changed if task not in known}:
        clauses.append(_unlearned(unlearned, primaries))
    return " and ".join(clauses)


def _kept(found: StageChange) -> str:
    if found["within"]:
        return "keeps"
    return {"worse": "forgot too", "not estimable": "may keep"}.get(found["direction"], "is not shown to lose")


def _price(
    entries: Mapping[str, StagedModel], naive: Mapping[str, StagedModel], of: str, primaries: Mapping[str, str]
) -> str:
    """What the tasks of the last stage and the cost of training say of a remedy, against the way without any: tokens,
    which are the same on every machine, beside the time."""
    last = max(entry["learned"] or 0 for entry in entries.values())
    new = [
        f"{task} {_moved(found, primaries[task])}"
        for task, entry in entries.items()
        if entry["learned"] == last and (found := of_kind(entry, "naive")) is not None
    ]
    costs = [
        f"{spent / plain:.{decimals}f} times its {what}"
        for key, what, decimals in _COSTS
        if (spent := _cost(entries, key)) is not None and (plain := _cost(naive, key)) is not None
    ]
    said = " and ".join(new) + (f"{', in ' if new else ''}{' and '.join(costs)}" if costs else "")
    return f"; against {of}, {said}" if said else ""


#: What training costs, in words, and the decimals of a ratio: times differ from one moment to the next, tokens do not.
_COSTS: tuple[tuple[Literal["tokens", "seconds"], str, int], ...] = (
    ("tokens", "trained tokens", 2),
    ("seconds", "training time", 1),
)


def _cost(entries: Mapping[str, StagedModel], key: Literal["tokens", "seconds"]) -> float | None:
    """Every task of a model holds the same; None where it is not known, or nothing was spent."""
    return next((entry[key] for entry in entries.values() if entry[key]), None)


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

    Standard errors of independent items add in squares. apart: whether those of the tasks are; where they may be of the
    same patients, the errors themselves are added, which holds whatever the correlation. Seeds are the same models in
    every task: theirs is the error of each seed's mean over the tasks.
    """
    if len(changed) < 2 or not _have_a_common_unit(metrics):
        return None
    items = [error for found in changed.values() if (error := found["item_error"]) is not None]
    by_seed = [found["by_seed"] for found in changed.values()]
    seeds = list(by_seed[0])
    if len(items) < len(changed) or any(list(values) != seeds or None in values.values() for values in by_seed):
        return None
    of_seed = np.array([list(values.values()) for values in by_seed], dtype=np.float64).mean(axis=0)
    item_error = (sqrt(sum(error**2 for error in items)) if apart else sum(items)) / len(changed)
    seed_error = float(np.std(of_seed, ddof=1)) / sqrt(len(seeds)) if len(seeds) > 1 else 0.0
    mean = float(of_seed.mean())
    errors = Errors(item_error, seed_error, len(seeds))
    low, high, _ = student_interval(mean, *errors.whole(item_error), confidence)
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
    """The model with the best mean rank over its tasks, on validation after the last stage.

    Ranks, because metrics of different tasks have no common unit. staged: models that know the same tasks; None where
    these are no two, or where one has no value. Of equal ones, as two ways are that win a task each, the one that is
    least behind the best in its worst task: a way that forgot a task does not win by a hair in another.
    """
    known = {
        model: [entry["rows"][-1]["validation"] for entry in entries.values()] for model, entries in staged.items()
    }
    if len(known) < 2 or any(None in values for values in known.values()):
        return None
    found = np.array(list(known.values()), dtype=np.float64)
    ranks, behind = rankdata(-found, axis=0).mean(axis=1), (found.max(axis=0) - found).max(axis=1)
    return list(known)[int(np.lexsort((behind, ranks))[0])]


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
