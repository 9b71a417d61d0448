"""Net benefit against its definition, published figures and brute force."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from clinfit.evaluation.decisions.net_benefit import (
    THRESHOLDS,
    interventions_avoided,
    net_benefit,
    net_benefit_curve,
    threshold_sweep,
    treat_all,
)

items = st.lists(
    st.tuples(st.booleans(), st.integers(0, 100).map(lambda k: k / 100), st.booleans()), min_size=2, max_size=40
)


def columns(made: list[tuple[bool, float, bool]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    outcome, scores, parsed = zip(*made, strict=True)
    return np.array(outcome), np.array(scores), np.array(parsed)


@pytest.mark.parametrize(
    ("found", "alarms", "expected"),
    [(30, 19, (0.294, 0.186, 0.025)), (22, 11, (0.249, 0.186, 0.093)), (36, 23, (0.350, 0.220, 0.025))],
    ids=["language model", "random forest", "always yes"],
)
def test_figures_of_59_patients(found: int, alarms: int, expected: tuple[float, ...]) -> None:
    assert net_benefit(found, alarms, 59, np.array([0.4, 0.5, 0.6])).round(3).tolist() == list(expected)


@given(st.floats(0, 1), st.floats(0.001, 0.999))
def test_treating_all_and_none(prevalence: float, threshold: float) -> None:
    expected = prevalence - (1 - prevalence) * threshold / (1 - threshold)
    assert treat_all(prevalence, threshold) == pytest.approx(expected)
    assert net_benefit(0, 0, 59, threshold) == 0


def test_treating_all_is_worth_nothing_at_the_prevalence() -> None:
    assert treat_all(0.2, 0.2) == pytest.approx(0)


def test_interventions_avoided_by_a_perfect_rule_are_the_negatives() -> None:
    """No event missed: what is avoided is the treatment of everybody without the event, at every threshold."""
    thresholds = np.array([0.05, 0.2, 0.7])
    perfect = net_benefit(30, 0, 100, thresholds)
    assert interventions_avoided(perfect, treat_all(0.3, thresholds), thresholds) == pytest.approx(70)


@given(items)
def test_sweep_counts_what_a_confusion_matrix_counts(made: list[tuple[bool, float, bool]]) -> None:
    outcome, scores, parsed = columns(made)
    sweep = threshold_sweep(outcome, scores, parsed)
    assert sweep[:, 0].tolist() == [k / 100 for k in range(1, 100)]
    for threshold, found, alarms, missed, cleared in sweep[::7]:
        called = scores[parsed] >= threshold
        (tn, fp), (fn, tp) = (
            confusion_matrix(outcome[parsed], called, labels=[False, True]) if parsed.any() else np.zeros((2, 2))
        )
        assert (found, alarms, missed, cleared) == (tp, fp, fn, tn)


def test_a_score_at_the_threshold_is_positive() -> None:
    scores = THRESHOLDS.copy()
    sweep = threshold_sweep(np.ones(99, dtype=bool), scores, np.ones(99, dtype=bool))
    assert sweep[:, 1].tolist() == list(range(99, 0, -1))


@given(items)
def test_curve_is_the_mean_over_items(made: list[tuple[bool, float, bool]]) -> None:
    outcome, scores, parsed = columns(made)
    curve = net_benefit_curve(threshold_sweep(outcome, scores, parsed), outcome, scores, parsed, 0.95)
    for threshold, benefit, everybody, low, high in curve[::9]:
        odds = threshold / (1 - threshold)
        terms = np.where(parsed & (scores >= threshold), np.where(outcome, 1, -odds), 0)
        assert benefit == pytest.approx(terms.mean())
        assert everybody == pytest.approx(np.where(outcome, 1, -odds).mean())
        half = 1.959964 * terms.std(ddof=1) / np.sqrt(len(terms))
        assert (low, high) == (pytest.approx(benefit - half, abs=1e-6), pytest.approx(benefit + half, abs=1e-6))


@given(items, st.data())
def test_grouped_interval_is_that_of_sums_over_groups(
    made: list[tuple[bool, float, bool]], data: st.DataObject
) -> None:
    outcome, scores, parsed = columns(made)
    drawn = data.draw(st.lists(st.integers(0, 4), min_size=len(made), max_size=len(made)))
    clusters = np.unique(drawn, return_inverse=True)[1]
    groups = int(clusters.max()) + 1
    curve = net_benefit_curve(threshold_sweep(outcome, scores, parsed), outcome, scores, parsed, 0.95, clusters)
    if groups == 1:
        assert curve.shape == (99, 3)
        return
    for threshold, benefit, _, low, high in curve[::9]:
        odds = threshold / (1 - threshold)
        terms = np.where(parsed & (scores >= threshold), np.where(outcome, 1, -odds), 0) - benefit
        sums = np.array([terms[clusters == g].sum() for g in range(groups)])
        half = 1.959964 * np.sqrt((sums**2).sum() * groups / (groups - 1)) / len(terms)
        assert high - low == pytest.approx(2 * half, abs=1e-5)


def test_interval_covers() -> None:
    rng = np.random.default_rng(3)
    large = rng.beta(1, 3, 400_000)
    truth = float(np.where(large >= 0.3, large - (1 - large) * 3 / 7, 0).mean())
    inside = 0
    for _ in range(300):
        scores = rng.beta(1, 3, 120)
        outcome, parsed = rng.random(120) < scores, np.ones(120, dtype=bool)
        row = net_benefit_curve(threshold_sweep(outcome, scores, parsed), outcome, scores, parsed, 0.95)[29]
        inside += row[3] <= truth <= row[4]
    assert 0.91 <= inside / 300 <= 0.985
