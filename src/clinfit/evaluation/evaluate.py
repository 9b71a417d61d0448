"""From predictions to metrics.json: nothing else is read, no model is loaded, and the same input gives the same bytes.

`results.py` holds the shape of what comes out, `kinds.py` what is done for each kind of task.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pandas as pd

from clinfit import __version__
from clinfit.data.origins import origins_of
from clinfit.errors import ClinfitError
from clinfit.evaluation.analyses.cost import cost_sentences
from clinfit.evaluation.assemble import measured_system, measured_task, split_counts, withheld_system, withheld_task
from clinfit.evaluation.claims.advice import advice
from clinfit.evaluation.claims.comparisons import Pair, compare
from clinfit.evaluation.claims.constant_answers import ConstantAnswers
from clinfit.evaluation.claims.pairs import all_pairs
from clinfit.evaluation.claims.ranking import baseline_of, choose, rank_systems
from clinfit.evaluation.claims.stages import stages_verdict
from clinfit.evaluation.claims.verdict import verdict, withheld_verdict
from clinfit.evaluation.context import Context, Measured, MeasuredContext, Outcome
from clinfit.evaluation.facts import Facts, ModelFacts, TaskFacts, task_facts
from clinfit.evaluation.kinds import KINDS, Kind
from clinfit.evaluation.measure import constant_answers, measure, with_majority
from clinfit.evaluation.metrics.engines import ENGINES
from clinfit.evaluation.results import FORMAT, Results, TaskResult, TaskSections
from clinfit.evaluation.system_results import SystemSections
from clinfit.evaluation.systems import System, find_systems
from clinfit.findings import Finding
from clinfit.study.schema import Study
from clinfit.study.taught import stages_of


def evaluate(study: Study, predictions: pd.DataFrame, facts: Facts | None = None) -> Results:
    """Every number of the report.

    predictions: validation and test rows of all systems, concatenated. facts: see facts.py. A task that none of them
    answers is left out; raises ClinfitError when that is every one.
    """
    there = set(predictions.loc[predictions["split"] == "test", "task"])
    answered = [name for name in study.tasks if name in there] or list(study.tasks)
    tasks = {
        name: _evaluate_task(task_context(study, name, predictions, task_facts(facts or Facts(), name)))
        for name in answered
    }
    results = Results(
        format=FORMAT,
        clinfit=__version__,
        study=study.name,
        description=study.description,
        confidence=study.evaluation.confidence,
        bootstrap=study.evaluation.bootstrap,
        tasks=tasks,
    )
    if left := [name for name in study.tasks if name not in answered]:
        results["findings"] = [_unanswered(left).as_dict()]
    if (stages := stages_verdict(tasks, study.evaluation.confidence, origins_of(study.tasks))) is not None:
        results["stages"] = stages
    return results


def _unanswered(tasks: Sequence[str]) -> Finding:
    """Of tasks that the results do not hold."""
    return Finding(
        "warn",
        "task-unanswered",
        "Not every task of the study is in these results",
        f"none of the models that are done answers {', '.join(tasks)}",
        "run the study without --models, or see why the models of these tasks failed",
    )


def task_context(study: Study, name: str, predictions: pd.DataFrame, facts: TaskFacts) -> Context:
    """What is known of one task before any number; predictions: of all tasks."""
    task = study.tasks[name]
    engine, settings, table = ENGINES[task.kind], study.settings(name), _of_task(predictions, name)
    systems = find_systems(engine, task, study.models, table)
    if not systems:
        raise ClinfitError(
            f"there are no test predictions for task {name!r}",
            expected="at least one model that has predicted the test split",
            fix="run the study first; a study in which every model failed cannot be evaluated",
        )
    return Context(
        name=name,
        task=task,
        engine=engine,
        settings=settings,
        primary=engine.primary(settings.primary, len(task.labels)),
        confidence=study.evaluation.confidence,
        bootstrap=study.evaluation.bootstrap,
        systems=systems,
        table=table,
        facts=replace(facts, models=_answering(study, name, facts.models)),
        counts=split_counts(systems[0], task, facts.counts),
        stages={spec.name: stages_of(study, spec) for spec in study.models if name in study.tasks_of(spec)},
    )


def _answering(study: Study, task: str, models: Mapping[str, ModelFacts]) -> dict[str, ModelFacts]:
    """What is known of the runs that answer the task; of runs that the study does not know, all."""
    others = {spec.name for spec in study.models if task not in study.tasks_of(spec)}
    return {run: known for run, known in models.items() if run.rpartition("-seed")[0] not in others}


def _of_task(predictions: pd.DataFrame, name: str) -> pd.DataFrame:
    own = np.asarray(predictions["task"] == name, dtype=bool)
    # A selection copies, which counts with millions of rows.
    return predictions if own.all() else predictions.loc[own]


def _evaluate_task(context: Context) -> TaskResult:
    kind = KINDS[context.task.kind]
    sections, found = run_analyses(kind.checks, context)
    findings = [*(Finding(**finding) for finding in context.facts.findings), *found]
    errors = [finding for finding in findings if finding.level == "error"]
    if errors:
        return _withheld(context, kind, cast(TaskSections, sections), findings)
    measured = measure(context, kind.decide, with_majority(context))
    systems = [item.system for item in measured]
    baseline = baseline_of(measured, context.settings.baseline)
    numbers = with_numbers(context, measured, baseline, all_pairs(systems, baseline, context.settings.compare))
    return with_analyses(numbers, kind, sections, findings)


def with_numbers(
    context: Context, measured: Sequence[Measured], baseline: System | None, pairs: Sequence[Pair]
) -> MeasuredContext:
    """The context with scores, ranking and comparisons."""
    primary = context.primary
    constant = constant_answers(context, measured[0].scored)
    constants = ConstantAnswers(context.engine, constant, primary)
    unbeaten = {item.name: constants.not_beaten(item.name, item.scored) for item in measured}
    scored = {item.name: item.scored for item in measured}
    return MeasuredContext(
        **vars(context),
        measured=measured,
        constants=constant,
        uninformative={name: answer for name, answer in unbeaten.items() if answer is not None},
        ranking=rank_systems(measured, primary),
        baseline=baseline,
        chosen=choose(measured, primary),
        comparisons=compare(pairs, scored, constants, primary, context.settings.margin),
    )


def with_analyses(
    context: MeasuredContext, kind: Kind, sections: Mapping[str, Any], findings: Sequence[Finding]
) -> TaskResult:
    """The task's results: the shell and every section of its kind. sections, findings: of the checks before."""
    systems, of_systems = [], []
    for item in context.measured:
        parts, found = run_analyses(kind.systems, context, item)
        systems.append(measured_system(context, item, cast(SystemSections, parts)))
        of_systems += found
    more, of_task = run_analyses(kind.analyses, context)
    every = cast(TaskSections, {**sections, **more})
    findings = list(dict.fromkeys([*findings, *of_systems, *of_task]))
    words = advice(context) + cost_sentences(systems, context.comparisons)
    return measured_task(context, systems, every, findings, verdict(context), words)


def _withheld(context: Context, kind: Kind, sections: TaskSections, findings: Sequence[Finding]) -> TaskResult:
    """No numbers: what went wrong, and what can be counted all the same."""
    unique = list(dict.fromkeys(findings))
    errors = [finding for finding in unique if finding.level == "error"]
    why = f"withheld: {errors[0].title}"
    more, _ = run_analyses(kind.withheld, context)
    systems = [
        withheld_system(context, system, why, cast(SystemSections, kind.withheld_system(context, system, why)))
        for system in context.systems
    ]
    every = cast(TaskSections, {**sections, **more})
    return withheld_task(context, systems, every, unique, withheld_verdict(errors))


def run_analyses(analyses: Mapping[str, Callable[..., Outcome]], *given: Any) -> tuple[dict[str, Any], list[Finding]]:
    """The sections that were made, by name, and all findings."""
    outcomes = {name: analysis(*given) for name, analysis in analyses.items()}
    sections = {name: section for name, (section, _) in outcomes.items() if section is not None}
    return sections, [finding for _, found in outcomes.values() for finding in found]
