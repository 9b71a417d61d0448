"""The metrics table: intervals where they belong, and no degenerate case that silently gives 0, 1 or infinity."""

import json

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from clinfit.evaluation.metrics.classification import CLASSIFICATION
from clinfit.evaluation.metrics.classification_table import label_table, overall_metrics
from clinfit.evaluation.statistics.bootstrap import Resamples


def score(answers, *, groups=None, draws=200):
    resamples = Resamples(answers.gold, groups, draws)
    return CLASSIFICATION.score([answers], resamples, 0.95)[0]


def probabilities(yes):
    return np.column_stack([1 - np.asarray(yes), yes])


ALL_YES = [1] * 10
ALL_NO = [0] * 10
MIXED = [1] * 6 + [0] * 4


@pytest.mark.parametrize(
    ("gold", "predicted", "metric", "value", "reason"),
    [
        (ALL_YES, MIXED, "auroc", None, "no negatives"),
        (ALL_YES, MIXED, "auprc", None, "one class"),
        (ALL_YES, MIXED, "ppv", None, "precision would be 1"),
        (ALL_YES, MIXED, "specificity", None, "one class"),
        (ALL_YES, MIXED, "npv", 0.0, None),
        (ALL_YES, MIXED, "mcc", None, "one class"),
        (ALL_YES, MIXED, "kappa", None, "one class"),
        (ALL_YES, MIXED, "balanced_accuracy", None, "one class"),
        (ALL_YES, MIXED, "balance_gap", None, "one class"),
        (ALL_YES, MIXED, "lr_plus", None, "one class"),
        (ALL_YES, MIXED, "calibration_slope", None, "no negatives"),
        (ALL_YES, MIXED, "ece", None, "no negatives"),
        (ALL_YES, MIXED, "accuracy", 0.6, None),
        (ALL_YES, MIXED, "macro_f1", 0.75, "without no"),
        (ALL_YES, MIXED, "macro_f1_declared", 0.375, None),
        (ALL_NO, MIXED, "auprc", None, "one class"),
        (ALL_NO, MIXED, "auroc", None, "no positives"),
        (ALL_NO, MIXED, "sensitivity", None, "one class"),
        (ALL_NO, MIXED, "f1", None, "one class"),
        (MIXED, ALL_YES, "npv", None, "never predicts 'no'"),
        (MIXED, ALL_YES, "mcc", 0.0, "constant predictor"),
        (MIXED, ALL_YES, "kappa", 0.0, "constant predictor"),
        (MIXED, ALL_YES, "auroc", 0.5, "no ranking"),
        (MIXED, ALL_YES, "auprc", 0.6, None),
        (MIXED, ALL_YES, "lr_plus", 1.0, None),
        (MIXED, ALL_YES, "lr_minus", None, "specificity is 0"),
        (MIXED, MIXED, "lr_plus", None, "no false positives"),
        (MIXED, MIXED, "calibration_slope", None, "fewer than 20"),
        (ALL_YES, ALL_YES, "accuracy", 1.0, None),
        (ALL_YES, ALL_YES, "mcc", None, "one class"),
        (MIXED, [None] * 10, "accuracy", 0.0, None),
        (MIXED, [None] * 10, "auroc", None, "gives no probabilities"),
        (MIXED, [None] * 10, "brier", None, "gives no probabilities"),
        (MIXED, [None] * 10, "log_loss", None, "gives no probabilities"),
        (MIXED, [None] * 10, "ppv", None, "never predicts 'yes'"),
        (MIXED, [None] * 10, "unparsed", 1.0, None),
        (MIXED, [None, *MIXED[1:]], "log_loss", None, "1 items have no probabilities"),
        (MIXED, [None, *MIXED[1:]], "brier", 0.1, "counted as wrong"),
        (MIXED, [None, *MIXED[1:]], "auroc", 5 / 6, "counted as wrong"),
        ([1], [1], "accuracy", 1.0, "one item: no interval"),
    ],
)
def test_degenerate_cases(make_answers, gold, predicted, metric, value, reason):
    found = overall_metrics(score(make_answers(gold, predicted)))[metric]
    assert found.value == (None if value is None else pytest.approx(value))
    assert found.status == ("undefined" if value is None else "ok")
    assert reason is None or reason in found.reason
    if value is None:
        assert found.low is found.high is None


def test_perfect_answers_keep_an_honest_interval(make_answers):
    metrics = overall_metrics(score(make_answers(MIXED * 5, MIXED * 5)))
    assert (metrics["accuracy"].low, metrics["accuracy"].high) == (pytest.approx(0.929, abs=1e-3), 1.0)
    assert (metrics["auroc"].value, metrics["auroc"].low) == (1.0, None)
    assert (metrics["f1"].value, metrics["f1"].low) == (1.0, None)


def test_methods_and_counts(make_answers):
    rng = np.random.default_rng(0)
    gold = rng.integers(0, 2, 120)
    yes = np.clip(0.5 + 0.3 * (2 * gold - 1) + rng.normal(0, 0.3, 120), 0.01, 0.99)
    metrics = overall_metrics(score(make_answers(gold, yes >= 0.5, probabilities(yes))))
    assert metrics["accuracy"].method == "Wilson"
    assert metrics["auroc"].method == "DeLong, logit scale"
    assert metrics["lr_plus"].method == "log scale"
    assert metrics["calibration_slope"].method == "Wald"
    assert metrics["mcc"].method.startswith("percentile bootstrap, by item, 200")
    sensitivity = metrics["sensitivity"]
    assert sensitivity.n == gold.sum()
    assert sensitivity.value == pytest.approx(sensitivity.events / sensitivity.n)
    assert "a perfect model would show" in metrics["ece"].reason
    assert "label_mass" not in metrics


def test_items_in_groups_take_the_bootstrap_over_groups_and_wider_intervals(make_answers):
    rng = np.random.default_rng(0)
    gold = np.repeat(rng.integers(0, 2, 40), 5)
    right = np.repeat(rng.random(40) < 0.8, 5)
    answers = make_answers(gold, np.where(right, gold, 1 - gold))
    alone = overall_metrics(score(answers))
    grouped = overall_metrics(score(answers, groups=np.repeat(np.arange(40), 5)))
    for name in ("accuracy", "auroc", "sensitivity"):
        assert "by group" in grouped[name].method
        assert grouped[name].high - grouped[name].low > 1.5 * (alone[name].high - alone[name].low)


def test_rare_class_in_groups_is_called_unreliable(make_answers):
    """One positive group of 30: a third of the resamples has no positives."""
    gold = [1, 1] + [0] * 58
    found = overall_metrics(score(make_answers(gold, [1, 0] + [0] * 58), groups=np.repeat(np.arange(30), 2)))
    assert found["sensitivity"].status == "unreliable"
    assert "of the resamples" in found["sensitivity"].reason
    assert found["sensitivity"].value == 0.5


def test_absent_label_of_three(make_answers):
    """A label without test items must not take the macro values away."""
    labels = ("a", "b", "c")
    rng = np.random.default_rng(0)
    answers = make_answers([0] * 20 + [1] * 20, [0] * 18 + [1] * 22, rng.dirichlet([1, 1, 1], 40), labels)
    metrics = overall_metrics(score(answers))
    assert metrics["macro_auroc"].value is not None
    assert "without c" in metrics["macro_auroc"].reason
    assert metrics["macro_f1_declared"].value == pytest.approx(metrics["macro_f1"].value * 2 / 3)
    classes = label_table(score(answers))
    assert classes["c"]["auroc"].status == classes["c"]["recall"].status == "undefined"
    assert classes["a"]["auroc"].value is not None
    assert metrics["log_loss"].value > 0
    assert 0 <= metrics["brier_sum"].value <= 2


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.sampled_from([0, 1, None]), st.floats(0, 1)), min_size=1, max_size=30))
@example([(1, 0, 5e-324), (0, 0, 0.0)])
def test_wild_answers_give_json_and_bounds(make_answers, items):
    gold, predicted, yes = zip(*items, strict=True)
    scored = score(make_answers(gold, predicted, probabilities(yes)), draws=100)
    metrics = overall_metrics(scored)
    json.dumps([metric.as_dict() for metric in metrics.values()], allow_nan=False)
    json.dumps([m.as_dict() for table in label_table(scored).values() for m in table.values()], allow_nan=False)
    for name, metric in metrics.items():
        assert (metric.value is None) == (metric.status == "undefined")
        assert metric.value is not None or metric.reason
        if metric.low is not None and metric.method in ("Wilson", "DeLong, logit scale", "log scale"):
            assert metric.low <= metric.value + 1e-12
            assert metric.value - 1e-12 <= metric.high
        if metric.value is not None and name in ("accuracy", "auroc", "auprc", "brier", "f1", "ece", "unparsed"):
            assert 0 <= metric.value <= 1
