"""Split-conformal sets of labels: calibrated on validation, they hold the true label with a stated probability.

The score of an item is 1 - P(its true label) (least ambiguous sets; Sadinle et al., 2019): a set holds every label
whose probability reaches a cut, the one that as many validation items reach as the level asks for, counting one item
more for the new one. The promise is over all items together, not for each label, and for items like those of
validation; both are measured on test.
"""

import numpy as np
from numpy.typing import NDArray

from clinfit.evaluation.answers import UNPARSED, LabelAnswers
from clinfit.evaluation.decisions.referral_rule import prediction_sets
from clinfit.evaluation.metrics.engine import Scored
from clinfit.evaluation.metrics.metric import undefined
from clinfit.evaluation.metrics.proportions import proportion_metrics
from clinfit.evaluation.system_results import ConformalDict

Floats = NDArray[np.float64]

#: Fewest validation items: below, the coverage of one calibration is anybody's guess.
CALIBRATION_ITEMS = 100


def conformal_cut(answers: LabelAnswers, level: float) -> float:
    """The probability that a label must reach to be in the set, from calibration items.

    An item without a label or probabilities stands at 0, as the worst. 0 when `level` asks for more than these items
    can promise: every label is then in every set.
    """
    items = np.arange(len(answers))
    truth = np.sort(np.where(answered(answers), answers.probabilities[items, answers.gold], 0.0))
    place = int(np.floor((len(truth) + 1) * (1 - level) + 1e-9))  # 100 * (1 - 0.9) is 9.999...
    return float(truth[place - 1]) if place else 0.0


def answered(answers: LabelAnswers) -> NDArray[np.bool_]:
    return (answers.predicted != UNPARSED) & answers.has_probabilities


def conformal(scored: Scored, validation: LabelAnswers, groups: int, level: float) -> ConformalDict | None:
    """The sets on test; None where the system gives no probabilities, a note where validation is too small.

    groups: how many different groups (patients) the validation items are of.
    """
    answers, n = scored.answers, len(validation)
    if not answers.has_probabilities.any():
        return None
    if n < CALIBRATION_ITEMS:
        note = too_few(n)
        nothing = undefined(note, len(answers)).as_dict()
        return ConformalDict(
            level=level,
            n_calibration=n,
            coverage=nothing,
            mean_size=None,
            sizes={},
            by_label={},
            note=note,
            caution=None,
        )
    sets = prediction_sets(answers.probabilities, conformal_cut(validation, level)) & answered(answers)[:, None]
    covered = sets[np.arange(len(answers)), answers.gold]
    masks = {label: (covered, answers.gold == k) for k, label in enumerate(answers.labels)}
    # Labels have names of their own, so the whole is measured apart from them.
    (whole,) = proportion_metrics(
        {"": (covered, np.ones(len(answers), bool))}, scored.resamples, scored.confidence
    ).values()
    by_label = proportion_metrics(masks, scored.resamples, scored.confidence)
    sizes = np.bincount(sets.sum(1), minlength=len(answers.labels) + 1)
    return ConformalDict(
        level=level,
        n_calibration=n,
        coverage=whole.as_dict(),
        mean_size=float(sets.sum(1).mean()),
        sizes={str(size): int(count) for size, count in enumerate(sizes)},
        by_label={label: metric.as_dict() for label, metric in by_label.items()},
        note=None,
        caution=grouped(n, groups),
    )


def grouped(n: int, groups: int) -> str | None:
    """Items of one group are alike: they count for less than their number where a new item is of another group."""
    if groups == n:
        return None
    return f"the {n} validation records are of {groups} groups; for records of new groups the promise is weaker"


def too_few(n: int) -> str:
    return f"sets of labels need {CALIBRATION_ITEMS} validation items and there are {n}"
