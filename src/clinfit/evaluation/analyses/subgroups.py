"""Results by subgroup and site: each group's metrics with intervals, the gaps between groups, and what may be said.

A group with fewer than ten events or ten non-events (of more than two labels: fewer than ten items) is suppressed: no
numbers, no counts. Gaps are differences between two groups, that is between different people: Newcombe's interval and
Fisher's exact test for shares, DeLong for AUROC, else the bootstrap, which serves everything where groups of items
(several notes of a patient) repeat.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd

from clinfit.data.subgroups import MISSING, in_order
from clinfit.evaluation.analyses.subsets import OUTSIDE, score_subsets
from clinfit.evaluation.answers import Answers, items_of, repeats_of
from clinfit.evaluation.claims.wording import change, p_value, unit
from clinfit.evaluation.context import Measured, MeasuredContext, Outcome
from clinfit.evaluation.metrics.definitions import METRICS
from clinfit.evaluation.metrics.engine import Scored
from clinfit.evaluation.metrics.metric import Metric
from clinfit.evaluation.results import SubgroupGap, SubgroupResult, SubgroupRow
from clinfit.evaluation.statistics.bootstrap import UNDEFINED_LIMIT, bootstrap_p, percentile
from clinfit.evaluation.statistics.holm import holm
from clinfit.evaluation.statistics.unpaired import delong_unpaired, proportion_difference
from clinfit.findings import Finding
from clinfit.study.evaluation import Subgroup

#: Fewest events and fewest non-events of a group that is shown.
LEAST = 10
#: A gap that is both supported and larger than this is a warning.
LARGE_GAP = 0.10

#: Not compared between groups: a difference on the logit scale says little to a reader.
NOT_COMPARED = frozenset({"calibration_intercept"})
PROPORTIONS = frozenset({"accuracy", "subset_accuracy", "sensitivity", "specificity", "ppv"})


@dataclass(frozen=True)
class Column:
    """One subgroup column over the test items: names of the groups in order, and each item's place among them."""

    subgroup: Subgroup
    site: bool
    names: list[str]
    codes: np.ndarray

    @property
    def title(self) -> str:
        return self.subgroup.title or self.subgroup.column


def columns_of(subgroups: Sequence[Subgroup], site: str | None, table: pd.DataFrame, ids: pd.Index) -> list[Column]:
    """The columns that the run has saved, aligned with the test items; an item that is not in the table is missing."""
    if "id" not in table.columns:
        return []
    found = []
    by_id = table.set_index("id")
    for subgroup in subgroups:
        groups = by_id[subgroup.column].reindex(ids).fillna(MISSING).astype(str).tolist()
        names = in_order(subgroup, groups)
        places = {name: place for place, name in enumerate(names)}
        codes = np.array([places[group] for group in groups], dtype=np.int64)
        found.append(Column(subgroup, subgroup.column == site, names, codes))
    return found


def subgroups(context: MeasuredContext) -> Outcome:
    """Results of the trained systems, and of the model of the task, by the columns that the study names."""
    model, trained, settings = context.model, context.trained, context.settings
    shown = [model, *(item for item in trained if item is not model)]
    ids = model.system.test.ids
    columns = columns_of(settings.subgroup_columns, settings.site, context.facts.subgroups, ids)
    results = subgroup_results(shown, columns, context.primary)
    return results or None, check_subgroups(results, context.confidence)


def subgroup_results(measured: Sequence[Measured], columns: Sequence[Column], primary: str) -> list[SubgroupResult]:
    """Each column for each system. Which groups are shown depends on the items alone, so it is the same for all."""
    results = []
    for column in columns:
        answers = measured[0].answers
        shown = [place for place in range(len(column.names)) if enough(answers.take(column.codes == place))]
        codes = np.where(np.isin(column.codes, shown), column.codes, OUTSIDE)
        subsets = score_subsets([item.scored for item in measured], codes)
        results += [_result(item, column, by_group, primary) for item, by_group in zip(measured, subsets, strict=True)]
    return results


def _result(item: Measured, column: Column, by_group: Mapping[int, Scored], primary: str) -> SubgroupResult:
    engine = item.scored.engine
    names = engine.subgroup_metrics(item.answers, primary)
    shown = {column.names[place]: subset for place, subset in by_group.items()}
    metrics = {name: {k: m for k, m in engine.metrics(subset).items() if k in names} for name, subset in shown.items()}
    gaps = largest_gaps(shown, metrics, [name for name in names if name not in NOT_COMPARED])
    return SubgroupResult(
        system=item.name,
        column=column.subgroup.column,
        title=column.title,
        site=column.site,
        rows=[_row(name, shown.get(name), metrics.get(name, {})) for name in column.names],
        gaps=gaps,
        equalized_odds=_equalized_odds(gaps),
        spread=_spread(metrics, names) if column.site else {},
    )


def enough(answers: Answers) -> bool:
    """Whether a group is large enough to be shown."""
    if answers.positive is None:
        return items_of(answers) >= LEAST
    events = int((answers.gold == answers.positive).sum())
    return min(events, len(answers) - events) // repeats_of(answers) >= LEAST


def _row(name: str, subset: Scored | None, metrics: Mapping[str, Metric]) -> SubgroupRow:
    if subset is None:
        return SubgroupRow(group=name, n=None, events=None, suppressed=True, metrics={})
    answers = subset.answers
    repeats = repeats_of(answers)
    events = None if answers.positive is None else int((answers.gold == answers.positive).sum()) // repeats
    shown = {key: metric.as_dict() for key, metric in metrics.items()}
    return SubgroupRow(group=name, n=items_of(answers), events=events, suppressed=False, metrics=shown)


def _spread(metrics: Mapping[str, Mapping[str, Metric]], names: Sequence[str]) -> dict[str, float | None]:
    """Standard deviation of each metric between sites; None for fewer than two sites that have it."""
    spread: dict[str, float | None] = {}
    for name in names:
        values = [row[name].value for row in metrics.values() if name in row]
        known = [value for value in values if value is not None]
        spread[name] = float(np.std(known, ddof=1)) if len(known) > 1 else None
    return spread


def _equalized_odds(gaps: Sequence[SubgroupGap]) -> float | None:
    """The larger of the gaps in sensitivity and in 1 - specificity (Hardt, Price and Srebro, 2016)."""
    values = [gap["difference"]["value"] for gap in gaps if gap["metric"] in ("sensitivity", "specificity")]
    known = [value for value in values if value is not None]
    return max(known) if len(known) == 2 else None


# ---------------------------------------------------------------- gaps


@dataclass(frozen=True)
class Gap:
    """One metric in the group `high` minus in the group `low`; p: two-sided, None without an interval."""

    metric: str
    high: str
    low: str
    difference: Metric
    p: float | None


def largest_gaps(
    subsets: Mapping[str, Scored], metrics: Mapping[str, Mapping[str, Metric]], names: Sequence[str]
) -> list[SubgroupGap]:
    """The pair of groups that differs most in each metric.

    Its interval is that of the pair; p is corrected by Holm's method over all pairs of groups and all metrics, since
    the largest difference was picked out of them.
    """
    gaps = list(_pairs(subsets, metrics, names))
    tested = [gap for gap in gaps if gap.p is not None]
    adjusted = dict(zip(map(id, tested), holm([gap.p for gap in tested if gap.p is not None]), strict=True))
    found = []
    for name in names:
        of_metric = [gap for gap in gaps if gap.metric == name]
        if of_metric:
            most = max(of_metric, key=lambda gap: gap.difference.value or 0.0)
            found.append(
                SubgroupGap(
                    metric=name,
                    high=most.high,
                    low=most.low,
                    difference=most.difference.as_dict(),
                    p_holm=adjusted.get(id(most)),
                )
            )
    return found


def _pairs(
    subsets: Mapping[str, Scored], metrics: Mapping[str, Mapping[str, Metric]], names: Sequence[str]
) -> Iterator[Gap]:
    for name in names:
        known = [group for group in subsets if name in metrics[group] and metrics[group][name].value is not None]
        for one, other in combinations(known, 2):
            first, second = metrics[one][name].value, metrics[other][name].value
            high, low = (one, other) if (first or 0.0) >= (second or 0.0) else (other, one)
            yield _gap(name, high, low, subsets, metrics)


def _gap(
    name: str, high: str, low: str, subsets: Mapping[str, Scored], metrics: Mapping[str, Mapping[str, Metric]]
) -> Gap:
    first, second = subsets[high], subsets[low]
    one, other = metrics[high][name], metrics[low][name]
    value = (one.value or 0.0) - (other.value or 0.0)
    base = Metric(value, n=one.n + other.n)
    if not first.grouped and name in PROPORTIONS and one.events is not None and other.events is not None:
        found = proportion_difference(one.events, one.n, other.events, other.n, first.confidence)
        method = "Newcombe"
    elif not first.grouped and name == "auroc" and first.answers.positive is not None:
        positive = first.answers.positive
        found = delong_unpaired(first.delong(positive), second.delong(positive), first.confidence)
        method = "DeLong, independent groups"
    else:
        return _bootstrapped(name, high, low, base, first, second)
    if found is None:
        return Gap(name, high, low, replace(base, reason="no variance in one of the groups: no interval"), None)
    return Gap(name, high, low, replace(base, low=found.low, high=found.high, method=method), found.p)


def _bootstrapped(name: str, high: str, low: str, base: Metric, first: Scored, second: Scored) -> Gap:
    drawn = first.replicates[name] - second.replicates[name]
    bottom, top, lost = percentile(drawn, first.confidence, base.value)
    if bottom is None or top is None or lost > UNDEFINED_LIMIT or top - bottom < 1e-12:
        reason = f"no interval: undefined in {100 * lost:.0f} % of the resamples, or the same in all"
        return Gap(name, high, low, replace(base, reason=reason), None)
    kind = "by group of items" if first.grouped else "by item"
    fewest = min(first.resamples.fewest, second.resamples.fewest)
    method = f"percentile bootstrap, {kind}, {first.resamples.draws} resamples"
    return Gap(name, high, low, replace(base, low=bottom, high=top, method=method), bootstrap_p(drawn, fewest))


# ---------------------------------------------------------------- findings


def check_subgroups(results: Sequence[SubgroupResult], confidence: float) -> list[Finding]:
    """A warning for each system and column with a supported gap above 10 points; a note for suppressed groups."""
    findings = []
    for result in results:
        large = [gap for gap in result["gaps"] if supported(gap, confidence) and _size(gap) > LARGE_GAP]
        if large:
            most = max(large, key=_size)
            title = METRICS[most["metric"]].title
            findings.append(
                Finding(
                    "warn",
                    "subgroup-gap",
                    f"{title} differs by {_points(most)} between groups of {result['title']}: higher for "
                    f"{most['high']!r} than for {most['low']!r}",
                    "; ".join(_evidence(gap, confidence) for gap in large),
                    "look for the cause (fewer training records, other documentation, another prevalence) before the "
                    "system is used for the group in which it does worse",
                    result["system"],
                )
            )
    return [*findings, *_suppressed(results)]


def supported(gap: SubgroupGap, confidence: float) -> bool:
    """Whether the interval excludes no difference and the corrected test agrees."""
    low, p = gap["difference"]["low"], gap["p_holm"]
    return low is not None and low > 0 and p is not None and p < 1 - confidence


def _suppressed(results: Sequence[SubgroupResult]) -> Iterator[Finding]:
    """One note a column: suppression is the same for every system."""
    noted: set[str] = set()
    for result in results:
        hidden = [row["group"] for row in result["rows"] if row["suppressed"]]
        if hidden and result["column"] not in noted:
            noted.add(result["column"])
            yield Finding(
                "info",
                "subgroups-suppressed",
                f"{len(hidden)} of {len(result['rows'])} groups of {result['title']} are too small to be shown",
                ", ".join(hidden),
                f"fewer than {LEAST} events or non-events (of more than two labels: records): nothing is known of the "
                "system there; test on more records of these groups",
            )


def _size(gap: SubgroupGap) -> float:
    return abs(gap["difference"]["value"] or 0.0)


def _points(gap: SubgroupGap) -> str:
    return f"{change(gap['metric'], _size(gap)).lstrip('+')}{unit(gap['metric'])}"


def _evidence(gap: SubgroupGap, confidence: float) -> str:
    difference, metric = gap["difference"], gap["metric"]
    assert difference["low"] is not None and difference["high"] is not None and gap["p_holm"] is not None
    low, high = change(metric, difference["low"]), change(metric, difference["high"])
    return (
        f"{METRICS[metric].title}: {_points(gap)} between {gap['high']!r} and {gap['low']!r} "
        f"({100 * confidence:g} % interval {low} to {high}; {p_value(gap['p_holm'])} after Holm)"
    )
