"""The rule by which items are handed to a person instead of being decided; evaluation and the served pack ask here.

An answer that is no label is always handed on. With sets of labels an item is decided where its set holds one label
and that label is the answer; a set that contradicts the threshold's answer is a reason to look. How a rule is chosen on
validation, and what it gives on test, is in referral.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinfit.evaluation.answers import UNPARSED, LabelAnswers

Floats = NDArray[np.float64]

#: Confidence of an answer that is no label, below that of any other.
NO_ANSWER = -1.0


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

    @property
    def has_sets(self) -> bool:
        """Whether the rule gives every item a set of labels."""
        return self.rule == "conformal" and self.cut is not None

    def sets(self, probabilities: Floats) -> NDArray[np.bool_] | None:
        """(n, K) labels in the set of each item; None when the rule has no sets."""
        return None if self.rule != "conformal" or self.cut is None else prediction_sets(probabilities, self.cut)

    def decided(self, answers: LabelAnswers) -> NDArray[np.bool_]:
        """(n,) whether the item is decided by the system."""
        confidence = confidences(answers)
        answered = confidence >= 0
        if self.cut is None:
            return np.ones(len(answers), dtype=bool)
        sets = self.sets(answers.probabilities)
        if sets is None:
            return answered & (confidence >= self.cut)
        return answered & (sets.sum(1) == 1) & sets[np.arange(len(answers)), np.maximum(answers.predicted, 0)]


def confidences(answers: LabelAnswers) -> Floats:
    """(n,) probability of the predicted label, under label weights its share of weight x probability; NO_ANSWER where
    there is no label or no probability."""
    answered = (answers.predicted != UNPARSED) & answers.has_probabilities
    chosen = np.where(answered, answers.predicted, 0)
    sure = answers.probabilities if answers.sureness is None else answers.sureness
    return np.where(answered, sure[np.arange(len(answers)), chosen], NO_ANSWER)


def prediction_sets(probabilities: Floats, cut: float) -> NDArray[np.bool_]:
    """(n, K) which labels are in the set of each item; none of an item without probabilities."""
    return probabilities >= cut
