"""How the probabilities of more than two labels become a decision other than the most probable one: label weights.

Every label has a weight w > 0, and the label with the largest w P(label) is taken. The weights are chosen on
validation by hill climbing, one label at a time (Lachiche and Flach, Improving accuracy and cost of two-class and
multi-class probabilistic classifiers using ROC curves, ICML 2003): while the other weights stand, the decisions change
only where a label draws level with its best rival, so that every different outcome is looked at (of more than 1,000,
evenly over the items).
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from clinfit.evaluation.metrics.confusion_metrics import mean_of_defined, per_label

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: What is to be largest on validation, from counts (..., K, K + 1), by the rule of the study.
OBJECTIVES: Mapping[str, Callable[[Floats], Floats]] = {
    "macro-f1": lambda counts: mean_of_defined(per_label(counts)["f1"]),
    "balanced-accuracy": lambda counts: mean_of_defined(per_label(counts)["recall"]),
}
#: Times that all labels are gone through, at most; two or three do.
ROUNDS = 20
#: The largest factor between a label and its rival that a weight makes up for; 1 / it is the smallest.
FARTHEST = 1e9
#: Weights that are looked at for one label, at most: evenly over the items, where there are more of them.
CANDIDATES = 1000


def shares(probabilities: Floats, weights: Sequence[float] | Floats) -> Floats:
    """(n, K) weight x probability, so that a row sums to 1: how sure a decision by weights is of each label."""
    products = probabilities * np.asarray(weights, dtype=np.float64)
    return products / products.sum(axis=1, keepdims=True)


def weighed(probabilities: Floats, weights: Sequence[float] | Floats) -> Ints:
    """(n, K) probabilities to (n,) label indices; of equally heavy labels the first."""
    return (probabilities * np.asarray(weights, dtype=np.float64)).argmax(axis=1)


def choose_weights(rule: str, gold: Ints, probabilities: Floats) -> tuple[Floats, dict[str, float]]:
    """(K,) weights, that of the first label 1, and what they reach on the (n,) items that they were chosen on.

    probabilities: (n, K), nan where no answer could be read; such an item is wrong under any weights. Of equally good
    weights those that change the fewest factors are taken: a label keeps its weight where another is not better.
    """
    objective, k = OBJECTIVES[rule], probabilities.shape[1]
    read = ~np.isnan(probabilities).any(axis=1)
    unread = np.zeros((k, k + 1))
    unread[:, k] = np.bincount(gold[~read], minlength=k)
    truth, known = gold[read], probabilities[read]

    def reached(tried: Floats) -> Floats:
        return _confusion(truth, weighed(known, tried), k) + unread

    weights = np.ones(k)
    best = float(objective(reached(weights)))
    for _ in range(ROUNDS):
        before = best
        for label in range(k):
            candidates = _candidates(known, weights, label)
            values = objective(_counts(truth, known, weights, label, candidates) + unread)
            top = np.flatnonzero(values >= values.max() - 1e-12)
            at = int(top[np.abs(np.log(candidates[top] / weights[label])).argmin()])
            tried = weights.copy()
            tried[label] = candidates[at]
            # Counted from the decisions themselves: beside a tie the product may round to the other side.
            value = float(objective(reached(tried)))
            if value > best + 1e-12:
                weights, best = tried, value
        if best <= before + 1e-12:
            break
    counts = reached(weights)
    return weights / weights[0], {name.replace("-", "_"): float(value(counts)) for name, value in OBJECTIVES.items()}


def _candidates(probabilities: Floats, weights: Floats, label: int) -> Floats:
    """Weights of a label, ascending, between those at which it draws level with the best rival of an item."""
    own = probabilities[:, label]
    level = np.unique(_rivals(probabilities, weights, label)[0][own > 0] / own[own > 0])
    level = level[(level > 1 / FARTHEST) & (level < FARTHEST)]
    if not len(level):
        return weights[[label]]
    # Levels that rounding alone divides are one: beside it a product may fall to either side.
    level = level[np.append(True, np.diff(level) > 1e-9 * level[1:])]
    if len(level) > CANDIDATES:
        level = level[np.linspace(0, len(level) - 1, CANDIDATES).round().astype(int)]
    edges = np.concatenate([level[:1] / 2, level, level[-1:] * 2])
    return np.sqrt(edges[:-1]) * np.sqrt(edges[1:])


def _rivals(probabilities: Floats, weights: Floats, label: int) -> tuple[Floats, Ints]:
    """(n,) the largest w P(label) among the other labels, and whose it is."""
    products = probabilities * weights
    products[:, label] = -1
    rival = products.argmax(axis=1)
    return products[np.arange(len(products)), rival], rival


def _counts(gold: Ints, probabilities: Floats, weights: Floats, label: int, candidates: Floats) -> Floats:
    """(c, K, K + 1) confusion counts with each of the c weights of one label."""
    k = probabilities.shape[1]
    rival_product, rival = _rivals(probabilities, weights, label)
    # The first candidate with which the label wins; with all after it, it wins as well.
    own = probabilities[:, label]
    needed = np.divide(rival_product, own, out=np.full(len(own), np.inf), where=own > 0)
    first = np.searchsorted(candidates, needed, side="right")
    cells = (len(candidates) + 1, k, k + 1)

    def marked(at: Ints, column: Ints) -> Ints:
        places = np.ravel_multi_index((at, gold, column), cells)
        return np.bincount(places, minlength=math.prod(cells)).reshape(cells)

    own_column = np.full_like(rival, label)
    changes = marked(np.zeros_like(first), rival) - marked(first, rival) + marked(first, own_column)
    return changes.cumsum(axis=0)[:-1].astype(np.float64)


def _confusion(gold: Ints, decided: Ints, k: int) -> Floats:
    return np.bincount(gold * (k + 1) + decided, minlength=k * (k + 1)).reshape(k, k + 1).astype(np.float64)
