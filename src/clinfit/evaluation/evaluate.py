"""From predictions to metrics.json: nothing else is read, no model is loaded, and the same input gives the same bytes.

`results.py` holds the shape of what comes out.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from clinfit.errors import ClinfitError
from clinfit.evaluation.advice import advice
from clinfit.evaluation.assemble import seed_summaries, split_counts, system_result, withheld_result
from clinfit.evaluation.canaries import run_canaries
from clinfit.evaluation.claims import Pair, Trivial, compare
from clinfit.evaluation.cost import cost_sentences, pareto
from clinfit.evaluation.decisions import check_decisions, with_decisions
from clinfit.evaluation.definitions import LOWER_IS_BETTER, primary_name
from clinfit.evaluation.gates import (
    check_canaries,
    check_comparator,
    check_floors,
    check_groups,
    check_items,
    check_primary,
    check_runs,
    check_system,
    check_test_size,
)
from clinfit.evaluation.language import add_language
from clinfit.evaluation.leakage import check_leakage, leakage, leakage_without_numbers
from clinfit.evaluation.measure import Measured, is_majority, measure, trivial_answers, with_majority
from clinfit.evaluation.mistakes import error_analysis
from clinfit.evaluation.pairs import check_declared, with_declared
from clinfit.evaluation.results import FORMAT, Facts, Results, ShiftRow, TaskResult
from clinfit.evaluation.shift import check_shift
from clinfit.evaluation.subgroups import check_subgroups, columns_of, subgroup_results
from clinfit.evaluation.suspects import check_suspects, suspect_labels
from clinfit.evaluation.systems import System, find_systems
from clinfit.evaluation.verdict import same_model, verdict, withheld_verdict
from clinfit.findings import Finding
from clinfit.study import Study, Task


def evaluate(study: Study, predictions: pd.DataFrame, facts: Facts | None = None) -> Results:
    """Every number of the report.

    predictions: validation and test rows of all systems, concatenated. facts: see results.Facts. Raises ClinfitError
    when a task has no test predictions.
    """
    known = facts or Facts()
    return Results(
        format=FORMAT,
        study=study.name,
        description=study.description,
        confidence=study.evaluation.confidence,
        bootstrap=study.evaluation.bootstrap,
        tasks={
            name: _evaluate_task(study, name, task, _of_task(predictions, name), known)
            for name, task in study.tasks.items()
        },
    )


def _of_task(predictions: pd.DataFrame, name: str) -> pd.DataFrame:
    own = np.asarray(predictions["task"] == name, dtype=bool)
    # A selection copies, which counts with millions of rows.
    return predictions if own.all() else predictions.loc[own]


def _evaluate_task(study: Study, name: str, task: Task, table: pd.DataFrame, facts: Facts) -> TaskResult:
    systems = find_systems(study, task, table)
    if not systems:
        raise ClinfitError(
            f"there are no test predictions for task {name!r}",
            expected="at least one model that has predicted the test split",
            fix="run the study first; a study in which every model failed cannot be evaluated",
        )
    result = TaskResult(
        labels=list(task.labels),
        positive=task.positive_label,
        primary=primary_name(study.evaluation.primary, len(task.labels)),
        counts=split_counts(systems[0], task, facts.get("counts", {}).get(name, {})),
        systems=[],
        ranking=[],
        baseline=None,
        seeds=[],
        comparisons=[],
        pareto=[],
        subgroups=[],
        leakage=leakage_without_numbers(facts.get("leaks", {}).get(name, {})),
        suspect_labels=[],
        freeze=facts.get("freeze"),
        errors=None,
        shift=[ShiftRow(**row) for row in facts.get("shift", {}).get(name, [])],
        findings=[],
        canaries=[],
        verdict=[],
        advice=[],
        withheld=False,
    )
    findings = [Finding(**finding) for finding in facts.get("findings", {}).get(name, [])]
    findings += check_runs(facts) + check_floors(study.evaluation.floors)
    findings += check_primary(study.evaluation.primary, result["primary"]) + check_items(systems, task.labels)
    if not any(finding.code == "labels-outside-schema" for finding in findings):
        result["canaries"] = run_canaries(systems[0].test.gold, task.labels, task.positive_label)
        findings += check_canaries(result["canaries"])
    findings += check_shift(result["shift"], result["counts"])
    findings = _told_once(findings)
    errors = [finding for finding in findings if finding.level == "error"]
    if errors:
        result["withheld"] = True
        result["systems"] = [withheld_result(system, study, task, facts, errors[0].title) for system in systems]
        result["verdict"] = withheld_verdict(errors)
    else:
        systems = with_majority(study, task, systems, result["counts"])
        measured = measure(study, task, systems)
        findings += _fill(result, study, task, measured, facts)
        blind = {finding.system for finding in findings if finding.code == "not-better-than-majority"}
        findings += _trust(result, study, name, measured, facts, blind)
        findings += add_language(result, study, table)
    result["findings"] = [finding.as_dict() for finding in _told_once(findings)]
    return result


def _told_once(findings: Sequence[Finding]) -> list[Finding]:
    """Without what the data audit has said already of the test split in its own words."""
    twins = {"small-test-set": "small-test", "absent-label": "label-missing-in-test"}
    told: set[str] = set()
    kept = []
    for finding in findings:
        repeated = finding.code == "one-class-test" and finding.code in told
        if not repeated and twins.get(finding.code) not in told:
            kept.append(finding)
        told.add(finding.code)
    return kept


def _fill(result: TaskResult, study: Study, task: Task, measured: list[Measured], facts: Facts) -> list[Finding]:
    """Systems, comparisons and words into the result; returns the findings about the numbers."""
    primary = result["primary"]
    trivial = Trivial(trivial_answers(task, measured[0].scored, result["counts"]), primary)
    obstacles = {item.name: trivial.unbeaten(item.name, item.scored) for item in measured}
    findings = check_test_size(measured[0].answers) + check_groups(measured[0].system.test.groups)
    for item in measured:
        floors, obstacle = study.evaluation.floors, obstacles[item.name]
        findings += check_system(item.system, item.answers, item.metrics, item.choice, floors, obstacle)
    findings += check_comparator(study, [item.system for item in measured])
    findings += check_declared(study, [item.system for item in measured])
    baseline = _baseline(study, measured)
    systems = [item.system for item in measured]
    pairs = with_declared(study, systems, _pairs(study, systems, baseline))
    margin = study.evaluation.margin
    result["systems"] = [with_decisions(system_result(item, facts), study.evaluation, item) for item in measured]
    findings += check_decisions(study.evaluation, measured, result["systems"])
    result["ranking"] = rank_systems(measured, primary)
    result["baseline"] = baseline.name if baseline is not None else None
    result["seeds"] = seed_summaries(measured)
    result["comparisons"] = compare(pairs, {item.name: item.scored for item in measured}, trivial, primary, margin)
    result["pareto"] = pareto(result["systems"], primary)
    result["verdict"] = verdict(
        measured, result["ranking"], obstacles, result["comparisons"], primary, result["baseline"]
    )
    result["advice"] = advice(measured, obstacles) + cost_sentences(result["systems"], result["comparisons"])
    return findings


def _trust(
    result: TaskResult, study: Study, name: str, measured: list[Measured], facts: Facts, blind: set[str | None]
) -> list[Finding]:
    """Leaks, subgroups, mistakes and likely label errors into the result; returns the findings about them.

    blind: systems that are not shown to beat the trivial answers; their probabilities say nothing of a label.
    """
    primary = result["primary"]
    by_name = {item.name: item for item in measured}
    order = [by_name[place] for place in result["ranking"]]
    trained = [item for item in order if item.system.trained]
    shown = trained if order[0] in trained else [order[0], *trained]
    result["leakage"] = leakage(measured, facts.get("leaks", {}).get(name, {}), primary)
    findings = check_leakage(result["leakage"], order[0].name, len(order[0].answers), primary)

    table = facts.get("subgroups", {}).get(name, pd.DataFrame())
    subgroups, ids = study.evaluation.subgroup_columns, order[0].system.test.ids
    columns = columns_of(subgroups, study.evaluation.site, table, ids)
    result["subgroups"] = subgroup_results(shown, columns, primary)
    findings += check_subgroups(result["subgroups"], study.evaluation.confidence)

    if trained:
        result["errors"] = error_analysis(trained[0])
        useful = [item.system for item in trained if item.name not in blind]
        result["suspect_labels"] = suspect_labels(useful, result["labels"])
        findings += check_suspects(result["suspect_labels"], trained[0], len(useful), primary)
    return findings


def rank_systems(measured: Sequence[Measured], primary: str) -> list[str]:
    """Names, best primary value on test first; equal ones in the order of the study, not estimable ones last.

    Seeds of one model stand together, in the place of their mean: a lucky seed is no better model.
    """
    sign = 1 if primary in LOWER_IS_BETTER else -1

    def value(item: Measured) -> float:
        metric = item.metrics.get(primary)
        return float("inf") if metric is None or metric.value is None else sign * metric.value

    def key(item: Measured) -> tuple[float, int, float]:
        seeds = [place for place, other in enumerate(measured) if same_model(item, other)]
        known = [value(measured[place]) for place in seeds if value(measured[place]) < float("inf")]
        return sum(known) / len(known) if known else float("inf"), seeds[0], value(item)

    return [item.name for item in sorted(measured, key=key)]


def _baseline(study: Study, measured: Sequence[Measured]) -> System | None:
    """The system to compare with: the study's, else the simple one that is best on validation, never on test."""
    named = [item.system for item in measured if item.system.model == study.evaluation.baseline]
    if named:
        return named[-1] if named[-1].moment == "after" else named[0]
    return best_simple(measured)


def best_simple(measured: Sequence[Measured]) -> System | None:
    """The simple system with the best primary value on validation."""
    simple = [item for item in measured if item.system.simple]
    best = max(simple, key=lambda item: _or_lowest(item.validation_primary), default=None)
    return best.system if best is not None else None


def _or_lowest(value: float | None) -> float:
    return float("-inf") if value is None else value


def _pairs(study: Study, systems: Sequence[System], baseline: System | None) -> list[Pair]:
    """Before and after of each trained model; each trained system against majority and against the baseline."""
    majority = next(system for system in systems if is_majority(study, system))
    before = {system.run: system.name for system in systems if system.moment == "before"}
    pairs = [
        Pair("before-after", before[system.run], system.name)
        for system in systems
        if system.moment == "after" and system.run in before
    ]
    trained = [system for system in systems if system.trained]
    pairs += [Pair("versus-majority", _same_seed(systems, majority, system), system.name) for system in trained]
    if baseline is not None and not is_majority(study, baseline):
        pairs += [
            Pair("versus-baseline", _same_seed(systems, baseline, system), system.name)
            for system in trained
            if system.model != baseline.model
        ]
    return pairs


def _same_seed(systems: Sequence[System], reference: System, system: System) -> str:
    """The reference's run with the system's seed, where there is one."""
    for other in systems:
        if (other.model, other.stage, other.seed) == (reference.model, reference.stage, system.seed):
            return other.name
    return reference.name
