"""The study's primary metric as one cheap number, for curves and checkpoint choice during training."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from clinfit.evaluation.answers import Answers
from clinfit.evaluation.definitions import LOWER_IS_BETTER, primary_name
from clinfit.evaluation.scoring import estimates


def primary_value(
    metric: str,
    labels: Sequence[str],
    positive: str | None,
    gold: NDArray[np.int64],
    probabilities: NDArray[np.float64],
) -> float | None:
    """Larger is better (Brier score and log loss change sign); None when these items cannot give it.

    gold: (n,) label indices. probabilities: (n, K). Decisions are the most probable labels.
    """
    answers = Answers(
        labels=tuple(labels),
        positive=None if positive is None else list(labels).index(positive),
        gold=gold,
        predicted=probabilities.argmax(axis=1),
        probabilities=probabilities,
        label_mass=np.full(len(gold), np.nan),
    )
    name = primary_name(metric, len(labels))
    value = estimates(answers).get(name, float("nan"))
    if not np.isfinite(value):
        return None
    return -value if name in LOWER_IS_BETTER else value
