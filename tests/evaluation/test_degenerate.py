"""Degenerate test sets through the whole evaluation: nothing crashes, and nothing is silently 0, 1 or infinite."""

import json
from functools import cache
from itertools import chain

import numpy as np
import pandas as pd
import pytest

from clinfit.errors import ClinfitError
from clinfit.evaluation.evaluate import evaluate
from clinfit.study.evaluation import Threshold

THREE = ("No", "Maybe", "Yes")


def pair(yes):
    return np.column_stack([1 - np.asarray(yes, float), yes])


def outcome(study, table):
    text = json.dumps(evaluate(study, table), allow_nan=False)
    return json.loads(text)["tasks"]["outcome"]


def entry(result, name="forest"):
    return next(system for system in result["systems"] if system["name"] == name)


def all_metrics(result):
    """(where, metric) of every metric of every system and label."""
    for system in result["systems"]:
        yield from ((f"{system['name']} {name}", metric) for name, metric in system["metrics"].items())
        for label in system["sections"]["classes"]:
            for name, metric in label["metrics"].items():
                yield f"{system['name']} {name}:{label['label']}", metric


# ---------------------------------------------------------------- the cases: gold, predicted, probabilities, labels

SIX_FOUR = ["Yes"] * 6 + ["No"] * 4
RNG = np.random.default_rng(0)
LARGE = ["Yes", "No"] * 50

CASES = {
    "all positive": (["Yes"] * 10, SIX_FOUR, None, ("No", "Yes")),
    "all negative": (["No"] * 10, SIX_FOUR, None, ("No", "Yes")),
    "one class on both sides": (["Yes"] * 10, ["Yes"] * 10, None, ("No", "Yes")),
    "one item": (["Yes"], ["Yes"], None, ("No", "Yes")),
    "two items": (["Yes", "No"], ["Yes", "No"], None, ("No", "Yes")),
    "one answer only": (SIX_FOUR, ["Yes"] * 10, None, ("No", "Yes")),
    "constant probability": (SIX_FOUR, ["Yes"] * 10, pair([0.7] * 10), ("No", "Yes")),
    "no errors": (["Yes"] * 59 + ["No"] * 59, ["Yes"] * 59 + ["No"] * 59, None, ("No", "Yes")),
    "absent label": (["No", "Yes"] * 20, ["No", "Yes"] * 20, RNG.dirichlet(np.ones(3), 40), THREE),
    "nan probability": (LARGE, LARGE, pair([np.nan, *RNG.random(99)]), ("No", "Yes")),
    "all unparsed": (SIX_FOUR, [None] * 10, None, ("No", "Yes")),
    "some unparsed": (SIX_FOUR, [None, *SIX_FOUR[1:-1], None], None, ("No", "Yes")),
    "few of a class": (["Yes"] * 5 + ["No"] * 60, ["No"] * 65, pair(RNG.random(65)), ("No", "Yes")),
    "one event": (["Yes"] + ["No"] * 60, ["Yes"] + ["No"] * 55 + ["Yes"] * 5, pair(RNG.random(61)), ("No", "Yes")),
    "separated classes": (LARGE, LARGE, pair([0.9, 0.2] * 50), ("No", "Yes")),
    "certain and wrong": (LARGE, ["No", "Yes"] * 50, pair([0.0, 1.0] * 50), ("No", "Yes")),
    "never positive by probability": (LARGE, ["No"] * 100, pair([0.0] * 100), ("No", "Yes")),
}


@pytest.fixture(scope="module")
def results_of(make_study, rows):
    """The results of a case by its name, computed once."""

    @cache
    def evaluated(case):
        gold, predicted, probabilities, labels = CASES[case]
        study = make_study(labels, **({"positive": "Yes"} if len(labels) == 2 else {}))
        return outcome(study, rows("forest", gold, predicted, labels, probabilities=probabilities))

    return evaluated


@pytest.mark.parametrize("case", CASES)
def test_no_number_without_meaning(results_of, case):
    """null always has a reason, an interval holds its value and is no point, and rates stay within 0 and 1."""
    result = results_of(case)
    n = len(CASES[case][0])
    for where, metric in all_metrics(result):
        if metric["value"] is None:
            assert metric["status"] in ("undefined", "withheld"), where
            assert metric["reason"], where
            assert metric["low"] is metric["high"] is metric["method"] is None, where
        elif metric["low"] is not None:
            assert metric["low"] <= metric["value"] + 1e-9, where
            assert metric["value"] <= metric["high"] + 1e-9, where
            assert metric["high"] - metric["low"] > 1e-12, where
            assert metric["method"], where
        assert metric["n"] <= n, where
    for system in result["systems"]:
        assert sum(chain.from_iterable(system["sections"]["confusion"]["counts"])) == n
        assert len(system["sections"]["confusion"]["columns"]) == len(CASES[case][3]) + 1


@pytest.mark.parametrize("case", ["all positive", "all negative", "one class on both sides", "one item"])
def test_one_class_withholds_everything_that_compares_classes(results_of, case):
    result = results_of(case)
    assert result["withheld"]
    assert all(metric["status"] == "withheld" for _, metric in all_metrics(result))
    assert entry(result)["sections"].get("curves") is None
    assert entry(result)["unparsed"] == 0


#: Case, system's metric (or metric:label), value, and words of its reason; value None: not estimable.
EXPECTED = [
    ("two items", "accuracy", 1.0, None),
    ("one answer only", "precision:No", None, "never predicts 'No'"),
    ("one answer only", "npv", None, "never predicts 'No'"),
    ("one answer only", "mcc", 0.0, "constant predictor"),
    ("one answer only", "kappa", 0.0, "constant predictor"),
    ("one answer only", "lr_minus", None, "specificity is 0"),
    ("constant probability", "auroc", 0.5, "no ranking"),
    ("constant probability", "auprc", 0.6, None),
    ("constant probability", "calibration_slope", None, "fewer than"),
    ("constant probability", "oe_ratio", 6 / 7, None),
    ("constant probability", "scaled_brier", 1 - 0.25 / 0.24, None),
    ("no errors", "auroc", 1.0, "no interval"),
    ("no errors", "lr_plus", None, "no false positives"),
    ("no errors", "scaled_brier", 1.0, None),
    ("absent label", "macro_f1", 1.0, "without Maybe"),
    ("absent label", "macro_f1_declared", 2 / 3, None),
    ("absent label", "weighted_f1", 1.0, None),
    ("absent label", "recall:Maybe", None, "no items labelled 'Maybe'"),
    ("absent label", "auroc:Maybe", None, "no 'Maybe'"),
    ("nan probability", "log_loss", None, "1 items have no probabilities"),
    ("nan probability", "oe_ratio", None, "the expected events are not known"),
    ("nan probability", "calibration_slope", None, "1 of 100 items have no probabilities"),
    ("nan probability", "accuracy", 1.0, None),
    ("all unparsed", "accuracy", 0.0, None),
    ("all unparsed", "sensitivity", 0.0, None),
    ("all unparsed", "specificity", 0.0, None),
    ("all unparsed", "ppv", None, "never predicts"),
    ("all unparsed", "micro_f1", 0.0, None),
    ("all unparsed", "auroc", None, "no probabilities"),
    ("all unparsed", "scaled_brier", None, "no probabilities"),
    ("some unparsed", "accuracy", 0.8, None),
    ("some unparsed", "sensitivity", 5 / 6, None),
    ("some unparsed", "specificity", 3 / 4, None),
    ("some unparsed", "precision:Yes", 1.0, None),
    ("some unparsed", "unparsed", 0.2, None),
    ("some unparsed", "micro_f1", 2 * 8 / 18, None),
    ("few of a class", "calibration_intercept", None, "fewer than 20"),
    ("one event", "balanced_accuracy", (1 + 55 / 60) / 2, "a class has one item: no interval"),
    ("one event", "f1", 2 / 7, "a class has one item: no interval"),
    ("one event", "mcc", (55 / 360) ** 0.5, "a class has one item: no interval"),
    ("one event", "accuracy", 56 / 61, None),
    ("separated classes", "calibration_slope", None, "separate"),
    ("certain and wrong", "auroc", 0.0, "no interval"),
    ("certain and wrong", "mcc", -1.0, None),
    ("never positive by probability", "oe_ratio", None, "no positives are expected"),
]


@pytest.mark.parametrize(("case", "metric", "value", "reason"), EXPECTED)
def test_required_behaviour(results_of, case, metric, value, reason):
    result = results_of(case)
    name, _, label = metric.partition(":")
    system = entry(result)
    table = (
        next(c["metrics"] for c in system["sections"]["classes"] if c["label"] == label) if label else system["metrics"]
    )
    found = table[name]
    assert found["value"] == (None if value is None else pytest.approx(value))
    if reason is not None:
        assert reason in found["reason"]


def test_no_errors_still_have_an_interval(results_of):
    accuracy = entry(results_of("no errors"))["metrics"]["accuracy"]
    assert (accuracy["low"], accuracy["high"]) == (pytest.approx(118 / (118 + 1.959964**2)), 1.0)


def test_micro_f1_stands_beside_accuracy_only_where_they_differ(results_of):
    assert "micro_f1" in entry(results_of("some unparsed"))["metrics"]
    assert "micro_f1" not in entry(results_of("no errors"))["metrics"]


def test_an_absent_label_leaves_the_others_their_metrics(results_of):
    result = results_of("absent label")
    metrics = entry(result)["metrics"]
    assert "label-missing-in-test" in [finding["code"] for finding in result["findings"]]
    assert metrics["macro_auroc"]["value"] is not None
    assert "without Maybe" in metrics["macro_auroc"]["reason"]
    assert metrics["log_loss"]["value"] is not None
    assert metrics["classwise_ece"]["value"] is not None


def test_unparsed_answers_are_counted_by_label(results_of):
    assert [row[-1] for row in entry(results_of("some unparsed"))["sections"]["confusion"]["counts"]] == [1, 1]


def test_a_probability_at_the_threshold_is_positive(make_study, rows):
    study = make_study(threshold=Threshold(rule="fixed", value=0.5))
    table = rows("forest", ["Yes", "No"] * 5, ["No"] * 10, probabilities=pair([0.5, 0.5 - 1e-9] * 5))
    assert entry(outcome(study, table))["metrics"]["accuracy"]["value"] == 1.0
    # Without a threshold the first declared of equally probable labels stands, as the predictions table has it.
    assert entry(outcome(make_study(), table))["metrics"]["accuracy"]["value"] == 0.5


def test_no_items(make_study, rows):
    with pytest.raises(ClinfitError, match="no test predictions"):
        outcome(make_study(), rows("forest", LARGE, LARGE, split="validation"))


def test_repeated_ids_are_an_error_and_order_is_not(make_study, rows):
    forest, tiny = rows("forest", LARGE, LARGE), rows("tiny", LARGE, LARGE)
    repeated = tiny.assign(id=["test-00000", *tiny["id"][:-1]])
    result = outcome(make_study(), pd.concat([forest, repeated]))
    assert "misaligned-items" in [finding["code"] for finding in result["findings"]]
    assert result["withheld"]
    assert result["comparisons"] == []
    shuffled = outcome(make_study(), pd.concat([forest, tiny.sample(frac=1, random_state=0)]))
    assert not shuffled["withheld"]
    assert shuffled["comparisons"] == outcome(make_study(), pd.concat([forest, tiny]))["comparisons"]
