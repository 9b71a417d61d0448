"""The primary metric of training curves."""

import numpy as np
import pytest

from clinfit.evaluation.metrics.primary import primary_value
from clinfit.study.data import Data
from clinfit.study.tasks import Classification

DATA = Data(path="items.csv", inputs={"text": "text"})
TWO = Classification(labels=["No", "Yes"], data=DATA)
THREE = Classification(labels=["a", "b", "c"], data=DATA)
GOLD = np.array([0, 1, 1, 0])
ROWS = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3]])


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ("accuracy", 0.75),
        ("auroc", 1.0),
        ("sensitivity", 0.5),
        ("brier", -(0.01 + 0.04 + 0.36 + 0.09) / 4),
        ("log_loss", np.log([0.9, 0.8, 0.4, 0.7]).mean()),
    ],
)
def test_larger_is_better(metric, value):
    assert primary_value(TWO, metric, GOLD, ROWS) == pytest.approx(value)


def test_none_when_it_cannot_be_estimated():
    assert primary_value(TWO, "auroc", np.zeros(4, int), ROWS) is None


def test_more_labels_take_the_multi_class_form():
    rows = np.eye(3)[[0, 1, 2, 0]]
    assert primary_value(THREE, "auroc", np.array([0, 1, 2, 0]), rows) == 1.0
    assert primary_value(THREE, "brier", np.array([1, 2, 0, 1]), rows) == -2.0
