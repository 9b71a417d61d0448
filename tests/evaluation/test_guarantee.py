"""A guaranteed threshold keeps its promise as often as it says, and nothing passes after the first failure."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mapie.risk_control import BinaryClassificationController
from scipy.stats import binomtest, norm

from clinfit.evaluation.decisions.guarantee import GRID, STARTS, certified, p_values
from clinfit.evaluation.decisions.thresholds import choose_threshold
from clinfit.study.evaluation import Threshold


@settings(deadline=None)
@given(st.integers(0, 60), st.integers(0, 60), st.floats(0.05, 0.95))
def test_p_values_are_those_of_the_exact_binomial_test(a, b, target):
    hits, n = min(a, b), max(a, b)
    expected = binomtest(hits, n, target, alternative="greater").pvalue if n else 1.0
    assert p_values(np.array([hits]), np.array([n]), target)[0] == pytest.approx(expected)


def test_a_walk_ends_at_its_first_failure():
    hits = np.array([100.0, 99, 50, 100, 100])
    assert certified(hits, np.full(5, 100.0), 0.9, 0.9).tolist() == [True, True, False, False, False]
    assert certified(hits, np.full(5, 100.0), 0.9, 0.9, starts=(0, 3)).tolist() == [True, True, False, True, True]


def test_twenty_two_positives_are_the_fewest_for_nine_in_ten():
    for positives, possible in ((21, False), (22, True)):
        gold = np.r_[np.ones(positives), np.zeros(50)].astype(bool)
        scores = np.where(gold, 0.9, 0.1)
        choice = choose_threshold(Threshold(rule="guarantee", value=0.9), gold, scores)
        assert (choice.value is not None) == possible
        if not possible:
            assert choice.note is not None and "sensitivity of at least 90 % with probability 90 %" in choice.note


@pytest.mark.parametrize("metric", ["sensitivity", "specificity", "ppv"])
def test_the_promise_is_kept_as_often_as_stated(metric):
    """Scores of both classes are normal, so that the true rate at a threshold has a formula."""
    rng, target, certainty, broken, found = np.random.default_rng(1), 0.8, 0.9, 0, 0
    rule = Threshold(rule="guarantee", value=target, metric=metric, certainty=certainty)
    for _ in range(600):
        positive = rng.random(300) < 0.4
        scores = norm.cdf(rng.normal(size=300) + 1.5 * positive - 0.75)
        choice = choose_threshold(rule, positive, scores)
        if choice.value is None:
            continue
        found += 1
        cut = norm.ppf(choice.value)
        sensitivity, alarms = norm.sf(cut - 0.75), norm.sf(cut + 0.75)
        ppv = 0.4 * sensitivity / (0.4 * sensitivity + 0.6 * alarms)
        broken += {"sensitivity": sensitivity, "specificity": 1 - alarms, "ppv": ppv}[metric] < target
    assert found > 150
    # Three standard errors above the error that is allowed.
    assert broken / 600 <= 1 - certainty + 3 * np.sqrt(certainty * (1 - certainty) / 600)


def test_starts_are_places_of_the_descending_grid():
    assert GRID[::-1][list(STARTS)] == pytest.approx([0.9, 0.7, 0.5, 0.3, 0.1])


def test_a_predictive_value_is_guaranteed_on_the_grid():
    rng = np.random.default_rng(3)
    positive = rng.random(500) < 0.5
    scores = np.clip(rng.normal(0.3 + 0.4 * positive, 0.15), 0, 1)
    choice = choose_threshold(Threshold(rule="guarantee", value=0.9, metric="ppv"), positive, scores)
    assert choice.value in GRID and choice.achieved["ppv"] > 0.9


def test_same_thresholds_as_mapie():
    """MAPIE's p value is the smaller of this one and Hoeffding's, which is never the smaller one here."""
    rng = np.random.default_rng(5)
    positive = rng.random(200) < 0.5
    scores = np.round(np.clip(rng.normal(0.3 + 0.35 * positive, 0.2), 0, 1), 2)
    grid = np.arange(1, 100) / 100 - 0.005
    controller = BinaryClassificationController(
        lambda rows: rows, "recall", 0.85, 0.9, list_predict_params=grid, fwer_method="fixed_sequence"
    )
    controller.calibrate(np.column_stack([1 - scores, scores]), positive.astype(int))
    found = np.array([(scores[positive] >= t).sum() for t in grid], dtype=float)
    ours = grid[certified(found, np.full(len(grid), float(positive.sum())), 0.85, 0.9)]
    assert 5 < len(ours) < 95
    np.testing.assert_allclose(np.ravel(controller.valid_predict_params), ours)
