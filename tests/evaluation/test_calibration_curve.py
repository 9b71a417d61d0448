"""The smooth calibration curve against another basis and another optimiser; its band and indices by simulation."""

import time

import numpy as np
import pytest
from scipy.interpolate import CubicSpline
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from clinfit.evaluation.analyses.curves import curves
from clinfit.evaluation.answers import LabelAnswers
from clinfit.evaluation.metrics.calibration_curve import (
    INDICES,
    CalibrationFit,
    calibration_indices,
    fit_calibration_curve,
)


def made(n: int, seed: int, slope: float = 1.0, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes and the probabilities of a model; slope 1 and shift 0 are a perfect one."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, 1.5, n)
    return rng.random(n) < expit(shift + slope * scores), expit(scores)


def fitted(outcome: np.ndarray, probabilities: np.ndarray, clusters: np.ndarray | None = None) -> CalibrationFit:
    fit = fit_calibration_curve(outcome, probabilities, clusters)
    assert fit is not None
    return fit


def test_curve_is_the_natural_spline_fit_of_another_library() -> None:
    outcome, probabilities = made(380, 1, 0.5, 0.4)
    fit = fitted(outcome, probabilities)
    assert len(fit.knots) == 5
    assert fit.knots == pytest.approx(np.quantile(logit(probabilities), [0.05, 0.275, 0.5, 0.725, 0.95]), abs=0.05)
    first, last = fit.knots[[0, -1]]
    natural = CubicSpline(fit.knots, np.eye(5), bc_type="natural")

    def basis(scores: np.ndarray) -> np.ndarray:
        inside = np.clip(scores, first, last)
        return natural(inside) + natural(inside, 1) * (scores - inside)[:, None]  # linear beyond the outer knots

    reference = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10, max_iter=10_000)
    reference.fit(basis(logit(probabilities)), outcome)
    points = np.array(fit.points(0.95))
    assert points[:, 1] == pytest.approx(reference.predict_proba(basis(logit(points[:, 0])))[:, 1], abs=2e-3)


def test_curve_stays_in_bounds_and_in_the_range_of_the_predictions() -> None:
    outcome, probabilities = made(300, 2, 3.0)
    points = np.array(fitted(outcome, probabilities).points(0.95))
    assert points[0, 0] == probabilities.min() and points[-1, 0] == probabilities.max()
    assert ((points[:, 2] <= points[:, 1]) & (points[:, 1] <= points[:, 3])).all()
    assert points.min() >= 0 and points.max() <= 1


def test_knots_follow_the_rarer_class() -> None:
    rng = np.random.default_rng(4)
    for events, knots in ((19, None), (20, 0), (39, 0), (40, 3), (60, 4), (80, 5)):
        outcome = np.arange(600) < events
        probabilities = expit(rng.normal(-2, 1, 600) + outcome)
        fit = fit_calibration_curve(outcome, probabilities)
        assert (None if fit is None else len(fit.knots)) == knots
        flipped = fit_calibration_curve(~outcome, 1 - probabilities)
        assert (None if flipped is None else len(flipped.knots)) == knots


def test_no_curve_where_there_is_none() -> None:
    outcome = np.arange(200) % 2 == 0
    assert fit_calibration_curve(outcome, np.full(200, 0.3)) is None, "constant"
    assert fit_calibration_curve(outcome, np.where(outcome, 0.9, 0.1)) is None, "separated"
    assert fit_calibration_curve(outcome, expit(np.arange(200) / 50), np.arange(200) % 10) is None, "ten groups"


def test_two_probabilities_give_the_two_shares() -> None:
    outcome = np.r_[np.arange(100) < 30, np.arange(100) < 80]
    fit = fitted(outcome, np.repeat([0.2, 0.7], 100))
    points = fit.points(0.95)
    assert points[0][1] == pytest.approx(0.3) and points[-1][1] == pytest.approx(0.8)
    found = calibration_indices(fit, "", 200, 110, 0.95)
    assert [found[name].value for name in INDICES] == pytest.approx([0.1] * 4)


def test_indices_are_distances_over_the_items() -> None:
    outcome, probabilities = made(350, 5, 0.6, -0.5)
    fit = fitted(outcome, probabilities)
    curve = expit(fit.design(probabilities) @ fit.coefficients)
    distance = np.sort(np.abs(curve - probabilities))
    found = calibration_indices(fit, "", 350, int(outcome.sum()), 0.95)
    values = [found[name].value for name in INDICES]
    assert values == pytest.approx([distance.mean(), distance[174], distance[314], distance[-1]])
    for name in INDICES:
        value, low, high = found[name].value, found[name].low, found[name].high
        assert value is not None and low is not None and high is not None and 0 <= low <= value <= high


def test_many_items_are_merged_without_loss() -> None:
    outcome, probabilities = made(40_000, 6, 0.7, 0.2)
    fit = fitted(outcome, probabilities)
    assert len(fit.levels) <= 400 and fit.weights.sum() == 40_000
    true = expit(0.2 + 0.7 * logit(probabilities))
    ici = calibration_indices(fit, "", 40_000, int(outcome.sum()), 0.95)["ici"]
    assert ici.value == pytest.approx(np.abs(true - probabilities).mean(), abs=0.006)


def test_without_a_fit_every_index_tells_why() -> None:
    found = calibration_indices(None, "one class", 40, 0, 0.95)
    assert {(m.value, m.status, m.reason) for m in found.values()} == {(None, "undefined", "one class")}


def test_band_covers_the_true_curve() -> None:
    inside = 0
    for seed in range(200):
        points = np.array(fitted(*made(300, seed, 0.7, 0.3)).points(0.95))
        truth = expit(0.3 + 0.7 * logit(points[:, 0]))[50]
        inside += points[50, 2] <= truth <= points[50, 3]
    assert 0.9 <= inside / 200 <= 0.99


def test_intervals_of_the_ici_hold_0_for_a_perfect_model_and_the_truth_for_another() -> None:
    holds = {"perfect": 0, "shifted": 0}
    scores = np.random.default_rng(0).normal(0, 1.5, 100_000)
    truth = {"perfect": 0.0, "shifted": float(np.abs(expit(scores) - expit(scores - 0.7)).mean())}
    for seed in range(60):
        for name, shift in (("perfect", 0.0), ("shifted", -0.7)):
            outcome, probabilities = made(400, seed, 1.0, shift)
            found = calibration_indices(fitted(outcome, probabilities), "", 400, int(outcome.sum()), 0.95)["ici"]
            assert found.low is not None and found.high is not None
            holds[name] += found.low <= truth[name] <= found.high
    assert holds["perfect"] >= 54 and holds["shifted"] >= 51


def test_copies_of_an_item_add_no_certainty_when_grouped() -> None:
    outcome, probabilities = made(300, 8, 0.8)
    copies = [np.repeat(values, 4) for values in (outcome, probabilities)]

    def width(fit: CalibrationFit) -> float:
        points = np.array(fit.points(0.95))
        return float((points[20:80, 3] - points[20:80, 2]).mean())

    alone = width(fitted(outcome, probabilities))
    assert width(fitted(*copies)) == pytest.approx(alone / 2, rel=0.15)
    assert width(fitted(*copies, np.repeat(np.arange(300), 4))) == pytest.approx(alone, rel=0.15)


@pytest.mark.slow
def test_a_million_items_take_seconds() -> None:
    rng = np.random.default_rng(0)
    scores = rng.beta(0.5, 3, 1_000_000)
    gold = (rng.random(len(scores)) < scores).astype(np.int64)
    both = np.column_stack([1 - scores, scores])
    answers = LabelAnswers(("no", "yes"), 1, gold, (scores >= 0.5).astype(np.int64), both, np.full(len(gold), np.nan))
    start = time.process_time()
    drawn = curves(answers, 0.95)
    assert time.process_time() - start < 4
    assert drawn is not None and len(drawn["calibration_curve"]) == 101 and len(drawn["sweep"]) == 99
