"""Two states of a model on the same items, over several seeds: the mean difference, with what other items and other
seeds would change.

Items are shared by the seeds, seeds by the items, and both were drawn. The error of the mean difference over k seeds is

    SE^2 = SE_items^2 + s^2 / k

SE_items: of the mean over these seeds when items are drawn again: for shares of right answers that of Bonett and Price
(2012) with each item's mean difference, which is never 0, else the standard deviation of the resamples. What few items
of a label hide (few_items.py) is a third part. s: standard deviation of the seeds' differences. What items and seeds do
together is in both, so that the interval errs on the wide side. Student's t has the degrees of freedom of Satterthwaite
(1946), those of the items taken as endless: (k - 1) (SE^2 / (s^2 / k))^2 where nothing is hidden. Three seeds that
disagree have little more than two, and show little: so it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import Any

import numpy as np

from clinfit.evaluation.answers import Floats
from clinfit.evaluation.claims.few_items import hidden, least_p, too_few, units
from clinfit.evaluation.claims.paired import PairedDifference, identical, paired_difference
from clinfit.evaluation.metrics.engine import Scored
from clinfit.evaluation.statistics.bootstrap import UNDEFINED_LIMIT
from clinfit.evaluation.statistics.hidden import NOTHING, Hidden
from clinfit.evaluation.statistics.intervals import bonett_price_error, student_interval, z_value

#: The same two states of one seed each: before, after.
Pairs = Sequence[tuple[Scored, Scored]]


@dataclass(frozen=True)
class Errors:
    """Standard errors of a mean difference. items: None where there is none. seeds: 0 for a single one. count: how many
    seeds there are. unseen: what few items hide."""

    items: float | None
    seeds: float = 0.0
    count: int = 1
    unseen: Hidden = NOTHING

    @property
    def of_items(self) -> float | None:
        """Of the items with what few of them hide; None where there is none."""
        return None if self.items is None else sqrt(self.items**2 + self.unseen.variance)

    def whole(self, items: float | Floats) -> tuple[Any, Any]:
        """All together, with this error of the items or (n,) of them, and Satterthwaite's degrees of freedom. With n
        times the items what is hidden is an n-th of an n-th, and its degrees of freedom are n times as many."""
        more = np.divide(items, self.items) ** 2 if self.items else 1.0
        unseen = self.unseen.variance * more**2
        whole = items**2 + self.seeds**2 + unseen
        uncertain = self.seeds**4 / max(self.count - 1, 1) + unseen**2 / self.unseen.freedom * more
        endless = np.full(np.shape(uncertain), np.inf)
        return np.sqrt(whole), np.divide(whole**2, uncertain, out=endless, where=uncertain > 0)


def paired_over_seeds(metric: str, pairs: Pairs) -> tuple[PairedDifference, Errors]:
    """The difference of one metric, of one seed as `paired_difference` has it, and the errors that it has."""
    if not pairs:
        return PairedDifference(metric, None, None, reason="no seed has both"), Errors(None)
    each = [paired_difference(metric, *pair) for pair in pairs]
    if len(pairs) == 1:
        return each[0], Errors(_standard_error(each[0], pairs[0][1].confidence))
    differences = [found.difference for found in each if found.difference is not None]
    if len(differences) < len(each):
        return PairedDifference(metric, None, None, reason="not estimable for a seed"), Errors(None)
    was, now = (float(np.mean([getattr(found, name) for found in each])) for name in ("reference", "new"))
    seeds = float(np.std(differences, ddof=1)) / sqrt(len(differences))
    centre, items, reason = _items(metric, pairs, each)
    base = PairedDifference(metric, was, now, now - was, reason=reason, alike=reason is not None)
    errors = Errors(items, seeds, len(each), _unseen(metric, pairs) if items else NOTHING)
    if items is None:
        return base, errors
    low, high, p = student_interval(centre, *errors.whole(items), pairs[0][1].confidence)
    if errors.unseen.variance:  # of shares
        low, high = max(-1.0, float(low)), min(1.0, float(high))
    name = f"Student's t, items and {len(pairs)} seeds"
    found = PairedDifference(metric, was, now, now - was, low, high, name, name, p)
    return _of_few(metric, pairs, found), errors


def _unseen(metric: str, pairs: Pairs) -> Hidden:
    """What few items hide, mean over the seeds, which share them."""
    each = [hidden(metric, *pair) for pair in pairs]
    return Hidden(float(np.mean([one.variance for one in each])), min(one.freedom for one in each))


def _of_few(metric: str, pairs: Pairs, found: PairedDifference) -> PairedDifference:
    """No smaller p value than the items could give that the difference of a seed rests on; a proportion has a test of
    its items."""
    if found.p is None or pairs[0][1].answers.folds is not None or _item_differences(metric, pairs) is not None:
        return found
    of, new = min(units(metric, *pair) for pair in pairs), pairs[0][1]
    few = too_few(of, new.resamples, new.confidence) if found.gain else None
    return replace(found, p=max(found.p, least_p(of)), reason=few)


def _items(metric: str, pairs: Pairs, each: Sequence[PairedDifference]) -> tuple[float, float | None, str | None]:
    """The middle of the interval, the error of other items around it, and why there is none."""
    mean = float(np.mean([found.difference for found in each if found.difference is not None]))
    confidence = pairs[0][1].confidence
    if pairs[0][1].answers.folds is not None or any(found.common is not None for found in each):
        # Over folds, or over items of each seed's own: the errors of the seeds as if they were one, which is the most.
        errors = [_standard_error(found, confidence) for found in each]
        known = [error for error in errors if error is not None]
        missing = len(known) < len(errors)
        return (mean, None, "no interval for a seed") if missing else (mean, float(np.mean(known)), None)
    items = _item_differences(metric, pairs)
    if items is not None and not pairs[0][1].grouped:
        return *bonett_price_error(float(items.sum()), float((items**2).sum()), len(items)), None
    drawn = np.mean([new.replicates[metric] - reference.replicates[metric] for reference, new in pairs], axis=0)
    lost = 1 - float(np.isfinite(drawn).mean())
    if lost > UNDEFINED_LIMIT:
        return mean, None, f"undefined in {100 * lost:.0f} % of the resamples"
    error = float(np.nanstd(drawn, ddof=1))
    if error < 1e-12 and not all(identical(*pair) for pair in pairs):
        return mean, None, "all resamples agree: no interval"
    return mean, error, None


def _item_differences(metric: str, pairs: Pairs) -> Floats | None:
    """(n,) mean over the seeds of right after less right before; None for a metric that is no share of items."""
    found, asked = [], None
    for pair in pairs:
        first, second = (scored.engine.proportion(scored.answers, metric) for scored in pair)
        if first is None or second is None:
            return None
        if asked is not None and not np.array_equal(asked, second[1]):
            return None
        asked = second[1]
        found.append(second[0][asked].astype(float) - first[0][asked].astype(float))
    return np.mean(found, axis=0) if found and len(found[0]) > 1 else None


def _standard_error(found: PairedDifference, confidence: float) -> float | None:
    """The standard error that the interval of one seed has; None where there is no interval."""
    if found.low is None or found.high is None:
        return None
    return (found.high - found.low) / (2 * z_value(confidence))
