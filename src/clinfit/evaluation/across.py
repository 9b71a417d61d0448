"""Systems of several runs on the same test items: the paired comparisons of one study, across studies.

Each run keeps its own decision rules, chosen on its own validation split; the resamples are shared, so that
differences are paired. What is compared must be the same: items, gold labels, groups, labels, the positive one.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypedDict

import pandas as pd

from clinfit.errors import ClinfitError, nearest
from clinfit.evaluation.advice import advice
from clinfit.evaluation.answers import Rows
from clinfit.evaluation.assemble import seed_summaries, split_counts, system_result
from clinfit.evaluation.claims import Pair, Trivial, compare
from clinfit.evaluation.comparison import check_same_items
from clinfit.evaluation.cost import cost_sentences, pareto
from clinfit.evaluation.definitions import primary_name
from clinfit.evaluation.evaluate import best_simple, rank_systems
from clinfit.evaluation.gates import check_groups, check_items, check_test_size
from clinfit.evaluation.measure import Measured, measure, trivial_answers, with_majority
from clinfit.evaluation.results import Facts, SplitCounts, TaskResult
from clinfit.evaluation.system_results import SystemResult
from clinfit.evaluation.systems import System, find_systems
from clinfit.evaluation.verdict import verdict
from clinfit.study import Study, Task

FORMAT = "clinfit-comparison/1"

#: (run, system) -> name in the comparison.
Names = dict[tuple[str, str], str]


@dataclass(frozen=True)
class Run:
    """One run: a name that no other has, its study, its predictions, and what is known beside these.

    sha256: of the study. path: where the run lies, as the user gave it.
    """

    name: str
    path: str
    sha256: str
    study: Study
    predictions: pd.DataFrame
    facts: Facts

    @property
    def task(self) -> tuple[str, Task]:
        """The task with its name (a study has one)."""
        return next(iter(self.study.tasks.items()))


class RunDict(TypedDict):
    name: str
    path: str
    study: str
    sha256: str
    systems: list[str]


class Across(TypedDict):
    """comparison.json. result has the shape of a task in metrics.json; its systems are those of all runs."""

    format: str
    runs: list[RunDict]
    confidence: float
    bootstrap: int
    task: str
    result: TaskResult


def across(runs: Sequence[Run], pairs: Sequence[tuple[str, str]] = ()) -> Across:
    """Compare the systems of the runs; primary metric, margin, confidence and resamples are those of the first run.

    pairs: (new, reference) by the names of the systems; without any, each trained system is compared with the simple
    one that is best on validation. Raises ClinfitError when the runs cannot be compared.
    """
    first = runs[0]
    name, task = first.task
    for run in runs[1:]:
        _same_labels(first, run)
    systems = {run.name: _systems(run, task) for run in runs}
    for run in runs[1:]:
        _same_items(first, systems[first.name][0].test, run, systems[run.name][0].test)
    for run in runs:
        _refuse_errors(run, systems[run.name], task)
    counts = split_counts(systems[first.name][0], task, first.facts.get("counts", {}).get(name, {}))
    if not any(system.simple for part in systems.values() for system in part):
        systems[first.name] = with_majority(first.study, task, systems[first.name], counts)
    measured = {run.name: measure(_under(run.study, first.study), task, systems[run.name]) for run in runs}
    names = _distinct_names(measured)
    return Across(
        format=FORMAT,
        runs=[
            RunDict(
                name=run.name,
                path=run.path,
                study=run.study.name,
                sha256=run.sha256,
                systems=[names[run.name, item.name] for item in measured[run.name]],
            )
            for run in runs
        ],
        confidence=first.study.evaluation.confidence,
        bootstrap=first.study.evaluation.bootstrap,
        task=name,
        result=_result(runs, measured, names, pairs, counts),
    )


def _result(
    runs: Sequence[Run],
    by_run: dict[str, list[Measured]],
    names: Names,
    pairs: Sequence[tuple[str, str]],
    counts: dict[str, SplitCounts],
) -> TaskResult:
    """The runs' systems as those of one task."""
    study, (_, task) = runs[0].study, runs[0].task
    primary = primary_name(study.evaluation.primary, len(task.labels))
    measured = [_renamed(item, run, names) for run, items in by_run.items() for item in items]
    trivial = Trivial(trivial_answers(task, measured[0].scored, counts), primary)
    obstacles = {item.name: trivial.unbeaten(item.name, item.scored) for item in measured}
    reference = best_simple(measured)
    chosen = _named(pairs, measured) if pairs else _against(measured, reference)
    scored = {item.name: item.scored for item in measured}
    comparisons = compare(chosen, scored, trivial, primary, study.evaluation.margin)
    order = rank_systems(measured, primary)
    systems = [_renamed_result(item, run, names) for run in runs for item in by_run[run.name]]
    baseline = reference.name if reference is not None else None
    findings = check_test_size(measured[0].answers) + check_groups(measured[0].system.test.groups)
    return TaskResult(
        labels=list(task.labels),
        positive=task.positive_label,
        primary=primary,
        counts=counts,
        systems=systems,
        ranking=order,
        baseline=baseline,
        seeds=seed_summaries(measured),
        comparisons=comparisons,
        pareto=pareto(systems, primary),
        subgroups=[],
        leakage=None,
        suspect_labels=[],
        errors=None,
        shift=[],
        freeze=None,
        findings=[finding.as_dict() for finding in findings],
        canaries=[],
        verdict=verdict(measured, order, obstacles, comparisons, primary, baseline),
        advice=advice(measured, obstacles) + cost_sentences(systems, comparisons),
        withheld=False,
    )


# ---------------------------------------------------------------- what must be the same


def _same_labels(first: Run, run: Run) -> None:
    """Raise ClinfitError unless both runs have the same labels, in any order, and the same positive one."""
    (_, one), (_, other) = first.task, run.task
    only, extra = (sorted(set(a.labels) - set(b.labels)) for a, b in ((one, other), (other, one)))
    if only or extra:
        raise ClinfitError(
            f"{first.name} and {run.name} have different labels: {len(only)} only in the first, {len(extra)} only in "
            "the second",
            expected=f"the labels {', '.join(one.labels)}",
            fix="compare runs of studies that declare the same labels",
        )
    if one.positive_label != other.positive_label:
        raise ClinfitError(
            f"the positive label is {one.positive_label!r} in {first.name} and {other.positive_label!r} in {run.name}",
            expected="the same positive label",
            fix="set `positive` in the task of one study and run it again; models that did not change are reused",
        )


def _same_items(first: Run, one: Rows, run: Run, other: Rows) -> None:
    """Raise ClinfitError unless both runs have the same test items with the same gold labels and groups."""
    check_same_items(first.name, list(one.ids), run.name, list(other.ids))
    for what, values, others in (("gold label", one.gold, other.gold), ("group", one.groups, other.groups)):
        if differing := int((values != others).sum()):
            raise ClinfitError(
                f"{first.name} and {run.name} give {differing} of {len(one)} test items another {what}",
                expected=f"the same {what} of every test item",
                fix="run both studies on the same data",
            )


def _refuse_errors(run: Run, systems: Sequence[System], task: Task) -> None:
    """Raise ClinfitError for a run whose own report gives no numbers."""
    name, _ = run.task
    found = [finding.title for finding in check_items(systems, task.labels) if finding.level == "error"]
    found += [f["title"] for f in run.facts.get("findings", {}).get(name, []) if f["level"] == "error"]
    if found:
        raise ClinfitError(
            f"{run.name} has no numbers to compare: {found[0]}",
            expected="runs whose reports give numbers",
            fix=f"see the report of {run.path} and repair that study first",
        )


def _systems(run: Run, task: Task) -> list[System]:
    """The run's systems, with labels in the order of the first run."""
    name, own = run.task
    ordered = own.model_copy(update={"labels": task.labels, "positive": task.positive})
    systems = find_systems(run.study, ordered, run.predictions.loc[run.predictions["task"] == name])
    if not systems:
        raise ClinfitError(f"{run.name} has no test predictions", fix="run the study to its end first")
    return systems


def _under(study: Study, first: Study) -> Study:
    """The study with its own decision rules, and with the first one's metric, level and number of resamples."""
    shared = first.evaluation.model_dump(include={"primary", "confidence", "bootstrap"})
    return study.model_copy(update={"evaluation": study.evaluation.model_copy(update=shared)})


# ---------------------------------------------------------------- names and pairs


def _distinct_names(by_run: dict[str, list[Measured]]) -> Names:
    """(run, system) -> a name that is used once: the system's own, or run/system where two runs have it."""
    used = Counter(item.name for items in by_run.values() for item in items)
    return {
        (run, item.name): item.name if used[item.name] == 1 else f"{run}/{item.name}"
        for run, items in by_run.items()
        for item in items
    }


def _renamed(item: Measured, run: str, names: Names) -> Measured:
    """The system under its distinct name; its model is the run's own, so that seeds of two runs stay apart."""
    name = names[run, item.name]
    return replace(item, system=replace(item.system, name=name, model=f"{run}/{item.system.model}"))


def _renamed_result(item: Measured, run: Run, names: Names) -> SystemResult:
    result = system_result(item, run.facts)
    result["name"], result["model"] = names[run.name, item.name], f"{run.name}/{item.system.model}"
    return result


def _against(measured: Sequence[Measured], reference: System | None) -> list[Pair]:
    """Every trained system with the reference."""
    if reference is None:
        return []
    return [
        Pair("versus-baseline", reference.name, item.name)
        for item in measured
        if item.system.trained and item.name != reference.name
    ]


def _named(pairs: Sequence[tuple[str, str]], measured: Sequence[Measured]) -> list[Pair]:
    """The pairs that the user named, each once."""
    known = [item.name for item in measured]
    for name in (name for pair in pairs for name in pair):
        if name not in known:
            close = nearest(name, known)
            raise ClinfitError(
                f"there is no system {name!r} in these runs",
                expected=f"some of {', '.join(known)}",
                fix=f"did you mean {close!r}?" if close else "",
            )
    return [Pair("declared", reference, new) for new, reference in dict.fromkeys(pairs) if new != reference]
