"""Every metric of answers with one label an item, as a function of item weights (see engine.py)."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from clinfit.evaluation.answers import UNPARSED, LabelAnswers
from clinfit.evaluation.metrics import confusion_metrics
from clinfit.evaluation.metrics.engine import Values
from clinfit.evaluation.metrics.probabilities import Ranking, brier_terms, log_loss_terms

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Metrics that are means of losses of items.
LOSSES = {"brier", "brier_sum", "log_loss"}


class LabelScorer:
    """Sorts and counts once, then scores any number of weightings of the same items.

    levels: see Ranking; None ranks exactly. units: (n,) unit of each item, where weights are those of units (see
    Resamples.units); None when every item has its own weight.
    """

    def __init__(self, answers: LabelAnswers, levels: int | None = None, units: Ints | None = None) -> None:
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
        values = confusion_metrics.overall(counts, answers.positive)
        for name, columns in confusion_metrics.per_label(counts).items():
            values |= {f"{name}:{label}": columns[:, j] for j, label in enumerate(answers.labels)}
        total = counts.sum((1, 2))
        values |= dict(zip(self._means, confusion_metrics.divide(self._terms @ weights, total), strict=True))
        if answers.positive is not None:
            prevalence = confusion_metrics.divide(counts[:, answers.positive].sum(1), total)
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
        macro = confusion_metrics.divide(np.where(estimable, aurocs, 0).sum(0), estimable.sum(0).astype(np.float64))
        return {"macro_auroc": macro} | {f"auroc:{label}": auroc for label, (auroc, _) in both.items()}


def _relative_to_prevalence(values: Values, prevalence: Floats) -> Values:
    """Brier score and mean risk beside the prevalence; nan where every item has the same label."""
    spread = prevalence * (1 - prevalence)
    found: Values = {}
    if "brier" in values:
        found["scaled_brier"] = 1 - confusion_metrics.divide(values["brier"], spread)
    if "mean_risk" in values:
        ratio = confusion_metrics.divide(prevalence, values.pop("mean_risk"))
        found["oe_ratio"] = np.where(spread > 0, ratio, np.nan)
    return found


def item_losses(answers: LabelAnswers, metric: str) -> Floats | None:
    """(n,) losses whose mean a metric is; None for other metrics."""
    return _mean_terms(answers).get(metric) if metric in LOSSES else None


def _mean_terms(answers: LabelAnswers) -> dict[str, Floats]:
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
