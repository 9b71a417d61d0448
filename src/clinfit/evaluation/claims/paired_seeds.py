"""Two states of a model on the same items, over several seeds: the mean difference, with what other items and other
seeds would change.

Items are shared by the seeds, seeds by the items, and both were drawn. The error of the mean difference over k seeds is

    SE^2 = SE_items^2 + s^2 / k

SE_items: of the mean over these seeds when items are drawn again: for shares of right answers that of Bonett and Price
(2012) with each item's mean difference, which is never 0, else the standard deviation of the resamples, with what few
items of a label hide (few_items.py). s: standard deviation of the seeds' differences. What items and seeds do together
is in both, so that the interval errs on the wide side. Student's t has the degrees of freedom of Satterthwaite (1946),
those of the items taken as endless: (k - 1) (SE^2 / (s^2 / k))^2. Three seeds that disagree have little more than two,
and show little: so it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np

from clinfit.evaluation.answers import Floats
from clinfit.evaluation.claims.few_items import hidden
from clinfit.evaluation.claims.paired import PairedDifference, identical, paired_difference
from clinfit.evaluation.metrics.engine import Scored
from clinfit.evaluation.statistics.bootstrap import UNDEFINED_LIMIT
from clinfit.evaluation.statistics.intervals import bonett_price_error, student_interval, z_value

#: The same two states of one seed each: before, after.
Pairs = Sequence[tuple[Scored, Scored]]


@dataclass(frozen=True)
class Errors:
    """Standard errors of a mean difference. items: None where there is none. seeds: 0 for a single one. count: how many
    seeds there are."""

    items: float | None
    seeds: float = 0.0
    count: int = 1

    def whole(self, items: float | Floats) -> tuple[Any, Any]:
        """Both together, with this error of the items or (n,) of them, and Satterthwaite's degrees of freedom."""
        whole = np.hypot(items, self.seeds)
        freedom = whole + np.inf if self.seeds == 0 else (self.count - 1) * (whole / self.seeds) ** 4
        return whole, freedom


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
    errors = Errors(items, seeds, len(each))
    if items is None:
        return base, errors
    low, high, p = student_interval(centre, *errors.whole(items), pairs[0][1].confidence)
    name = f"Student's t, items and {len(pairs)} seeds"
    return PairedDifference(metric, was, now, now - was, low, high, name, name, p), errors


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
    unseen = float(np.mean([hidden(metric, *pair).variance for pair in pairs])) if error >= 1e-12 else 0.0
    return mean, sqrt(error**2 + unseen), None


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
