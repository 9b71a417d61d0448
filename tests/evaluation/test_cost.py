"""Pareto set, the price of a lead in words, and which system for which use."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinfit.evaluation.cost import pareto, times, told_time
from clinfit.evaluation.evaluate import evaluate
from clinfit.report.pareto import Point, pareto_figure

GOLD = ["Yes", "No"] * 60
CELLS = st.one_of(st.none(), st.integers(0, 4).map(float))


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


@given(st.lists(st.tuples(CELLS, CELLS), max_size=8), st.booleans())
def test_pareto_is_what_no_other_dominates(points, loss):
    primary = "brier" if loss else "auroc"
    systems = [
        {"name": str(k), "metrics": {primary: {"value": value}}, "cost": {"seconds_p50": seconds}}
        for k, (value, seconds) in enumerate(points)
    ]
    known = {str(k): point for k, point in enumerate(points) if None not in point}

    def beaten(name):
        value, seconds = known[name]
        for other, (quality, time) in known.items():
            as_good = quality <= value if loss else quality >= value
            if other != name and as_good and time <= seconds and (quality, time) != (value, seconds):
                return True
        return False

    assert pareto(systems, primary) == [name for name in known if not beaten(name)]


def test_a_slow_model_without_a_shown_lead_says_so(make_study, rows):
    tables = [
        answered(rows, "tiny", 1.1, seconds=0.4),
        answered(rows, "forest", 1.0, seconds=0.001, seed=1),
        answered(rows, "forest", 1.0, seconds=0.001, seed=2, split="validation"),
    ]
    result = outcome(make_study(), *tables)
    assert (
        "Cost: tiny takes 400 times the time an item of forest (400 ms against 1 ms, medians) and is not shown to be "
        "better than it in Accuracy." in result["advice"]
    )
    assert result["systems"][-1]["cost"]["seconds_p50"] == 0.4
    assert set(result["pareto"]) <= set(result["ranking"])


def test_words_for_ratios_and_times():
    assert [times(x) for x in (2.04, 41.4, 404.0, 12345.0)] == ["2.0", "41", "400", "12,000"]
    assert [told_time(x) for x in (3e-4, 0.0123, 2.5)] == ["300 µs", "12.3 ms", "2.5 s"]


def test_advice_names_threshold_hundred_records_and_the_simpler_rival(make_study, rows):
    tables = [
        table
        for split in ("validation", "test")
        for table in (
            answered(rows, "tiny", 1.1, seconds=0.4, split=split),
            answered(rows, "forest", 1.0, seconds=0.001, seed=1, split=split),
        )
    ]
    result = outcome(make_study(threshold={"rule": "sensitivity", "value": 0.9}), *tables)
    screening = result["advice"][0]
    chosen = next(s for s in result["systems"] if s["name"] in screening.split(":")[1].split(",")[0])
    (tn, fp, _), (fn, tp, _) = chosen["confusion"]["counts"]
    assert screening.startswith("Screening (few missed, specificity 50 % or more): ")
    assert f"at threshold {chosen['threshold']['value']:.3f} (rule sensitivity, chosen on validation)" in screening
    assert f"(counted: {tp}, {fp} and {fn} of 120)" in screening
    assert f"flags {100 * tp / 120:.0f} rightly and {100 * fp / 120:.0f} falsely as 'Yes'" in screening
    assert tn + fp == 60
    for line in result["advice"][:3]:
        if "tiny," in line:
            assert "not shown to be better than forest, which is simpler" in line


def test_a_better_model_is_advised_without_the_rival(make_study, rows):
    tables = [answered(rows, "tiny", 3.0, seconds=0.4), answered(rows, "forest", 0.6, seconds=0.001, seed=1)]
    lines = outcome(make_study(), *tables)["advice"][:3]
    assert all(" tiny, " in line and "forest" not in line for line in lines)


@pytest.mark.parametrize("values", [(0.9, 0.9, 0.9), (0.6, 0.8, 0.9)])
def test_the_figure_tells_what_it_shows(values):
    points = [Point(name, 10.0**-k, value, k == 0) for k, (name, value) in enumerate(zip("abc", values, strict=True))]
    svg = str(pareto_figure(points, "Accuracy", True, "figure"))
    assert 'id="figure-desc"' in svg
    assert f"a {values[0]:.3f} in 1.0 s; b {values[1]:.3f} in 100 ms (beaten by another)" in svg
