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
Ints = NDArray[np.int64]
Values = dict[str, Floats]


#: Levels of a ranking in resamples; test sets up to this size are ranked exactly.
LEVELS = 4096


class Scorer:
    """Sorts and counts once, then scores any number of weightings of the same items.

    levels: see Ranking; None ranks exactly. units: (n,) unit of each item, where weights are those of units (see
    Resamples.units); None when every item has its own weight.
    """

    def __init__(self, answers: Answers, levels: int | None = None, units: Ints | None = None) -> None:
        n, k = len(answers), len(answers.labels)
        self.answers = answers
        units = np.arange(n) if units is None else units
        self.n_units = int(units.max(initial=-1)) + 1
        column = np.where(answers.predicted == UNPARSED, k, answers.predicted)
        cell = answers.gold * (k + 1) + column
        self._cells = csr_array((np.ones(n), (cell, units)), shape=(k * (k + 1), self.n_units))
        means = _mean_terms(answers)
        self._means = list(means)
        sums = [np.bincount(units, weights=terms, minlength=self.n_units) for terms in means.values()]
        self._terms = np.array(sums).reshape(len(means), self.n_units)
        self._rankings: dict[str, Ranking] = {}
        if answers.has_probabilities.any():
            ranked = range(k) if answers.positive is None else [answers.positive]
            self._rankings = {
                answers.labels[label]: Ranking(answers.gold == label, answers.scores(label), levels, units)
                for label in ranked
            }

    @property
    def merged(self) -> bool:
        """Whether any ranking has merged levels, so that AUROC and average precision are not exact."""
        return any(ranking.merged for ranking in self._rankings.values())

    def __call__(self, weights: Floats) -> Values:
        """(units, b) weights to (b,) values of every metric; nan where undefined."""
        answers = self.answers
        k = len(answers.labels)
        counts = (self._cells @ weights).T.reshape(-1, k, k + 1)
        values = label_metrics.overall(counts, answers.positive)
        for name, columns in label_metrics.per_label(counts).items():
            values |= {f"{name}:{label}": columns[:, j] for j, label in enumerate(answers.labels)}
        total = counts.sum((1, 2))
        values |= dict(zip(self._means, label_metrics.divide(self._terms @ weights, total), strict=True))
        if answers.positive is not None:
            prevalence = label_metrics.divide(counts[:, answers.positive].sum(1), total)
            values |= _relative_to_prevalence(values, prevalence)
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


def _relative_to_prevalence(values: Values, prevalence: Floats) -> Values:
    """Brier score and mean risk beside the prevalence; nan where every item has the same label."""
    spread = prevalence * (1 - prevalence)
    found: Values = {}
    if "brier" in values:
        found["scaled_brier"] = 1 - label_metrics.divide(values["brier"], spread)
    if "mean_risk" in values:
        ratio = label_metrics.divide(prevalence, values.pop("mean_risk"))
        found["oe_ratio"] = np.where(spread > 0, ratio, np.nan)
    return found


def _mean_terms(answers: Answers) -> dict[str, Floats]:
    """Metrics that are plain means over items: name -> (n,) terms."""
    terms: dict[str, Floats] = {}
    answered = answers.has_probabilities
    if answered.any():
        name = "brier" if answers.positive is not None else "brier_sum"
        terms[name] = brier_terms(answers.gold, answers.probabilities, answered, answers.positive)
    if answered.all() and len(answered):
        terms["log_loss"] = log_loss_terms(answers.gold, answers.probabilities)
        if answers.positive is not None:
            terms["mean_risk"] = answers.probabilities[:, answers.positive]
    if len(answers) and np.isfinite(answers.label_mass).all():
        terms["label_mass"] = answers.label_mass
    return terms


def estimates(answers: Answers) -> dict[str, float]:
    """Every metric on the items as they are; nan where undefined."""
    # All items in one unit: the sums are then plain counts.
    n = len(answers)
    values = Scorer(answers, units=np.zeros(n, dtype=np.int64))(np.ones((min(n, 1), 1)))
    return {name: float(value[0]) for name, value in values.items()}


def replicates(systems: Sequence[Answers], resamples: Resamples) -> list[Values]:
    """(draws,) values of every metric for every system; entry r of each comes from the same resample.

    Rankings with more than LEVELS scores are merged for the resamples; their replicates are moved by what merging
    changes in the value of the items as they are.
    """
    scorers = [Scorer(answers, LEVELS, resamples.units) for answers in systems]
    blocks: list[list[Values]] = [[] for _ in systems]
    for weights in resamples.unit_weights():
        for scorer, parts in zip(scorers, blocks, strict=True):
            parts.append(scorer(weights))
    drawn = [{name: np.concatenate([part[name] for part in parts]) for name in parts[0]} for parts in blocks]
    for scorer, values in zip(scorers, drawn, strict=True):
        if scorer.merged:
            centre(values, scorer)
    return drawn


def centre(values: Values, scorer: Scorer) -> None:
    """Move replicates of rankings by exact minus merged value, within 0 and 1; in place."""
    exact, merged = estimates(scorer.answers), scorer(np.ones((scorer.n_units, 1)))
    for name in values:
        if name.partition(":")[0] in ("auroc", "auprc", "macro_auroc"):
            values[name] = np.clip(values[name] + (exact[name] - merged[name][0]), 0.0, 1.0)
