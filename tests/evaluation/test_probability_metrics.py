"""Metrics of probabilities against scikit-learn and closed forms."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.special import expit
from sklearn import metrics as sk
from sklearn.linear_model import LogisticRegression

from clinfit.evaluation.metrics.probabilities import (
    Ranking,
    brier_terms,
    calibration,
    calibration_error,
    log_loss_terms,
)

weighted_items = st.lists(st.tuples(st.booleans(), st.integers(0, 8), st.integers(0, 3)), min_size=2, max_size=50)


@given(weighted_items)
def test_weighted_ranking_is_scikit_learns(items):
    positive, scores, weights = (np.array(column) for column in zip(*items, strict=True))
    assume(weights[positive].sum() > 0 and weights[~positive].sum() > 0)
    auroc, average = Ranking(positive, scores.astype(float)).auroc_and_precision(weights[:, None].astype(float))
    assert auroc[0] == pytest.approx(sk.roc_auc_score(positive, scores, sample_weight=weights))
    assert average[0] == pytest.approx(sk.average_precision_score(positive, scores, sample_weight=weights))


def test_a_resample_without_a_class_has_no_ranking():
    ranking = Ranking(np.array([True, False]), np.array([0.2, 0.1]))
    auroc, average = ranking.auroc_and_precision(np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]]))
    assert np.isnan(auroc).tolist() == np.isnan(average).tolist() == [True, True, False]


def test_merged_levels_change_next_to_nothing():
    rng = np.random.default_rng(0)
    positive = rng.random(20_000) < 0.3
    scores, ones = rng.normal(size=20_000) + positive, np.ones((20_000, 1))
    exact, merged = (Ranking(positive, scores, most) for most in (None, 4096))
    assert (len(exact.levels), len(merged.levels)) == (20_000, 4096)
    for a, b in zip(exact.auroc_and_precision(ones), merged.auroc_and_precision(ones), strict=True):
        assert a == pytest.approx(b, abs=2e-4)


def test_losses_are_scikit_learns():
    rng = np.random.default_rng(0)
    gold, probabilities = rng.integers(0, 3, 50), rng.dirichlet(np.ones(3), 50)
    answered = np.ones(50, bool)
    assert log_loss_terms(gold, probabilities).mean() == pytest.approx(sk.log_loss(gold, probabilities))
    multi = brier_terms(gold, probabilities, answered, None).mean()
    assert multi == pytest.approx(sk.brier_score_loss(gold, probabilities, scale_by_half=False))
    binary = probabilities[:, :2] / probabilities[:, :2].sum(1, keepdims=True)
    yes = np.minimum(gold, 1)
    assert brier_terms(yes, binary, answered, 1).mean() == pytest.approx(sk.brier_score_loss(yes, binary[:, 1]))


def test_an_item_without_probabilities_is_as_wrong_as_can_be():
    probabilities, answered = np.array([[np.nan, np.nan], [0.0, 1.0]]), np.array([False, True])
    assert brier_terms(np.array([1, 1]), probabilities, answered, 1).tolist() == [1, 0]
    assert brier_terms(np.array([1, 1]), probabilities, answered, None).tolist() == [2, 0]


def test_calibration_recovers_the_distortion():
    rng = np.random.default_rng(0)
    logit = rng.normal(size=200_000)
    outcome = rng.random(len(logit)) < expit(logit)
    found = calibration(outcome, expit(2 * logit + 0.5))
    assert found.slope == pytest.approx(0.5, abs=4 * found.slope_error)
    reference = LogisticRegression(C=np.inf, tol=1e-10).fit((2 * logit + 0.5)[:, None], outcome)
    assert found.slope == pytest.approx(reference.coef_[0, 0], rel=1e-4)
    shifted = expit(found.intercept + 2 * logit + 0.5)
    assert shifted.mean() == pytest.approx(outcome.mean(), abs=1e-8)


def test_calibration_error_bars_are_the_spread_of_repeats():
    rng = np.random.default_rng(1)
    fits = []
    for _ in range(300):
        logit = rng.normal(size=300)
        fits.append(calibration(rng.random(300) < expit(logit), expit(logit)))
    assert np.std([fit.slope for fit in fits]) == pytest.approx(np.mean([fit.slope_error for fit in fits]), rel=0.15)
    assert np.mean([fit.intercept_error for fit in fits]) == pytest.approx(
        np.std([fit.intercept for fit in fits]), rel=0.15
    )


def test_separated_or_constant_probabilities_have_no_slope():
    outcome = np.arange(60) >= 30
    assert calibration(outcome, np.linspace(0.01, 0.99, 60)) is None
    assert calibration(outcome, np.full(60, 0.5)) is None


def test_calibration_error_by_hand():
    found, _ = calibration_error(np.array([True, False, True, True]), np.array([0.92, 0.98, 0.15, 0.13]))
    assert found == pytest.approx((abs(1 - 1.90) + abs(2 - 0.28)) / 4)


@pytest.mark.parametrize(("n", "published"), [(59, 0.135), (100, 0.104), (300, 0.060), (1000, 0.033)])
def test_error_of_a_perfect_model_is_not_zero(n, published):
    rng = np.random.default_rng(0)
    nulls = [calibration_error(np.zeros(n, bool), rng.random(n))[1] for _ in range(5)]
    assert np.mean(nulls) == pytest.approx(published, rel=0.08)
