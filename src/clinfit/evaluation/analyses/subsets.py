"""A system's scores on subsets of the test split: subgroups, or the items that do not leak."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinfit.evaluation.metrics.engine import LEVELS, Engine, Scored, Values, joined
from clinfit.evaluation.statistics.bootstrap import Resamples

Codes = NDArray[np.int64]

#: Code of an item that is in no subset.
OUTSIDE = -1


def score_subsets(systems: Sequence[Scored], codes: Codes) -> list[dict[int, Scored]]:
    """Each system's scores on each subset, in the order of the codes.

    codes: (n,) subset of each item, or OUTSIDE. One plan of resamples serves all subsets and systems, so that
    differences between subsets have replicates too: items have weights as in the whole, or whole groups where groups
    repeat.
    """
    inside = np.flatnonzero(codes != OUTSIDE)
    if not len(inside):
        return [{} for _ in systems]
    members = {int(code): np.flatnonzero(codes[inside] == code) for code in np.unique(codes[inside])}
    plan = _plan(systems[0], codes, inside)
    found: list[dict[int, Scored]] = [{} for _ in systems]
    for code, at in members.items():
        answers = [system.answers.take(inside[at]) for system in systems]
        estimates = [systems[0].engine.estimates(each) for each in answers]
        drawn = _replicates(systems[0].engine, answers, estimates, plan, at)
        resamples = _within(plan, at)
        for scored, system, mine, values, draws in zip(found, systems, answers, estimates, drawn, strict=True):
            scored[code] = Scored(system.engine, mine, values, draws, resamples, system.confidence)
    return found


def _plan(system: Scored, codes: Codes, inside: Codes) -> Resamples:
    """Resamples of the items inside, with as many draws as those of the whole."""
    strata = system.answers.strata
    by_subset = codes[inside] * (int(strata.max(initial=0)) + 1) + strata[inside]
    clusters = system.resamples.clusters
    if clusters is not None:
        clusters = np.unique(clusters[inside], return_inverse=True)[1].astype(np.int64)
    return Resamples(by_subset, clusters, system.resamples.draws, unit=system.resamples.unit)


def _within(plan: Resamples, at: Codes) -> Resamples:
    """The plan's strata and groups of one subset's items, for formulas that look at groups."""
    clusters = plan.clusters
    if clusters is not None:
        clusters = np.unique(clusters[at], return_inverse=True)[1].astype(np.int64)
    return Resamples(plan.strata[at], clusters, plan.draws, unit=plan.unit)


def _replicates(
    engine: Engine, answers: Sequence[Any], estimates: Sequence[dict[str, float]], plan: Resamples, at: Codes
) -> list[Values]:
    """(draws,) values of each system on one subset; the same resamples of the whole plan for every subset."""
    units, places = np.unique(plan.units[at], return_inverse=True)
    scorers = [engine.scorer(mine, LEVELS, places) for mine in answers]
    blocks: list[list[Values]] = [[] for _ in answers]
    for weights in plan.unit_weights():
        for scorer, kept in zip(scorers, blocks, strict=True):
            kept.append(scorer(weights[units]))
    return [joined(kept, scorer, exact) for kept, scorer, exact in zip(blocks, scorers, estimates, strict=True)]
