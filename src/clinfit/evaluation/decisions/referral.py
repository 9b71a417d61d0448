"""Referral: the study's rule chosen on validation, and how many test items it hands to a person (referral_rule.py)."""

import numpy as np
from numpy.typing import NDArray

from clinfit.evaluation.answers import UNPARSED, LabelAnswers
from clinfit.evaluation.decisions.conformal import CALIBRATION_ITEMS, conformal_cut, grouped, too_few
from clinfit.evaluation.decisions.referral_rule import Referral, confidences
from clinfit.evaluation.decisions.selective import confidence_cut
from clinfit.evaluation.metrics.engine import Scored
from clinfit.evaluation.metrics.proportions import proportion_metrics
from clinfit.evaluation.system_results import ReferralDict
from clinfit.study.evaluation import Refer


def choose_referral(refer: Refer, validation: LabelAnswers, groups: int) -> Referral:
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
            name: metric.as_dict()
            for name, metric in proportion_metrics(masks, scored.resamples, scored.confidence).items()
        },
    )


def _shares(
    answers: LabelAnswers, decided: NDArray[np.bool_]
) -> dict[str, tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
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
