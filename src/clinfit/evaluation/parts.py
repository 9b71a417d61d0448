"""A system's scores on parts of the test split: subgroups, or the items that do not leak."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from clinfit.evaluation.answers import Answers
from clinfit.evaluation.classification import Scored
from clinfit.evaluation.intervals import Resamples
from clinfit.evaluation.scoring import LEVELS, Scorer, Values, centre, estimates

Codes = NDArray[np.int64]

#: Code of an item that is in no part.
OUTSIDE = -1


def take(answers: Answers, items: NDArray[np.int64] | NDArray[np.bool_]) -> Answers:
    """The answers to some of the items."""
    return Answers(
        answers.labels,
        answers.positive,
        answers.gold[items],
        answers.predicted[items],
        answers.probabilities[items],
        answers.label_mass[items],
    )


def score_parts(systems: Sequence[Scored], codes: Codes) -> list[dict[int, Scored]]:
    """Each system's scores on each part, in the order of the codes.

    codes: (n,) part of each item, or OUTSIDE. One plan of resamples serves all parts and systems, so that differences
    between parts have replicates too: items are drawn within part and label, or by whole group where groups repeat.
    """
    inside = np.flatnonzero(codes != OUTSIDE)
    if not len(inside):
        return [{} for _ in systems]
    parts = np.unique(codes[inside])
    members = {int(part): np.flatnonzero(codes[inside] == part) for part in parts}
    answers = [{part: take(system.answers, inside[at]) for part, at in members.items()} for system in systems]
    plan = _plan(systems[0], codes, inside)
    drawn = _replicates(answers, members, plan)
    return [
        {
            part: Scored(mine, estimates(mine), values[part], _within(plan, members[part]), system.confidence)
            for part, mine in by_part.items()
        }
        for system, by_part, values in zip(systems, answers, drawn, strict=True)
    ]


def _plan(system: Scored, codes: Codes, inside: Codes) -> Resamples:
    """Resamples of the items inside, with as many draws as those of the whole."""
    strata = codes[inside] * len(system.answers.labels) + system.answers.gold[inside]
    clusters = system.resamples.clusters
    if clusters is not None:
        clusters = np.unique(clusters[inside], return_inverse=True)[1].astype(np.int64)
    return Resamples(strata, clusters, system.resamples.draws)


def _within(plan: Resamples, at: Codes) -> Resamples:
    """The plan's strata and groups of one part's items, for formulas that look at groups."""
    clusters = plan.clusters
    if clusters is not None:
        clusters = np.unique(clusters[at], return_inverse=True)[1].astype(np.int64)
    return Resamples(plan.strata[at], clusters, plan.draws)


def _replicates(
    answers: Sequence[dict[int, Answers]], members: dict[int, Codes], plan: Resamples
) -> list[dict[int, Values]]:
    units: dict[int, Codes] = {}
    places: dict[int, Codes] = {}
    for part, at in members.items():
        units[part], places[part] = np.unique(plan.units[at], return_inverse=True)
    scorers = [{part: Scorer(mine, LEVELS, places[part]) for part, mine in by_part.items()} for by_part in answers]
    blocks: list[dict[int, list[Values]]] = [{part: [] for part in members} for _ in answers]
    for weights in plan.unit_weights():
        for by_part, kept in zip(scorers, blocks, strict=True):
            for part, scorer in by_part.items():
                kept[part].append(scorer(weights[units[part]]))
    return [
        {part: _joined(found, by_part[part]) for part, found in kept.items()}
        for by_part, kept in zip(scorers, blocks, strict=True)
    ]


def _joined(blocks: Sequence[Values], scorer: Scorer) -> Values:
    values = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    if scorer.merged:
        centre(values, scorer)
    return values
