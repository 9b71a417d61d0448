"""How often nominal 95 % intervals hold the truth: by enumeration where that is exact, else by simulation.

Tolerance of a simulation: three standard errors, 3 x sqrt(0.95 x 0.05 / repeats), around 0.95 or around the coverage
that is published for the design; where an interval is known to be too narrow, the published coverage is the target.
"""

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import binom, norm, t

from clinfit.evaluation.metrics.classification import CLASSIFICATION
from clinfit.evaluation.metrics.engine import replicates
from clinfit.evaluation.metrics.probabilities import calibration
from clinfit.evaluation.metrics.scorer import LabelScorer
from clinfit.evaluation.statistics import bootstrap
from clinfit.evaluation.statistics.bootstrap import Resamples, percentile
from clinfit.evaluation.statistics.delong import delong, delong_interval, delong_paired
from clinfit.evaluation.statistics.intervals import bonett_price, ratio_of_sums, wilson, z_value

pytestmark = pytest.mark.slow


def within(coverage, repeats, target=0.95, slack=0.0):
    """Whether a simulated coverage agrees with the target, up to three standard errors and a bias that is known."""
    return abs(coverage - target) <= 3 * np.sqrt(target * (1 - target) / repeats) + slack


def holds(interval, truth):
    low, high = interval[:2]
    return low is None or low <= truth <= high


@pytest.mark.parametrize(
    ("n", "p", "coverage"),
    [
        (25, 0.90, 0.967),
        (25, 0.98, 0.911),
        (59, 0.90, 0.954),
        (59, 0.98, 0.969),
        (100, 0.98, 0.949),
        (300, 0.98, 0.942),
    ],
)
def test_wilson_covers_as_enumerated(n, p, coverage):
    """Exact; Wald's interval covers 0.396 to 0.932 of these."""
    inside = [holds(wilson(events, n), p) for events in range(n + 1)]
    assert binom.pmf(np.arange(n + 1), n, p) @ inside == pytest.approx(coverage, abs=5e-4)


@pytest.mark.parametrize(
    ("only_new", "only_reference", "low", "high"),
    [(0.15, 0.05, 0.94, 0.97), (0.1, 0.1, 0.94, 0.98), (0.03, 0.01, 0.99, 1)],
)
def test_bonett_price_covers_as_enumerated(only_new, only_reference, low, high):
    """Exact over all tables of 50 pairs; the method errs to the wide side where few pairs differ."""
    n, difference, covered = 50, only_new - only_reference, 0.0
    for c in range(n + 1):
        b = np.arange(n - c + 1)
        probability = binom.pmf(c, n, only_new) * binom.pmf(b, n - c, only_reference / (1 - only_new))
        covered += probability @ [holds(bonett_price(int(x), c, n), difference) for x in b]
    assert low <= covered <= high


def test_calibration_intervals_of_grouped_items_cover():
    """Of 60 groups with four items alike in each; Wald's interval covers two thirds of these."""
    rng, runs, groups = np.random.default_rng(0), 400, np.repeat(np.arange(60), 4)
    reach, inside = float(t.ppf(0.975, 59)), []
    for _ in range(runs):
        risk = expit(rng.normal(size=60))
        fit = calibration((rng.random(60) < risk)[groups], risk[groups], groups)
        assert fit is not None and fit.freedom == 59
        inside.append(
            [abs(fit.intercept) <= reach * fit.intercept_error, abs(fit.slope - 1) <= reach * fit.slope_error]
        )
    assert (np.mean(inside, axis=0) > 0.92).all()


def binormal(rng, positives, negatives, auroc):
    separation = np.sqrt(2) * norm.ppf(auroc)
    positive = np.r_[np.ones(positives, bool), np.zeros(negatives, bool)]
    return positive, rng.normal(size=len(positive)) + separation * positive


@pytest.mark.parametrize(("sizes", "published"), [((36, 23), 0.945), ((150, 150), 0.947)])
def test_logit_delong_covers(sizes, published):
    rng, repeats = np.random.default_rng(0), 3000
    inside = [holds(delong_interval(delong(*binormal(rng, *sizes, 0.95))), 0.95) for _ in range(repeats)]
    assert within(np.mean(inside), repeats, published, slack=0.01)


def bootstrap_coverage(make_answers, repeats, draws, sizes, name, truth, seed=0):
    """Share of percentile intervals, of data with AUROC 0.95, that hold the truth."""
    rng, inside = np.random.default_rng(seed), []
    for _ in range(repeats):
        positive, scores = binormal(rng, *sizes, 0.95)
        yes = expit(scores - 1.163)
        answers = make_answers(positive.astype(int), (yes > 0.5).astype(int), np.column_stack([1 - yes, yes]))
        drawn = replicates(LabelScorer, [answers], Resamples(answers.gold, None, draws))[0]
        inside.append(holds(percentile(drawn[name], 0.95), truth))
    return float(np.mean(inside))


def test_the_percentile_bootstrap_of_an_auroc_is_too_narrow_when_items_are_few(make_answers):
    """Published for 36 and 23 items: 0.855, and 0.942 for 150 and 150. The reason why AUROC takes DeLong's."""
    assert within(bootstrap_coverage(make_answers, 300, 300, (36, 23), "auroc", 0.95), 300, 0.855)
    assert within(bootstrap_coverage(make_answers, 300, 300, (150, 150), "auroc", 0.95), 300, 0.942)


#: P(score > threshold) of either class, with 1.163 between means that are 2.326 apart.
RIGHT = float(norm.cdf(1.163))


def test_the_bootstrap_covers(make_answers):
    assert within(bootstrap_coverage(make_answers, 300, 300, (300, 300), "balanced_accuracy", RIGHT), 300, slack=0.01)


@pytest.mark.parametrize("name", ["brier", "log_loss", "weighted_f1"])
def test_the_bootstrap_covers_where_another_test_set_would_have_other_shares_of_labels(make_answers, name):
    """Events are rare, and what is estimated hangs on how many there are: with their number held fixed, as the sampling
    of the test set does not hold it, intervals of the Brier score hold the truth in 56 % here."""

    def drawn(rng, n):
        event = (rng.random(n) < 0.05).astype(int)
        value = rng.normal(1.5 * event)
        risk = expit(np.log(0.05 / 0.95) + 1.5 * value - 1.5**2 / 2)
        return make_answers(event, (risk > 0.5).astype(int), np.column_stack([1 - risk, risk]))

    rng, repeats, inside = np.random.default_rng(0), 300, []
    truth = CLASSIFICATION.estimates(drawn(rng, 1_000_000))[name]
    for _ in range(repeats):
        answers = drawn(rng, 500)
        found = replicates(LabelScorer, [answers], Resamples(answers.gold, None, 300))[0]
        inside.append(holds(percentile(found[name], 0.95), truth))
    assert within(np.mean(inside), repeats, 0.95, slack=0.02)


def test_bootstrap_of_random_groups_covers_as_that_of_items(make_answers, monkeypatch):
    """200 groups of three items of each label: the noise of the error, 5 %, costs less than 0.005 of coverage."""
    monkeypatch.setattr(bootstrap, "UNITS", 500)
    monkeypatch.setattr(bootstrap, "RANDOM_GROUPS", 200)
    for name, truth in (("balanced_accuracy", RIGHT), ("auroc", 0.95)):
        coverage = bootstrap_coverage(make_answers, 300, 300, (600, 600), name, truth, seed=1)
        assert within(coverage, 300, slack=0.01), name


def test_cluster_bootstrap_covers_where_wilson_does_not(make_answers):
    """80 patients of six notes whose answers hang together: intervals that count notes are far too narrow."""
    rng, repeats = np.random.default_rng(2), 400
    clusters = np.repeat(np.arange(80), 6)
    by_group, by_item = [], []
    for _ in range(repeats):
        right = rng.random(480) < np.repeat(rng.beta(1.6, 0.4, size=80), 6)
        gold = (rng.random(480) < 0.5).astype(int)
        answers = make_answers(gold, np.where(right, gold, 1 - gold))
        drawn = replicates(LabelScorer, [answers], Resamples(gold, clusters, 300))[0]["accuracy"]
        by_group.append(holds(percentile(drawn, 0.95), 0.8))
        by_item.append(holds(wilson(int(right.sum()), 480), 0.8))
    assert within(np.mean(by_group), repeats, slack=0.015)
    assert np.mean(by_item) < 0.85


def test_paired_delong_covers():
    rng, repeats = np.random.default_rng(3), 1500
    inside = []
    for _ in range(repeats):
        positive, shared = binormal(rng, 60, 60, 0.8)
        noise = rng.normal(size=(2, 120))
        first, second = (delong(positive, shared + noise[k] * size) for k, size in enumerate((1.0, 0.5)))
        test = delong_paired(first, second)
        inside.append(holds((test.low, test.high), AUROC_GAIN))
    assert within(np.mean(inside), repeats, slack=0.01)


#: The separation of the binormal scores above, over the spread that noise of size 0.5 and of size 1 leaves.
AUROC_GAIN = float(np.subtract(*norm.cdf(np.sqrt(2) * norm.ppf(0.8) / np.sqrt(2 * (1 + np.array([0.25, 1.0]))))))


def test_calibration_and_observed_to_expected_cover():
    """Outcomes that follow the risks: intercept 0, slope 1, ratio 1."""
    rng, repeats = np.random.default_rng(4), 500
    intercept, slope, ratio = [], [], []
    for _ in range(repeats):
        risk = expit(rng.normal(-0.5, 1.2, size=400))
        outcome = rng.random(400) < risk
        fit = calibration(outcome, risk)
        assert fit is not None
        intercept.append(abs(fit.intercept) <= z_value(0.95) * fit.intercept_error)
        slope.append(abs(fit.slope - 1) <= z_value(0.95) * fit.slope_error)
        ratio.append(holds(ratio_of_sums(outcome.astype(float), risk), 1.0))
    assert within(np.mean(intercept), repeats)
    assert within(np.mean(slope), repeats)
    assert within(np.mean(ratio), repeats)
