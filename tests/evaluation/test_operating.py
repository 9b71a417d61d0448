"""Decisions in clinical numbers: shares, alerts, other prevalences, and agreement with the metrics."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from clinfit.evaluation.evaluate import evaluate
from clinfit.evaluation.operating import OperatingPoint, operating_point, swept_points

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
    curves = system["curves"]
    assert curves is not None
    assert curves["net_benefit"][49][1] == pytest.approx(made.net_benefit)
