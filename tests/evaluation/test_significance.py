"""Paired differences, their tests and Holm's correction."""

import numpy as np
import pytest
from scipy.stats import binomtest, mannwhitneyu

from clinfit.errors import ClinfitError
from clinfit.evaluation.claims.non_inferiority import non_inferiority
from clinfit.evaluation.claims.paired import check_same_items, flips, paired_difference
from clinfit.evaluation.metrics.classification import CLASSIFICATION
from clinfit.evaluation.statistics.bootstrap import Resamples, bootstrap_p
from clinfit.evaluation.statistics.holm import holm
from clinfit.evaluation.statistics.mcnemar import mcnemar


def pair(first, second, *, groups=None, draws=1000):
    """Two systems under shared resamples."""
    resamples = Resamples(first.gold, groups, draws)
    return CLASSIFICATION.score([first, second], resamples, 0.95)


def discordant(make_answers, b, c, both_right, both_wrong):
    """b only the first right, c only the second; half of each are positive."""
    first = np.array([True] * b + [False] * c + [True] * both_right + [False] * both_wrong)
    second = np.array([False] * b + [True] * c + [True] * both_right + [False] * both_wrong)
    gold = np.arange(len(first)) % 2
    return [make_answers(gold, np.where(right, gold, 1 - gold)) for right in (first, second)]


@pytest.mark.parametrize(
    ("c", "p", "low", "high"),
    [(0, 1e-4, 2.4, 7.6), (10, 0.017, 1.1, 8.9), (15, 0.036, 0.6, 9.4), (20, 0.058, 0.1, 9.8)],
)
def test_a_gain_of_15_in_300_depends_on_the_reversals(make_answers, c, p, low, high):
    first, second = discordant(make_answers, c, c + 15, 254 - c, 46 - 15 - c)
    found = paired_difference("accuracy", *pair(first, second))
    assert found.difference == pytest.approx(0.05)
    assert found.p == pytest.approx(p, abs=6e-4)
    assert (100 * found.low, 100 * found.high) == pytest.approx((low, high), abs=0.06)


def test_the_bootstrap_agrees_with_bonett_price(make_answers):
    first, second = pair(*discordant(make_answers, 15, 30, 239, 16), draws=4000)
    drawn = second.replicates["accuracy"] - first.replicates["accuracy"]
    assert np.quantile(100 * drawn, [0.025, 0.975]) == pytest.approx([0.7, 9.3], abs=0.4)  # 1 item: 0.33


def test_mcnemar_is_the_binomial_test():
    a, b = np.array([1, 1, 1, 0, 0, 1], bool), np.array([0, 0, 1, 1, 0, 1], bool)
    found = mcnemar(a, b)
    assert (found.b, found.c, found.p) == (2, 1, pytest.approx(binomtest(2, 3).pvalue))
    assert mcnemar(a, a).p == 1.0


def test_holm():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


def test_sensitivity_is_tested_on_the_positives_alone(make_answers):
    """Published: 30 and 22 of 36 found; with the fewest reversals p = .008 (36 positives, 8 discordant)."""
    gold = [1] * 36 + [0] * 23
    first = make_answers(gold, [1] * 22 + [0] * 14 + [0] * 12 + [1] * 11)
    second = make_answers(gold, [1] * 30 + [0] * 6 + [0] * 4 + [1] * 19)
    found = paired_difference("sensitivity", *pair(first, second))
    assert found.p == pytest.approx(0.008, abs=5e-4)
    assert found.difference == pytest.approx(8 / 36)
    assert paired_difference("accuracy", *pair(first, second)).difference == 0


def test_no_lead_is_shown_beside_an_interval_that_holds_one_half(make_answers):
    """Twelve test records, an AUROC of 0.83 with an interval from 0.473, and p = 0.006 against the majority answer."""
    rng = np.random.default_rng(0)
    gold = [0] * 6 + [1] * 6
    blind = make_answers(gold, [0] * 12, np.tile([0.5, 0.5], (12, 1)))
    wide = 0
    for _ in range(200):
        yes = np.clip(rng.normal(0.4 + 0.2 * np.array(gold), 0.15), 0.01, 0.99)
        system = make_answers(gold, (yes > 0.5).astype(int), np.column_stack([1 - yes, yes]))
        reference, scored = pair(blind, system, draws=2)
        found, alone = paired_difference("auroc", reference, scored), CLASSIFICATION.metrics(scored)["auroc"]
        if alone.low is not None:
            assert (found.low, found.high) == pytest.approx((alone.low - 0.5, alone.high - 0.5))
            assert found.gain == int(alone.low > 0.5) - int(alone.high < 0.5)
            wide += alone.low <= 0.5
            back = paired_difference("auroc", scored, reference)
            assert (back.low, back.high, back.p) == pytest.approx((-found.high, -found.low, found.p))
    assert wide > 20


def test_with_many_items_it_is_delongs_test(make_answers):
    rng = np.random.default_rng(1)
    gold = np.arange(2000) % 2
    yes = 1 / (1 + np.exp(-(0.3 * gold + rng.normal(size=2000))))
    blind = make_answers(gold, np.zeros(2000, int), np.full((2000, 2), 0.5))
    system = make_answers(gold, (yes > 0.5).astype(int), np.column_stack([1 - yes, yes]))
    found = paired_difference("auroc", *pair(blind, system, draws=2))
    assert found.p == pytest.approx(roc_test(gold, yes), rel=0.05)


def roc_test(gold, scores):
    """Mann and Whitney's test of the same."""
    return mannwhitneyu(scores[gold == 1], scores[gold == 0]).pvalue


def test_lower_is_better_for_losses(make_answers):
    gold = [0, 1] * 50
    good = make_answers(
        gold, gold, np.array([[0.9, 0.1], [0.1, 0.9]] * 50) + np.linspace(0, 0.04, 100)[:, None] * [1, -1]
    )
    bad = make_answers(gold, gold, np.full((100, 2), 0.5) + np.linspace(0, 0.2, 100)[:, None] * [1, -1])
    assert paired_difference("brier", *pair(bad, good)).gain == 1
    assert paired_difference("brier", *pair(good, bad)).gain == -1


def test_groups_take_the_bootstrap_instead_of_formulas(make_answers):
    first, second = discordant(make_answers, 5, 35, 239, 21)
    found = paired_difference("accuracy", *pair(first, second, groups=np.arange(300) // 3))
    assert "by group" in found.method
    assert (found.test, found.gain) == ("paired bootstrap", 1)
    assert 0 < found.p < 0.05


def test_the_bootstrap_p_agrees_with_mcnemar_and_with_its_interval(make_answers):
    first, second = pair(*discordant(make_answers, 15, 30, 239, 16), draws=4000)
    assert bootstrap_p(second.replicates["accuracy"] - first.replicates["accuracy"], 40) == pytest.approx(
        0.03, abs=0.015
    )
    assert bootstrap_p(np.zeros(200), 200) == 1.0
    assert bootstrap_p(np.r_[np.full(199, 0.1), np.nan], 200) == pytest.approx(2 / 200)
    # Beyond what 2,000 resamples can count: about the tail of a difference of six standard errors.
    drawn = np.random.default_rng(0).normal(6, 1, 2000)
    assert 1e-9 < bootstrap_p(drawn, 500) < 1e-6
    assert bootstrap_p(drawn, 49) == 2 / 2001, "few units: the tail of their mean is not known"
    assert bootstrap_p(drawn * 100 - 500, 60) >= 2.0**-59 and bootstrap_p(drawn + 100, 10_000) > 0
    near = np.random.default_rng(0).normal(2, 1, 2000)
    assert bootstrap_p(near, 500) == 2 * (1 + (near <= 0).sum()) / 2001 > 0.03
    found = paired_difference("macro_f1", first, second)
    assert found.test == "paired bootstrap"
    assert (found.p < 0.05) == (found.low > 0)


def test_undefined_for_one_of_them_is_said(make_answers):
    never, sometimes = make_answers([0, 1] * 10, [0] * 20), make_answers([0, 1] * 10, [0, 1] * 10)
    found = paired_difference("ppv", *pair(never, sometimes))
    assert (found.difference, found.gain, found.reason) == (None, 0, "not estimable for both systems")


def test_flips(make_answers):
    first, second = discordant(make_answers, 4, 6, 5, 3)
    found = flips(first, second)
    assert (found["broken"], found["fixed"], found["both_right"], found["both_wrong"]) == (4, 6, 5, 3)
    assert sum(counts["fixed"] for counts in found["by_label"].values()) == 6


@pytest.mark.parametrize("other", [["a", "c"], ["a"], ["b", "a"], ["a", "b", "b"]])
def test_other_items_are_refused(other):
    with pytest.raises(ClinfitError, match="same items"):
        check_same_items("first", ["a", "b"], "second", other)


@pytest.mark.parametrize("rare", [3, 5])
def test_what_a_rare_label_may_hide_is_in_the_interval_and_the_p_value_of_a_mean_over_labels(make_answers, rare):
    """Recall rises by a twentieth in two common labels; of the rare one nothing moved, which little is known of."""
    gold = np.repeat([0, 1, 2], [300, 300, rare])
    before, after = gold.copy(), gold.copy()
    before[:45] = before[300:345] = 2
    after[:30] = after[300:330] = 2
    systems = [make_answers(gold, answers, labels=("a", "b", "c")) for answers in (before, after)]
    found = paired_difference("balanced_accuracy", *CLASSIFICATION.score(systems, Resamples(gold, None, 1000), 0.95))
    assert found.gain == 0 and found.p is not None and found.p > 0.5
    assert found.method is not None and found.method.endswith("wider by what few items of a label hide")
    assert found.difference is not None and found.worst is not None and found.worst < found.difference - 0.1
    margin = non_inferiority("after", "before", found, 0.02, None, 0.95)
    assert margin is not None and not margin["shown"]
