"""Two systems are compared on the items where both have a value; where only one has, nothing may be claimed of it."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from clinfit.evaluation.claims.paired import PairedDifference, paired_difference
from clinfit.evaluation.evaluate import evaluate
from clinfit.evaluation.metrics.generation import GENERATION
from clinfit.evaluation.statistics.bootstrap import Resamples
from clinfit.predictions import SCORE
from clinfit.report.format import per_cent
from clinfit.report.sections.performance.comparison import before_after
from predicted import predictions_of, study_of, task_of

N = 100
EASY = 40
#: All numbers right in the easy items, half of them in the hard ones.
PRECISION = np.where(np.arange(N) < EASY, 1.0, 0.5)


def compared(first: Any, second: Any) -> PairedDifference:
    def answers(values: Any) -> Any:
        columns = {"number_precision": values, "exact_match": 0.0, "token_f1": 0.3}
        table = pd.DataFrame({"gold": ["x"] * len(values), "status": "ok"} | {SCORE + k: v for k, v in columns.items()})
        return GENERATION.read(table, [], None)[0]

    systems = [answers(first), answers(second)]
    scored = GENERATION.score(systems, Resamples(systems[0].strata, None, 1000), 0.95)
    return paired_difference("number_precision", *scored)


def without(values: Any, items: Any) -> Any:
    return np.where(np.isin(np.arange(len(values)), items), np.nan, values)


def test_systems_that_differ_only_in_which_texts_hold_a_number_do_not_differ() -> None:
    found = compared(PRECISION, without(PRECISION, range(EASY, N)))
    assert found.difference == 0 and found.gain == 0
    assert found.reference == found.new == 1.0  # both of the 40 easy items
    assert found.common == {"both": EASY, "reference": N - EASY, "new": 0}
    assert found.reason is not None
    assert found.reason.endswith("over 40 items where both have a value; 60 have one only of the reference")


def test_a_real_gain_is_seen_on_the_items_that_both_have() -> None:
    better = without(np.where(np.arange(N) % 3, 1.0, PRECISION), range(20))
    found = compared(without(PRECISION, range(80, N)), better)
    both = slice(20, 80)
    assert found.difference == pytest.approx((better - PRECISION)[both].mean())
    assert found.common == {"both": 60, "reference": 20, "new": 20}
    assert found.gain == 1 and found.p is not None and found.p < 0.001


@pytest.mark.parametrize(("both", "shown"), [(1, False), (2, False), (5, False), (6, True), (50, True)])
def test_few_common_items_show_nothing(both: int, shown: bool) -> None:
    """Up to 5 items p is that of a sign test at least; fewer than 3 of 100 are in too few resamples."""
    few = without(PRECISION + 0.3 + np.arange(N) / 1000, range(both, N))
    found = compared(PRECISION, few)
    claimed = found.gain == 1 and found.p is not None and found.p < 0.05
    assert claimed is shown
    assert found.common == {"both": both, "reference": N - both, "new": 0}


def test_without_a_common_item_nothing_is_compared() -> None:
    found = compared(without(PRECISION, range(50, N)), without(PRECISION, range(50)))
    assert (found.difference, found.gain, found.reason) == (None, 0, "no item where both have a value")
    assert found.common == {"both": 0, "reference": 50, "new": 50}


def test_a_metric_that_every_item_has_is_compared_as_it_was() -> None:
    found = compared(PRECISION, PRECISION + 0.01)
    assert found.common is None and found.difference == pytest.approx(0.01)


@pytest.fixture(scope="module")
def evaluated() -> Any:
    """`tiny` writes the same numbers before and after training, and after it none in the hard items."""
    task = task_of("generation", primary="rouge1")
    table = predictions_of("t", task, N)
    for stage in (0, 1):
        for split in ("validation", "test"):
            rows = (table["model"] == "tiny") & (table["stage"] == stage) & (table["split"] == split)
            table.loc[rows, SCORE + "number_precision"] = PRECISION if not stage else without(PRECISION, range(EASY, N))
    return evaluate(study_of({"t": task}, bootstrap=100), table)


def test_nothing_is_claimed_of_it_in_metrics_json(evaluated: Any) -> None:
    comparison = next(c for c in evaluated["tasks"]["t"]["comparisons"] if c["kind"] == "before-after")
    row = next(row for row in comparison["rows"] if row["metric"] == "number_precision")
    assert not row["supported"] and row["difference"] == 0
    assert row["common"] == {"both": EASY, "reference": N - EASY, "new": 0}
    assert "over 40 items where both have a value; 60 have one only of the reference" in row["sentence"]
    primary = comparison["rows"][0]
    assert primary["metric"] == "rouge1" and primary["common"] is None


def test_the_report_names_the_items_beside_the_metric(evaluated: Any) -> None:
    rows = before_after(evaluated["tasks"]["t"])[0].rows
    row = next(row for row in rows if row.title == "Numbers found in the source (proxy)")
    assert row.over == "over 40 items; 60 that have a value with tiny (before) only are left out"
    assert (row.before.text, row.after.text, row.change.text) == (per_cent(1.0), per_cent(1.0), "0.0")
