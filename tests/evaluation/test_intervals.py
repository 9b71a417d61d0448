"""Intervals against published values, closed forms and an independent bootstrap."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from clinfit.evaluation.statistics.bootstrap import Resamples, percentile
from clinfit.evaluation.statistics.delong import delong, delong_interval, delong_paired
from clinfit.evaluation.statistics.intervals import bonett_price, log_ratio, wilson


@pytest.mark.parametrize(
    ("events", "n", "low", "high"),
    [
        (34, 59, 0.449, 0.694),  # a published claim: 57.6 % of 59 patients
        (36, 59, 0.483, 0.724),
        (30, 36, 0.681, 0.921),
        (4, 23, 0.070, 0.371),
        (254, 300, 0.802, 0.883),
        (269, 300, 0.857, 0.926),
        (12, 25, 0.300, 0.665),
        (0, 59, 0.0, 0.061),
        (81, 263, 0.255, 0.366),  # Newcombe (1998), table I
        (15, 148, 0.062, 0.161),
        (0, 20, 0.0, 0.161),
    ],
)
def test_wilson_gives_published_values(events, n, low, high):
    assert wilson(events, n) == pytest.approx((low, high), abs=6e-4)


@given(st.integers(2, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_estimate(pair):
    events, n = pair
    low, high = wilson(events, n)
    assert 0 <= low <= events / n <= high <= 1


def test_one_item_has_no_interval():
    assert wilson(1, 1) == (None, None)
    assert bonett_price(0, 1, 1) == (None, None)


@pytest.mark.parametrize(
    ("c", "low", "high"),
    [(0, 2.4, 7.6), (5, 1.6, 8.3), (10, 1.1, 8.9), (15, 0.6, 9.4), (20, 0.1, 9.8), (25, -0.3, 10.2), (31, -0.8, 10.7)],
)
def test_bonett_price_on_a_gain_of_15_in_300(c, low, high):
    """254 to 269 right of 300, with c items that only the first had right."""
    found = bonett_price(c, c + 15, 300)
    assert [100 * x for x in found] == pytest.approx([low, high], abs=0.051)


def test_log_ratio_is_symmetric_on_the_log_scale():
    low, high = log_ratio(30, 36, 19, 23)
    ratio = (30 / 36) / (19 / 23)
    assert np.log(ratio) - np.log(low) == pytest.approx(np.log(high) - np.log(ratio))
    assert log_ratio(0, 36, 19, 23) == (None, None)


scores_and_labels = st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=4, max_size=40).filter(
    lambda pairs: len({label for label, _ in pairs}) == 2
)


@given(scores_and_labels)
def test_delong_is_the_auroc_with_its_interval_around_it(pairs):
    positive = np.array([label for label, _ in pairs])
    scores = np.array([float(score) for _, score in pairs])
    found = delong(positive, scores)
    assert found.auroc == pytest.approx(roc_auc_score(positive, scores))
    assert found.negatives.mean() == pytest.approx(found.auroc)
    low, high = delong_interval(found)
    if low is not None:
        assert 0 <= low <= found.auroc <= high <= 1


def _two_rankings(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    positive = rng.random(n) < 0.4
    shared = rng.normal(size=n) + positive
    return positive, shared + rng.normal(size=n), shared + 0.5 * rng.normal(size=n)


def test_delong_errors_agree_with_the_bootstrap():
    positive, first, second = _two_rankings(400)
    rng = np.random.default_rng(0)
    ones, zeros = np.flatnonzero(positive), np.flatnonzero(~positive)
    drawn = []
    for _ in range(3000):
        items = np.r_[rng.choice(ones, len(ones)), rng.choice(zeros, len(zeros))]
        drawn.append([delong(positive[items], scores[items]).auroc for scores in (first, second)])
    single, paired = np.std(np.array(drawn)[:, 0]), np.std(np.diff(drawn, axis=1))
    assert delong(positive, first).error == pytest.approx(single, rel=0.05)
    test = delong_paired(delong(positive, first), delong(positive, second))
    assert (test.high - test.low) / 2 / 1.959964 == pytest.approx(paired, rel=0.05)


def test_equal_rankings_are_not_different():
    positive, first, _ = _two_rankings(60)
    test = delong_paired(delong(positive, first), delong(positive, 2 * first))
    assert (test.difference, test.p) == (0.0, 1.0)


def test_resamples_weigh_labels_as_other_test_sets_would_and_lose_none():
    """Of each label as much on average as there is, a single item included; as uncertain as a count of such items."""
    strata = np.array([0] * 80 + list(range(1, 21)) + [21] * 3)
    weights = np.concatenate(list(Resamples(strata, None, 4000).blocks()), axis=1)
    assert weights.shape == (103, 4000) and (weights > 0).all() and weights.sum(0) == pytest.approx(103)
    drawn, counts = np.array([weights[strata == label].sum(0) for label in range(22)]), np.bincount(strata)
    assert drawn.mean(1) == pytest.approx(counts, rel=0.05)
    assert drawn.std(1) == pytest.approx(np.sqrt(counts * (1 - counts / 103) * 103 / 104), rel=0.1)
    assert np.array_equal(weights, np.concatenate(list(Resamples(strata, None, 4000).blocks()), axis=1))


def test_grouped_resamples_take_whole_groups():
    clusters = np.array([0, 0, 0, 1, 2, 2])
    weights = np.concatenate(list(Resamples(np.zeros(6, int), clusters, 50).blocks()), axis=1)
    assert (weights[0] == weights[1]).all()
    assert (weights[0] == weights[2]).all()
    assert (weights[[0, 3, 4]].sum(0) == 3).all()


def test_bootstrap_of_a_mean_has_the_right_spread():
    values = np.random.default_rng(1).normal(size=500)
    weights = np.concatenate(list(Resamples(np.zeros(500, int), None, 4000).blocks()), axis=1)
    assert np.std(values @ weights / 500) == pytest.approx(values.std() / np.sqrt(500), rel=0.05)


def test_undefined_replicates_are_counted():
    assert percentile(np.r_[np.full(10, np.nan), np.arange(90.0)], 0.95)[2] == pytest.approx(0.1)
    assert percentile(np.full(10, np.nan), 0.95) == (None, None, 1.0)
