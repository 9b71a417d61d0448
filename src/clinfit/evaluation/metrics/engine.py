"""The metric engine of a kind of task: what everything above it needs in order not to know the kind.

A metric is a function of item weights: ones give the estimate, resamples the replicates. Names are those of
`definitions.METRICS`; metrics of one label are called `recall:<label>`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from clinfit.evaluation.answers import Bools, Read
from clinfit.evaluation.metrics.metric import Metric
from clinfit.evaluation.statistics.bootstrap import Resamples
from clinfit.evaluation.statistics.delong import DeLong, delong

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Values = dict[str, Floats]

#: Levels of a ranking in resamples; test sets up to this size are ranked exactly.
LEVELS = 4096
#: Metrics of rankings, whose replicates merging of levels moves.
RANKINGS = ("auroc", "auprc", "macro_auroc")
#: Metrics that are means over the labels, and what of each label.
MEANS_OVER_LABELS = {"macro_auroc": "auroc", "macro_f1": "f1", "balanced_accuracy": "recall"}


class Scorer(Protocol):
    """Sorts and counts once, then scores any number of weightings of the same items."""

    n_units: int

    @property
    def merged(self) -> bool:
        """Whether any ranking has merged levels, so that AUROC and average precision are not exact."""
        ...

    def __call__(self, weights: Floats) -> Values:
        """(units, b) weights to (b,) values of every metric; nan where undefined."""
        ...


#: answers; most levels of a ranking, None ranks exactly; (n,) unit of each item, None where every item is its own.
MakeScorer = Callable[[Any, int | None, Ints | None], Scorer]


@dataclass(frozen=True)
class Engine:
    """Functions of one kind. `answers` are the kind's own (`Answers`), whose arrays only these functions know.

    read: a table's rows to answers. most_probable: (labels, positive label, gold, probabilities) to answers that are
    the most probable ones, for arrays of the kind. scorer: answers to weighted metrics. metrics: the table of a system,
    with intervals. by_label: the same of each label. compared: rows of a comparison, the primary metric first.
    subgroup_metrics: of each subgroup. headline: what is withheld when there is an error. primary: the name under which
    a study's primary metric is reported. proportion: (hits, inside) of a metric that is a proportion with the same
    items for every system, which is what McNemar's test needs; None for others. ranked_label: the label whose AUROC a
    metric is. constant: (answers, (K,) proportion of each label in training) to the answers of systems that always say
    the same, by name, the most frequent in training first. usual: (answers, those of validation) to further ones, which
    are found among the validation items. fair: metrics in which a constant answer is a fair opponent;
    stand_in: one of them, where the primary metric is none. exact: the share of answers that are wholly right. mix,
    scarcest: words about the items, and what there is least of with its count. item_values: (n,) of a metric, by which
    two systems are compared item by item where answers are not right or wrong; None where they are. item_losses: (n,)
    terms of a metric that is a mean of losses, which a few items may carry; None for others. remarks: further sentences
    of the verdict about the model.
    """

    read: Read
    most_probable: Callable[[Sequence[str], str | None, NDArray[Any], Floats], Any]
    scorer: MakeScorer
    metrics: Callable[["Scored"], dict[str, Metric]]
    by_label: Callable[["Scored"], dict[str, dict[str, Metric]]]
    compared: Callable[[Any, str], list[str]]
    subgroup_metrics: Callable[[Any, str], list[str]]
    headline: Callable[[Any, str], list[str]]
    primary: Callable[[str, int], str]
    proportion: Callable[[Any, str], tuple[Bools, Bools] | None]
    ranked_label: Callable[[Any, str], int | None]
    constant: Callable[[Any, Floats], dict[str, Any]]
    fair: frozenset[str]
    stand_in: str
    exact: str
    mix: Callable[[Any], str]
    scarcest: Callable[[Any], tuple[str, int]]
    item_values: Callable[[Any, str], Floats] | None = None
    item_losses: Callable[[Any, str], Floats | None] = lambda answers, metric: None
    usual: Callable[[Any, Any], dict[str, Any]] = lambda answers, validation: {}
    remarks: Callable[["Scored"], list[str]] = lambda scored: []

    def estimates(self, answers: Any) -> dict[str, float]:
        """Every metric on the items as they are; nan where undefined."""
        return estimates(self.scorer, answers)

    def score(self, systems: Sequence[Any], resamples: Resamples, confidence: float) -> list["Scored"]:
        """All systems on the same items under the same resamples."""
        return [
            Scored(self, answers, self.estimates(answers), drawn, resamples, confidence)
            for answers, drawn in zip(systems, replicates(self.scorer, systems, resamples), strict=True)
        ]


@dataclass(frozen=True)
class Scored:
    """One system's answers with the estimate and the resampled values of every metric."""

    engine: Engine
    answers: Any
    estimates: dict[str, float]
    replicates: Values
    resamples: Resamples
    confidence: float
    _delong: dict[int, DeLong] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def grouped(self) -> bool:
        """Whether groups repeat, or the models of several folds answer, so that items are not independent."""
        return self.resamples.clusters is not None

    @cached_property
    def of_folds(self) -> list[dict[str, float]]:
        """Every metric of each fold of a cross-validation, in order; empty in a study that divides once."""
        folds = self.answers.folds
        parts = () if folds is None else folds.parts.values()
        return [self.engine.estimates(replace(self.answers.take(items), folds=None)) for items in parts]

    @cached_property
    def places(self) -> dict[int, Floats]:
        """Label -> (n_k,) share of the items without it that each item with it ranks before, of the labels that some
        items have and others have not."""
        answers = self.answers
        ranked = [k for k in range(len(answers.labels)) if 0 < int(answers.support[k]) < len(answers)]
        return {k: self.delong(k).positives for k in ranked}

    def delong(self, label: int) -> DeLong:
        """AUROC of P(label) with its variance components; kept, since every comparison needs it."""
        answers = self.answers
        if label not in self._delong and answers.positive not in (None, label):
            # Of two labels, one ranks as the other does, backwards.
            other = self.delong(1 - label)
            self._delong[label] = DeLong(other.auroc, other.negatives, other.positives)
        elif label not in self._delong:
            self._delong[label] = delong(answers.has_label(label), answers.scores(label))
        return self._delong[label]


def estimates(scorer: MakeScorer, answers: Any) -> dict[str, float]:
    """Every metric on the items as they are; nan where undefined."""
    # All items in one unit: the sums are then plain counts.
    n = len(answers)
    values = scorer(answers, None, np.zeros(n, dtype=np.int64))(np.ones((min(n, 1), 1)))
    return {name: float(value[0]) for name, value in values.items()}


def replicates(scorer: MakeScorer, systems: Sequence[Any], resamples: Resamples) -> list[Values]:
    """(draws,) values of every metric for every system; entry r of each comes from the same resample.

    Rankings with more than LEVELS scores are merged for the resamples; their replicates are moved by what merging
    changes in the value of the items as they are.
    """
    scorers = [scorer(answers, LEVELS, resamples.units) for answers in systems]
    blocks: list[list[Values]] = [[] for _ in systems]
    for weights in resamples.unit_weights():
        for each, drawn in zip(scorers, blocks, strict=True):
            drawn.append(each(weights))
    return [
        joined(drawn, each, estimates(scorer, answers) if each.merged else {})
        for answers, each, drawn in zip(systems, scorers, blocks, strict=True)
    ]


def joined(blocks: Sequence[Values], scorer: Scorer, exact: dict[str, float]) -> Values:
    """The blocks as one; replicates of merged rankings are moved by exact minus merged value, within 0 and 1."""
    values = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    if not scorer.merged:
        return values
    merged = scorer(np.ones((scorer.n_units, 1)))
    return {
        name: np.clip(drawn + (exact[name] - merged[name][0]), 0.0, 1.0)
        if name.partition(":")[0] in RANKINGS
        else drawn
        for name, drawn in values.items()
    }
