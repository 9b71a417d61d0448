"""Labels that are likely wrong, by confident learning (Northcutt, Jiang and Chuang, JAIR 2021).

Implemented here in a few lines, because importing the cleanlab package loads scikit-learn and, where it is installed,
the datasets package: 5 to 9 seconds with version 2.9.0, for two functions. No item is ever taken out of the test split:
they are for a person to look at.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clinfit.evaluation.answers import Rows
from clinfit.evaluation.claims.ranking import chosen_among
from clinfit.evaluation.claims.wording import number
from clinfit.evaluation.context import Measured, MeasuredContext, Outcome
from clinfit.evaluation.metrics.definitions import METRICS
from clinfit.evaluation.results import LabelError
from clinfit.evaluation.systems import System
from clinfit.findings import Finding

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: At most this many are listed; nobody reads more.
LISTED = 50


def label_errors(context: MeasuredContext) -> Outcome:
    """Labels that the informative trained systems contradict; none at another place, where the model is as likely to be
    what is wrong."""
    best = chosen_among(context, context.trained)
    if best is None or context.facts.external is not None:
        return None, []
    informative = [item.system for item in context.trained if item.name not in context.uninformative]
    found = likely_errors(informative, context.task.labels)
    return found or None, check_label_errors(found, best, len(informative), context.primary)


def likely_errors(systems: Sequence[System], labels: Sequence[str]) -> list[LabelError]:
    """The most suspicious items of test and validation, worst first; none without systems.

    systems: trained ones that beat the constant answers; their mean probabilities are out of sample on both splits.
    Systems without probabilities for every item are left out.
    """
    usable = [system for system in systems if _complete(system.test)]
    if not usable:
        return []
    found: list[LabelError] = []
    splits = [("test", [_once(system.test) for system in usable])]
    if usable[0].test.answers.folds is None and all(
        _complete(system.validation) and _same_items(system, usable[0]) for system in usable
    ):
        splits.append(("validation", [system.validation for system in usable]))
    items = [(split, item) for split, rows in splits for item in rows[0].ids]
    gold = np.concatenate([rows[0].answers.gold for _, rows in splits])
    probabilities = np.concatenate(
        [np.mean([each.answers.probabilities for each in rows], axis=0) for _, rows in splits]
    )
    for at in map(int, label_issues(gold, probabilities)[:LISTED]):
        others = np.where(np.arange(len(labels)) == gold[at], -1.0, probabilities[at])
        likelier = int(others.argmax())
        found.append(
            LabelError(
                id=str(items[at][1]),
                split=items[at][0],
                label=labels[int(gold[at])],
                suggested=labels[likelier],
                p_label=float(probabilities[at, gold[at]]),
                p_suggested=float(probabilities[at, likelier]),
            )
        )
    return found


def _once(rows: Rows) -> Rows:
    """Each item once, with the mean of the probabilities that the repeats of a cross-validation give it."""
    if rows.answers.folds is None:
        return rows
    _, first, places = np.unique(rows.ids.to_numpy(dtype=str), return_index=True, return_inverse=True)
    sums = np.zeros((len(first), len(rows.answers.labels)))
    np.add.at(sums, places, rows.answers.probabilities)
    once = rows.part(first)
    means = sums / np.bincount(places)[:, None]
    return replace(once, answers=replace(once.answers, probabilities=means))


def label_issues(gold: Ints, probabilities: Floats) -> Ints:
    """Positions of likely label errors, lowest probability of the given label first (`prune by noise rate`).

    The threshold of label j is the mean P(j) over items labelled j; an item counts as truly j when P(j) reaches it (the
    largest such). The counts, scaled to the labels' own numbers, say how many items labelled i are truly j; so many of
    the items labelled i, those with the largest P(j) - P(i), are likely errors, unless i is the likeliest even so.
    """
    k = probabilities.shape[1]
    issues = np.zeros(len(gold), dtype=bool)
    for i, expected in enumerate(noise_counts(gold, probabilities)):
        items = np.flatnonzero(gold == i)
        for j in range(k):
            if i == j or not expected[j]:
                continue
            margin = probabilities[items, j] - probabilities[items, i]
            order = np.argsort(-margin, kind="stable")[: expected[j]]
            issues[items[order]] = True
    found = np.flatnonzero(issues & (probabilities.argmax(axis=1) != gold))
    return found[np.argsort(probabilities[found, gold[found]], kind="stable")]


def noise_counts(gold: Ints, probabilities: Floats) -> Ints:
    """(K, K) estimated number of items labelled i (rows) that are truly j (columns), from the confident joint."""
    k = probabilities.shape[1]
    support = np.bincount(gold, minlength=k)
    thresholds = np.array([probabilities[gold == j, j].mean() if support[j] else np.inf for j in range(k)])
    reached = np.where(probabilities >= thresholds - 1e-6, probabilities, -1.0)
    confident = reached.max(axis=1) >= 0
    joint = np.zeros((k, k))
    np.add.at(joint, (gold[confident], reached[confident].argmax(axis=1)), 1)
    joint[np.arange(k), np.arange(k)] = np.maximum(np.diag(joint), 1)  # no label is wrong throughout
    return np.round(joint / joint.sum(axis=1, keepdims=True) * support[:, None]).astype(np.int64)


def check_label_errors(errors: Sequence[LabelError], best: Measured, systems: int, primary: str) -> list[Finding]:
    """How many there are, and what the primary metric of the chosen one would be without those of the test split."""
    if not errors:
        return []
    tested = [item["id"] for item in errors if item["split"] == "test"]
    evidence = f"{len(tested)} of them in the test split; from the mean probabilities of {systems} trained systems"
    keep = ~np.asarray(best.system.test.ids.isin(tested))
    estimates = best.scored.engine.estimates
    now, then = (estimates(part).get(primary, float("nan")) for part in (best.answers, best.answers.take(keep)))
    if tested and np.isfinite(now) and np.isfinite(then):
        evidence += (
            f"; {METRICS[primary].title} of {best.name} is {number(primary, now)}, and would be "
            f"{number(primary, then)} without them (too good: they are the items on which the models disagree)"
        )
    several = f"{len(errors)} labels are" if len(errors) > 1 else "1 label is"
    more = f"at least {several}" if len(errors) == LISTED else several
    return [
        Finding(
            "info",
            "label-errors",
            f"{more} likely wrong, if the models are right",
            evidence,
            "let a person who does not see the models' answers label these items again; nothing was left out",
        )
    ]


def _complete(rows: Rows) -> bool:
    """Whether there are items, all with a declared label and probabilities."""
    return len(rows) > 0 and not rows.undeclared.gold and bool(rows.answers.has_probabilities.all())


def _same_items(system: System, other: System) -> bool:
    one, two = system.validation.ids, other.validation.ids
    return isinstance(one, pd.Index) and one.equals(two)
