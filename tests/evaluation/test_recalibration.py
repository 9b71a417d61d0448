"""Recalibration: the map that was fitted, its inverse problem, and what it must leave alone."""

import json

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from clinfit.evaluation.decisions.recalibration import Recalibration, fit_recalibration


def overconfident(n, seed=0, slope=3.0, shift=0.7):
    """Gold and (n, 2) probabilities that are too extreme by `slope` and too high by `shift` on the logit scale."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    gold = (rng.random(n) < expit(z)).astype(np.int64)
    p = expit(slope * z + shift)
    return gold, np.column_stack([1 - p, p])


def log_loss(gold, probabilities):
    return -np.log(probabilities[np.arange(len(gold)), gold]).mean()


def test_platt_finds_what_was_done_to_the_probabilities():
    gold, probabilities = overconfident(20_000)
    fit = fit_recalibration("platt", gold, probabilities, 1)
    assert (fit.kind, fit.split, fit.n, fit.note) == ("platt", "validation", 20_000, None)
    assert fit.parameters["slope"][0] == pytest.approx(1 / 3, abs=0.02)
    assert fit.parameters["intercepts"] == [0, pytest.approx(-0.7 / 3, abs=0.03)]


@pytest.mark.parametrize("positive", [0, 1])
def test_platt_is_logistic_regression_on_the_logit(positive):
    gold, probabilities = overconfident(300)
    outcome, scores = gold == positive, logit(probabilities[:, [positive]])
    expected = LogisticRegression(C=np.inf, tol=1e-10).fit(scores, outcome).predict_proba(scores)[:, 1]
    applied = fit_recalibration("platt", gold, probabilities, positive).apply(probabilities)
    np.testing.assert_allclose(applied[:, positive], expected, atol=1e-5)


def test_temperature_finds_what_was_done_to_three_labels():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20_000, 3))
    truth = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    gold = np.array([rng.choice(3, p=row) for row in truth])
    heated = np.exp(2.5 * logits) / np.exp(2.5 * logits).sum(1, keepdims=True)
    fit = fit_recalibration("temperature", gold, heated, None)
    assert fit.parameters["temperature"][0] == pytest.approx(2.5, abs=0.06)
    np.testing.assert_array_equal(fit.apply(heated).argmax(1), heated.argmax(1))


def test_temperature_has_the_least_loss_on_its_own_items():
    gold, probabilities = overconfident(200)
    fit = fit_recalibration("temperature", gold, probabilities, 1)
    (best,) = fit.parameters["temperature"]
    losses = [
        log_loss(
            gold, Recalibration("temperature", fit.parameters | {"temperature": [best * factor]}).apply(probabilities)
        )
        for factor in (0.9, 1, 1.1)
    ]
    assert losses[1] == min(losses) == pytest.approx(log_loss(gold, fit.apply(probabilities)))


@pytest.mark.parametrize("positive", [0, 1])
def test_isotonic_is_that_of_scikit_learn(positive):
    gold, probabilities = overconfident(1500)
    fit = fit_recalibration("isotonic", gold, probabilities, positive)
    reference = IsotonicRegression(y_min=1 / 1502, y_max=1 - 1 / 1502, out_of_bounds="clip")
    reference.fit(probabilities[:, positive], gold == positive)
    new = np.linspace(0, 1, 501)
    rows = np.column_stack([new, 1 - new]) if positive == 0 else np.column_stack([1 - new, new])
    np.testing.assert_allclose(fit.apply(rows)[:, positive], reference.predict(new), atol=1e-12)


@pytest.mark.parametrize("kind", ["temperature", "platt", "isotonic"])
def test_rows_sum_to_one_survive_json_and_do_not_depend_on_their_neighbours(kind):
    gold, probabilities = overconfident(1200)
    fit = fit_recalibration(kind, gold, probabilities, 1)
    new = np.vstack([probabilities[:50], [[0, 1], [1, 0], [np.nan, np.nan]]])
    applied = fit.apply(new)
    assert np.allclose(applied[:-1].sum(1), 1, atol=1e-12) and np.isnan(applied[-1]).all()
    again = Recalibration.from_dict(json.loads(json.dumps(fit.as_dict())))
    assert again == fit
    order = np.random.default_rng(0).permutation(len(new))
    np.testing.assert_array_equal(again.apply(np.asfortranarray(new[order])), applied[order])
    np.testing.assert_array_equal(np.vstack([again.apply(new[i : i + 1]) for i in range(len(new))]), applied)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.booleans(), st.floats(0.01, 0.99)), min_size=4, max_size=40),
    st.sampled_from(["temperature", "platt"]),
)
def test_a_monotone_map_leaves_the_ranking_alone(items, kind):
    gold, scores = (np.array(column) for column in zip(*items, strict=True))
    assume(0 < gold.sum() < len(gold))
    probabilities = np.column_stack([1 - scores, scores])
    fit = fit_recalibration(kind, gold.astype(np.int64), probabilities, 1)
    applied = fit.apply(probabilities)[:, 1]
    order = np.argsort(scores)
    assert (np.diff(applied[order]) >= 0).all()
    # An extreme slope can tie neighbours that differ in their last bits only.
    if len(np.unique(applied)) == len(np.unique(scores)):
        assert roc_auc_score(gold, applied) == roc_auc_score(gold, scores)


def test_the_ranking_is_left_alone_in_an_ordinary_case():
    gold, probabilities = overconfident(500)
    for kind in ("temperature", "platt"):
        applied = fit_recalibration(kind, gold, probabilities, 1).apply(probabilities)
        assert roc_auc_score(gold, applied[:, 1]) == roc_auc_score(gold, probabilities[:, 1])


GOLD = np.array([0, 1] * 30)
SEPARATED = np.column_stack([1 - 0.8 * GOLD - 0.1, 0.8 * GOLD + 0.1])


@pytest.mark.parametrize(
    ("kind", "gold", "probabilities", "positive", "why"),
    [
        ("platt", np.ones(50, int), np.tile([0.3, 0.7], (50, 1)), 1, "one class only"),
        ("temperature", GOLD, np.tile([0.3, 0.7], (60, 1)), 1, "same probabilities"),
        ("platt", GOLD, SEPARATED, 1, "separate the classes"),
        ("temperature", GOLD, SEPARATED, 1, "every answer to validation items is right"),
        ("platt", *overconfident(300, slope=-1.0), 1, "do not go with more positives"),
        ("temperature", *overconfident(300, slope=-1.0), 1, "say nothing"),
        ("isotonic", *overconfident(999), 1, "1,000 validation items and there are 999"),
        ("temperature", np.array([], int), np.empty((0, 2)), 1, "no validation items"),
    ],
)
def test_what_cannot_be_fitted_is_left_as_it_was_and_says_why(kind, gold, probabilities, positive, why):
    fit = fit_recalibration(kind, gold, probabilities, positive)
    assert fit.kind == "none" and fit.note is not None and why in fit.note
    assert fit.apply(probabilities) is probabilities


@pytest.mark.parametrize("kind", ["temperature", "platt"])
def test_a_probability_of_zero_counts_alike_where_the_map_is_fitted_and_where_it_is_applied(kind):
    """Votes of few trees are often exactly 0; a floor for the fit alone once gave certainty to wrong answers."""
    rng = np.random.default_rng(5)
    risk = rng.beta(0.5, 0.5, 4000)
    votes = rng.binomial(20, risk) / 20
    gold = (rng.random(4000) < risk).astype(np.int64)
    probabilities = np.column_stack([1 - votes, votes])
    fit = fit_recalibration(kind, gold[:2000], probabilities[:2000], 1)
    applied = fit.apply(probabilities[2000:])
    assert applied.min() > 1e-4
    assert log_loss(gold[2000:], applied) < 0.95 * log_loss(gold[2000:], np.clip(probabilities[2000:], 1e-6, 1))
