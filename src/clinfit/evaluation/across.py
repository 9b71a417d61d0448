"""Systems of several runs on the same test items: the paired comparisons of one study, across studies, task by task.

Each run keeps its own decision rules, chosen on its own validation split; the resamples are shared, so that
differences are paired. What is compared must be the same: items, gold labels, groups, labels, the positive one.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypedDict

import pandas as pd

from clinfit.errors import ClinfitError, nearest
from clinfit.evaluation.answers import Rows, repeats_of
from clinfit.evaluation.claims.comparisons import Pair
from clinfit.evaluation.claims.paired import check_same_items
from clinfit.evaluation.claims.ranking import best_simple
from clinfit.evaluation.claims.wording import in_words
from clinfit.evaluation.context import Context, Measured
from clinfit.evaluation.evaluate import run_analyses, task_context, with_analyses, with_numbers
from clinfit.evaluation.facts import Facts, TaskFacts, task_facts
from clinfit.evaluation.kinds import KINDS, Kind
from clinfit.evaluation.measure import measure, with_majority
from clinfit.evaluation.results import TaskResult
from clinfit.evaluation.systems import System
from clinfit.findings import Finding
from clinfit.study.schema import Study
from clinfit.study.tasks import MultipleChoice, Task

FORMAT = "clinfit-comparison/2"

#: Checks and analyses that make sense of systems of several runs.
CHECKS = ("test_labels", "groups")
SYSTEMS = ("threshold", "label_thresholds", "classes", "confusion", "curves", "positions")
ANALYSES = ("chance", "pareto")

#: (run, system) -> name in the comparison.
Names = dict[tuple[str, str], str]


@dataclass(frozen=True)
class Run:
    """One run: a name that no other has, its study, its predictions, and what is known beside these.

    sha256: of the study. path: where the run lies, as the user gave it. inputs: task -> input -> hash of its values in
    the test records; empty where the run was made before these were kept.
    """

    name: str
    path: str
    sha256: str
    study: Study
    predictions: pd.DataFrame
    facts: Facts
    inputs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def task(self) -> tuple[str, Task]:
        """The task with its name, of a run that was narrowed to one."""
        ((name, task),) = self.study.tasks.items()
        return name, task

    def narrowed(self, name: str) -> "Run":
        """The run as if its study had this task alone."""
        study = self.study.model_copy(update={"tasks": {name: self.study.tasks[name]}})
        return replace(self, study=study, predictions=self.predictions.loc[self.predictions["task"] == name])


class RunDict(TypedDict):
    name: str
    path: str
    study: str
    sha256: str


class AcrossTask(TypedDict):
    """One task. systems: by run, under the names that they have here. result has the shape of a task in metrics.json;
    its systems are those of all runs."""

    systems: dict[str, list[str]]
    result: TaskResult


class Across(TypedDict):
    """comparison.json. left_out: common tasks that cannot be compared, and why."""

    format: str
    runs: list[RunDict]
    confidence: float
    bootstrap: int
    tasks: dict[str, AcrossTask]
    left_out: dict[str, str]


def across(runs: Sequence[Run], pairs: Sequence[tuple[str, str]] = ()) -> Across:
    """Compare the systems of the runs on every task that all of them have; primary metrics, margin, confidence and
    resamples are those of the first run.

    pairs: (new, reference) by the names of the systems; without any, each trained system is compared with the simple
    one that is best on validation. Raises ClinfitError when there is no task on which the runs can be compared.
    """
    found: dict[str, AcrossTask] = {}
    refused: dict[str, ClinfitError] = {}
    for names in common_tasks(runs):
        try:
            found[names[0]] = _compared([run.narrowed(name) for run, name in zip(runs, names, strict=True)], pairs)
        except ClinfitError as error:
            refused[names[0]] = error
    if not found:
        raise next(iter(refused.values()))
    evaluation = runs[0].study.evaluation
    return Across(
        format=FORMAT,
        runs=[RunDict(name=run.name, path=run.path, study=run.study.name, sha256=run.sha256) for run in runs],
        confidence=evaluation.confidence,
        bootstrap=evaluation.bootstrap,
        tasks=found,
        left_out={name: error.found for name, error in refused.items()},
    )


def common_tasks(runs: Sequence[Run]) -> list[list[str]]:
    """For each task that all runs have its name in every run: the same, or whatever it is called where each has one.

    Raises ClinfitError when there is none.
    """
    if all(len(run.study.tasks) == 1 for run in runs):
        return [[name for run in runs for name in run.study.tasks]]
    common = [name for name in runs[0].study.tasks if all(name in run.study.tasks for run in runs)]
    if not common:
        tasks = "; ".join(f"{run.name}: {', '.join(run.study.tasks)}" for run in runs)
        raise ClinfitError(
            f"the runs have no task in common: {tasks}",
            expected="a task of the same name in every study",
            fix="call the task the same in all studies and run them again; models that did not change are reused",
        )
    return [[name] * len(runs) for name in common]


def _compared(runs: Sequence[Run], pairs: Sequence[tuple[str, str]]) -> AcrossTask:
    """The comparison of runs that were narrowed to one task."""
    for run in runs[1:]:
        _same_question(runs[0], run)
    contexts = {run.name: _context(run, runs[0]) for run in runs}
    for run in runs[1:]:
        _same_items(runs[0], contexts[runs[0].name].systems[0].test, run, contexts[run.name].systems[0].test)
    for run in runs:
        _refuse_errors(run, contexts[run.name])
    first = contexts[runs[0].name]
    if not any(system.simple for context in contexts.values() for system in context.systems):
        contexts[runs[0].name] = replace(first, systems=with_majority(first))
    kind = KINDS[first.task.kind]
    measured = {name: measure(context, kind.decide, context.systems) for name, context in contexts.items()}
    names = _distinct_names(measured)
    return AcrossTask(
        systems={run.name: [names[run.name, item.name] for item in measured[run.name]] for run in runs},
        result=_result(_together(runs, first), measured, names, pairs, list(_other_inputs(runs))),
    )


def _context(run: Run, first: Run) -> Context:
    """The run's task with its own decision rules, and with the first one's labels, metric, level and resamples."""
    name, task = run.task
    first_name, shared = first.task
    study = run.study.model_copy(update={"tasks": {name: _in_order_of(shared, task)}})
    if "test" not in set(run.predictions["split"]):
        raise ClinfitError(f"{run.name} has no test predictions", fix="run the study to its end first")
    context = task_context(study, name, run.predictions, task_facts(run.facts, name))
    return replace(
        context,
        primary=context.engine.primary(first.study.settings(first_name).primary, len(shared.labels)),
        confidence=first.study.evaluation.confidence,
        bootstrap=first.study.evaluation.bootstrap,
    )


def _in_order_of(shared: Task, task: Task) -> Task:
    """The task with its labels, which are the same, in the order of the other."""
    return task if isinstance(task, MultipleChoice) else task.model_copy(update={"labels": shared.labels})


def _together(runs: Sequence[Run], first: Context) -> Context:
    """The first run's task with the models of all runs, under the names that they have here; no more facts."""
    models = {f"{run.name}/{name}": model for run in runs for name, model in run.facts.get("models", {}).items()}
    return replace(first, facts=TaskFacts(models=models, counts=first.facts.counts))


def _result(
    context: Context,
    by_run: dict[str, list[Measured]],
    names: Names,
    pairs: Sequence[tuple[str, str]],
    found: Sequence[Finding],
) -> TaskResult:
    """The runs' systems as those of one task. found: about the runs."""
    measured = [_renamed(item, run, names) for run, items in by_run.items() for item in items]
    reference = best_simple(measured)
    chosen = _named(pairs, measured) if pairs else _against(measured, reference)
    kind = across_kind(KINDS[context.task.kind])
    _, findings = run_analyses(kind.checks, context)
    return with_analyses(with_numbers(context, measured, reference, chosen), kind, {}, [*found, *findings])


def across_kind(kind: Kind) -> Kind:
    """What is shown of systems of several runs; the rest stands in each run's own report."""
    return replace(
        kind,
        checks={name: kind.checks[name] for name in CHECKS if name in kind.checks},
        systems={name: kind.systems[name] for name in SYSTEMS if name in kind.systems},
        analyses={name: kind.analyses[name] for name in ANALYSES if name in kind.analyses},
    )


# ---------------------------------------------------------------- what must be the same


def _same_question(first: Run, run: Run) -> None:
    """Raise ClinfitError unless both runs ask the same: kind, labels in any order, and the positive one."""
    (_, one), (_, other) = first.task, run.task
    if one.kind != other.kind:
        raise ClinfitError(
            f"the task is a {one.kind} in {first.name} and a {other.kind} in {run.name}",
            expected="tasks of the same kind",
            fix="compare runs of studies that ask the same",
        )
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
    repeats, others = repeats_of(one.answers), repeats_of(other.answers)
    same_ids = set(one.ids) == set(other.ids)
    if same_ids and ((one.answers.folds is None) != (other.answers.folds is None) or repeats != others):
        raise _divided_otherwise(first, one, run, other)
    check_same_items(first.name, list(one.keys), run.name, list(other.keys))
    if not one.divided_as(other):
        raise _divided_otherwise(first, one, run, other)
    for what, values, others in (
        ("gold label", one.answers.gold, other.answers.gold),
        ("group", one.groups, other.groups),
    ):
        if differing := int((values != others).reshape(len(one), -1).any(axis=1).sum()):
            raise ClinfitError(
                f"{first.name} and {run.name} give {differing} of {len(one)} test items another {what}",
                expected=f"the same {what} of every test item",
                fix="run both studies on the same data",
            )


def _divided_otherwise(first: Run, one: Rows, run: Run, other: Rows) -> ClinfitError:
    """Models of unlike training sets: the folds cannot be paired."""
    told = [f"{name}: {_folds_in_words(rows)}" for name, rows in ((first.name, one), (run.name, other))]
    return ClinfitError(
        f"{first.name} and {run.name} divide the same records otherwise ({'; '.join(told)})",
        expected="the same division in both, so that each fold is compared with itself",
        fix="give both studies the same folds, repeats and seed in data.split, and run them again",
    )


def _folds_in_words(rows: Rows) -> str:
    folds, repeats = rows.answers.folds, repeats_of(rows.answers)
    return "one division" if folds is None else in_words(len(folds.parts) // repeats, repeats)


def _other_inputs(runs: Sequence[Run]) -> Iterator[Finding]:
    """Inputs that not all runs read alike: their models differ in more than the model."""
    read = [run.inputs.get(run.task[0], {}) for run in runs]
    for run, inputs in zip(runs[1:], read[1:], strict=True):
        if not inputs or not read[0]:
            continue
        changed = [name for name in inputs if name in read[0] and inputs[name] != read[0][name]]
        alone = [name for name in inputs if inputs[name] not in read[0].values() and name not in changed]
        lacking = [name for name in read[0] if read[0][name] not in inputs.values() and name not in changed]
        if changed:
            yield Finding(
                "warn",
                "different-inputs",
                f"{run.name} read other values than {runs[0].name} for the same test records",
                ", ".join(changed),
                "were they imputed, completed or cleaned in one of the two? A difference may come from that, and not "
                "from the models: run both studies on the same file",
            )
        if alone or lacking:
            parts = ((run.name, alone), (runs[0].name, lacking))
            yield Finding(
                "info",
                "different-inputs",
                f"{run.name} and {runs[0].name} do not read the same inputs",
                "; ".join(f"only {name}: {', '.join(own)}" for name, own in parts if own),
                "a difference may come from the inputs as well as from the models",
            )


def _refuse_errors(run: Run, context: Context) -> None:
    """Raise ClinfitError for a run whose own report gives no numbers."""
    _, findings = run_analyses(KINDS[context.task.kind].checks, context)
    found = [finding.title for finding in findings if finding.level == "error"]
    found += [finding["title"] for finding in context.facts.findings if finding["level"] == "error"]
    if found:
        raise ClinfitError(
            f"{run.name} has no numbers to compare: {found[0]}",
            expected="runs whose reports give numbers",
            fix=f"see the report of {run.path} and repair that study first",
        )


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
    full = dict.fromkeys((_full_name(new, measured), _full_name(reference, measured)) for new, reference in pairs)
    return [Pair("declared", reference, new) for new, reference in full if new != reference]


def _full_name(name: str, measured: Sequence[Measured]) -> str:
    """The system that is called so; without its run, or by its model alone (after training), where that is enough."""
    known = [item.name for item in measured]
    if name in known:
        return name
    last = {(item.system.model, item.system.seed): item.name for item in measured}
    by_model = [called for (model, _), called in last.items() if name in (model, model.rpartition("/")[2])]
    found = [called for called in known if called.rpartition("/")[2] == name] or by_model
    if len(found) == 1:
        return found[0]
    close = nearest(name, known)
    raise ClinfitError(
        f"{len(found)} systems of these runs are called {name!r}"
        if found
        else f"there is no system {name!r} in these runs",
        expected=f"one of {', '.join(found or known)}",
        fix=f"did you mean {close!r}?" if close and not found else "",
    )
