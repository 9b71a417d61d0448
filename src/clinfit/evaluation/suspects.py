"""Labels that are likely wrong, by confident learning (Northcutt, Jiang and Chuang, JAIR 2021).

Implemented here in a few lines, because importing the cleanlab package loads scikit-learn and, where it is installed,
the datasets package: 5 to 9 seconds with version 2.9.0, for two functions. No item is ever taken out of the test split:
suspects are for a person to look at.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clinfit.evaluation.answers import UNPARSED, Rows
from clinfit.evaluation.definitions import METRICS
from clinfit.evaluation.measure import Measured
from clinfit.evaluation.parts import take
from clinfit.evaluation.results import SuspectLabel
from clinfit.evaluation.scoring import estimates
from clinfit.evaluation.systems import System
from clinfit.evaluation.wording import number
from clinfit.findings import Finding

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: At most this many suspects are listed; nobody reads more.
LISTED = 50


def suspect_labels(systems: Sequence[System], labels: Sequence[str]) -> list[SuspectLabel]:
    """The most suspicious items of test and validation, worst first; none without systems.

    systems: trained ones that beat the trivial answers; their mean probabilities are out of sample on both splits.
    Systems without probabilities for every item are left out.
    """
    usable = [system for system in systems if _complete(system.test)]
    if not usable:
        return []
    found: list[SuspectLabel] = []
    parts = [("test", [system.test for system in usable])]
    if all(_complete(system.validation) and _same_items(system, usable[0]) for system in usable):
        parts.append(("validation", [system.validation for system in usable]))
    ids = [item for _, rows in parts for item in rows[0].ids]
    splits = [split for split, rows in parts for _ in range(len(rows[0]))]
    gold = np.concatenate([rows[0].gold for _, rows in parts])
    probabilities = np.concatenate([np.mean([part.probabilities for part in rows], axis=0) for _, rows in parts])
    for at in map(int, label_issues(gold, probabilities)[:LISTED]):
        others = np.where(np.arange(len(labels)) == gold[at], -1.0, probabilities[at])
        likelier = int(others.argmax())
        found.append(
            SuspectLabel(
                id=str(ids[at]),
                split=splits[at],
                label=labels[int(gold[at])],
                suggested=labels[likelier],
                p_label=float(probabilities[at, gold[at]]),
                p_suggested=float(probabilities[at, likelier]),
            )
        )
    return found


def label_issues(gold: Ints, probabilities: Floats) -> Ints:
    """Positions of likely label errors, lowest probability of the given label first (`prune by noise rate`).

    The threshold of label j is the mean P(j) over items labelled j; an item counts as truly j when P(j) reaches it (the
    largest such). The counts, scaled to the labels' own numbers, say how many items labelled i are truly j; so many of
    the items labelled i, those with the largest P(j) - P(i), are suspects, unless i is the likeliest label even so.
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


def check_suspects(suspects: Sequence[SuspectLabel], best: Measured, systems: int, primary: str) -> list[Finding]:
    """How many there are, and what the primary metric of the best system would be without those of the test split."""
    if not suspects:
        return []
    tested = [item["id"] for item in suspects if item["split"] == "test"]
    evidence = f"{len(tested)} of them in the test split; from the mean probabilities of {systems} trained systems"
    keep = ~np.asarray(best.system.test.ids.isin(tested))
    now, then = (estimates(answers).get(primary, float("nan")) for answers in (best.answers, take(best.answers, keep)))
    if tested and np.isfinite(now) and np.isfinite(then):
        evidence += (
            f"; {METRICS[primary].title} of {best.name} is {number(primary, now)}, and would be "
            f"{number(primary, then)} without them (an upper bound: they are the items on which the models disagree)"
        )
    several = f"{len(suspects)} labels are" if len(suspects) > 1 else "1 label is"
    more = f"at least {several}" if len(suspects) == LISTED else several
    return [
        Finding(
            "info",
            "suspect-labels",
            f"{more} likely wrong, if the models are right",
            evidence,
            "let a person who does not see the models' answers label these items again; nothing was left out",
        )
    ]


def _complete(rows: Rows) -> bool:
    """Whether there are items, all with a declared label and probabilities."""
    return len(rows) > 0 and bool((rows.gold != UNPARSED).all()) and bool(np.isfinite(rows.probabilities).all())


def _same_items(system: System, other: System) -> bool:
    one, two = system.validation.ids, other.validation.ids
    return isinstance(one, pd.Index) and one.equals(two)
