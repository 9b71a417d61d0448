"""The made-up predictors of multilabel tasks; why there are any, see canaries.py."""

from collections.abc import Sequence

import numpy as np

from clinfit.evaluation.analyses.canaries import TOLERANCE, Expected, canary, failed, made_up_table
from clinfit.evaluation.answers import Bools, Floats
from clinfit.evaluation.context import Context, Outcome
from clinfit.evaluation.metrics.multilabel import MULTILABEL
from clinfit.evaluation.results import Canary
from clinfit.predictions import joined


def label_set_canaries(context: Context) -> Outcome:
    """On the gold labels of the test items; none where some of these are not declared, or there are no items."""
    test = context.systems[0].test
    if test.undeclared.gold or not len(test):
        return None, []
    found = run_label_set_canaries(test.answers.gold, context.task.labels)
    return found, [failed(canary) for canary in found if not canary["passed"]]


def run_label_set_canaries(gold: Bools, labels: Sequence[str]) -> list[Canary]:
    """Perfect, inverted, no label, every label and all unparsed. gold: (n, K) whether each label holds."""
    n, k = gold.shape
    # Closed forms: of shares of the n x K cells that hold, and of the items with every label or none.
    holds, cells = int(gold.sum()), n * k
    full, empty = float(gold.all(axis=1).mean()), float((~gold).all(axis=1).mean())
    support = gold.sum(axis=0)
    present, ranked = bool(holds), bool(((support > 0) & (support < n)).any())

    def where(condition: bool, value: float) -> float | None:
        return value if condition else None

    predictors: list[tuple[str, Bools | None, Expected]] = [
        (
            "perfect",
            gold,
            {"subset_accuracy": 1.0, "hamming_loss": 0.0, "jaccard": 1.0, "unparsed": 0.0}
            | {"micro_f1": where(present, 1.0), "macro_f1": where(present, 1.0), "macro_auroc": where(ranked, 1.0)},
        ),
        (
            "inverted",
            ~gold,
            {"subset_accuracy": 0.0, "hamming_loss": 1.0, "jaccard": 0.0, "example_f1": 0.0}
            | {"micro_f1": 0.0, "macro_f1": where(present, 0.0), "macro_auroc": where(ranked, 0.0)},
        ),
        (
            "no label",
            np.zeros_like(gold),
            {"subset_accuracy": empty, "hamming_loss": holds / cells, "jaccard": empty}
            | {"micro_f1": where(present, 0.0), "macro_auroc": where(ranked, 0.5)},
        ),
        (
            "every label",
            np.ones_like(gold),
            {"subset_accuracy": full, "hamming_loss": 1 - holds / cells, "jaccard": holds / cells}
            | {"micro_f1": 2 * holds / (holds + cells), "macro_auroc": where(ranked, 0.5)},
        ),
        (
            "all unparsed",
            None,
            {"subset_accuracy": 0.0, "hamming_loss": 1.0, "jaccard": 0.0, "unparsed": 1.0, "macro_auroc": None}
            | {"micro_f1": where(present, 0.0)},
        ),
    ]
    return [canary(name, _measure(gold, labels, answer), expected, TOLERANCE) for name, answer, expected in predictors]


def _measure(gold: Bools, labels: Sequence[str], predicted: Bools | None) -> dict[str, float]:
    """The metrics of a predictor by way of a predictions table, as for every real system."""
    probabilities: Floats | None = None if predicted is None else predicted.astype(np.float64)
    answered = None if predicted is None else joined(labels, predicted.tolist())
    answers, _ = MULTILABEL.read(
        made_up_table(joined(labels, gold.tolist()), answered, labels, probabilities), labels, None
    )
    return MULTILABEL.estimates(answers)
