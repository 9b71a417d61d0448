"""Threshold rules: chosen on validation, >= by convention, and honest when nothing satisfies them."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import fbeta_score

from clinfit.evaluation.decisions.thresholds import ThresholdChoice, apply_threshold, choose_threshold, sweep_thresholds
from clinfit.study.evaluation import Threshold

LABELS = ["No", "Yes"]


def test_unread_validation_items_count_as_they_do_on_test() -> None:
    """A floor of 0.8 cannot be met when 3 of 10 positives have no answer; unread negatives are not cleared."""
    positive = np.repeat([True, False], 10)
    scores = np.r_[np.linspace(0.6, 0.9, 7), [np.nan] * 3, np.linspace(0.1, 0.4, 8), [np.nan] * 2]
    missed = choose_threshold(Threshold(rule="sensitivity", value=0.8), positive, scores)
    assert missed.value is None and missed.note is not None
    found = choose_threshold(Threshold(rule="youden"), positive, scores)
    assert found.n == 20 and found.achieved["sensitivity"] == 0.7 and found.achieved["specificity"] == 0.8
    promised = choose_threshold(Threshold(rule="guarantee", value=0.6), np.tile(positive, 20), np.tile(scores, 20))
    assert promised.value is not None and promised.achieved["sensitivity"] == 0.7


def test_positive_when_equal_to_the_threshold():
    rows = np.array([[0.5, 0.5], [0.5 + 1e-9, 0.5 - 1e-9], [0.4, 0.6]])
    assert apply_threshold(rows, LABELS, "Yes", ThresholdChoice("fixed", 0.5)) == ["Yes", "No", "Yes"]
    assert apply_threshold(rows[:, ::-1], ["Yes", "No"], "Yes", ThresholdChoice("fixed", 0.5)) == ["Yes", "No", "Yes"]


def test_without_threshold_the_most_probable_label_and_the_first_of_equals():
    assert apply_threshold(np.array([[0.5, 0.5], [0.2, 0.8]]), LABELS, "Yes", ThresholdChoice()) == ["No", "Yes"]


POSITIVE = np.array([0, 0, 0, 1, 0, 1, 1, 1], bool)
SCORES = np.array([0.1, 0.2, 0.3, 0.35, 0.5, 0.6, 0.7, 0.9])


@pytest.mark.parametrize(
    ("rule", "floor", "value", "sensitivity", "specificity"),
    [
        ("youden", None, 0.55, 0.75, 1.0),  # equal to 0.325 in J, nearer to 0.5
        ("balanced-accuracy", None, 0.55, 0.75, 1.0),
        ("f1", None, 0.325, 1.0, 0.75),
        ("sensitivity", 0.9, 0.325, 1.0, 0.75),
        ("specificity", 0.9, 0.55, 0.75, 1.0),
    ],
)
def test_rules(rule, floor, value, sensitivity, specificity):
    found = choose_threshold(Threshold(rule=rule, value=floor), POSITIVE, SCORES)
    assert found.value == pytest.approx(value)
    assert (found.achieved["sensitivity"], found.achieved["specificity"]) == (sensitivity, specificity)
    assert (found.split, found.n, found.note) == ("validation", 8, None)


def test_no_threshold_satisfies():
    worst_first = choose_threshold(Threshold(rule="sensitivity", value=1.0), ~POSITIVE, SCORES)
    assert worst_first.value is None
    assert "no threshold on validation items gives sensitivity of at least 100 %" in worst_first.note


@pytest.mark.parametrize(
    ("positive", "scores", "note"),
    [(np.ones(4, bool), np.arange(4) / 4, "one class"), (POSITIVE, np.full(8, 0.3), "same")],
)
def test_nothing_to_choose_from(positive, scores, note):
    found = choose_threshold(Threshold(rule="youden"), positive, scores)
    assert found.value is None
    assert note in found.note


def test_fixed_and_argmax_look_at_nothing():
    fixed = choose_threshold(Threshold(rule="fixed", value=0.3), POSITIVE, SCORES)
    assert fixed == ThresholdChoice("fixed", 0.3, words="the threshold 0.3, fixed in the study")
    assert choose_threshold(Threshold(), POSITIVE, SCORES) == ThresholdChoice()


def test_survives_json():
    choice = choose_threshold(Threshold(rule="youden"), POSITIVE, SCORES)
    assert ThresholdChoice.from_dict(dict(choice.as_dict())) == choice


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=2, max_size=30))
def test_the_sweep_says_what_applying_gives(items):
    positive, scores = (np.array(column) for column in zip(*items, strict=True))
    assume(0 < positive.sum() < len(positive))
    sweep = sweep_thresholds(positive, scores)
    for threshold, sensitivity, specificity in zip(sweep.thresholds, sweep.sensitivity, sweep.specificity, strict=True):
        called = (
            np.array(
                apply_threshold(
                    np.column_stack([1 - scores, scores]), LABELS, "Yes", ThresholdChoice("fixed", threshold)
                )
            )
            == "Yes"
        )
        assert called.any()
        assert not called.all()
        assert sensitivity == pytest.approx(called[positive].mean())
        assert specificity == pytest.approx((~called[~positive]).mean())


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 8)), min_size=2, max_size=25),
    st.sampled_from(["f-beta", "cost"]),
    st.sampled_from([0.5, 2.0, 5.0]),
)
def test_weighed_rules_find_the_best_of_all_thresholds(items, rule, value):
    positive, levels = (np.array(column) for column in zip(*items, strict=True))
    scores = levels / 8
    assume(0 < positive.sum() < len(positive) and len(np.unique(scores)) > 1)

    def worth(threshold):
        called = scores >= threshold
        misses, alarms = (positive & ~called).sum(), (called & ~positive).sum()
        if rule == "cost":
            return -(value * misses + alarms) / len(scores)
        return fbeta_score(positive, called, beta=value, zero_division=0)

    choice = choose_threshold(Threshold(rule=rule, value=value), positive, scores)
    candidates = (np.unique(scores)[1:] + np.unique(scores)[:-1]) / 2
    assert worth(choice.value) == pytest.approx(max(worth(t) for t in candidates))
    own = choice.achieved["cost" if rule == "cost" else "f_beta"]
    assert own == pytest.approx(-worth(choice.value) if rule == "cost" else worth(choice.value))


def test_a_dear_miss_lowers_the_threshold():
    chosen = [choose_threshold(Threshold(rule="cost", value=v), POSITIVE, SCORES).value for v in (0.2, 5)]
    assert chosen == [pytest.approx(0.55), pytest.approx(0.325)]
    betas = [choose_threshold(Threshold(rule="f-beta", value=v), POSITIVE, SCORES).value for v in (0.2, 5)]
    assert betas == [pytest.approx(0.55), pytest.approx(0.325)]


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (Threshold(), "the most probable label"),
        (Threshold(rule="sensitivity", value=0.9), "sensitivity of at least 90 %, then the largest specificity"),
        (Threshold(rule="f-beta", value=2), "the largest F-beta, beta 2"),
        (Threshold(rule="cost", value=5), "the least cost, a miss counted as 5 false alarms"),
        (
            Threshold(rule="guarantee", value=0.95, metric="ppv", certainty=0.8),
            "positive predictive value of at least 95 % with probability 80 %",
        ),
    ],
)
def test_the_rule_in_words(rule, words):
    assert choose_threshold(rule, POSITIVE, SCORES).words == words
