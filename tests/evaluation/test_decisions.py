"""Recalibration, threshold and referral through the whole evaluation, and what is said of choices on validation."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from clinfit.evaluation.claims.wording import referral_words, threshold_words
from clinfit.evaluation.evaluate import evaluate


def table(rows, split, n, seed, *, labels=("No", "Yes"), slope=3.0, shift=1.0):
    """The majority and a forest whose probabilities are too extreme by `slope` and too high by `shift`."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, len(labels)))
    truth = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    gold = [labels[rng.choice(len(labels), p=row)] for row in truth]
    raw = np.exp(slope * logits + shift * np.arange(len(labels)))
    probabilities = raw / raw.sum(1, keepdims=True)
    answers = [labels[k] for k in probabilities.argmax(1)]
    return pd.concat(
        [
            rows("always", gold, [labels[0]] * n, labels, split=split),
            rows("forest", gold, answers, labels, probabilities=probabilities, split=split),
        ]
    )


def outcome(make_study, rows, *, n=400, labels=("No", "Yes"), validation=True, slope=3.0, shift=1.0, **evaluation):
    parts = [table(rows, "test", n, 1, labels=labels)]
    if validation:
        parts.append(table(rows, "validation", n, 2, labels=labels, slope=slope, shift=shift))
    return evaluate(make_study(labels, **evaluation), pd.concat(parts, ignore_index=True))["tasks"]["outcome"]


def forest(task):
    return next(system for system in task["systems"] if system["model"] == "forest")


def codes(task):
    return [finding["code"] for finding in task["findings"]]


def test_recalibration_comes_before_the_threshold_and_keeps_the_numbers_before(make_study, rows):
    raw = forest(outcome(make_study, rows))
    task = outcome(make_study, rows, calibration="platt", threshold={"rule": "youden"})
    system = forest(task)
    recalibration = system["sections"]["recalibration"]
    assert recalibration["kind"] == "platt"
    assert set(recalibration["before"]) == {
        "brier", "log_loss", "calibration_intercept", "calibration_slope", "ece",
    }  # fmt: skip
    for name, metric in recalibration["before"].items():
        assert metric == raw["metrics"][name], "before is what a study without recalibration reports"
    assert system["metrics"]["brier"]["value"] < recalibration["before"]["brier"]["value"]
    assert system["metrics"]["auroc"] == raw["metrics"]["auroc"]
    assert 0.8 < system["metrics"]["calibration_slope"]["value"] < 1.25
    assert "recalibration-worse" not in codes(task) and "small-validation" not in codes(task)
    (slope,), (_, intercept) = recalibration["parameters"]["slope"], recalibration["parameters"]["intercepts"]
    without = forest(outcome(make_study, rows, threshold={"rule": "youden"}))["sections"]["threshold"]["value"]
    mapped = expit(slope * np.log(without / (1 - without)) + intercept)
    assert system["sections"]["threshold"]["value"] == pytest.approx(mapped, abs=0.05), (
        "the same items, on the new scale"
    )


def test_platt_may_change_the_most_probable_label_and_temperature_never_does(make_study, rows):
    raw, platt, heated = (
        forest(outcome(make_study, rows, calibration=kind))["sections"]["confusion"]["counts"]
        for kind in ("none", "platt", "temperature")
    )
    assert heated == raw and platt != raw
    many = [
        forest(outcome(make_study, rows, labels=("a", "b", "c"), calibration=kind)) for kind in ("none", "temperature")
    ]
    assert many[0]["sections"]["confusion"] == many[1]["sections"]["confusion"]
    assert set(many[1]["sections"]["recalibration"]["before"]) == {"brier_sum", "log_loss", "ece"}


def test_simple_rules_have_none_of_it(make_study, rows):
    task = outcome(make_study, rows, calibration="platt", refer={"rule": "confidence", "value": 0.8})
    always = next(system for system in task["systems"] if system["model"] == "always")
    decisions = {"recalibration", "referral", "selective", "conformal"}
    assert not decisions & set(always["sections"])
    assert decisions <= set(forest(task)["sections"])


def test_sets_and_referral_share_the_level_of_the_study(make_study, rows):
    system = forest(outcome(make_study, rows, refer={"rule": "conformal", "value": 0.8}))
    assert system["sections"]["conformal"]["level"] == 0.8
    decided = system["sections"]["conformal"]["sizes"]["1"]
    # The answer is the most probable label, which is in every set of one label.
    assert (
        system["sections"]["referral"]["decided"] == decided
        and system["sections"]["referral"]["referred"] == 400 - decided
    )
    assert forest(outcome(make_study, rows))["sections"]["conformal"]["level"] == 0.9


def test_grouped_validation_weakens_the_promise_wherever_it_is_told(make_study, rows):
    table_ = pd.concat([table(rows, "test", 400, 1), table(rows, "validation", 400, 2)], ignore_index=True)
    table_["group"] = [f"patient-{k // 4}" for k in range(len(table_))]
    study = make_study(("No", "Yes"), refer={"rule": "conformal", "value": 0.8})
    system = forest(evaluate(study, table_)["tasks"]["outcome"])
    caution = "the 400 validation records are of 100 groups"
    assert caution in system["sections"]["conformal"]["caution"] and caution in referral_words(
        system["sections"]["referral"]
    )
    alone = forest(outcome(make_study, rows, refer={"rule": "conformal", "value": 0.8}))
    assert alone["sections"]["conformal"]["caution"] is None and "groups" not in referral_words(
        alone["sections"]["referral"]
    )


def test_small_validation_is_told_once_and_only_where_something_was_chosen(make_study, rows):
    task = outcome(make_study, rows, n=120, calibration="temperature", threshold={"rule": "youden"})
    (finding,) = [f for f in task["findings"] if f["code"] == "small-validation"]
    assert finding["title"].startswith("The threshold and recalibration were chosen") and finding["level"] == "warn"
    assert "small-validation" not in codes(outcome(make_study, rows, n=120))


def test_a_map_from_another_world_is_told(make_study, rows):
    """On validation the probabilities are too timid, on test too extreme."""
    task = outcome(make_study, rows, calibration="temperature", slope=0.2, shift=0.0)
    assert "recalibration-worse" in codes(task)


def test_what_could_not_be_done_is_told(make_study, rows):
    task = outcome(make_study, rows, calibration="isotonic")
    assert "recalibration-fallback" in codes(task) and forest(task)["sections"]["recalibration"]["kind"] == "none"
    task = outcome(make_study, rows, n=60, refer={"rule": "conformal", "value": 0.9})
    assert "referral-fallback" in codes(task) and forest(task)["sections"]["referral"]["referred"] == 0
    task = outcome(make_study, rows, validation=False, calibration="platt", refer={"rule": "confidence", "value": 0.9})
    assert {"recalibration-fallback", "referral-fallback"} <= set(codes(task))
    assert "no validation items" in forest(task)["sections"]["recalibration"]["note"]


def test_a_guarantee_is_not_claimed_for_grouped_items(make_study, rows):
    parts = [table(rows, split, 400, seed) for split, seed in (("test", 1), ("validation", 2))]
    together = pd.concat(parts, ignore_index=True)
    together["group"] = together["id"].str.slice(0, -1)
    study = make_study(threshold={"rule": "guarantee", "value": 0.6})
    system = forest(evaluate(study, together)["tasks"]["outcome"])
    assert (
        system["sections"]["threshold"]["value"] is not None
        and "share groups" in system["sections"]["threshold"]["note"]
    )
    assert "by group" in system["sections"]["selective"]["accuracy_at"]["0.9"]["method"]


def test_what_must_be_known_of_a_threshold_stands_beside_it(make_study, rows):
    system = forest(outcome(make_study, rows, threshold={"rule": "youden"}))
    assert "(" not in threshold_words(system)
    system["sections"]["threshold"]["note"] = "few items"
    assert threshold_words(system).endswith("(few items)")


def test_label_weights_decide_between_more_than_two_labels(make_study, rows) -> None:
    labels = ("a", "b", "c")
    plain = forest(outcome(make_study, rows, labels=labels, primary="macro_f1"))
    task = outcome(make_study, rows, labels=labels, primary="macro_f1", threshold={"rule": "macro-f1"})
    moved = forest(task)
    found = moved["sections"]["threshold"]
    assert (
        found["value"] is None and found["weights"]["a"] == 1 > found["weights"]["c"] and found["split"] == "validation"
    )
    assert moved["metrics"]["macro_f1"]["value"] > plain["metrics"]["macro_f1"]["value"]
    assert moved["metrics"]["macro_auroc"] == plain["metrics"]["macro_auroc"], "probabilities stay as they are"
    assert threshold_words(moved).startswith("the largest of weight x probability (a 1, b ")
    assert "chosen on 400 validation items for the largest macro F1" in threshold_words(moved)
    few = outcome(make_study, rows, n=120, labels=labels, threshold={"rule": "macro-f1"})
    (told,) = [finding["title"] for finding in few["findings"] if finding["code"] == "small-validation"]
    assert told.startswith("The label weights were chosen on few validation items")
