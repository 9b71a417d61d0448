"""Made-up predictors through the very functions of the evaluation: a broken harness must not go unseen.

A published gain (accuracy 0.48 to 0.76) was produced by a harness that mapped every gold label and every unparsed
answer to one class; small p values do not protect from that. So each evaluation scores predictors whose metrics are
known in closed form, on its own gold labels and by its own way of reading predictions.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clinfit.evaluation.context import Context, Outcome
from clinfit.evaluation.metrics.classification import CLASSIFICATION
from clinfit.evaluation.results import Canary
from clinfit.findings import Finding
from clinfit.predictions import PROBABILITY

Floats = NDArray[np.float64]
Expected = dict[str, float | None]

TOLERANCE = 1e-9
#: A seed of its own: made-up data drawn with a common seed would otherwise equal the random predictor's answers.
SEED = int.from_bytes(b"clinfit canaries")
#: The random predictor's accuracy must lie within this many standard errors of 1 / K.
RANDOM_ERRORS = 6.0


def canaries(context: Context) -> Outcome:
    """Made-up predictors on the gold labels of the test items; none where some of these are not declared.

    One without its closed-form value is an error: the harness itself is broken, so no number may be believed.
    """
    test = context.systems[0].test
    if test.undeclared.gold:
        return None, []
    found = run_canaries(test.answers.gold, context.task.labels, context.task.positive_label)
    return found, [failed(canary) for canary in found if not canary["passed"]]


def failed(canary: Canary) -> Finding:
    """The harness is broken."""
    return Finding(
        "error",
        "canary-failed",
        f"The evaluation does not measure the predictor {canary['name']!r} as it must",
        "; ".join(
            f"{name}: expected {value}, found {canary['found'][name]}"
            for name, value in canary["expected"].items()
            if value != canary["found"][name]
        ),
        "this is a fault of clinfit or of the predictions file; please report it",
    )


def run_canaries(gold: NDArray[np.int64], labels: Sequence[str], positive: str | None) -> list[Canary]:
    """Perfect, inverted, constant (each of two labels, else the most frequent), random and all-unparsed predictors.

    gold: (n,) label indices of the test items.
    """
    k, certain = len(labels), np.eye(len(labels))
    positive_at = None if positive is None else list(labels).index(positive)
    support = np.bincount(gold, minlength=k).astype(np.float64)
    binary = positive is not None
    drawn = np.random.default_rng(SEED).integers(0, k, size=len(gold))
    constants = [int(support.argmax())] if positive_at is None else [positive_at, 1 - positive_at]
    predictors: list[tuple[str, Floats | None, Expected, float]] = [
        ("perfect", certain[gold], _perfect(support, binary), TOLERANCE),
        ("inverted", certain[(gold + 1) % k], _inverted(support, binary), TOLERANCE),
        *(
            (f"always {labels[k]}", np.tile(certain[k], (len(gold), 1)), _constant(support, k, positive_at), TOLERANCE)
            for k in constants
        ),
        ("random", certain[drawn], {"accuracy": 1 / k}, RANDOM_ERRORS * np.sqrt((k - 1) / len(gold)) / k),
        ("all unparsed", None, _unparsed(support, binary), TOLERANCE),
    ]
    return [
        canary(name, _measure(gold, labels, positive, probabilities), expected, tolerance)
        for name, probabilities, expected, tolerance in predictors
    ]


def canary(name: str, values: dict[str, float], expected: Expected, tolerance: float) -> Canary:
    """values: what was measured."""
    found = {metric: _or_none(values.get(metric, float("nan"))) for metric in expected}
    passed = all(_same(found[metric], value, tolerance) for metric, value in expected.items())
    return Canary(name=name, passed=passed, expected=expected, found=found)


def _measure(
    gold: NDArray[np.int64], labels: Sequence[str], positive: str | None, probabilities: Floats | None
) -> dict[str, float]:
    """The metrics of a predictor by way of a predictions table, as for every real system."""
    names = np.array(labels, dtype=object)
    predicted = None if probabilities is None else list(names[probabilities.argmax(1)])
    table = made_up_table(list(names[gold]), predicted, labels, probabilities)
    answers, _ = CLASSIFICATION.read(table, labels, positive)
    return CLASSIFICATION.estimates(answers)


def made_up_table(
    gold: Sequence[str], predicted: Sequence[str] | None, labels: Sequence[str], probabilities: Floats | None
) -> pd.DataFrame:
    """The columns of a predictions table that its reading needs. predicted, probabilities: None where nothing can be
    read of the answers."""
    rows = np.full((len(gold), len(labels)), np.nan) if probabilities is None else probabilities
    table = pd.DataFrame({PROBABILITY + label: rows[:, k] for k, label in enumerate(labels)})
    table["id"] = table["group"] = np.arange(len(gold))
    table["gold"] = gold
    table["predicted"] = predicted
    table["status"] = "unparsed" if predicted is None else "ok"
    table["label_mass"] = np.nan
    return table


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else value


def _same(found: float | None, expected: float | None, tolerance: float) -> bool:
    if found is None or expected is None:
        return found is expected
    return bool(abs(found - expected) <= tolerance)


# ---------------------------------------------------------------- closed forms; support: (K,) items of each label


def _if_several(support: Floats, value: float) -> float | None:
    """The value, or None where the test set holds one class: nothing that compares classes is then estimable."""
    return value if (support > 0).sum() > 1 else None


def _perfect(support: Floats, binary: bool) -> Expected:
    one = _if_several(support, 1.0)
    expected: Expected = {"accuracy": 1.0, "balanced_accuracy": one, "macro_f1": 1.0, "mcc": one, "log_loss": 0.0}
    expected["unparsed"] = 0.0
    return expected | ({"auroc": one, "auprc": one, "brier": 0.0} if binary else {"macro_auroc": one, "brier_sum": 0.0})


def _inverted(support: Floats, binary: bool) -> Expected:
    """Always wrong; of more than two labels the next one is answered."""
    expected: Expected = {"accuracy": 0.0, "balanced_accuracy": _if_several(support, 0.0), "macro_f1": 0.0}
    if not binary:
        return expected | {"brier_sum": 2.0}
    return expected | {"mcc": _if_several(support, -1.0), "auroc": _if_several(support, 0.0), "brier": 1.0}


def _constant(support: Floats, answer: int, positive: int | None) -> Expected:
    """positive: the positive label of two; None for more labels."""
    proportion = float(support[answer] / support.sum())
    present = int((support > 0).sum())
    expected: Expected = {
        "accuracy": proportion,
        "balanced_accuracy": _if_several(support, 1 / present),
        "mcc": _if_several(support, 0.0),
        "kappa": _if_several(support, 0.0),
    }
    if positive is None:
        return expected | {"macro_auroc": _if_several(support, 0.5)}
    own, other = ("sensitivity", "specificity") if answer == positive else ("specificity", "sensitivity")
    prevalence = float(support[positive] / support.sum())
    if answer == positive:
        found: Expected = {"f1": 2 * proportion / (1 + proportion) if proportion > 0 else None, "npv": None}
    else:
        found = {"f1": 0.0 if prevalence > 0 else None, "ppv": None}
    return (
        expected
        | found
        | {
            own: 1.0 if proportion > 0 else None,
            other: 0.0 if proportion < 1 else None,
            "auroc": _if_several(support, 0.5),
            "auprc": _if_several(support, prevalence),
            "brier": 1 - proportion,
        }
    )


def _unparsed(support: Floats, binary: bool) -> Expected:
    zero = _if_several(support, 0.0)
    expected: Expected = {"accuracy": 0.0, "balanced_accuracy": zero, "macro_f1": 0.0, "mcc": zero, "unparsed": 1.0}
    return expected | ({"auroc": None, "brier": None, "ppv": None} if binary else {"macro_auroc": None})
