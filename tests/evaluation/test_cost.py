"""Pareto set, the price of a lead in words, and which system for which use."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinfit.evaluation.analyses.cost import pareto, times
from clinfit.evaluation.claims.natural_frequencies import natural_frequencies
from clinfit.evaluation.evaluate import evaluate
from clinfit.report.figures.pareto import Point, pareto_figure

GOLD = ["Yes", "No"] * 60
NUMBERS = st.integers(0, 4).map(float)


def outcome(study, *tables):
    return json.loads(json.dumps(evaluate(study, pd.concat(tables)), allow_nan=False))["tasks"]["outcome"]


def noisy(strength, seed):
    """(n, 2) probabilities that lean towards the gold label."""
    sign = np.where(np.array(GOLD) == "Yes", 1, -1)
    yes = 1 / (1 + np.exp(-(strength * sign + np.random.default_rng(seed).normal(size=len(GOLD)))))
    return np.column_stack([1 - yes, yes])


def answered(rows, model, strength, *, seconds, seed=0, **options):
    probabilities = noisy(strength, seed)
    said = ["Yes" if yes > no else "No" for no, yes in probabilities]
    return rows(model, GOLD, said, probabilities=probabilities, **options).assign(seconds=seconds)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=8), st.booleans())
def test_pareto_is_what_no_other_dominates(points, loss):
    primary = "brier" if loss else "auroc"
    known = {str(k): point for k, point in enumerate(points)}

    def beaten(name):
        value, seconds = known[name]
        for other, (quality, time) in known.items():
            as_good = quality <= value if loss else quality >= value
            if other != name and as_good and time <= seconds and (quality, time) != (value, seconds):
                return True
        return False

    assert pareto(known, primary) == [name for name in known if not beaten(name)]


def test_a_slow_model_without_a_shown_lead_says_so(make_study, rows):
    tables = [
        answered(rows, "tiny", 1.1, seconds=0.4),
        answered(rows, "forest", 1.0, seconds=0.001, seed=1),
        answered(rows, "forest", 1.0, seconds=0.001, seed=2, split="validation"),
    ]
    result = outcome(make_study(), *tables)
    said = "Cost: tiny takes about 1,000 times the time an item of forest, and is not shown to be better than it"
    assert f"{said} in Accuracy." in result["advice"]
    assert result["systems"][-1]["cost"]["seconds_p50"] == 0.4
    assert set(result["sections"]["pareto"]) <= set(result["ranking"])


def test_ratios_have_no_more_digits_than_another_run_would_repeat():
    assert [times(x) for x in (10.0, 41.4, 404.0, 12345.0)] == ["10", "100", "1,000", "10,000"]


def both(rows, first, second, **options):
    return [
        table
        for split in ("validation", "test")
        for table in (
            answered(rows, "tiny", first, seconds=0.4, split=split, **options),
            answered(rows, "forest", second, seconds=0.001, seed=1, split=split, **options),
        )
    ]


def test_screening_is_advised_at_a_threshold_for_screening(make_study, rows):
    """The study's own rule has nothing to do with it, and the test split chooses nothing."""
    result = outcome(make_study(threshold={"rule": "youden"}), *both(rows, 2.2, 2.0))
    screening = result["advice"][0]
    assert screening.startswith("Screening (sensitivity of 95 % or more): ")
    name = screening.split(": ")[1].split(",")[0]
    value = float(re.search(r"at a threshold of (0\.\d+) \(chosen on validation\)", screening)[1])
    test, validation = (
        next(t for t in both(rows, 2.2, 2.0) if t["model"].iloc[0] == name and t["split"].iloc[0] == split)
        for split in ("test", "validation")
    )
    flagged, gold = test["p_Yes"] >= value - 5e-4, test["gold"] == "Yes"
    assert ((validation["p_Yes"] >= value - 5e-4) & (validation["gold"] == "Yes")).sum() >= 57
    counts = re.search(r"counted: (\d+), (\d+) and (\d+) of 120", screening)
    tp, fp, fn = (flagged & gold).sum(), (flagged & ~gold).sum(), (~flagged & gold).sum()
    assert [int(x) for x in counts.groups()] == pytest.approx([tp, fp, fn], abs=1)


def test_advice_says_where_one_label_would_be_right_more_often(make_study, rows):
    """It ranks, so that it is useful; a third of its answers are wrong, where 'No' throughout is wrong in an eighth."""
    gold = (["Yes"] + ["No"] * 7) * 60
    tables = []
    for seed, split in enumerate(("validation", "test")):
        score = np.where(np.array(gold) == "Yes", 1.0, -0.4) + np.random.default_rng(seed).normal(size=len(gold))
        yes = 1 / (1 + np.exp(-score))
        said = np.where(yes > 0.5, "Yes", "No")
        tables.append(rows("tiny", gold, said, probabilities=np.column_stack([1 - yes, yes]), split=split))
    overall = outcome(make_study(primary="auroc"), *tables)["advice"][2]
    assert overall.startswith("Overall: tiny")
    assert "It is right less often than always answering 'No': -15" in overall
    sure = outcome(make_study(), *both(rows, 3.0, 0.6))["advice"][2]
    assert sure.startswith("Overall: tiny") and "right more often" not in sure


def test_the_advice_counts_as_the_report_does(make_study, rows):
    """Of a hundred records, rounded so that they add up."""
    gold = ["Yes"] * 61 + ["No"] * 62
    said = ["Yes"] * 41 + ["No"] * 20 + ["Yes"] * 10 + ["No"] * 52
    tables = [rows("tiny", gold, said, split=split) for split in ("validation", "test")]
    overall = outcome(make_study(), *tables)["advice"][2]
    counts = np.array([[41, 20, 0], [10, 52, 0]])
    whole = natural_frequencies(counts)[1]
    told = f"flags {whole[0, 0]} rightly and {whole[1, 0]} falsely as 'Yes', and misses {whole[0, 1]} (counted: 41, 10 "
    assert told in overall


def test_advice_names_the_simpler_rival_where_it_is_not_shown_to_be_worse(make_study, rows):
    """tiny is a little better where it counts for choosing, and not where it counts for saying so."""
    better, same = both(rows, 1.8, 0.9)[:2], both(rows, 1.3, 1.3)[2:]
    lines = outcome(make_study(), *better, *same)["advice"][:3]
    chosen = [line for line in lines if "tiny, best on validation" in line]
    assert chosen and all("not shown to be better than forest, which is simpler" in line for line in chosen)


def test_a_better_model_is_advised_without_the_rival(make_study, rows):
    lines = outcome(make_study(), *both(rows, 3.0, 0.6))["advice"][:3]
    assert all("tiny, best on validation" in line and "forest" not in line for line in lines[1:])


def test_without_validation_nothing_is_advised(make_study, rows):
    tables = [answered(rows, "tiny", 3.0, seconds=0.4), answered(rows, "forest", 0.6, seconds=0.001, seed=1)]
    assert "needs 10 validation items of each class" in outcome(make_study(), *tables)["advice"][0]


@pytest.mark.parametrize("values", [(0.9, 0.9, 0.9), (0.6, 0.8, 0.9)])
def test_the_figure_tells_what_it_shows(values):
    points = [Point(name, 10.0**-k, value, k == 0) for k, (name, value) in enumerate(zip("abc", values, strict=True))]
    svg = str(pareto_figure(points, "Accuracy", True, "figure"))
    assert 'id="figure-desc"' in svg
    assert f"a {values[0]:.3f} in 1.0 s; b {values[1]:.3f} in 100 ms (beaten by another)" in svg
