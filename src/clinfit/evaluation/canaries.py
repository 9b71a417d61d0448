"""Made-up predictors through the very functions of the evaluation: a broken harness must not go unseen.

A published gain (accuracy 0.48 to 0.76) was produced by a harness that mapped every gold label and every unparsed
answer to one class; small p values do not protect from that. So each evaluation scores predictors whose metrics are
known in closed form on its own gold labels and its own way of reading predictions.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clinfit.evaluation.answers import read_answers
from clinfit.evaluation.results import Canary
from clinfit.evaluation.scoring import Scorer, estimates
from clinfit.predictions import PROBABILITY

TOLERANCE = 1e-9
#: A random predictor's metric must lie within this many standard errors of its expectation.
RANDOM_ERRORS = 6.0


def run_canaries(gold: Sequence[str], labels: Sequence[str], positive: str | None) -> list[Canary]:
    """Every canary on these gold labels, each of which must be one of the labels."""
    codes = np.array([list(labels).index(label) for label in gold], dtype=np.int64)
    constant = list(labels).index(positive) if positive is not None else int(np.bincount(codes).argmax())
    n, k = len(codes), len(labels)
    support = np.bincount(codes, minlength=k)
    several = (support > 0).sum() > 1
    share = support / n
    recall = 1 / (support > 0).sum() if several else None
    binary_ranking = positive is not None and several
    certain = np.eye(k)
    wrong = (codes + 1) % k
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, k, size=n)
    perfect: dict[str, float | None] = {"accuracy": 1.0, "unparsed": 0.0, "log_loss": 0.0}
    inverted: dict[str, float | None] = {"accuracy": 0.0, "unparsed": 0.0}
    always: dict[str, float | None] = {"accuracy": float(share[constant]), "balanced_accuracy": recall}
    unparsed: dict[str, float | None] = {"accuracy": 0.0, "unparsed": 1.0, "macro_f1": 0.0}
    perfect |= {"balanced_accuracy": 1.0 if several else None, "mcc": 1.0 if several else None, "macro_f1": 1.0}
    inverted["macro_f1"] = 0.0
    always["mcc"] = 0.0 if several else None
    unparsed["mcc"] = 0.0 if several else None
    if positive is None:
        perfect["macro_auroc"] = 1.0 if several else None
    else:
        negatives, positives = float(support[1 - constant]), float(support[constant])
        perfect |= {"auroc": 1.0 if binary_ranking else None, "auprc": 1.0 if binary_ranking else None, "brier": 0.0}
        inverted |= {"auroc": 0.0 if binary_ranking else None, "brier": 1.0}
        inverted["mcc"] = -1.0 if several else None
        always |= {
            "sensitivity": 1.0 if positives else None,
            "specificity": 0.0 if negatives else None,
            "auroc": 0.5 if binary_ranking else None,
            "auprc": float(share[constant]) if binary_ranking else None,
            "f1": 2 * positives / (2 * positives + negatives) if positives else None,
            "brier": float(share[1 - constant]),
            "npv": None,
        }
        unparsed |= {"sensitivity": 0.0 if positives else None, "specificity": 0.0 if negatives else None}
        unparsed |= {"auroc": None, "brier": None, "ppv": None}
    chance = {"accuracy": 1 / k}
    return [
        _exact("perfect", gold, labels, positive, certain[codes], perfect),
        _exact("inverted", gold, labels, positive, certain[wrong], inverted),
        _exact(f"always {labels[constant]}", gold, labels, positive, np.tile(certain[constant], (n, 1)), always),
        _random(gold, labels, positive, certain[drawn], chance),
        _exact("all unparsed", gold, labels, positive, None, unparsed),
    ]


def _table(gold: Sequence[str], labels: Sequence[str], probabilities: NDArray[np.float64] | None) -> pd.DataFrame:
    """A predictions table, so that canaries take the same way in as real systems."""
    n = len(gold)
    rows = np.full((n, len(labels)), np.nan) if probabilities is None else probabilities
    predicted = [None] * n if probabilities is None else [labels[k] for k in rows.argmax(1)]
    table = pd.DataFrame({"gold": list(gold), "predicted": predicted, "label_mass": np.full(n, np.nan)})
    table["status"] = "unparsed" if probabilities is None else "ok"
    for k, label in enumerate(labels):
        table[PROBABILITY + label] = rows[:, k]
    return table


def _measure(
    gold: Sequence[str],
    labels: Sequence[str],
    positive: str | None,
    probabilities: NDArray[np.float64] | None,
    names: Sequence[str],
) -> dict[str, float | None]:
    values = estimates(Scorer(read_answers(_table(gold, labels, probabilities), labels, positive)))
    return {name: _or_none(values.get(name, float("nan"))) for name in names}


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else value


def _exact(
    name: str,
    gold: Sequence[str],
    labels: Sequence[str],
    positive: str | None,
    probabilities: NDArray[np.float64] | None,
    expected: dict[str, float | None],
) -> Canary:
    found = _measure(gold, labels, positive, probabilities, list(expected))
    passed = all(_same(found[metric], value, TOLERANCE) for metric, value in expected.items())
    return Canary(name=name, passed=passed, expected=expected, found=found)


def _same(found: float | None, expected: float | None, tolerance: float) -> bool:
    if found is None or expected is None:
        return found is expected
    return abs(found - expected) <= tolerance


def _random(
    gold: Sequence[str],
    labels: Sequence[str],
    positive: str | None,
    probabilities: NDArray[np.float64],
    expected: dict[str, float],
) -> Canary:
    """Labels drawn evenly and without looking: right in 1 of K, within sampling error."""
    found = _measure(gold, labels, positive, probabilities, list(expected))
    share = expected["accuracy"]
    error = np.sqrt(share * (1 - share) / len(gold))
    passed = _same(found["accuracy"], share, RANDOM_ERRORS * error)
    return Canary(name="random", passed=bool(passed), expected=dict(expected), found=found)
