"""What a difference rests on, and what too few items of a label can hide.

Resamples tell only what the items show. Where none of a label's three items changed, no resample changes either, and
where three items carry a difference, their resamples all lean to one side. Both are said here in numbers.
"""

import numpy as np

from clinfit.evaluation.answers import Answers, Floats, Ints
from clinfit.evaluation.metrics.engine import MEANS_OVER_LABELS, Scored
from clinfit.evaluation.statistics.bootstrap import Resamples
from clinfit.evaluation.statistics.hidden import NOTHING, Hidden, hidden_in

#: Metrics of all items, whatever their labels, to which each item adds a share or a count.
MEANS_OVER_ITEMS = {"micro_f1", "hamming_loss", "jaccard", "example_f1", "weighted_f1"}


def hidden(metric: str, reference: Scored, new: Scored) -> Hidden:
    """As if two items more of each label had moved in opposite directions: from right to wrong; in a ranking, where one
    moves by less than from the last place to the first, as far as the items of all labels did, root mean square. Groups
    of items are not told apart so, and add nothing."""
    if metric not in MEANS_OVER_LABELS or new.grouped:
        return NOTHING
    items, _ = _by_label(metric, reference, new)
    return hidden_in(items, _places_moved(reference, new) if MEANS_OVER_LABELS[metric] == "auroc" else 1.0)


def _places_moved(reference: Scored, new: Scored) -> float:
    """Mean square, over the items of all labels, of the change of the share of others that an item stands before."""
    moved = [places - reference.places[label] for label, places in new.places.items()]
    return float((np.concatenate(moved) ** 2).mean()) if moved else 0.0


def least_p(of: int) -> float:
    """The smallest two-sided p value that a sign test of as many items can give."""
    return 2.0 ** (1 - min(of, 1000))


def too_few(of: int, resamples: Resamples, confidence: float) -> str | None:
    """Why no test of so many items (or groups) can tell what an interval does; None where one can."""
    if least_p(of) < 1 - confidence:
        return None
    unit = "item" if resamples.clusters is None else resamples.unit
    return f"it rests on {of} {unit}{'' if of == 1 else 's'}, too few for a test"


def units(metric: str, reference: Scored, new: Scored) -> int:
    """Items (or groups) that a difference rests on. Of a mean of item losses as many as carry it; of other metrics of
    all items all, of a metric of one label the items that have it, or that are given it; else as many as the smallest
    stratum has, but that of a mean over labels is carried by more where the labels with as many items outweigh all
    rarer ones, even if each of these had turned out the other way round."""
    fewest, name, label = new.resamples.fewest, *metric.partition(":")[::2]
    if new.grouped:
        return fewest
    moved = _losses_moved(metric, reference, new)
    if moved is not None:
        return _carriers(moved)
    if metric in MEANS_OVER_ITEMS:
        return len(np.unique(new.resamples.units))
    if name in ("precision", "ppv", "npv"):
        return min(_given(metric, scored.answers) for scored in (reference, new))
    if label in new.answers.labels:
        return max(fewest, int(_least(new.answers)[list(new.answers.labels).index(label)]))
    if name not in MEANS_OVER_LABELS:
        return fewest
    items, moved = _by_label(metric, reference, new)
    forward = moved * np.sign(moved.sum())
    carried = [int(m) for m in np.unique(items) if forward[items >= m].sum() > np.abs(moved[items < m]).sum()]
    return max([fewest, *carried])


def _given(metric: str, answers: Answers) -> int:
    """Items that are given the label whose precision a metric is."""
    name, _, label = metric.partition(":")
    if not label:
        assert answers.positive is not None
        label = answers.labels[answers.positive if name == "ppv" else 1 - answers.positive]
    return round(len(answers) * float(answers.predicted_shares[answers.labels.index(label)]))


def _least(answers: Answers) -> Ints:
    """(K,) items that have each label, or those that have not, whichever are fewer."""
    return np.minimum(answers.support, len(answers) - answers.support)


def _by_label(metric: str, reference: Scored, new: Scored) -> tuple[Ints, Floats]:
    """(L,) items of each label that a mean over labels is of, and by how much its part of the mean moved."""
    of_label = MEANS_OVER_LABELS[metric]
    items = _least(new.answers) if of_label == "auroc" else new.answers.support
    names = [f"{of_label}:{label}" for label in new.answers.labels]
    moved = np.array([new.estimates.get(name, np.nan) - reference.estimates.get(name, np.nan) for name in names])
    return items[np.isfinite(moved)], moved[np.isfinite(moved)]


def _losses_moved(metric: str, reference: Scored, new: Scored) -> Floats | None:
    """(n,) difference of each item's loss; None for a metric that is no mean of them."""
    before, after = (scored.engine.item_losses(scored.answers, metric) for scored in (reference, new))
    return None if before is None or after is None else after - before


def _carriers(moved: Floats) -> int:
    """How many items the variance of a sum of (n,) differences is of: (sum d^2)^2 / sum d^4, n where all moved as far
    and 1 where one moved alone, however many others moved a little."""
    squares = moved**2 / max(float((moved**2).max(initial=0.0)), 1e-300)
    fourths = float((squares**2).sum())
    return max(1, int(float(squares.sum()) ** 2 / fourths + 1e-9)) if fourths else len(moved)
