"""The study's primary metric as one cheap number, for curves and checkpoint choice during training."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinfit.evaluation.metrics.definitions import LOWER_IS_BETTER
from clinfit.evaluation.metrics.engines import ENGINES
from clinfit.study.tasks import Task


def primary_value(task: Task, metric: str, gold: NDArray[Any], probabilities: NDArray[np.float64]) -> float | None:
    """Larger is better (Brier score and log loss change sign); None when these items cannot give it.

    metric: of the task's settings. gold: as `models.targets.targets_of` gives it. probabilities: (n, K). Decisions are
    those of the probabilities alone, without a threshold of the study.
    """
    engine = ENGINES[task.kind]
    name = engine.primary(metric, len(task.labels))
    answers = engine.most_probable(task.labels, task.positive_label, gold, probabilities)
    value = engine.estimates(answers).get(name, float("nan"))
    if not np.isfinite(value):
        return None
    return -value if name in LOWER_IS_BETTER else value
