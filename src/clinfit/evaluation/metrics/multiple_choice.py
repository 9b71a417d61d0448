"""The metric engine of multiple-choice tasks: one letter an item, and letters mean something else in each item.

Which letter is right says nothing of an item, so nothing is averaged over letters; that a system prefers some is told
by recall and precision of each.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import pandas as pd

from clinfit.evaluation.answers import Floats, Ints, LabelAnswers, Undeclared, items_of, read_label_answers, tested_part
from clinfit.evaluation.metrics.classification import CLASSIFICATION
from clinfit.evaluation.metrics.classification import most_probable as most_probable_label
from clinfit.evaluation.metrics.classification_table import overall_metrics as classification_metrics
from clinfit.evaluation.metrics.engine import Scored
from clinfit.evaluation.metrics.metric import Metric

#: Metrics of a system, in the order of the table; `label_mass` where a family has it.
OVERALL = ("accuracy", "log_loss", "brier_sum", "ece", "ece_null", "unparsed", "label_mass")
COMPARED = ("accuracy", "log_loss", "brier_sum")


@dataclass(frozen=True)
class OptionAnswers(LabelAnswers):
    """One letter an item. Which is right means nothing beyond the item, so that no letter is rare."""

    @property
    def strata(self) -> Ints:
        return np.zeros(len(self), dtype=np.int64)


def read_option_answers(
    table: pd.DataFrame, labels: Sequence[str], positive: str | None
) -> tuple[OptionAnswers, Undeclared]:
    """As `read_label_answers`."""
    answers, undeclared = read_label_answers(table, labels, None)
    return _as_options(answers), undeclared


def most_probable(labels: Sequence[str], positive: str | None, gold: Ints, probabilities: Floats) -> OptionAnswers:
    """gold: (n,) letter indices. probabilities: (n, K)."""
    return _as_options(most_probable_label(labels, None, gold, probabilities))


def _as_options(answers: LabelAnswers) -> OptionAnswers:
    return OptionAnswers(**{field.name: getattr(answers, field.name) for field in fields(answers)})


def overall_metrics(scored: Scored) -> dict[str, Metric]:
    """Those of a classification that do not depend on what a letter means."""
    metrics = classification_metrics(scored)
    return {name: metrics[name] for name in OVERALL if name in metrics}


def compared_metrics(answers: LabelAnswers, primary: str) -> list[str]:
    return [primary, *(name for name in COMPARED if name != primary)]


def names_with(answers: LabelAnswers, primary: str) -> list[str]:
    """Of each subgroup, and what is withheld where there is an error."""
    return list(dict.fromkeys([primary, "accuracy"]))


def mix(answers: LabelAnswers) -> str:
    return f"{len(answers.labels)} options each"


def scarcest(answers: LabelAnswers) -> tuple[str, int]:
    return tested_part(answers), items_of(answers)


MULTIPLE_CHOICE = replace(
    CLASSIFICATION,
    read=read_option_answers,
    most_probable=most_probable,
    metrics=overall_metrics,
    compared=compared_metrics,
    subgroup_metrics=names_with,
    headline=names_with,
    primary=lambda metric, labels: metric,
    fair=frozenset({"accuracy", "log_loss", "brier_sum"}),
    stand_in="accuracy",
    mix=mix,
    scarcest=scarcest,
)
