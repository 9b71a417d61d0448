"""Every metric of sets of labels, as a function of item weights (see engine.py)."""

import numpy as np

from clinfit.evaluation.answers import Bools, Floats, Ints
from clinfit.evaluation.label_sets import LabelSets
from clinfit.evaluation.metrics.confusion_metrics import divide
from clinfit.evaluation.metrics.engine import Values
from clinfit.evaluation.metrics.probabilities import Ranking

#: Means over items, in the order of `_item_terms`.
MEANS = ("subset_accuracy", "hamming_loss", "jaccard", "example_f1", "unparsed")


class LabelSetScorer:
    """Sums once over the items of each unit, then scores any number of weightings of the same items.

    levels: see Ranking; None ranks exactly. units: (n,) unit of each item; None when every item has its own weight.
    """

    def __init__(self, answers: LabelSets, levels: int | None = None, units: Ints | None = None) -> None:
        self.answers = answers
        units = np.arange(len(answers)) if units is None else units
        self.n_units = int(units.max(initial=-1)) + 1
        gold, predicted = answers.gold, answers.predicted

        def sums(columns: Floats | Bools) -> Floats:
            """(n, c) to (c, units)."""
            rows = [np.bincount(units, column, self.n_units) for column in columns.T.astype(np.float64)]
            return np.array(rows, dtype=np.float64)

        self._right, self._support, self._given = sums(gold & predicted), sums(gold), sums(predicted)
        self._items = sums(_item_terms(answers))
        self._there, self._mixed = answers.support > 0, (answers.support > 0) & (answers.support < len(answers))
        self._brier: Floats | None = None
        self._rankings: list[Ranking] = []
        answered = answers.has_probabilities
        if answered.any():
            error = (answers.probabilities - gold) ** 2
            self._brier = sums(np.where(answered[:, None], error, 1.0))
            self._rankings = [
                Ranking(gold[:, k], answers.scores(k), levels, units) for k in range(len(answers.labels))
            ]  # fmt: skip

    @property
    def merged(self) -> bool:
        """Whether any ranking has merged levels, so that AUROC and average precision are not exact."""
        return any(ranking.merged for ranking in self._rankings)

    def __call__(self, weights: Floats) -> Values:
        """(units, b) weights to (b,) values of every metric; nan where undefined."""
        labels = self.answers.labels
        right, support, given = self._right @ weights, self._support @ weights, self._given @ weights
        total, *means = self._items @ weights
        f1 = np.where(support > 0, divide(2 * right, support + given), np.nan)
        columns = {"precision": divide(right, given), "recall": divide(right, support), "f1": f1}
        values: Values = {
            "micro_f1": divide(2 * right.sum(0), support.sum(0) + given.sum(0)),
            "macro_f1": self._macro(f1, self._there),
        }
        values |= {name: divide(mean, total) for name, mean in zip(MEANS, means, strict=True)}
        if self._brier is not None:
            columns["brier"] = divide(self._brier @ weights, total[None])
            both = [ranking.auroc_and_precision(weights) for ranking in self._rankings]
            columns["auroc"], columns["auprc"] = (np.stack(part) for part in zip(*both, strict=True))
            values["macro_auroc"] = self._macro(columns["auroc"], self._mixed)
        return values | {
            f"{name}:{label}": rows[k] for name, rows in columns.items() for k, label in enumerate(labels)
        }  # fmt: skip

    @staticmethod
    def _macro(by_label: Floats, labels: Bools) -> Floats:
        """(b,) mean over the labels that the items can give the metric of; nan where a resample has lost one of them,
        since the mean of the others is another quantity."""
        return by_label[labels].mean(axis=0) if labels.any() else np.full(by_label.shape[1], np.nan)


def _item_terms(answers: LabelSets) -> Floats:
    """(n, 6) of each item: 1, exact set, share of wrong labels, Jaccard index, F1, unparsed.

    Two empty sets are the same set: their Jaccard index and F1 are 1. Nothing is right about an unparsed answer.
    """
    gold, predicted, lost = answers.gold, answers.predicted, ~answers.parsed
    common, either = (gold & predicted).sum(1), (gold | predicted).sum(1)
    jaccard = np.divide(common, either, out=np.ones(len(answers)), where=either > 0)
    f1 = 2 * jaccard / (1 + jaccard)
    terms = np.column_stack([(gold == predicted).all(1), (gold != predicted).mean(1), jaccard, f1])
    terms[lost] = [0.0, 1.0, 0.0, 0.0]
    return np.column_stack([np.ones(len(answers)), terms, lost]).astype(np.float64)
