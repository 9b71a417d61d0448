"""Decisions in clinical numbers: shares, alerts, other prevalences, and agreement with the metrics."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from clinfit.evaluation.decisions.operating_point import OperatingPoint, operating_point, swept_points
from clinfit.evaluation.evaluate import evaluate

POINT = OperatingPoint(0.2, found=40, alarms=30, missed=8, cleared=110, positives=50, negatives=150)


def test_unparsed_answers_are_wrong_in_every_share() -> None:
    assert (POINT.sensitivity, POINT.specificity) == (40 / 50, 110 / 150)
    assert (POINT.ppv, POINT.npv) == (40 / 70, 110 / 118)
    assert (POINT.alerts_per_100, POINT.misses_per_100) == (35, 5)
    assert POINT.net_benefit == pytest.approx(40 / 200 - 30 / 200 * 0.25)


def test_predictive_values_at_the_own_prevalence_are_the_observed_ones() -> None:
    assert POINT.ppv_at(0.25) == pytest.approx(POINT.ppv)
    whole = OperatingPoint(0.2, 40, 30, 10, 120, 50, 150)
    assert whole.npv_at(0.25) == pytest.approx(whole.npv)
    assert whole.ppv_at(0.01) == pytest.approx(0.01 * 0.8 / (0.01 * 0.8 + 0.99 * 0.2))


def test_nothing_flagged_has_no_predictive_value() -> None:
    silent = OperatingPoint(0.5, 0, 0, 50, 150, 50, 150)
    assert silent.ppv is None and silent.ppv_at(0.1) is None and silent.npv_at(0.1) == pytest.approx(0.9)


def test_points_agree_with_the_metrics(make_study: Callable[..., Any], rows: Callable[..., Any]) -> None:
    rng = np.random.default_rng(0)
    gold = rng.integers(0, 2, 120)
    yes = np.clip(0.25 * gold + 0.7 * rng.random(120), 0, 1)
    labels = np.array(["No", "Yes"])
    predicted = [None if k % 17 == 0 else str(labels[int(p >= 0.5)]) for k, p in enumerate(yes)]
    table = rows("forest", labels[gold], predicted, probabilities=np.column_stack([1 - yes, yes]))
    (task,) = evaluate(make_study(threshold={"rule": "fixed", "value": 0.5}), table)["tasks"].values()
    system = next(system for system in task["systems"] if system["name"] == "forest")
    made = operating_point(system, "Yes")
    assert system["unparsed"] > 0
    for name in ("sensitivity", "specificity", "ppv", "npv"):
        assert getattr(made, name) == pytest.approx(system["metrics"][name]["value"])
    swept = next(point for point in swept_points(system, "Yes") if point.threshold == 0.5)
    assert swept == made
    curves = system["sections"]["curves"]
    assert curves is not None
    assert curves["net_benefit"][49][1] == pytest.approx(made.net_benefit)


def test_no_false_alarm_among_few_is_no_certainty_where_events_are_rare() -> None:
    """0 of 72 false alarms: a predictive value of 100 % at a prevalence of 1 % may as well be 13 %."""
    point = OperatingPoint(0.5, found=34, alarms=0, missed=8, cleared=72, positives=42, negatives=72)
    assert point.ppv_at(0.01) == 1.0
    low, high = point.ppv_interval(0.01, 0.95)
    assert 0.1 < low < 0.2 and high == 1.0
    assert POINT.ppv_interval(0.25, 0.95)[0] < POINT.ppv_at(0.25) < POINT.ppv_interval(0.25, 0.95)[1]
    assert POINT.npv_interval(0.25, 0.95)[0] < POINT.npv_at(0.25) < POINT.npv_interval(0.25, 0.95)[1]


def test_the_interval_of_a_ratio_of_proportions_covers() -> None:
    """Of PPV at another prevalence, over 4,000 drawn test sets with 100 of each class."""
    rng = np.random.default_rng(0)
    truth = 0.05 * 0.8 / (0.05 * 0.8 + 0.95 * 0.1)
    found, alarms = rng.binomial(100, 0.8, 4000), rng.binomial(100, 0.1, 4000)
    ends = [
        OperatingPoint(0.5, int(tp), int(fp), 100 - int(tp), 100 - int(fp), 100, 100).ppv_interval(0.05, 0.95)
        for tp, fp in zip(found, alarms, strict=True)
    ]
    assert 0.94 < np.mean([low <= truth <= high for low, high in ends]) < 0.975
