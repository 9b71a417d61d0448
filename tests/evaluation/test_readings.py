"""Scores of readers: agreement against scikit-learn's, means, and who is far apart."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from clinfit.evaluation.readings import CRITERIA, evaluate_readings, weighted_kappa

SCORES = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=40)


@settings(deadline=None)
@given(SCORES)
def test_kappa_is_that_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    first, second = (np.array(scores) for scores in zip(*pairs, strict=True))
    ours = weighted_kappa(first, second, 5, np.ones((len(pairs), 1)))[0]
    if len(set(first) | set(second)) == 1:
        assert np.isnan(ours)
    else:
        theirs = cohen_kappa_score(first, second, labels=range(5), weights="quadratic")
        assert ours == pytest.approx(theirs)


def ratings(difference: int = 0) -> pd.DataFrame:
    """Two raters of 40 records by two writers: `good` is a step better, and the second rater sees some texts lower."""
    rng = np.random.default_rng(0)
    rows = []
    for record, system in product(range(40), ("good", "poor")):
        for criterion in CRITERIA:
            score = int(rng.integers(1, len(criterion.scale))) + (system == "good")
            lower = max(1, score - difference) if record % 4 == 0 else score
            rows += [
                (rater, f"r{record}", system, criterion.name, given) for rater, given in (("A", score), ("B", lower))
            ]
    return pd.DataFrame(rows, columns=["rater", "id", "system", "criterion", "score"])


def test_raters_who_always_agree() -> None:
    found = evaluate_readings(ratings(), 80)
    assert found["raters"] == {"A": 80, "B": 80} and not found["disagreements"]
    assert [agreed["kappa"] for agreed in found["agreement"]] == pytest.approx([1.0] * len(CRITERIA))
    means = {(rated["system"], rated["criterion"]): rated for rated in found["systems"]}
    for criterion in CRITERIA:
        good, poor = means["good", criterion.name], means["poor", criterion.name]
        assert good["n"] == 40 and good["mean"] > poor["mean"]
        assert good["low"] is not None and good["high"] is not None and good["low"] < good["mean"] < good["high"]


def test_what_is_far_apart_is_listed() -> None:
    found = evaluate_readings(ratings(difference=2), 80)
    for agreed in found["agreement"]:
        assert agreed["kappa"] is not None and agreed["low"] is not None and agreed["high"] is not None
        assert agreed["low"] <= agreed["kappa"] <= agreed["high"] < 1 and agreed["equal"] >= 0.75
    assert found["disagreements"] and all(int(far["id"][1:]) % 4 == 0 for far in found["disagreements"])
    steps = {criterion.name: criterion.apart for criterion in CRITERIA}
    assert all(far["scores"][0] - far["scores"][1] >= steps[far["criterion"]] for far in found["disagreements"])


def test_one_score_for_all_is_no_agreement() -> None:
    table = ratings().assign(score=3)
    agreed = evaluate_readings(table, 80)["agreement"]
    assert all(found["kappa"] is None and found["reason"] and found["equal"] == 1 for found in agreed)


def test_one_rater_has_means_and_no_agreement() -> None:
    table = ratings()
    found = evaluate_readings(table.loc[table["rater"] == "A"], 100)
    assert found["systems"] and not found["agreement"] and found["raters"] == {"A": 80}


def test_what_hardly_varies_has_no_interval() -> None:
    """One text of twenty apart: most resamples hold it once or not at all, and certainty would be claimed."""
    rows = [("A", f"r{k}", "s", "harm", 3) for k in range(20)] + [
        ("B", f"r{k}", "s", "harm", 3 - (k == 0)) for k in range(20)
    ]
    found = evaluate_readings(pd.DataFrame(rows, columns=["rater", "id", "system", "criterion", "score"]), 20)
    (agreed,) = found["agreement"]
    assert agreed["kappa"] == 0 and agreed["low"] is None and agreed["high"] is None
