"""Two systems on the same items: what changed, by how much, and whether that can be told from chance.

Every difference carries a paired interval and a p value: accuracy, sensitivity, specificity and recall take the exact
McNemar test, AUROC the paired DeLong test (against a constant answer its own interval less one half), everything else,
and everything when items come in groups, the paired bootstrap; in a cross-validation everything takes the corrected
resampled t-test over its folds. Few items carry no claim (few_items.py): a mean over labels holds what rare ones hide,
and p is no smaller than a sign test of the items that a difference rests on could give. Where a metric is a
mean over the items that have a value of it, the two means are over the items that have one with both. An improvement is
claimed only when the interval excludes no difference, the test agrees after Holm's correction over all comparisons of
the study, and the better system beats the constant answers.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from clinfit.errors import ClinfitError
from clinfit.evaluation.answers import Answers, Bools, counted
from clinfit.evaluation.claims.few_items import hidden, too_few, units
from clinfit.evaluation.metrics.definitions import METRICS
from clinfit.evaluation.metrics.engine import Scored
from clinfit.evaluation.results import CommonItems, Flips
from clinfit.evaluation.statistics.bootstrap import UNDEFINED_LIMIT, bootstrap_p, percentile
from clinfit.evaluation.statistics.delong import delong_paired
from clinfit.evaluation.statistics.intervals import bonett_price, student_interval
from clinfit.evaluation.statistics.mcnemar import mcnemar
from clinfit.evaluation.statistics.resampled_t import corrected_error


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

    test, p: None where there is no interval. reason: why there is no interval, no difference or no test that could tell
    what the interval does. alike: whether there is none because all resamples, or all folds, give the same difference.
    common: the items that it is over, where not every item has a value of the metric; reference and new are then of
    these items as well.
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
    common: CommonItems | None = None

    @property
    def name(self) -> str:
        """Metric without its label: `recall` of `recall:cancer`."""
        return self.metric.partition(":")[0]

    @property
    def label(self) -> str | None:
        return self.metric.partition(":")[2] or None

    @property
    def worst(self) -> float | None:
        """The end of the interval that is least in favour of the new system, above 0 where it is better all the same;
        None without an interval."""
        if self.low is None or self.high is None:
            return None
        return -self.high if METRICS[self.name].better == "lower" else self.low

    @property
    def gain(self) -> int:
        """+1 when the interval lies on the side of the new system, -1 on the reference's, 0 when it holds zero."""
        if self.low is None or self.high is None:
            return 0
        side = int(self.low > 0) - int(self.high < 0)
        return -side if METRICS[self.name].better == "lower" else side

    def shown(self, confidence: float) -> int:
        """`gain` where the test agrees, uncorrected, else 0."""
        return self.gain if self.p is None or self.p < 1 - confidence else 0


def paired_difference(metric: str, reference: Scored, new: Scored) -> PairedDifference:
    """The difference of one metric between two systems whose resamples are shared."""
    first, second = reference.estimates.get(metric, np.nan), new.estimates.get(metric, np.nan)
    before, after = (None if np.isnan(value) else float(value) for value in (first, second))
    if before is None or after is None:
        return PairedDifference(metric, before, after, reason="not estimable for both systems")
    known = _known(metric, reference, new)
    if new.answers.folds is not None:
        if known is None:
            return _corrected_t(metric, before, after, reference, new)
        return _on_common_items(metric, before, after, reference, new, known)
    items = [scored.engine.proportion(scored.answers, metric) for scored in (reference, new)]
    if None not in items and not new.grouped:
        return _paired_proportion(metric, before, after, reference, new)
    label = new.engine.ranked_label(new.answers, metric)
    if label is not None and not new.grouped:
        test = delong_paired(reference.delong(label), new.delong(label), new.confidence)
        base = PairedDifference(
            metric, before, after, test.difference, method="DeLong, paired", test="DeLong", p=test.p
        )
        if test.low is None or (test.low == test.high and not identical(reference, new)):
            return replace(base, reason="no variance: no interval", alike=True)
        return replace(base, low=test.low, high=test.high)
    if known is None:
        return _paired_bootstrap(metric, before, after, reference, new, units(metric, reference, new))
    return _on_common_items(metric, before, after, reference, new, known)


def _known(metric: str, reference: Scored, new: Scored) -> Bools | None:
    """(2, n) which items have a value of the metric in each system; None where all have, and of metrics that are no
    mean of items."""
    of_items = new.engine.item_values
    if of_items is None:
        return None
    known = np.isfinite([of_items(scored.answers, metric) for scored in (reference, new)])
    return None if known.all() or not known.any() else known


def _on_common_items(
    metric: str, before: float, after: float, reference: Scored, new: Scored, known: Bools
) -> PairedDifference:
    """The difference over the items where both have a value: over others each mean would be of items of its own."""
    both = known.all(axis=0)
    n, only = int(both.sum()), [int((own & ~both).sum()) for own in known]
    common = CommonItems(both=n, reference=only[0], new=only[1])
    if not n:
        return PairedDifference(metric, before, after, reason="no item where both have a value", common=common)
    answers: list[Any] = [scored.answers.only(metric, both) for scored in (reference, new)]
    one, other = new.engine.score(answers, new.resamples, new.confidence)
    first, second = one.estimates[metric], other.estimates[metric]
    if np.isnan(first) or np.isnan(second):
        silent = "in one of the repeats no item where both have a value"
        return PairedDifference(metric, before, after, reason=silent, common=common)
    if other.answers.folds is not None:
        found = _corrected_t(metric, first, second, one, other)
    else:
        resting = min(len(np.unique(new.resamples.units[both])), new.resamples.fewest)
        found = _paired_bootstrap(metric, first, second, one, other, resting)
    reason = "; ".join(filter(None, [found.reason, _unshared(common, counted(new.answers))])) or None
    return replace(found, reason=reason, common=common)


def _unshared(common: CommonItems, of: str) -> str:
    """How many were left out since only one system has a value there; '' for none. of: items, or answers of a repeated
    cross-validation."""
    whose = {"reference": common["reference"], "new system": common["new"]}
    told = " and ".join(f"{n} have one only of the {name}" for name, n in whose.items() if n)
    return f"over {common['both']} {of} where both have a value; {told}" if told else ""


def _corrected_t(metric: str, before: float, after: float, reference: Scored, new: Scored) -> PairedDifference:
    """Of a cross-validation: the difference of the reported values, its error from those of the folds, which hold what
    changes with the training sets too, and no smaller than that of resampled records."""
    pairs = zip(reference.of_folds, new.of_folds, strict=True)
    drawn = np.array([other.get(metric, np.nan) - one.get(metric, np.nan) for one, other in pairs])
    known, base = drawn[np.isfinite(drawn)], PairedDifference(metric, before, after, after - before)
    if len(known) < 2:
        return replace(base, reason=f"undefined in {len(drawn) - len(known)} of {len(drawn)} folds: no interval")
    error, least = (
        corrected_error(known, _tested_to_trained(reference, new)),
        _error_over_records(metric, reference, new),
    )
    if error < 1e-12:
        return replace(base, reason="all folds agree: no interval", alike=True)
    # That of few folds is itself uncertain, and by chance can leave out what the choice of test records alone does.
    low, high, p = student_interval(after - before, max(error, least), len(known) - 1, new.confidence)
    name, folds, reason = "corrected resampled t-test", f"{len(drawn)} folds", None
    if len(known) < len(drawn):
        folds = f"{len(known)} of {folds}"
        reason = f"over {folds}; in the others it is undefined"
    wider = "; error of resampled records, which is larger" if least > error else ""
    return replace(base, low=low, high=high, method=f"{name}, {folds}{wider}", test=name, p=p, reason=reason)


def _tested_to_trained(reference: Scored, new: Scored) -> float:
    """n_test/n_train of the system that is trained on less."""
    known: list[float] = [ratio for scored in (reference, new) if (ratio := scored.answers.folds.ratio) is not None]
    return max(known) if known else 1 / (len(np.unique(new.answers.folds.fold)) - 1)


def _error_over_records(metric: str, reference: Scored, new: Scored) -> float:
    """Standard deviation of the difference over resamples of the records, of the models as they are."""
    drawn = new.replicates[metric] - reference.replicates[metric]
    drawn = drawn[np.isfinite(drawn)]
    return float(drawn.std(ddof=1)) if len(drawn) > 1 else 0.0


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


def identical(reference: Scored, new: Scored) -> bool:
    """Whether both answered alike throughout, as a model does that keeps an adapter for each task: the difference is
    then none, whatever the items. Two models that say one label to everything, without probabilities, are not."""
    names = reference.estimates.keys() | new.estimates.keys()
    values = [[scored.estimates.get(name, np.nan) for name in names] for scored in (reference, new)]
    shares = new.answers.predicted_shares
    varied = bool(new.answers.has_probabilities.any() or ((shares > 0) & (shares < 1)).any() or len(shares) == 1)
    return varied and np.array_equal(*values, equal_nan=True)


def _paired_bootstrap(
    metric: str, before: float, after: float, reference: Scored, new: Scored, resting: int
) -> PairedDifference:
    """resting: how many units the difference rests on (few_items.py)."""
    drawn = new.replicates[metric] - reference.replicates[metric]
    low, high, lost = percentile(drawn, new.confidence, after - before)
    base = PairedDifference(metric, before, after, after - before)
    if low is None or high is None or lost > UNDEFINED_LIMIT:
        return PairedDifference(
            metric, before, after, base.difference, reason=f"undefined in {100 * lost:.0f} % of the resamples"
        )
    if high - low < 1e-12 and not identical(reference, new):
        return replace(base, reason="all resamples agree: no interval", alike=True)
    method, unseen, known = f"paired {new.resamples.method}", hidden(metric, reference, new), float(np.nanvar(drawn))
    if unseen.variance and high > low:
        low, high = unseen.widened(after - before, low, high, known, new.confidence)
        method += ", wider by what few items of a label hide"
    p = max(bootstrap_p(drawn, resting), unseen.p(after - before, known))
    found = replace(base, low=low, high=high, method=method, test="paired bootstrap", p=p)
    return replace(found, reason=too_few(resting, new.resamples, new.confidence) if found.gain else None)


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
