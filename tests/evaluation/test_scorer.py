"""The shared bootstrap: random groups of many items agree with single items; metrics relative to the prevalence."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from clinfit.evaluation.metrics import engine
from clinfit.evaluation.metrics.engine import estimates, replicates
from clinfit.evaluation.metrics.scorer import LabelScorer
from clinfit.evaluation.statistics import bootstrap
from clinfit.evaluation.statistics.bootstrap import Resamples


@pytest.fixture
def few_units(monkeypatch):
    """Random groups from 100 items of a label on, as if they were 10,000."""
    monkeypatch.setattr(bootstrap, "UNITS", 100)
    monkeypatch.setattr(bootstrap, "RANDOM_GROUPS", 60)


def binary(make_answers, n, seed=0, strength=1.0):
    rng = np.random.default_rng(seed)
    gold = (rng.random(n) < 0.3).astype(int)
    yes = 1 / (1 + np.exp(-(strength * (2 * gold - 1) + rng.normal(size=n) - 0.8)))
    return make_answers(gold, (yes > 0.5).astype(int), np.column_stack([1 - yes, yes]))


@pytest.mark.parametrize("groups", [None, np.arange(300) // 3])
def test_few_items_are_units_themselves(make_answers, groups):
    answers = binary(make_answers, 300)
    resamples = Resamples(answers.gold, groups, 50)
    by_unit = replicates(LabelScorer, [answers], resamples)[0]
    scorer = LabelScorer(answers)
    by_item = [scorer(weights) for weights in resamples.blocks()]
    assert len(np.unique(resamples.units)) == (300 if groups is None else 100)
    for name, values in by_unit.items():
        assert values == pytest.approx(np.concatenate([part[name] for part in by_item]), nan_ok=True), name


def test_random_groups_are_of_equal_size_and_of_one_label(few_units):
    strata = np.r_[np.zeros(1000, int), np.ones(50, int), np.full(130, 2)]
    units = Resamples(strata, None, 10).units
    sizes = np.bincount(units)
    labels = [np.unique(strata[units == unit]) for unit in range(len(sizes))]
    assert all(len(label) == 1 for label in labels)
    by_label = [sizes[[label[0] == k for label in labels]] for k in range(3)]
    assert np.bincount(by_label[0]).nonzero()[0].tolist() == [17, 18]  # 58 groups of 17 or, for what is left, 18
    assert by_label[1].tolist() == [1] * 50
    assert np.bincount(by_label[2]).nonzero()[0].tolist() == [3, 4]
    assert len(set(units[:100])) > 30, "neighbours must not be grouped together"


def test_whole_clusters_go_into_a_random_group(few_units):
    clusters = np.repeat(np.arange(400), 3)
    resamples = Resamples(np.zeros(1200, int), clusters, 10)
    units = resamples.units.reshape(400, 3)
    assert (units == units[:, :1]).all()
    assert set(np.bincount(resamples.units)) <= {21, 24}
    assert "by group, 10 resamples of 57 random groups" in resamples.method


def test_the_method_tells_of_random_groups_only_where_there_are_some(few_units):
    two = np.arange(100) % 2
    assert Resamples(two, None, 10).method == "percentile bootstrap, by item, 10 resamples"
    assert Resamples(two[:1], None, 10).method == "percentile bootstrap, by item, 10 resamples"
    assert Resamples(np.zeros(600, int), None, 10).method.endswith("10 resamples of 60 random groups")


@pytest.mark.parametrize("groups", [None, np.arange(4000) // 2])
def test_spread_of_random_groups_is_that_of_items(make_answers, monkeypatch, groups):
    answers = binary(make_answers, 4000)
    plain = replicates(LabelScorer, [answers], Resamples(answers.gold, groups, 1000))[0]
    monkeypatch.setattr(bootstrap, "UNITS", 100)
    monkeypatch.setattr(bootstrap, "RANDOM_GROUPS", 500)
    merged = replicates(LabelScorer, [answers], Resamples(answers.gold, groups, 1000))[0]
    for name in ("accuracy", "ppv", "f1", "mcc", "auroc", "auprc", "brier", "log_loss"):
        # The error of a standard deviation: 2.2 % twice from the resamples, 2 to 3 % from the groups.
        assert np.std(merged[name]) == pytest.approx(np.std(plain[name]), rel=0.14), name
        assert np.mean(merged[name]) == pytest.approx(np.mean(plain[name]), abs=0.2 * np.std(plain[name])), name


def test_random_groups_are_paired_and_reproducible(make_answers, few_units):
    first, second = binary(make_answers, 2000), binary(make_answers, 2000, strength=1.1)
    assert (first.gold == second.gold).all()
    resamples = Resamples(first.gold, None, 300)
    one, two, again = replicates(LabelScorer, [first, second, first], resamples)
    alone = replicates(LabelScorer, [first], Resamples(first.gold, None, 300))[0]
    for name, values in one.items():
        assert np.array_equal(values, again[name], equal_nan=True)
        assert np.array_equal(values, alone[name], equal_nan=True)
    correlation = np.corrcoef(one["auroc"], two["auroc"])[0, 1]
    assert correlation > 0.9, "both systems must see the same resamples"


def test_replicates_of_merged_rankings_lie_around_the_exact_value(make_answers, monkeypatch):
    answers = binary(make_answers, 3000)
    exact, plain = (
        estimates(LabelScorer, answers),
        replicates(LabelScorer, [answers], Resamples(answers.gold, None, 400))[0],
    )
    monkeypatch.setattr(engine, "LEVELS", 8)
    merged = replicates(LabelScorer, [answers], Resamples(answers.gold, None, 400))[0]
    for name in ("auroc", "auprc"):
        assert np.mean(merged[name]) == pytest.approx(np.mean(plain[name]), abs=0.1 * np.std(plain[name])), name
        assert np.mean(merged[name]) == pytest.approx(exact[name], abs=0.2 * np.std(plain[name])), name


outcomes = st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=2, max_size=40).filter(
    lambda pairs: len({gold for gold, _ in pairs}) == 2
)


@settings(max_examples=50)
@given(outcomes)
@example([(True, 5e-324), (False, 0.0)])
@example([(True, 0.0), (False, 0.0)])
def test_scaled_brier_and_observed_to_expected(make_answers, pairs):
    gold, yes = np.array([int(y) for y, _ in pairs]), np.array([p for _, p in pairs])
    found = estimates(LabelScorer, make_answers(gold, (yes > 0.5).astype(int), np.column_stack([1 - yes, yes])))
    reference = 1 - sk.brier_score_loss(gold, yes) / sk.brier_score_loss(gold, np.full(len(gold), gold.mean()))
    assert found["scaled_brier"] == pytest.approx(reference)
    if yes.sum() > 1e-300:
        assert found["oe_ratio"] == pytest.approx(gold.sum() / yes.sum())
    else:  # less than there are normal numbers for: none, or one of few digits
        assert not np.isinf(found["oe_ratio"]) and (np.isnan(found["oe_ratio"]) or yes.sum() > 0)


def test_predicting_the_prevalence_has_a_scaled_brier_of_zero(make_answers):
    found = estimates(LabelScorer, make_answers([0, 0, 0, 1], [0] * 4, np.tile([0.75, 0.25], (4, 1))))
    assert (found["scaled_brier"], found["oe_ratio"]) == (pytest.approx(0), pytest.approx(1))
