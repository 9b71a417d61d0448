"""Every metric of one system as a function of item weights: ones give the estimate, resamples the replicates.

Names are those of `definitions.METRICS`; metrics of one label are called `recall:<label>`.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from clinfit.evaluation import label_metrics
from clinfit.evaluation.answers import UNPARSED, Answers
from clinfit.evaluation.intervals import Resamples
from clinfit.evaluation.probability_metrics import Ranking, brier_terms, log_loss_terms

Floats = NDArray[np.float64]
Values = dict[str, Floats]


#: Levels of a ranking in resamples; test sets up to this size are ranked exactly.
LEVELS = 4096


class Scorer:
    """Sorts and counts once, then scores any number of weightings of the same items.

    levels: see Ranking; None ranks exactly.
    """

    def __init__(self, answers: Answers, levels: int | None = None) -> None:
        n, k = len(answers), len(answers.labels)
        self.answers = answers
        column = np.where(answers.predicted == UNPARSED, k, answers.predicted)
        cell = answers.gold * (k + 1) + column
        self._cells = csr_array((np.ones(n), (cell, np.arange(n))), shape=(k * (k + 1), n))
        means = _mean_terms(answers)
        self._means = list(means)
        self._terms = np.array(list(means.values())).reshape(len(means), n)
        self._rankings: dict[str, Ranking] = {}
        if answers.has_probabilities.any():
            ranked = range(k) if answers.positive is None else [answers.positive]
            self._rankings = {
                answers.labels[label]: Ranking(answers.gold == label, answers.scores(label), levels) for label in ranked
            }

    def __call__(self, weights: Floats) -> Values:
        """(n, b) weights to (b,) values of every metric; nan where undefined."""
        answers = self.answers
        k = len(answers.labels)
        counts = (self._cells @ weights).T.reshape(-1, k, k + 1)
        values = label_metrics.overall(counts, answers.positive)
        for name, columns in label_metrics.per_label(counts).items():
            values |= {f"{name}:{label}": columns[:, j] for j, label in enumerate(answers.labels)}
        total = counts.sum((1, 2))
        values |= dict(zip(self._means, self._terms @ weights / total, strict=True))
        return values | self._ranking_values(weights)

    def _ranking_values(self, weights: Floats) -> Values:
        both = {label: ranking.auroc_and_precision(weights) for label, ranking in self._rankings.items()}
        if not both:
            return {}
        if self.answers.positive is not None:
            auroc, auprc = both[self.answers.labels[self.answers.positive]]
            return {"auroc": auroc, "auprc": auprc}
        aurocs = np.stack([auroc for auroc, _ in both.values()])
        estimable = ~np.isnan(aurocs)
        macro = label_metrics.divide(np.where(estimable, aurocs, 0).sum(0), estimable.sum(0).astype(np.float64))
        return {"macro_auroc": macro} | {f"auroc:{label}": auroc for label, (auroc, _) in both.items()}


def _mean_terms(answers: Answers) -> dict[str, Floats]:
    """Metrics that are plain means over items: name -> (n,) terms."""
    terms: dict[str, Floats] = {}
    answered = answers.has_probabilities
    if answered.any():
        name = "brier" if answers.positive is not None else "brier_sum"
        terms[name] = brier_terms(answers.gold, answers.probabilities, answered, answers.positive)
    if answered.all() and len(answered):
        terms["log_loss"] = log_loss_terms(answers.gold, answers.probabilities)
    if len(answers) and np.isfinite(answers.label_mass).all():
        terms["label_mass"] = answers.label_mass
    return terms


def estimates(answers: Answers) -> dict[str, float]:
    """Every metric on the items as they are; nan where undefined."""
    values = Scorer(answers)(np.ones((len(answers), 1)))
    return {name: float(value[0]) for name, value in values.items()}


def replicates(systems: Sequence[Answers], resamples: Resamples) -> list[Values]:
    """(draws,) values of every metric for every system; entry r of each comes from the same resample."""
    scorers = [Scorer(answers, LEVELS) for answers in systems]
    blocks: list[list[Values]] = [[] for _ in systems]
    for weights in resamples.blocks():
        for scorer, parts in zip(scorers, blocks, strict=True):
            parts.append(scorer(weights))
    return [{name: np.concatenate([part[name] for part in parts]) for name in parts[0]} for parts in blocks]
