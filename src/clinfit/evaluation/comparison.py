"""Two systems on the same items: what changed, by how much, and whether that can be told from chance.

Every difference carries a paired interval and a p value: accuracy, sensitivity, specificity and recall take the exact
McNemar test, AUROC the paired DeLong test, everything else, and everything when items come in groups, the paired
bootstrap. An improvement is claimed only when the interval excludes no difference, the test agrees after Holm's
correction over all comparisons of the study, and the better system beats the trivial answers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from clinfit.errors import ClinfitError
from clinfit.evaluation.answers import Answers
from clinfit.evaluation.classification import Scored
from clinfit.evaluation.definitions import METRICS
from clinfit.evaluation.intervals import UNDEFINED_LIMIT, PairedTest, bonett_price, delong_paired, percentile
from clinfit.evaluation.results import Flips

Bools = NDArray[np.bool_]


def check_same_items(reference: str, ids: Sequence[str], new: str, other: Sequence[str]) -> None:
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
class McNemar:
    """Exact McNemar test. b: only the reference is right. c: only the new system is right."""

    b: int
    c: int
    p: float


def mcnemar(reference_right: Bools, new_right: Bools) -> McNemar:
    """Two-sided binomial test of the discordant pairs; p = 1 when there are none."""
    b, c = int((reference_right & ~new_right).sum()), int((~reference_right & new_right).sum())
    return McNemar(b, c, 1.0 if b + c == 0 else float(binomtest(b, b + c, 0.5).pvalue))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p values, in the order given (Holm, 1979)."""
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(len(p_values))
    running = 0.0
    for rank, index in enumerate(order):
        running = max(running, (len(p_values) - rank) * p_values[index])
        adjusted[index] = min(1.0, running)
    return adjusted.tolist()


@dataclass(frozen=True)
class PairedDifference:
    """One metric, new minus reference, before any correction for the number of comparisons.

    test, p: None where there is no interval. reason: why there is no interval or no difference.
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
    subset = _paired_items(metric, new.answers)
    if subset is not None and not grouped(new):
        return _paired_share(metric, before, after, reference, new, subset)
    if metric == "auroc" and not grouped(new):
        test = _paired_auroc(reference, new)
        reason = None if test.low is not None else "no variance: no interval"
        return PairedDifference(
            metric, before, after, test.difference, test.low, test.high, "DeLong, paired", "DeLong", test.p, reason
        )
    return _paired_bootstrap(metric, before, after, reference, new)


def grouped(scored: Scored) -> bool:
    """Whether groups repeat, so that items are not independent."""
    return scored.resamples.clusters is not None


def _paired_items(metric: str, answers: Answers) -> Bools | None:
    """Items in the denominator of a share that has the same denominator for every system; None for other metrics."""
    name, _, label = metric.partition(":")
    if name == "accuracy":
        return np.ones(len(answers), dtype=bool)
    if name == "recall":
        return answers.gold == answers.labels.index(label)
    if name == "sensitivity":
        return answers.gold == answers.positive
    if name == "specificity":
        return answers.gold != answers.positive
    return None


def _paired_share(
    metric: str, before: float, after: float, reference: Scored, new: Scored, subset: Bools
) -> PairedDifference:
    pair = mcnemar(*(right(scored.answers)[subset] for scored in (reference, new)))
    low, high = bonett_price(pair.b, pair.c, int(subset.sum()), new.confidence)
    reason = None if low is not None else "fewer than two items: no interval"
    return PairedDifference(
        metric, before, after, after - before, low, high, "Bonett-Price, paired", "McNemar, exact", pair.p, reason
    )


def _paired_auroc(reference: Scored, new: Scored) -> PairedTest:
    positive = new.answers.positive
    assert positive is not None
    return delong_paired(reference.delong(positive), new.delong(positive), new.confidence)


def _paired_bootstrap(metric: str, before: float, after: float, reference: Scored, new: Scored) -> PairedDifference:
    drawn = new.replicates[metric] - reference.replicates[metric]
    low, high, lost = percentile(drawn, new.confidence)
    base = PairedDifference(metric, before, after, after - before)
    if low is None or high is None or lost > UNDEFINED_LIMIT:
        return PairedDifference(
            metric, before, after, base.difference, reason=f"undefined in {100 * lost:.0f} % of the resamples"
        )
    if high - low < 1e-12 and abs(after - before) > 1e-12:
        return PairedDifference(metric, before, after, base.difference, reason="all resamples agree: no interval")
    method = f"paired {new.resamples.method}"
    return PairedDifference(
        metric, before, after, base.difference, low, high, method, "paired bootstrap", bootstrap_p(drawn)
    )


def bootstrap_p(drawn: NDArray[np.float64]) -> float:
    """Two-sided p value that inverts the percentile interval: twice the smaller tail beyond no difference.

    Each tail is (1 + count) / (B + 1) over the B defined resamples, so that p is never 0 (Davison & Hinkley, 1997).
    """
    defined = drawn[np.isfinite(drawn)]
    tail = min((defined <= 0).sum(), (defined >= 0).sum())
    return float(min(1.0, 2 * (1 + tail) / (len(defined) + 1)))


def right(answers: Answers) -> Bools:
    """(n,) whether the answer is the gold label."""
    return answers.predicted == answers.gold


def flips(reference: Answers, new: Answers) -> Flips:
    """How many items were fixed and how many broken, in all and by gold label."""
    was, now = right(reference), right(new)
    fixed, broken = ~was & now, was & ~now
    return Flips(
        fixed=int(fixed.sum()),
        broken=int(broken.sum()),
        both_right=int((was & now).sum()),
        both_wrong=int((~was & ~now).sum()),
        by_label={
            label: {"fixed": int(fixed[new.gold == k].sum()), "broken": int(broken[new.gold == k].sum())}
            for k, label in enumerate(new.labels)
        },
    )
