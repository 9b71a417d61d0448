"""Referral: which items are handed to a person instead of being decided; evaluation and the served pack both ask here.

An answer that is no label is always handed on. With sets of labels an item is decided where its set holds one label
and that label is the answer; a set that contradicts the threshold's answer is a reason to look.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinfit.evaluation.answers import UNPARSED, Answers
from clinfit.evaluation.classification import Scored
from clinfit.evaluation.conformal import CALIBRATION_ITEMS, conformal_cut, grouped, prediction_sets, too_few
from clinfit.evaluation.selective import confidence_cut, confidences
from clinfit.evaluation.shares import share_metrics
from clinfit.evaluation.system_results import ReferralDict
from clinfit.study_evaluation import Refer

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Referral:
    """The rule in force.

    rule, value: of the study. parameters: {cut}, a confidence or the probability that a label of a set must reach;
    empty when validation could not give it, and then no item is handed on. note: why it is not what the study asked
    for. caution: why its promise is weaker than it reads.
    """

    rule: str
    value: float
    parameters: dict[str, list[float]] = field(default_factory=dict)
    note: str | None = None
    caution: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Referral":
        """From `as_dict`; other keys, such as the counts on test, are left out."""
        return cls(**{name: values[name] for name in cls.__dataclass_fields__})

    @property
    def cut(self) -> float | None:
        return self.parameters["cut"][0] if self.parameters else None

    def sets(self, probabilities: Floats) -> NDArray[np.bool_] | None:
        """(n, K) labels in the set of each item; None when the rule has no sets."""
        return None if self.rule != "conformal" or self.cut is None else prediction_sets(probabilities, self.cut)

    def decided(self, answers: Answers) -> NDArray[np.bool_]:
        """(n,) whether the item is decided by the system."""
        confidence = confidences(answers)
        answered = confidence >= 0
        if self.cut is None:
            return np.ones(len(answers), dtype=bool)
        sets = self.sets(answers.probabilities)
        if sets is None:
            return answered & (confidence >= self.cut)
        return answered & (sets.sum(1) == 1) & sets[np.arange(len(answers)), np.maximum(answers.predicted, 0)]


def choose_referral(refer: Refer, validation: Answers, groups: int) -> Referral:
    """The study's rule on validation items, which are of so many different groups (patients)."""
    n = len(validation)
    if not validation.has_probabilities.any():
        return Referral(refer.rule, refer.value, note="no validation items with probabilities; nothing is handed on")
    if refer.rule == "confidence":
        cut = confidence_cut(confidences(validation), refer.value)
    elif n < CALIBRATION_ITEMS:
        return Referral(refer.rule, refer.value, note=f"{too_few(n)}; nothing is handed on")
    else:
        cut = conformal_cut(validation, refer.value)
    return Referral(refer.rule, refer.value, {"cut": [cut]}, caution=grouped(n, groups))


def referral_result(referral: Referral, scored: Scored) -> ReferralDict:
    """How many test items are decided, and how well."""
    answers = scored.answers
    decided = referral.decided(answers)
    masks = _shares(answers, decided)
    return ReferralDict(
        **referral.as_dict(),
        n=len(answers),
        decided=int(decided.sum()),
        referred=int((~decided).sum()),
        metrics={
            name: metric.as_dict() for name, metric in share_metrics(masks, scored.resamples, scored.confidence).items()
        },
    )


def _shares(answers: Answers, decided: NDArray[np.bool_]) -> dict[str, tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    gold, predicted, positive = answers.gold, answers.predicted, answers.positive
    right = predicted == gold
    shares = {"accuracy": (right, decided)}
    if positive is None:
        return shares | {f"recall:{label}": (right, decided & (gold == k)) for k, label in enumerate(answers.labels)}
    parsed = decided & (predicted != UNPARSED)
    return shares | {
        "sensitivity": (right, decided & (gold == positive)),
        "specificity": (right, decided & (gold != positive)),
        "ppv": (right, parsed & (predicted == positive)),
        "npv": (right, parsed & (predicted != positive)),
    }
