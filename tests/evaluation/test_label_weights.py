"""Label weights: chosen on validation for more than two labels, never worse there than the most probable label."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, f1_score

from clinfit.evaluation.answers import LabelAnswers
from clinfit.evaluation.decisions.decide import under_threshold
from clinfit.evaluation.decisions.label_weights import choose_weights, weighed
from clinfit.evaluation.decisions.referral_rule import confidences
from clinfit.evaluation.decisions.thresholds import (
    ThresholdChoice,
    apply_threshold,
    choose_label_weights,
    over_folds,
)
from clinfit.study.evaluation import Threshold

LABELS = ("yes", "no", "maybe")
SCORES = {"macro-f1": lambda gold, said: f1_score(gold, said, average="macro", labels=np.unique(gold)),
          "balanced-accuracy": balanced_accuracy_score}  # fmt: skip


def rare_label(n: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A third label that one record in ten has, and that is never the most probable, though likelier where it holds."""
    rng = np.random.default_rng(seed)
    gold = rng.choice(3, n, p=[0.55, 0.35, 0.1])
    logits = rng.normal(size=(n, 3)) + 1.5 * np.eye(3)[gold] - [0, 0, 4]
    return gold, np.exp(logits) / np.exp(logits).sum(1, keepdims=True)


@pytest.mark.parametrize("rule", SCORES)
def test_a_rare_label_gets_its_share_on_records_that_chose_nothing(rule: str) -> None:
    weights, achieved = choose_weights(rule, *rare_label())
    gold, probabilities = rare_label(2000, seed=1)
    plain, decided = probabilities.argmax(1), weighed(probabilities, weights)
    assert weights[0] == 1 and weights[2] > 3
    assert (plain[gold == 2] == 2).mean() < 0.02 < 0.2 < (decided[gold == 2] == 2).mean()
    assert SCORES[rule](gold, decided) > SCORES[rule](gold, plain) + 0.05
    own = SCORES[rule](rare_label()[0], weighed(rare_label()[1], weights))
    assert achieved[rule.replace("-", "_")] == pytest.approx(own, abs=1e-12)


@st.composite
def answered(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    n, k = draw(st.integers(1, 25)), draw(st.integers(3, 5))
    gold = draw(st.lists(st.integers(0, k - 1), min_size=n, max_size=n))
    # Coarse, so that ties and zeros occur.
    parts = draw(st.lists(st.lists(st.integers(0, 6), min_size=k, max_size=k).filter(any), min_size=n, max_size=n))
    table = np.array(parts, dtype=float)
    return np.array(gold), table / table.sum(1, keepdims=True)


@settings(deadline=None, max_examples=60)
@given(answered(), st.sampled_from(sorted(SCORES)))
def test_never_worse_than_the_most_probable_label_and_no_single_weight_is_better(items, rule: str) -> None:
    gold, probabilities = items
    weights, _ = choose_weights(rule, gold, probabilities)
    assert np.isfinite(weights).all() and (weights > 0).all() and weights[0] == 1

    held = np.unique(gold)

    def score(tried: np.ndarray) -> float:
        said = weighed(probabilities, tried)
        if rule == "balanced-accuracy":
            return float(np.mean([(said[gold == k] == k).mean() for k in held]))
        both = [((said == k) & (gold == k)).sum() for k in held]
        return float(
            np.mean([2 * b / ((said == k).sum() + (gold == k).sum()) for k, b in zip(held, both, strict=True)])
        )

    assert score(weights) >= score(np.ones_like(weights)) - 1e-9
    for k in range(len(weights)):
        for factor in np.geomspace(1e-3, 1e3, 31):
            tried = weights.copy()
            tried[k] *= factor * 1.0000017  # beside the ties
            assert score(weights) >= score(tried) - 1e-9


def test_an_unread_item_is_wrong_under_any_weights() -> None:
    gold, probabilities = rare_label()
    unread = probabilities.copy()
    unread[gold == 1] = np.nan
    _, achieved = choose_weights("balanced-accuracy", gold, unread)
    assert achieved["balanced_accuracy"] <= 2 / 3


def test_the_choice_decides_survives_json_and_falls_back() -> None:
    gold, probabilities = rare_label()
    choice = choose_label_weights(Threshold(rule="macro-f1"), LABELS, gold, probabilities)
    assert choice.moved and choice.value is None and choice.n == 300 and set(choice.weights or {}) == set(LABELS)
    again = ThresholdChoice.from_dict(json.loads(json.dumps(choice.as_dict())))
    assert again == choice and asdict(again) == choice.as_dict()
    said = apply_threshold(probabilities, LABELS, None, again)
    assert said == [LABELS[k] for k in weighed(probabilities, list((choice.weights or {}).values()))]
    # Labels in another order: the weights go by name.
    assert apply_threshold(probabilities[:, ::-1], LABELS[::-1], None, again) == said
    few = gold != 2
    fallen = choose_label_weights(Threshold(rule="macro-f1"), LABELS, gold[few], probabilities[few])
    assert not fallen.moved and "no 'maybe'" in (fallen.note or "")
    perfect = choose_label_weights(Threshold(rule="macro-f1"), LABELS, gold, np.eye(3)[gold])
    assert not perfect.moved and perfect.note is None and perfect.achieved["macro_f1"] == 1
    assert perfect.words == "the largest macro F1, which the most probable label has already"
    assert over_folds([perfect, perfect]).words == perfect.words


def test_of_folds_the_geometric_mean() -> None:
    one, other = (ThresholdChoice("macro-f1", None, "validation", 50, {"macro_f1": 0.5}, weights=weights)
                  for weights in ({"a": 1.0, "b": 1.0, "c": 4.0}, {"a": 1.0, "b": 2.0, "c": 1.0}))  # fmt: skip
    fallen = ThresholdChoice("macro-f1", None, "validation", 50, note="validation items hold no 'c'")
    together = over_folds([one, other, fallen])
    assert together.achieved == {"macro_f1": 0.5} and together.note == "in 1 of 3 folds: validation items hold no 'c'"
    assert together.weights == pytest.approx({"a": 1.0, "b": 2 ** (1 / 3), "c": 4 ** (1 / 3)})
    assert "each fold its own" in together.words


def test_probabilities_however_small_give_weights_that_json_holds() -> None:
    tiny = np.array([[1.0, 1e-170, 1e-300], [1.0, 1e-200, 0.0], [1.0, 1e-170, 1e-180]])
    weights, _ = choose_weights("macro-f1", np.array([0, 1, 2]), tiny)
    assert np.isfinite(weights).all() and (weights > 0).all()


def test_a_decision_by_weights_is_as_sure_as_its_share_of_weight_and_probability() -> None:
    gold, probabilities = rare_label()
    choice = choose_label_weights(Threshold(rule="macro-f1"), LABELS, gold, probabilities)
    raw = LabelAnswers(LABELS, None, gold, probabilities.argmax(1), probabilities, np.full(len(gold), np.nan))
    weighted = under_threshold(raw, choice)
    rare = weighted.predicted == 2
    assert rare.sum() > 10 and (confidences(weighted)[rare] > 1 / 3).all()
    assert (probabilities[rare, 2] < confidences(weighted)[rare]).all()
    cut = np.quantile(confidences(weighted), 0.2)
    assert (confidences(weighted)[rare] >= cut).any(), "not all of the rare label are handed to a person"
    assert weighted.take(rare).sureness is not None and under_threshold(raw, ThresholdChoice()).sureness is None
