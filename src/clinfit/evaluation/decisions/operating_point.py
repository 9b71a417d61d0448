"""One decision rule on one set of items, in the numbers a clinician asks for: alerts, misses, predictive values.

Everything follows from four counts and the numbers of positives and negatives, which hold the unparsed answers too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isinf

from clinfit.evaluation.decisions.net_benefit import net_benefit
from clinfit.evaluation.statistics.intervals import ratio_of_proportions
from clinfit.evaluation.system_results import SystemResult


@dataclass(frozen=True)
class OperatingPoint:
    """found: true positives; alarms: false positives; missed: false negatives; cleared: true negatives.

    positives, negatives: items by truth; they exceed the counts by the unparsed answers, which are wrong. Shares are
    None where their denominator is 0.
    """

    threshold: float
    found: int
    alarms: int
    missed: int
    cleared: int
    positives: int
    negatives: int

    @property
    def n(self) -> int:
        return self.positives + self.negatives

    @property
    def sensitivity(self) -> float | None:
        return _share(self.found, self.positives)

    @property
    def specificity(self) -> float | None:
        return _share(self.cleared, self.negatives)

    @property
    def ppv(self) -> float | None:
        return _share(self.found, self.found + self.alarms)

    @property
    def npv(self) -> float | None:
        return _share(self.cleared, self.cleared + self.missed)

    @property
    def alerts_per_100(self) -> float:
        return 100 * (self.found + self.alarms) / self.n

    @property
    def misses_per_100(self) -> float:
        """Events without an alert; an unparsed answer raises none."""
        return 100 * (self.positives - self.found) / self.n

    @property
    def net_benefit(self) -> float | None:
        """None at a threshold of 1, where an unnecessary alarm has no bearable cost."""
        return None if self.threshold >= 1 else float(net_benefit(self.found, self.alarms, self.n, self.threshold))

    def ppv_at(self, prevalence: float) -> float | None:
        """Positive predictive value at another prevalence, if both shares of alerts stayed as they are (Bayes)."""
        if not self.positives or not self.negatives:
            return None
        found = prevalence * self.found / self.positives
        return _share(found, found + (1 - prevalence) * self.alarms / self.negatives)

    def npv_at(self, prevalence: float) -> float | None:
        """Negative predictive value at another prevalence, on the same condition."""
        if not self.positives or not self.negatives:
            return None
        cleared = (1 - prevalence) * self.cleared / self.negatives
        return _share(cleared, cleared + prevalence * self.missed / self.positives)

    def ppv_interval(self, prevalence: float, confidence: float) -> tuple[float, float] | None:
        """Interval of `ppv_at` for independent items: that of the likelihood ratio of an alert, as odds. None with
        fewer than two items of a class."""
        if min(self.positives, self.negatives) < 2:
            return None
        ratio = ratio_of_proportions(self.found, self.positives, self.alarms, self.negatives, confidence)
        return _as_shares(ratio, prevalence / (1 - prevalence))

    def npv_interval(self, prevalence: float, confidence: float) -> tuple[float, float] | None:
        """Interval of `npv_at`, likewise."""
        if min(self.positives, self.negatives) < 2:
            return None
        ratio = ratio_of_proportions(self.cleared, self.negatives, self.missed, self.positives, confidence)
        return _as_shares(ratio, (1 - prevalence) / prevalence)


def _as_shares(ratio: tuple[float, float], odds: float) -> tuple[float, float]:
    low, high = ratio
    return odds * low / (1 + odds * low), 1.0 if isinf(high) else odds * high / (1 + odds * high)


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def decision_threshold(system: SystemResult) -> float:
    """The threshold in force; taking the more probable of two labels is a threshold of one half."""
    threshold = system["sections"].get("threshold")
    return 0.5 if threshold is None or threshold["value"] is None else threshold["value"]


def operating_point(system: SystemResult, positive: str) -> OperatingPoint:
    """The decisions that a system of a binary task really made, from its confusion matrix."""
    confusion = system["sections"].get("confusion")
    assert confusion is not None
    yes = confusion["rows"].index(positive)
    (found, missed), (alarms, cleared) = (
        (confusion["counts"][row][yes], confusion["counts"][row][1 - yes]) for row in (yes, 1 - yes)
    )
    positives, negatives = (sum(confusion["counts"][row]) for row in (yes, 1 - yes))
    return OperatingPoint(decision_threshold(system), found, alarms, missed, cleared, positives, negatives)


def swept_points(system: SystemResult, positive: str) -> Sequence[OperatingPoint]:
    """What the system would decide at each threshold of its saved sweep; empty where there is none."""
    curves = system["sections"].get("curves")
    if curves is None:
        return []
    made = operating_point(system, positive)
    return [
        OperatingPoint(threshold, int(found), int(alarms), int(missed), int(cleared), made.positives, made.negatives)
        for threshold, found, alarms, missed, cleared in curves["sweep"]
    ]
