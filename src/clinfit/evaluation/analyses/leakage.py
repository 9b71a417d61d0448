"""The main metrics with and without the test items that a model may know from another split."""

from collections.abc import Mapping, Sequence

import numpy as np

from clinfit.evaluation.analyses.subsets import OUTSIDE, score_subsets
from clinfit.evaluation.answers import items_of
from clinfit.evaluation.claims.wording import number
from clinfit.evaluation.context import Context, Measured, MeasuredContext, Outcome
from clinfit.evaluation.metrics.definitions import METRICS
from clinfit.evaluation.metrics.metric import Metric, undefined
from clinfit.evaluation.results import LeakageResult
from clinfit.evaluation.system_results import MetricDict
from clinfit.findings import Finding

#: Metrics shown beside the primary one; those that a task does not have are left out.
MAIN = ("accuracy", "sensitivity", "specificity", "balanced_accuracy", "macro_f1", "auroc", "macro_auroc")
#: What the kinds of leak are called, in the words of a sentence.
KINDS = {
    "group": "share a group with another split",
    "exact": "have the same inputs as a record of another split",
    "near": "have nearly the same text as a record of another split",
}


def leakage(context: MeasuredContext) -> Outcome:
    """Every system with all test items and without those that leak."""
    result = with_and_without(context.measured, context.facts.leaks, context.primary)
    best = context.ranked[0]
    return result, check_leakage(result, best.name, items_of(best.answers), context.primary)


def leakage_counts(context: Context) -> Outcome:
    """How many test items leak, where there are no numbers."""
    return leakage_without_numbers(context.facts.leaks), []


def leakage_without_numbers(leaks: Mapping[str, Sequence[str]]) -> LeakageResult | None:
    """How many test items leak, by kind; None when none does."""
    items = {item for ids in leaks.values() for item in ids}
    if not items:
        return None
    return LeakageResult(items=len(items), kinds={kind: len(ids) for kind, ids in leaks.items()}, metrics={})


def with_and_without(
    measured: Sequence[Measured], leaks: Mapping[str, Sequence[str]], primary: str
) -> LeakageResult | None:
    """Every system with all test items and without those that leak; None when none does."""
    result = leakage_without_numbers(leaks)
    if result is None:
        return None
    known = {item for ids in leaks.values() for item in ids}
    leaking = np.asarray(measured[0].system.test.ids.isin(list(known)))
    names = list(dict.fromkeys([primary, *MAIN]))
    clean: list[dict[str, Metric]] = [{} for _ in measured]
    if not leaking.all():
        codes = np.where(leaking, OUTSIDE, 0).astype(np.int64)
        kept = score_subsets([item.scored for item in measured], codes)
        clean = [scored.engine.metrics(scored) for scored in (subsets[0] for subsets in kept)]
    for item, without in zip(measured, clean, strict=True):
        result["metrics"][item.name] = {
            name: _pair(item.metrics[name], without.get(name, undefined("every test item leaks")))
            for name in names
            if name in item.metrics
        }
    return result


def _pair(whole: Metric, without: Metric) -> list[MetricDict]:
    return [whole.as_dict(), without.as_dict()]


def check_leakage(result: LeakageResult | None, system: str, n: int, primary: str) -> list[Finding]:
    """A warning with both numbers of the named system. n: all test items."""
    if result is None or system not in result["metrics"]:
        return []
    whole, without = result["metrics"][system][primary]
    title = METRICS[primary].title

    def shown(metric: MetricDict) -> str:
        return "not estimable" if metric["value"] is None else number(primary, metric["value"])

    kinds = "; ".join(f"{count} {KINDS[kind]}" for kind, count in result["kinds"].items())
    return [
        Finding(
            "warn",
            "leaking-test-items",
            f"{result['items']} of {n} test items leak: {title} of {system} is {shown(whole)} with them and "
            f"{shown(without)} without",
            kinds,
            "believe the figures without them (table in the section on the data); "
            "`clean: {drop_duplicates: true}` or a `group` column keeps such items apart",
            system,
        )
    ]
