"""Metrics of a cross-validation: over the out-of-fold answers of each repeat, averaged over the repeats.

A metric that is counted from decisions, or is a mean over items, is computed from all answers of a repeat together. A
ranking is not: scores of different folds come from different models, and pooling them biases the AUROC, towards 0 where
models know little (Airola et al., Computational Statistics & Data Analysis 55, 2011; Forman and Scholz, SIGKDD
Explorations 12, 2010). AUROC and average precision are those of each fold, averaged with the folds' records as weights
(LeDell, Petersen and van der Laan, Electronic Journal of Statistics 9, 2015, who weigh folds alike: the same where
folds are of one size). Of several labels an item the macro AUROC is the mean of these values over the labels, since a
fold without a rare label gives the mean over others.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinfit.evaluation.answers import Divided, repeats_of
from clinfit.evaluation.metrics.engine import RANKINGS, MakeScorer, Scorer, Values
from clinfit.evaluation.metrics.metric import Metric

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def with_folds(make: MakeScorer, over_folds: "type[FoldScorer] | None" = None) -> MakeScorer:
    """The scorer of a kind, for answers of a cross-validation too."""
    of_folds = over_folds or FoldScorer

    def scorer(answers: Any, levels: int | None, units: Ints | None) -> Scorer:
        return make(answers, levels, units) if answers.folds is None else of_folds(make, answers, levels, units)

    return scorer


def of_a_repeat(answers: Divided, metric: Metric) -> Metric:
    """With the counts of one repeat of a cross-validation (their mean, in whole items)."""
    repeats = repeats_of(answers)
    if repeats == 1:
        return metric
    events = None if metric.events is None else round(metric.events / repeats)
    return replace(metric, n=round(metric.n / repeats), events=events)


class FoldScorer:
    """See above; weights as of every scorer, so that all answers to an item are resampled together."""

    def __init__(self, make: MakeScorer, answers: Any, levels: int | None, units: Ints | None) -> None:
        units = np.arange(len(answers)) if units is None else units
        self.n_units = int(units.max(initial=-1)) + 1
        repeats: Ints = answers.folds.repeat
        whole = [np.flatnonzero(repeats == repeat) for repeat in np.unique(repeats)]
        self._repeats = [_Part(make, answers, levels, units, items) for items in whole]
        self._folds = [_Part(make, answers, levels, units, items) for items in answers.folds.parts.values()]

    @property
    def merged(self) -> bool:
        return any(part.scorer.merged for part in self._folds)

    def __call__(self, weights: Floats) -> Values:
        values = _mean([part(weights) for part in self._repeats])
        rankings = [name for name in values if name.partition(":")[0] in RANKINGS]
        if rankings:
            folds, sizes = [part(weights) for part in self._folds], [part.size(weights) for part in self._folds]
            values |= {name: _weighted([fold[name] for fold in folds], sizes) for name in rankings}
        return values


class SetFoldScorer(FoldScorer):
    """Of several labels an item: macro AUROC from the values of the labels."""

    def __init__(self, make: MakeScorer, answers: Any, levels: int | None, units: Ints | None) -> None:
        super().__init__(make, answers, levels, units)
        mixed = answers.gold.any(axis=0) & ~answers.gold.all(axis=0)
        self._ranked = [f"auroc:{label}" for label, both in zip(answers.labels, mixed, strict=True) if both]

    def __call__(self, weights: Floats) -> Values:
        values = super().__call__(weights)
        if "macro_auroc" in values and self._ranked:
            values["macro_auroc"] = np.mean([values[name] for name in self._ranked], axis=0)
        return values


class _Part:
    """Some of the answers, scored by the weights of all."""

    def __init__(self, make: MakeScorer, answers: Any, levels: int | None, units: Ints, items: Ints) -> None:
        self._units, places = np.unique(units[items], return_inverse=True)
        self._counts = np.bincount(places).astype(np.float64)
        self.scorer = make(replace(answers.take(items), folds=None), levels, places.astype(np.int64))

    def __call__(self, weights: Floats) -> Values:
        return self.scorer(weights[self._units])

    def size(self, weights: Floats) -> Floats:
        """(b,) answers in each weighting."""
        return self._counts @ weights[self._units]


def _mean(repeats: Sequence[Values]) -> Values:
    """Undefined where it is in one of the repeats."""
    names = [name for name in repeats[0] if all(name in values for values in repeats)]
    return {name: np.mean([values[name] for values in repeats], axis=0) for name in names}


def _weighted(values: Sequence[Floats], sizes: Sequence[Floats]) -> Floats:
    """Mean over the folds in which it is defined."""
    each = np.stack(values)
    weights = np.where(np.isnan(each), 0.0, np.stack(sizes))
    total = weights.sum(axis=0)
    return np.where(total > 0, (np.nan_to_num(each) * weights).sum(axis=0) / np.maximum(total, 1e-300), np.nan)
