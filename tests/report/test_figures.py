"""What figures draw."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from clinfit.evaluation.answers import Answers
from clinfit.evaluation.curves import curves
from clinfit.report.clinical_figures import precision_recall_steps
from clinfit.report.pareto import tick


def test_the_area_under_the_drawn_curve_is_the_average_precision() -> None:
    rng = np.random.default_rng(0)
    gold = rng.integers(0, 2, 80)
    yes = np.round(np.clip(0.3 * gold + 0.7 * rng.random(80), 0, 1), 1)
    nothing = np.full(80, np.nan)
    answers = Answers(("no", "yes"), 1, gold, (yes > 0.5).astype(int), np.column_stack([1 - yes, yes]), nothing)
    drawn = curves(answers, 0.95)
    assert drawn is not None
    recall, precision = precision_recall_steps(drawn["precision_recall"])
    assert recall[0] == 0
    assert np.trapezoid(precision, recall) == pytest.approx(average_precision_score(gold, yes))


def test_ticks_of_neighbouring_powers_of_ten_differ() -> None:
    ticks = [tick(value) for value in np.logspace(-6, 3, 10)]
    assert ticks == ["1 µs", "10 µs", "100 µs", "1 ms", "10 ms", "100 ms", "1.0 s", "10.0 s", "100.0 s", "16.7 min"]
