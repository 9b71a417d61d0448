"""Two systems on the same items: what changed, by how much, and whether that can be told from chance.

Every difference carries a paired interval and a p value: accuracy, sensitivity, specificity and recall take the exact
McNemar test, AUROC the paired DeLong test, everything else, and everything when items come in groups, the paired
bootstrap; in a cross-validation everything takes the corrected resampled t-test over its folds. An improvement is
claimed only when the interval excludes no difference, the test agrees after Holm's correction over all comparisons of
the study, and the better system beats the constant answers.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from clinfit.errors import ClinfitError
from clinfit.evaluation.answers import Answers
from clinfit.evaluation.metrics.definitions import METRICS
from clinfit.evaluation.metrics.engine import Scored
from clinfit.evaluation.results import Flips
from clinfit.evaluation.statistics.bootstrap import UNDEFINED_LIMIT, bootstrap_p, percentile
from clinfit.evaluation.statistics.delong import delong_paired
from clinfit.evaluation.statistics.intervals import bonett_price
from clinfit.evaluation.statistics.mcnemar import mcnemar
from clinfit.evaluation.statistics.resampled_t import corrected_t


def check_same_items(reference: str, ids: Sequence[Hashable], new: str, other: Sequence[Hashable]) -> None:
    """Raise ClinfitError unless both systems answered the same items, each once and in the same order."""
    if list(ids) == list(other) and len(set(ids)) == len(ids):
        return
    only, extra = set(ids) - set(other), set(other) - set(ids)
    raise ClinfitError(
        f"{reference} and {new} did not answer the same items: {len(only)} only in the first, {len(extra)} only in "
        f"the second, {len(ids)} and {len(other)} rows",
        expected="predictions of the same test items, each item once, in the same order",
        fix="run both models on the same split again",
    )


@dataclass(frozen=True)
class PairedDifference:
    """One metric, new minus reference, before any correction for the number of comparisons.

    test, p: None where there is no interval. reason: why there is no interval or no difference. alike: whether there is
    none because all resamples, or all folds, give the same difference.
    """

    metric: str
    reference: float | None
    new: float | None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    method: str | None = None
    test: str | None = None
    p: float | None = None
    reason: str | None = None
    alike: bool = False

    @property
    def name(self) -> str:
        """Metric without its label: `recall` of `recall:cancer`."""
        return self.metric.partition(":")[0]

    @property
    def label(self) -> str | None:
        return self.metric.partition(":")[2] or None

    @property
    def gain(self) -> int:
        """+1 when the interval lies on the side of the new system, -1 on the reference's, 0 when it holds zero."""
        if self.low is None or self.high is None:
            return 0
        side = int(self.low > 0) - int(self.high < 0)
        return -side if METRICS[self.name].better == "lower" else side


def paired_difference(metric: str, reference: Scored, new: Scored) -> PairedDifference:
    """The difference of one metric between two systems whose resamples are shared."""
    first, second = reference.estimates.get(metric, np.nan), new.estimates.get(metric, np.nan)
    before, after = (None if np.isnan(value) else float(value) for value in (first, second))
    if before is None or after is None:
        return PairedDifference(metric, before, after, reason="not estimable for both systems")
    if new.answers.folds is not None:
        return _corrected_t(metric, before, after, reference, new)
    items = [scored.engine.proportion(scored.answers, metric) for scored in (reference, new)]
    if None not in items and not new.grouped:
        return _paired_proportion(metric, before, after, reference, new)
    label = new.engine.ranked_label(new.answers, metric)
    if label is not None and not new.grouped:
        test = delong_paired(reference.delong(label), new.delong(label), new.confidence)
        base = PairedDifference(
            metric, before, after, test.difference, method="DeLong, paired", test="DeLong", p=test.p
        )
        if test.low is None:
            return replace(base, reason="no variance: no interval", alike=True)
        return replace(base, low=test.low, high=test.high)
    return _paired_bootstrap(metric, before, after, reference, new)


def _corrected_t(metric: str, before: float, after: float, reference: Scored, new: Scored) -> PairedDifference:
    """Of a cross-validation: the difference of the reported values, its error from those of the folds, which hold what
    changes with the training sets too."""
    pairs = zip(reference.of_folds, new.of_folds, strict=True)
    drawn = np.array([other.get(metric, np.nan) - one.get(metric, np.nan) for one, other in pairs])
    known, base = drawn[np.isfinite(drawn)], PairedDifference(metric, before, after, after - before)
    if len(known) < 2:
        return replace(base, reason=f"undefined in {len(drawn) - len(known)} of {len(drawn)} folds: no interval")
    found = corrected_t(after - before, known, len(np.unique(new.answers.folds.fold)), new.confidence)
    if found is None:
        return replace(base, reason="all folds agree: no interval", alike=True)
    low, high, p = found
    name, folds, reason = "corrected resampled t-test", f"{len(drawn)} folds", None
    if len(known) < len(drawn):
        folds = f"{len(known)} of {folds}"
        reason = f"over {folds}; in the others it is undefined"
    return replace(base, low=low, high=high, method=f"{name}, {folds}", test=name, p=p, reason=reason)


def _paired_proportion(metric: str, before: float, after: float, reference: Scored, new: Scored) -> PairedDifference:
    """A proportion of the same items for both: McNemar's test."""
    first, second = (scored.engine.proportion(scored.answers, metric) for scored in (reference, new))
    assert first is not None and second is not None
    inside = second[1]
    pair = mcnemar(first[0][inside], second[0][inside])
    low, high = bonett_price(pair.b, pair.c, int(inside.sum()), new.confidence)
    reason = None if low is not None else "fewer than two items: no interval"
    return PairedDifference(
        metric, before, after, after - before, low, high, "Bonett-Price, paired", "McNemar, exact", pair.p, reason
    )


def _paired_bootstrap(metric: str, before: float, after: float, reference: Scored, new: Scored) -> PairedDifference:
    drawn = new.replicates[metric] - reference.replicates[metric]
    low, high, lost = percentile(drawn, new.confidence)
    base = PairedDifference(metric, before, after, after - before)
    if low is None or high is None or lost > UNDEFINED_LIMIT:
        return PairedDifference(
            metric, before, after, base.difference, reason=f"undefined in {100 * lost:.0f} % of the resamples"
        )
    if high - low < 1e-12 and abs(after - before) > 1e-12:
        return replace(base, reason="all resamples agree: no interval", alike=True)
    method = f"paired {new.resamples.method}"
    return PairedDifference(
        metric,
        before,
        after,
        base.difference,
        low,
        high,
        method,
        "paired bootstrap",
        bootstrap_p(drawn, new.resamples.fewest),
    )


def flips(reference: Answers, new: Answers) -> Flips:
    """How many items were fixed and how many broken, in all and by gold label."""
    was, now = reference.right, new.right
    fixed, broken = ~was & now, was & ~now
    return Flips(
        fixed=int(fixed.sum()),
        broken=int(broken.sum()),
        both_right=int((was & now).sum()),
        both_wrong=int((~was & ~now).sum()),
        by_label={
            label: {"fixed": int(fixed[new.has_label(k)].sum()), "broken": int(broken[new.has_label(k)].sum())}
            for k, label in enumerate(new.labels)
        },
    )
