"""What a difference rests on: few items are never called many."""

import numpy as np
import pytest

from clinfit.evaluation.claims.few_items import units
from clinfit.evaluation.claims.paired import paired_difference
from clinfit.evaluation.claims.paired_seeds import paired_over_seeds
from clinfit.evaluation.metrics.classification import CLASSIFICATION
from clinfit.evaluation.statistics.bootstrap import Resamples


def scored(gold, *systems, draws=500):
    return CLASSIFICATION.score(list(systems), Resamples(gold, None, draws), 0.95)


@pytest.mark.parametrize("metric", ["brier", "log_loss"])
@pytest.mark.parametrize("events", [3, 8])
def test_losses_that_a_few_events_carry_are_seldom_called_different(make_answers, metric, events):
    """Two models that are equally good: their losses differ by what they say of the events, by chance."""
    rng, gold = np.random.default_rng(3), np.r_[np.zeros(300, int), np.ones(events, int)]

    def drawn():
        risk = np.r_[np.clip(0.02 + rng.normal(0, 0.003, 300), 0.001, 1), 0.35 + rng.normal(0, 0.05, events)]
        return make_answers(gold, (risk > 0.5).astype(int), np.column_stack([1 - risk, risk]))

    found = [paired_difference(metric, *scored(gold, drawn(), drawn())).p for _ in range(60)]
    assert sum(p is not None and p < 0.05 for p in found) <= 6


def test_a_loss_rests_on_the_items_that_carry_its_difference(make_answers):
    gold = np.array([0, 1] * 100)

    def saying(risk):
        return make_answers(gold, gold, np.column_stack([1 - risk, risk]))

    before = np.where(gold == 1, 0.9, 0.1)
    alike, alone = before + np.where(gold == 1, 0.05, -0.05), before.copy()
    alone[1] = 0.2
    assert units("brier", *scored(gold, saying(before), saying(alike))) == 200
    assert units("brier", *scored(gold, saying(before), saying(alone))) == 1
    assert units("brier", *scored(gold, saying(before), saying(before))) == 200


def test_a_precision_rests_on_what_is_given_the_label(make_answers):
    gold = np.repeat([0, 1, 2], 300)
    first, second = (np.where(gold == 2, 0, gold) for _ in range(2))
    first[[0, 1, 600]] = 2
    second[601:611] = 2
    of_three = scored(gold, *(make_answers(gold, said, labels=("a", "b", "c")) for said in (first, second)))
    assert units("precision:c", *of_three) == 3 and units("recall:c", *of_three) == 300
    two = np.repeat([0, 1], 50)
    seldom, never = np.r_[np.zeros(46, int), np.ones(4, int), np.zeros(49, int), 1], np.r_[np.zeros(99, int), 1]
    of_two = scored(two, make_answers(two, seldom), make_answers(two, never))
    assert units("ppv", *of_two) == 1 and units("npv", *of_two) == 95


def test_a_ranking_hides_no_more_than_items_move(make_answers):
    """Two models of twelve labels, most of them rare: the mean AUROC is a little less sure than resamples say, and in
    one of twenty test sets as these the interval leaves out that they are alike."""
    rng, sizes = np.random.default_rng(1), [200, 100, 50, 20, 10, 5, 4, 3, 3, 2, 2, 2]
    gold = np.repeat(np.arange(len(sizes)), sizes)

    def system():
        scores = np.exp(rng.normal(size=(len(gold), len(sizes))) + 1.5 * np.eye(len(sizes))[gold])
        probabilities = scores / scores.sum(1, keepdims=True)
        return make_answers(gold, probabilities.argmax(1), probabilities, labels=[f"l{k}" for k in range(len(sizes))])

    inside, wider = [], []
    for _ in range(20):
        both = scored(gold, system(), system(), draws=300)
        found = paired_difference("macro_auroc", *both)
        drawn = both[1].replicates["macro_auroc"] - both[0].replicates["macro_auroc"]
        assert found.low is not None and found.high is not None
        inside.append(found.low <= 0 <= found.high)
        wider.append((found.high - found.low) / np.subtract(*np.quantile(drawn, [0.975, 0.025])))
    assert np.mean(inside) >= 0.8 and 1.02 < np.mean(wider) < 1.5


def test_why_an_interval_without_zero_claims_nothing_is_said(make_answers):
    """Five events all better ranked: no resample says otherwise, and a sign test of five could not."""
    gold = np.r_[np.zeros(100, int), np.ones(5, int)]
    rng = np.random.default_rng(0)
    noise = rng.uniform(0.1, 0.3, 100)

    def saying(events):
        risk = np.r_[noise, events + rng.uniform(0, 0.01, 5)]
        return make_answers(gold, (risk > 0.5).astype(int), np.column_stack([1 - risk, risk]))

    found = paired_difference("brier", *scored(gold, saying(0.2), saying(0.4)))
    assert found.gain == 1 and found.p is not None and found.p >= 0.05
    assert found.reason == "it rests on 4 items, too few for a test"


@pytest.mark.parametrize("metric", ["brier", "log_loss", "macro_f1"])
def test_another_seed_makes_no_more_of_few_items(make_answers, metric):
    """Three events of 200 items got better, by nearly as much with each seed: still a claim on three patients."""
    rng, gold = np.random.default_rng(0), np.r_[np.zeros(197, int), np.ones(3, int)]

    def pair(low, high):
        noise = rng.uniform(0.05, 0.1, 197)
        risks = [np.r_[noise, events + rng.uniform(0, 0.02, 3)] for events in (low, high)]
        return scored(gold, *(make_answers(gold, (r > 0.5).astype(int), np.column_stack([1 - r, r])) for r in risks))

    pairs = [tuple(pair(0.3, 0.7)) for _ in range(3)]
    alone, together = paired_difference(metric, *pairs[0]), paired_over_seeds(metric, pairs)[0]
    for found in (alone, together):
        assert found.p is not None and found.p >= 0.05
        assert found.gain == 0 or found.reason in [f"it rests on {of} items, too few for a test" for of in (1, 2, 3)]
        assert found.high is not None and found.low is not None and -1 <= found.low < found.high


def test_a_single_item_of_a_label_is_in_the_interval_of_a_mean(make_answers):
    gold = np.r_[np.repeat([0, 1], 60), 2]
    given = gold.copy()
    given[:6] = 1
    (alone,) = scored(gold, make_answers(gold, given, labels=("a", "b", "c")))
    metrics = CLASSIFICATION.metrics(alone)
    for name in ("macro_f1", "balanced_accuracy"):
        assert metrics[name].low < metrics[name].value - 0.1 and metrics[name].high <= 1
    of_label = CLASSIFICATION.by_label(alone)
    assert of_label["c"]["f1"].low is None and "one item" in of_label["c"]["f1"].reason
    assert of_label["a"]["f1"].low is not None


def test_a_mean_auroc_of_rare_labels_is_less_sure_than_resamples_say(make_answers):
    """Of two items of a label resamples know a part of the variance; where all labels are common they know it all."""
    rng = np.random.default_rng(2)
    for sizes, least, most in (([60, 40, 2, 2, 2, 2], 1.05, 1.6), ([60, 60, 60, 60], 1.0, 1.02)):
        gold = np.repeat(np.arange(len(sizes)), sizes)
        shares = np.exp(rng.normal(size=(len(gold), len(sizes))) + np.eye(len(sizes))[gold])
        shares /= shares.sum(1, keepdims=True)
        labels = [f"l{k}" for k in range(len(sizes))]
        (one,) = scored(gold, make_answers(gold, shares.argmax(1), shares, labels=labels))
        metric = CLASSIFICATION.metrics(one)["macro_auroc"]
        low, high = np.quantile(one.replicates["macro_auroc"], [0.025, 0.975])
        assert least * (high - low) <= metric.high - metric.low <= most * (high - low)
