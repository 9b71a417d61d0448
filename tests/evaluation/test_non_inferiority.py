"""Declared pairs, non-inferiority by a margin, seeds."""

import json

import numpy as np
import pandas as pd
import pytest

from clinfit.evaluation.claims.non_inferiority import non_inferiority
from clinfit.evaluation.claims.paired import PairedDifference
from clinfit.evaluation.evaluate import evaluate
from clinfit.evaluation.statistics.holm import holm

GOLD = ["Yes", "No"] * 100


def outcome(study, *tables):
    return json.loads(json.dumps(evaluate(study, pd.concat(tables)), allow_nan=False))["tasks"]["outcome"]


def wrong(*items):
    """Gold answers but for these items."""
    flip = {"Yes": "No", "No": "Yes"}
    return [flip[g] if k in items else g for k, g in enumerate(GOLD)]


def kinds(result):
    return [(c["kind"], c["new"], c["reference"]) for c in result["comparisons"]]


@pytest.mark.parametrize(
    ("metric", "low", "high", "shown"),
    [
        ("accuracy", -0.019, 0.03, True),
        ("accuracy", -0.02, 0.03, False),
        ("accuracy", 0.01, 0.03, True),
        ("brier", -0.03, 0.019, True),
        ("brier", -0.03, 0.02, False),
        ("log_loss", 0.01, 0.03, False),
        ("auroc", None, None, False),
    ],
)
def test_the_whole_interval_must_lie_above_the_margin(metric, low, high, shown):
    found = PairedDifference(metric, 0.8, 0.8, 0.0, low, high)
    result = non_inferiority("new", "old", found, 0.02, None, 0.95)
    assert result["shown"] is shown
    assert ("not shown" in result["sentence"]) is not shown
    if low is not None:
        assert result["low"] == pytest.approx(low if metric in ("accuracy", "auroc") else -high)


@pytest.mark.parametrize(("margin", "shown"), [(0.05, True), (0.01, False)])
def test_non_inferiority_is_claimed_only_where_it_is_shown(make_study, rows, margin, shown):
    """2 items differ each way of 200: the interval of the difference is about -2 to +2 points."""
    tables = [rows("tiny", GOLD, wrong(0, 1, 4, 6)), rows("forest", GOLD, wrong(2, 3, 4, 6))]
    result = outcome(make_study(compare=[["tiny", "forest"]], margin=margin), *tables)
    declared = result["comparisons"][-1]
    assert (declared["kind"], declared["new"], declared["reference"]) == ("declared", "tiny", "forest")
    assert declared["rows"][0]["direction"] == "no difference shown"
    assert "not shown to be better than forest" in declared["rows"][0]["sentence"]
    assert declared["non_inferiority"]["shown"] is shown
    verdict = " ".join(result["verdict"])
    assert (f"tiny is not inferior to forest by more than {100 * margin:g} points" in verdict) is shown
    assert "tiny is not shown to be better than forest" in verdict


def test_without_a_margin_nothing_is_said_of_equivalence(make_study, rows):
    tables = [rows("tiny", GOLD, wrong(0, 1)), rows("forest", GOLD, wrong(2, 3))]
    result = outcome(make_study(compare=[["tiny", "forest"]]), *tables)
    assert {c["non_inferiority"] for c in result["comparisons"]} == {None}
    words = " ".join(result["verdict"] + result["advice"] + [c["sentence"] for c in result["comparisons"]])
    assert "inferior" not in words and "equivalen" not in words


def test_two_useless_systems_are_not_recommended_for_being_alike(make_study, rows):
    constant = ["Yes"] * 200
    tables = [rows("tiny", GOLD, constant), rows("forest", GOLD, constant)]
    result = outcome(make_study(compare=[["tiny", "forest"]], margin=0.1), *tables)
    within = result["comparisons"][-1]["non_inferiority"]
    assert (
        within["shown"] and "this says little, since tiny is not shown to be better than always" in within["sentence"]
    )


# ---------------------------------------------------------------- declared pairs


def test_a_declared_pair_that_is_compared_anyway_is_not_compared_twice(make_study, rows):
    tables = [
        rows("tiny", GOLD, wrong(*range(60)), stage=0),
        rows("tiny", GOLD, wrong(1)),
        rows("forest", GOLD, wrong(2, 3)),
        rows("forest", GOLD, wrong(2, 3), split="validation"),
    ]
    result = outcome(make_study(compare=[["tiny", "forest"], ["tiny", "always"]]), *tables)
    assert kinds(result).count(("versus-baseline", "tiny (after)", "forest")) == 1
    assert not any(kind == "declared" for kind, _, _ in kinds(result))


def test_the_other_way_round_is_kept_and_counts_once_for_holm(make_study, rows):
    tables = [
        rows("tiny", GOLD, wrong(*range(8))),
        rows("forest", GOLD, wrong(2, 3)),
        rows("forest", GOLD, GOLD, split="validation"),
    ]
    plain = outcome(make_study(), *tables)
    both = outcome(make_study(compare=[["forest", "tiny"]], margin=0.02), *tables)
    assert kinds(both) == [*kinds(plain), ("declared", "forest", "tiny")]
    for place, row in enumerate(plain["comparisons"][0]["rows"]):
        first = [c["rows"][place]["p_holm"] for c in plain["comparisons"]]
        assert [c["rows"][place]["p_holm"] for c in both["comparisons"]][:-1] == pytest.approx(first, nan_ok=True), row
    forward, back = both["comparisons"][-2], both["comparisons"][-1]
    assert forward["rows"][0]["points"] == pytest.approx(-back["rows"][0]["points"])
    assert forward["rows"][0]["p_holm"] == back["rows"][0]["p_holm"]


def test_declared_pairs_join_the_family(make_study, rows):
    tables = [rows("tiny", GOLD, wrong(*range(8))), rows("forest", GOLD, wrong(2, 3))]
    result = outcome(make_study(compare=[["tiny", "forest"]]), *tables)
    family = [c["rows"][0] for c in result["comparisons"]]
    assert len(family) == 3
    assert [row["p_holm"] for row in family] == pytest.approx(holm([row["p"] for row in family]))


def test_a_declared_pair_without_answers_is_told(make_study, rows):
    result = outcome(make_study(compare=[["tiny", "forest"]]), rows("tiny", GOLD, wrong(1)))
    missing = next(f for f in result["findings"] if f["code"] == "declared-pair-missing")
    assert missing["level"] == "warn" and "forest" in missing["evidence"] and "tiny" not in missing["evidence"]
    assert not any(kind == "declared" for kind, _, _ in kinds(result))


def test_seeds_are_compared_seed_by_seed_and_summed_up_beside(make_study, rows):
    values = {1: 4, 2: 10, 3: 16}
    tables = [rows("tiny", GOLD, wrong(*range(k)), seed=s) for s, k in values.items()]
    tables += [rows("forest", GOLD, wrong(*range(20 + s)), seed=s) for s in values]
    result = outcome(make_study(seeds=(1, 2, 3), compare=[["tiny", "forest"], ["tiny", "always"]]), *tables)
    declared = [pair for pair in kinds(result) if pair[0] == "declared"]
    assert declared == [("declared", f"tiny (seed {s})", f"forest (seed {s})") for s in values]
    summary = next(entry for entry in result["seeds"] if entry["system"] == "tiny")["metrics"]["accuracy"]
    shares = [1 - k / 200 for k in values.values()]
    assert (summary["mean"], summary["sd"]) == pytest.approx((np.mean(shares), np.std(shares, ddof=1)))
    assert "mean Accuracy over 3 seeds of 95.0 % (standard deviation between seeds 3.0 %" in result["verdict"][0]
