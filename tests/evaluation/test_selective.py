"""Selective prediction, sets of labels and referral against brute force, and with answers that are no label."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinfit.evaluation.decisions.conformal import conformal, conformal_cut
from clinfit.evaluation.decisions.referral import choose_referral, referral_result
from clinfit.evaluation.decisions.referral_rule import NO_ANSWER, Referral, confidences
from clinfit.evaluation.decisions.selective import confidence_cut, risk_coverage, risk_coverage_area, selective
from clinfit.evaluation.metrics.classification import CLASSIFICATION
from clinfit.evaluation.metrics.engine import Scored, estimates
from clinfit.evaluation.metrics.proportions import proportion_metrics
from clinfit.evaluation.metrics.scorer import LabelScorer
from clinfit.evaluation.statistics.bootstrap import Resamples
from clinfit.evaluation.statistics.intervals import wilson
from clinfit.study.evaluation import Refer


def scored(answers, groups=None):
    return Scored(
        CLASSIFICATION, answers, estimates(LabelScorer, answers), {}, Resamples(answers.gold, groups, 200), 0.95
    )


def three_labels(make_answers, n, seed=0, strength=1.5):
    rng = np.random.default_rng(seed)
    gold = rng.integers(0, 3, n)
    logits = rng.normal(size=(n, 3)) + strength * np.eye(3)[gold]
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return make_answers(gold, probabilities.argmax(1), probabilities, labels=("a", "b", "c"))


# ---------------------------------------------------------------- selective prediction


def test_risk_coverage_by_hand():
    curve = risk_coverage(np.array([True, False, False, True]), np.array([0.6, 0.9, 0.8, 0.7]))
    np.testing.assert_allclose(curve, [[0.25, 0], [0.5, 0], [0.75, 1 / 3], [1, 0.5]])


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), min_size=1, max_size=30))
@settings(deadline=None, max_examples=20)
def test_ties_are_the_mean_over_all_their_orders(items):
    wrong, confidence = (np.array(column) for column in zip(*items, strict=True))
    curve = risk_coverage(wrong, confidence.astype(float))
    rng = np.random.default_rng(0)
    orders = [np.lexsort((rng.random(len(wrong)), -confidence)) for _ in range(400)]
    k = np.arange(1, len(wrong) + 1)
    mean = np.mean([wrong[order].cumsum() / k for order in orders], axis=0)
    np.testing.assert_allclose(curve[:, 1], mean, atol=0.15)
    assert curve[-1, 1] == pytest.approx(wrong.mean())


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 3)), min_size=1, max_size=30))
@settings(deadline=None, max_examples=30)
def test_the_area_is_the_mean_of_the_curve_and_hangs_on_shares_of_weight_alone(items):
    risk, confidence = (np.array(column, dtype=float) for column in zip(*items, strict=True))
    area = risk_coverage_area(risk, confidence, np.ones(len(risk)))
    assert area == pytest.approx(risk_coverage(risk, confidence)[:, 1].mean())
    assert risk_coverage_area(risk, confidence, np.full(len(risk), 0.3)) == pytest.approx(area)
    without = risk_coverage_area(np.append(risk, 1.0), np.append(confidence, 9.0), np.append(np.ones(len(risk)), 0.0))
    assert without == pytest.approx(area), "an item that weighs nothing is not there, were it the surest"


def test_an_area_of_weighted_items_by_hand():
    area = risk_coverage_area(np.array([1.0, 0.0]), np.array([0.2, 0.9]), np.array([0.5, 1.5]))
    assert area == pytest.approx((1.5 * 0 + 0.5 * 0.25) / 2), "the surest weighs three quarters"


def test_a_blind_confidence_is_as_wrong_at_every_coverage():
    wrong = np.arange(10) < 3
    np.testing.assert_allclose(risk_coverage(wrong, np.full(10, 0.5))[:, 1], 0.3)


def test_an_answer_that_is_no_label_is_wrong_and_the_least_sure(make_answers):
    probabilities = np.array([[0.1, 0.9]] * 8 + [[0.4, 0.6]] + [[0.05, 0.95]])
    answers = make_answers([1] * 10, [1] * 9 + [None], probabilities)
    assert confidences(answers).tolist() == [0.9] * 8 + [0.6, NO_ANSWER]
    part = selective(scored(answers))
    assert part["accuracy_at"]["0.9"]["value"] == 1 and part["accuracy_at"]["0.9"]["n"] == 9
    assert part["risk_coverage"][-1] == [1.0, pytest.approx(0.1)]
    assert part["aurc"] == pytest.approx(0.01)


def test_accuracy_at_a_coverage_has_wilsons_interval(make_answers):
    answers = three_labels(make_answers, 200)
    metric = selective(scored(answers))["accuracy_at"]["0.8"]
    assert metric["n"] == 160
    assert (metric["low"], metric["high"]) == wilson(metric["events"], 160)
    assert selective(scored(make_answers([0, 1], [None, None]))) is None


def test_shares_of_grouped_items_are_resampled_by_group():
    hits, inside = np.array([True, True, False, False, True, True]), np.array([True] * 5 + [False])
    groups = np.array([0, 0, 1, 1, 2, 2])
    metric = proportion_metrics(
        {"x": (hits, inside), "y": (hits, ~inside & ~hits)}, Resamples(groups, groups, 500), 0.95
    )
    assert metric["x"].value == 0.6 and metric["x"].low == 0 and metric["x"].high == 1
    assert "by group" in metric["x"].method
    assert metric["y"].value is None and metric["y"].status == "undefined"


# ---------------------------------------------------------------- sets of labels


def test_the_cut_is_the_quantile_with_one_item_more(make_answers):
    n = 99
    truth = np.arange(1, n + 1) / 200
    answers = make_answers([1] * n, [0] * n, np.column_stack([1 - truth, truth]))
    assert conformal_cut(answers, 0.9) == truth[9]
    scores = np.sort(1 - truth)
    assert 1 - conformal_cut(answers, 0.8) == pytest.approx(scores[int(np.ceil((n + 1) * 0.8)) - 1])
    assert conformal_cut(answers, 0.995) == 0.0, "99 items cannot promise so much"


def test_coverage_is_what_the_level_promises(make_answers):
    """Over calibration sets of n items coverage is Beta((n + 1) level, (n + 1)(1 - level)) in the mean: level."""
    test = three_labels(make_answers, 4000, seed=99)
    covered = []
    for seed in range(150):
        cut = conformal_cut(three_labels(make_answers, 199, seed=seed), 0.9)
        covered.append((test.probabilities[np.arange(4000), test.gold] >= cut).mean())
    assert np.mean(covered) == pytest.approx(0.9, abs=3 * 0.021 / np.sqrt(150) + 3 * 0.3 / np.sqrt(4000))


def test_sets_on_test(make_answers):
    validation, test = three_labels(make_answers, 300, seed=1), three_labels(make_answers, 200, seed=2)
    part = conformal(scored(test), validation, len(validation), 0.9)
    sets = test.probabilities >= conformal_cut(validation, 0.9)
    assert part["sizes"] == {str(size): int((sets.sum(1) == size).sum()) for size in range(4)}
    assert sum(metric["events"] for metric in part["by_label"].values()) == part["coverage"]["events"]
    assert (part["coverage"]["n"], part["n_calibration"], part["note"]) == (200, 300, None)
    assert part["mean_size"] == sets.sum(1).mean()


def test_an_unparsed_answer_has_an_empty_set(make_answers):
    validation = three_labels(make_answers, 300, seed=1)
    nothing = make_answers([0, 1, 2], [None] * 3, labels=("a", "b", "c"))
    assert conformal(scored(nothing), validation, len(validation), 0.9) is None
    one = make_answers([0, 0], [0, None], np.array([[1.0, 0, 0], [1.0, 0, 0]]), labels=("a", "b", "c"))
    part = conformal(scored(one), validation, len(validation), 0.9)
    assert part["sizes"]["0"] == 1 and part["coverage"]["events"] == 1


def test_too_few_items_to_calibrate(make_answers):
    part = conformal(scored(three_labels(make_answers, 50)), three_labels(make_answers, 99), 99, 0.9)
    assert "100 validation items and there are 99" in part["note"] and part["coverage"]["value"] is None


def test_a_promise_from_grouped_records_is_called_weaker(make_answers):
    test, validation = three_labels(make_answers, 60, seed=1), three_labels(make_answers, 120)
    assert conformal(scored(test), validation, len(validation), 0.9)["caution"] is None
    part = conformal(scored(test), validation, 40, 0.9)
    assert part["note"] is None and "120 validation records are of 40 groups" in part["caution"]


# ---------------------------------------------------------------- referral


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.floats(0.01, 0.99))
def test_the_confidence_cut_keeps_at_least_the_share_and_no_more_than_ties(values, share):
    confidence = np.array(values)
    cut = confidence_cut(confidence, share)
    assert (confidence >= cut).mean() >= share - 1e-9
    assert (confidence > cut).mean() < share


def test_referral_by_confidence(make_answers):
    validation, test = three_labels(make_answers, 200, seed=1), three_labels(make_answers, 150, seed=2)
    referral = choose_referral(Refer(rule="confidence", value=0.75), validation, 200)
    assert referral.decided(validation).mean() == 0.75
    result = referral_result(referral, scored(test))
    kept = test.probabilities.max(1) >= referral.cut
    assert (result["decided"], result["referred"]) == (kept.sum(), (~kept).sum())
    assert result["metrics"]["accuracy"]["events"] == (kept & (test.predicted == test.gold)).sum()
    recall = result["metrics"]["recall:b"]
    assert recall["n"] == (kept & (test.gold == 1)).sum()
    assert Referral.from_dict(result) == referral


def test_binary_metrics_of_the_decided_items(make_answers):
    probabilities = np.array([[0.1, 0.9], [0.9, 0.1], [0.2, 0.8], [0.45, 0.55], [0.9, 0.1]])
    answers = make_answers([1, 0, 0, 0, 1], [1, 0, 1, 1, None], probabilities)
    result = referral_result(Referral("confidence", 0.5, {"cut": [0.6]}), scored(answers))
    counts = {name: (m["events"], m["n"]) for name, m in result["metrics"].items()}
    assert counts == {"accuracy": (2, 3), "sensitivity": (1, 1), "specificity": (1, 2), "ppv": (1, 2), "npv": (1, 1)}
    assert result["referred"] == 2, "an unparsed answer goes to a person"


def test_a_set_that_contradicts_the_answer_goes_to_a_person(make_answers):
    probabilities = np.array([[0.7, 0.3], [0.05, 0.95], [0.5, 0.5]])
    answers = make_answers([1, 1, 1], [1, 1, 1], probabilities)  # a threshold of 0.2
    referral = Referral("conformal", 0.9, {"cut": [0.4]})
    assert referral.decided(answers).tolist() == [False, True, False]


def test_without_a_cut_nothing_is_handed_on(make_answers):
    few = three_labels(make_answers, 50)
    referral = choose_referral(Refer(rule="conformal", value=0.9), few, len(few))
    assert referral.note is not None and referral.decided(few).all()
    nothing = make_answers([], [], np.empty((0, 2)))
    assert "no validation items" in choose_referral(Refer(rule="confidence", value=0.8), nothing, 0).note
