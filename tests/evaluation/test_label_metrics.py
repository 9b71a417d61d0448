"""Metrics of labels against scikit-learn, and with unparsed answers."""

import warnings

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sklearn import metrics as sk

from clinfit.evaluation.answers import confusion
from clinfit.evaluation.metrics.confusion_metrics import overall, per_label

#: (gold, predicted) of up to three labels; predicted 3 is unparsed.
items = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), min_size=3, max_size=60).filter(
    lambda pairs: {gold for gold, _ in pairs} == {0, 1, 2}
)


@given(items)
def test_same_as_scikit_learn(pairs):
    gold, predicted = (np.array(column) for column in zip(*pairs, strict=True))
    counts = np.bincount(gold * 4 + predicted, minlength=12).reshape(3, 4).astype(float)
    found, labels = overall(counts, None), [0, 1, 2]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert found["accuracy"] == pytest.approx(sk.accuracy_score(gold, predicted))
        assert found["mcc"] == pytest.approx(sk.matthews_corrcoef(gold, predicted))
        assert found["kappa"] == pytest.approx(sk.cohen_kappa_score(gold, predicted))
        recall = sk.recall_score(gold, predicted, labels=labels, average=None)
        f1 = sk.f1_score(gold, predicted, labels=labels, average=None)
        precision = sk.precision_score(gold, predicted, labels=labels, average=None, zero_division=np.nan)
    assert found["balanced_accuracy"] == pytest.approx(recall.mean())
    assert found["macro_f1"] == pytest.approx(f1.mean()) == found["macro_f1_declared"]
    assert found["weighted_f1"] == pytest.approx(np.average(f1, weights=np.bincount(gold)))
    assert found["micro_f1"] == pytest.approx(sk.f1_score(gold, predicted, labels=labels, average="micro"))
    classes = per_label(counts)
    assert classes["recall"] == pytest.approx(recall)
    assert classes["f1"] == pytest.approx(f1)
    assert classes["precision"] == pytest.approx(precision, nan_ok=True)


@given(items)
@example([(0, 0), (1, 1), (2, 2)])  # was 1.0000000000000002
def test_bounds(pairs):
    counts = np.zeros((3, 4))
    for gold, predicted in pairs:
        counts[gold, predicted] += 1
    for name, value in overall(counts, None).items():
        assert -1 <= value <= 1 if name in ("mcc", "kappa") else 0 <= value <= 1


def test_many_tables_at_once_are_one_at_a_time():
    tables = np.random.default_rng(0).integers(0, 9, size=(7, 2, 3)).astype(float)
    together = overall(tables, 1)
    for k, table in enumerate(tables):
        for name, value in overall(table, 1).items():
            assert together[name][k] == pytest.approx(value, nan_ok=True)


def test_binary_values_of_a_published_table():
    """Retained placenta, 59 patients: rows no, yes; columns no, yes, unparsed."""
    model, forest = np.array([[4, 19, 0], [6, 30, 0.0]]), np.array([[12, 11, 0], [14, 22, 0.0]])
    found = overall(model, 1)
    expected = {
        "accuracy": 0.576,
        "f1": 0.706,
        "sensitivity": 0.833,
        "specificity": 0.174,
        "mcc": 0.009,
        "lr_plus": 1.01,
    }
    assert {name: float(found[name]) for name in expected} == pytest.approx(expected, abs=0.006)
    assert found["balance_gap"] == pytest.approx(abs(30 / 36 - 4 / 23))
    assert overall(forest, 1)["mcc"] == pytest.approx(0.131, abs=5e-4)


def test_unparsed_answers_are_wrong_everywhere():
    """20 % unparsed among otherwise perfect answers."""
    found = overall(np.array([[40, 0, 10], [0, 40, 10.0]]), 1)
    assert found["accuracy"] == found["sensitivity"] == found["specificity"] == pytest.approx(0.8)
    assert found["f1"] == pytest.approx(2 * 40 / (40 + 50))
    assert found["unparsed"] == pytest.approx(0.2)
    assert found["ppv"] == 1


def test_confusion_has_an_unparsed_column_and_sums_to_n(make_answers):
    counts = confusion(make_answers([0, 1, 1, 0, 1], [0, None, 1, None, 0]))
    assert counts.tolist() == [[1, 0, 1], [1, 1, 1]]
