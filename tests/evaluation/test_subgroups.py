"""Subgroups: each row is the evaluation of its items alone, gaps by brute force, small groups hidden."""

import json
from collections.abc import Callable, Sequence
from itertools import combinations, permutations
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import fisher_exact
from sklearn.metrics import roc_auc_score

from clinfit.evaluation.analyses.subsets import OUTSIDE, score_subsets
from clinfit.evaluation.evaluate import evaluate
from clinfit.evaluation.facts import Facts
from clinfit.evaluation.metrics.classification import CLASSIFICATION
from clinfit.evaluation.metrics.engine import Scored
from clinfit.evaluation.results import SubgroupResult, TaskResult
from clinfit.evaluation.statistics import bootstrap
from clinfit.evaluation.statistics.bootstrap import Resamples
from clinfit.evaluation.statistics.delong import delong
from clinfit.evaluation.statistics.unpaired import delong_unpaired, proportion_difference
from clinfit.study.schema import Study

MakeStudy = Callable[..., Study]
Rows = Callable[..., pd.DataFrame]
IDS = [f"test-{at:05d}" for at in range(300)]


def predictions(
    rows: Rows,
    hard: Sequence[bool],
    labels: Sequence[str] = ("No", "Yes"),
    model: str = "tiny",
    seed: int = 0,
    **options: Any,
) -> pd.DataFrame:
    """One item for each of `hard`: little is known of those that are, much of the others."""
    rng = np.random.default_rng(seed)
    n, k = len(hard), len(labels)
    truth = rng.integers(0, k, size=n)
    logits = rng.normal(size=(n, k))
    logits[np.arange(n), truth] += np.where(hard, 0.2, 2.5)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    said = [labels[code] for code in p.argmax(axis=1)]
    return rows(model, [labels[code] for code in truth], said, labels, probabilities=p, **options)


def outcome(study: Study, table: pd.DataFrame, **groups: Sequence[str]) -> TaskResult:
    """With these group columns, in the order of the first ids."""
    n = len(next(iter(groups.values())))
    facts = Facts(subgroups={"outcome": pd.DataFrame({"id": IDS[:n], **groups})})
    result = evaluate(study, table, facts)["tasks"]["outcome"]
    json.dumps(result, allow_nan=False)
    return result


def of(result: TaskResult, column: str, system: str = "tiny") -> SubgroupResult:
    return next(r for r in result["sections"]["subgroups"] if (r["system"], r["column"]) == (system, column))


def codes(result: TaskResult) -> set[str]:
    return {finding["code"] for finding in result["findings"]}


#: Three groups of 100; the model knows little of the third.
WARD = [("north", "south", "west")[at % 3] for at in range(300)]
HARD = [ward == "west" for ward in WARD]


# ---------------------------------------------------------------- rows


@pytest.mark.parametrize("labels", [("No", "Yes"), ("a", "b", "c")])
def test_each_row_is_the_evaluation_of_its_items_alone(
    make_study: MakeStudy, rows: Rows, labels: Sequence[str]
) -> None:
    table = predictions(rows, HARD, labels)
    study = make_study(labels, subgroups=["ward"], primary="brier" if len(labels) == 2 else "macro_f1")
    found = of(outcome(study, table, ward=WARD), "ward")
    assert [row["group"] for row in found["rows"]] == ["north", "south", "west"]
    for row in found["rows"]:
        part = table[np.array(WARD) == row["group"]]
        alone = evaluate(study, part)["tasks"]["outcome"]
        system = next(entry for entry in alone["systems"] if entry["name"] == "tiny")
        assert (row["n"], row["suppressed"]) == (100, False)
        assert row["events"] == (int((part["gold"] == "Yes").sum()) if len(labels) == 2 else None)
        for name, metric in row["metrics"].items():
            assert metric["value"] == pytest.approx(system["metrics"][name]["value"]), name
            if "bootstrap" not in (metric["method"] or ""):
                assert (metric["low"], metric["high"]) == pytest.approx(
                    (system["metrics"][name]["low"], system["metrics"][name]["high"])
                ), name
    shown = set(found["rows"][0]["metrics"])
    assert shown == (
        {"brier", "accuracy", "sensitivity", "specificity", "ppv", "auroc", "calibration_intercept"}
        if len(labels) == 2
        else {"macro_f1", "accuracy", "balanced_accuracy"}
    )


def test_groups_too_small_show_no_number_and_no_count(make_study: MakeStudy, rows: Rows) -> None:
    table = predictions(rows, HARD)
    gold = table["gold"].tolist()
    # "few events": 9 positives and all the negatives of its share; "enough": 10 of each.
    groups = ["rest"] * 300
    for name, positives, negatives in (("few events", 9, 30), ("few others", 30, 9), ("enough", 10, 10)):
        for label, size in (("Yes", positives), ("No", negatives)):
            free = [at for at in range(300) if groups[at] == "rest" and gold[at] == label][:size]
            for at in free:
                groups[at] = name
    result = outcome(make_study(subgroups=["part"]), table, part=groups)
    found = {row["group"]: row for row in of(result, "part")["rows"]}
    assert {name for name, row in found.items() if row["suppressed"]} == {"few events", "few others"}
    assert found["few events"] == {"group": "few events", "n": None, "events": None, "suppressed": True, "metrics": {}}
    assert (found["enough"]["n"], found["enough"]["events"]) == (20, 10)
    assert not {"few events", "few others"} & {
        g for gap in of(result, "part")["gaps"] for g in (gap["high"], gap["low"])
    }
    told = next(finding for finding in result["findings"] if finding["code"] == "subgroups-suppressed")
    assert told["level"] == "info" and told["title"].startswith("2 of 4 groups of part")
    assert told["evidence"] == "few events, few others"


def test_of_many_labels_ten_items_are_enough(make_study: MakeStudy, rows: Rows) -> None:
    groups = ["nine"] * 9 + ["ten"] * 10 + ["rest"] * 281
    table = predictions(rows, HARD, ("a", "b", "c"))
    found = of(outcome(make_study(("a", "b", "c"), subgroups=["part"]), table, part=groups), "part")
    assert {row["group"]: row["n"] for row in found["rows"]} == {"nine": None, "ten": 10, "rest": 281}
    assert found["equalized_odds"] is None


def test_items_without_a_group_are_missing_and_not_lost(make_study: MakeStudy, rows: Rows) -> None:
    found = of(outcome(make_study(subgroups=["ward"]), predictions(rows, HARD), ward=WARD[:200]), "ward")
    assert found["rows"][-1]["group"] == "missing" and found["rows"][-1]["n"] == 100
    assert sum(row["n"] or 0 for row in found["rows"]) == 300


def test_no_table_means_no_subgroups(make_study: MakeStudy, rows: Rows) -> None:
    result = evaluate(make_study(subgroups=["ward"]), predictions(rows, HARD))["tasks"]["outcome"]
    assert result["sections"].get("subgroups") is None


def test_every_trained_system_is_shown_and_groups_are_the_same(make_study: MakeStudy, rows: Rows) -> None:
    table = pd.concat([predictions(rows, HARD), predictions(rows, HARD, model="forest").sample(frac=1, random_state=1)])
    result = outcome(
        make_study(subgroups=["ward", {"column": "sex", "title": "Sex"}]), table, ward=WARD, sex=["f", "m"] * 150
    )
    assert {(r["system"], r["column"], r["title"]) for r in result["sections"]["subgroups"]} == {
        (model, column, title) for model in ("tiny", "forest") for column, title in (("ward", "ward"), ("sex", "Sex"))
    }
    assert of(result, "ward")["rows"] == of(result, "ward", "forest")["rows"], "the same answers in another order"


# ---------------------------------------------------------------- gaps


def brute_force(table: pd.DataFrame, groups: Sequence[str], name: str, group: str) -> float:
    part = table[np.array(groups) == group]
    hit, positive = part["gold"] == part["predicted"], part["gold"] == "Yes"
    if name == "auroc":
        return float(roc_auc_score(positive, part["p_Yes"]))
    kept = {
        "accuracy": positive | ~positive,
        "sensitivity": positive,
        "specificity": ~positive,
        "ppv": part["predicted"] == "Yes",
    }[name]
    return float(hit[kept].mean())


def test_gaps_are_the_largest_differences_of_any_pair(make_study: MakeStudy, rows: Rows) -> None:
    table = predictions(rows, HARD)
    found = of(outcome(make_study(subgroups=["ward"]), table, ward=WARD), "ward")
    assert {gap["metric"] for gap in found["gaps"]} == {"accuracy", "sensitivity", "specificity", "ppv", "auroc"}
    for gap in found["gaps"]:
        values = {ward: brute_force(table, WARD, gap["metric"], ward) for ward in set(WARD)}
        high, low = max(permutations(values, 2), key=lambda pair: values[pair[0]] - values[pair[1]])
        assert (gap["high"], gap["low"]) == (high, low)
        assert gap["difference"]["value"] == pytest.approx(values[high] - values[low])
    by_metric = {gap["metric"]: gap["difference"]["value"] or 0 for gap in found["gaps"]}
    assert found["equalized_odds"] == pytest.approx(max(by_metric["sensitivity"], by_metric["specificity"]))


def test_p_is_corrected_over_all_pairs_and_metrics(make_study: MakeStudy, rows: Rows) -> None:
    table = predictions(rows, HARD)
    found = of(outcome(make_study(subgroups=["ward"]), table, ward=WARD), "ward")
    raw: dict[tuple[str, frozenset[str]], float] = {}
    for one, other in combinations(("north", "south", "west"), 2):
        parts = [table[np.array(WARD) == ward] for ward in (one, other)]
        for name in ("accuracy", "sensitivity", "specificity", "ppv"):
            of_group = []
            for part in parts:
                kept = {
                    "accuracy": part,
                    "sensitivity": part[part["gold"] == "Yes"],
                    "specificity": part[part["gold"] == "No"],
                    "ppv": part[part["predicted"] == "Yes"],
                }[name]
                right = int((kept["gold"] == kept["predicted"]).sum())
                of_group.append([right, len(kept) - right])
            raw[name, frozenset((one, other))] = fisher_exact(of_group)[1]
        first, second = (delong(np.array(p["gold"] == "Yes"), np.array(p["p_Yes"])) for p in parts)
        test = delong_unpaired(first, second)
        assert test is not None
        raw["auroc", frozenset((one, other))] = test.p
    ordered = sorted(raw.items(), key=lambda item: item[1])
    corrected, largest = {}, 0.0
    for place, (key, p) in enumerate(ordered):
        largest = max(largest, min(1.0, (len(ordered) - place) * p))
        corrected[key] = largest
    assert len(ordered) == 15
    for gap in found["gaps"]:
        assert gap["p_holm"] == pytest.approx(corrected[gap["metric"], frozenset((gap["high"], gap["low"]))], rel=1e-9)


def test_a_supported_gap_is_a_warning(make_study: MakeStudy, rows: Rows) -> None:
    result = outcome(make_study(subgroups=["ward"]), predictions(rows, HARD), ward=WARD)
    told = next(finding for finding in result["findings"] if finding["code"] == "subgroup-gap")
    assert told["level"] == "warn" and told["system"] == "tiny" and "'west'" in told["title"]
    assert "points" in told["title"] and "after Holm" in told["evidence"]


def test_groups_alike_give_no_warning(make_study: MakeStudy, rows: Rows) -> None:
    result = outcome(make_study(subgroups=["ward"]), predictions(rows, [False] * 300, seed=3), ward=WARD)
    assert of(result, "ward")["gaps"] and "subgroup-gap" not in codes(result)


def test_a_large_gap_that_chance_explains_is_no_warning(make_study: MakeStudy, rows: Rows) -> None:
    """20 items a group: 85 % against 65 % is a gap of 20 points and no evidence."""
    gold = ["Yes", "No"] * 20
    said = list(gold)
    for at in (0, 1, 2, 20, 21, 22, 23, 24, 25, 26):
        said[at] = "No" if gold[at] == "Yes" else "Yes"
    result = outcome(make_study(subgroups=["sex"]), rows("tiny", gold, said), sex=["f"] * 20 + ["m"] * 20)
    gap = next(gap for gap in of(result, "sex")["gaps"] if gap["metric"] == "accuracy")
    assert gap["difference"]["value"] == pytest.approx(0.2) and (gap["difference"]["low"] or 0) < 0
    assert "subgroup-gap" not in codes(result)


# ---------------------------------------------------------------- sites


def test_sites_have_their_spread(make_study: MakeStudy, rows: Rows) -> None:
    table = predictions(rows, HARD)
    found = of(outcome(make_study(site="ward"), table, ward=WARD), "ward")
    assert found["site"]
    values = [brute_force(table, WARD, "auroc", ward) for ward in ("north", "south", "west")]
    assert found["spread"]["auroc"] == pytest.approx(float(np.std(values, ddof=1)))
    plain = of(outcome(make_study(subgroups=["ward"]), table, ward=WARD), "ward")
    assert not plain["site"] and plain["spread"] == {} and plain["rows"] == found["rows"]


def test_one_site_has_no_spread(make_study: MakeStudy, rows: Rows) -> None:
    found = of(outcome(make_study(site="ward"), predictions(rows, HARD), ward=["here"] * 300), "ward")
    assert set(found["spread"].values()) == {None} and found["gaps"] == [] and found["equalized_odds"] is None


# ---------------------------------------------------------------- groups of items


@pytest.mark.filterwarnings("error")
def test_items_that_repeat_are_resampled_by_group(make_study: MakeStudy, rows: Rows) -> None:
    """Five notes a patient that all go right or wrong together: the intervals must be those of 60 patients."""
    gold = ["Yes" if at // 5 % 2 else "No" for at in range(300)]
    men = np.arange(60) % 4 >= 2
    right = np.repeat(np.random.default_rng(2).random(60) < np.where(men, 0.65, 0.9), 5)
    said = [label if ok else {"Yes": "No", "No": "Yes"}[label] for label, ok in zip(gold, right, strict=True)]
    patients = [f"patient {at // 5}" for at in range(300)]
    sex = ["m" if men[at // 5] else "f" for at in range(300)]
    study = make_study(subgroups=["sex"], bootstrap=1000)
    alone = of(outcome(study, rows("tiny", gold, said), sex=sex), "sex")
    grouped = of(outcome(study, rows("tiny", gold, said, groups=patients), sex=sex), "sex")
    for one, other in zip(alone["rows"], grouped["rows"], strict=True):
        wide, narrow = (row["metrics"]["accuracy"] for row in (other, one))
        assert wide["value"] == narrow["value"] and "by group" in (wide["method"] or "")
        assert None not in (wide["low"], wide["high"], narrow["low"], narrow["high"])
        assert (wide["high"] or 0) - (wide["low"] or 0) > 1.6 * ((narrow["high"] or 0) - (narrow["low"] or 0))
    narrow, wide = (next(gap for gap in found["gaps"] if gap["metric"] == "accuracy") for found in (alone, grouped))
    assert narrow["difference"]["method"] == "Newcombe"
    assert (wide["difference"]["method"] or "").startswith("percentile bootstrap, by group of items")
    assert (wide["p_holm"] or 0) > (narrow["p_holm"] or 0)


@pytest.mark.filterwarnings("error")
def test_a_subgroup_of_few_patients_that_a_resample_may_miss(make_study: MakeStudy, rows: Rows) -> None:
    table = predictions(rows, HARD, groups=[f"patient {at // 30}" for at in range(300)])
    found = of(outcome(make_study(subgroups=["part"]), table, part=["one"] * 30 + ["rest"] * 270), "part")
    assert [row["suppressed"] for row in found["rows"]] == [False, False]
    assert found["rows"][0]["metrics"]["accuracy"]["status"] == "unreliable"
    assert all(gap["p_holm"] is None and gap["difference"]["reason"] for gap in found["gaps"])


# ---------------------------------------------------------------- parts and differences


def scored(make_answers: Callable[..., Any], n: int, clusters: np.ndarray | None = None) -> Scored:
    rng = np.random.default_rng(5)
    gold = (rng.random(n) < 0.4).astype(int)
    yes = 1 / (1 + np.exp(-(2 * gold - 1 + rng.normal(size=n))))
    answers = make_answers(gold, (yes > 0.5).astype(int), np.column_stack([1 - yes, yes]))
    plan = Resamples(answers.gold, clusters, 150)
    return CLASSIFICATION.score([answers], plan, 0.95)[0]


def test_one_part_of_everything_is_the_whole(make_answers: Callable[..., Any]) -> None:
    whole = scored(make_answers, 200)
    part = score_subsets([whole], np.zeros(200, dtype=np.int64))[0][0]
    assert part.estimates == pytest.approx(whole.estimates, nan_ok=True)
    for name, values in whole.replicates.items():
        assert part.replicates[name] == pytest.approx(values, nan_ok=True), name


def test_items_outside_have_no_part(make_answers: Callable[..., Any]) -> None:
    whole = scored(make_answers, 200)
    assert score_subsets([whole], np.full(200, OUTSIDE, dtype=np.int64)) == [{}]
    inside = np.where(np.arange(200) < 60, 4, OUTSIDE).astype(np.int64)
    parts = score_subsets([whole], inside)[0]
    assert list(parts) == [4] and len(parts[4].answers) == 60


def test_many_items_in_random_groups_give_the_same_error(
    make_answers: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = scored(make_answers, 2400)
    places = (np.arange(2400) % 2).astype(np.int64)
    plain = score_subsets([whole], places)[0]
    monkeypatch.setattr(bootstrap, "UNITS", 100)
    monkeypatch.setattr(bootstrap, "RANDOM_GROUPS", 90)
    merged = score_subsets([whole], places)[0]
    for part in (0, 1):
        for name in ("accuracy", "auroc"):
            assert merged[part].replicates[name].std() == pytest.approx(plain[part].replicates[name].std(), rel=0.35)
            assert merged[part].replicates[name].mean() == pytest.approx(plain[part].estimates[name], abs=0.01)


def test_newcombe_published() -> None:
    """56/70 against 48/80: 0.0524 to 0.3339 (Newcombe, 1998, table II, example a, method 10)."""
    found = proportion_difference(56, 70, 48, 80)
    assert found is not None
    assert (found.difference, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_differences_turn_round(data: st.DataObject) -> None:
    n, m = (data.draw(st.integers(2, 200)) for _ in range(2))
    a, b = data.draw(st.integers(0, n)), data.draw(st.integers(0, m))
    one, other = proportion_difference(a, n, b, m), proportion_difference(b, m, a, n)
    assert one is not None and other is not None
    assert (one.difference, one.low, one.high) == pytest.approx((-other.difference, -other.high, -other.low), abs=1e-12)
    assert one.p == pytest.approx(other.p)
    assert -1 <= one.low <= one.difference <= one.high <= 1


def test_unpaired_delong_adds_the_variances() -> None:
    rng = np.random.default_rng(0)
    pair = [delong(rng.random(n) < 0.4, rng.random(n)) for n in (80, 120)]
    found = delong_unpaired(pair[0], pair[1])
    assert found is not None
    error = float(np.sqrt(pair[0].variance + pair[1].variance))
    assert found.difference == pytest.approx(pair[0].auroc - pair[1].auroc)
    assert (found.high - found.low) / 2 == pytest.approx(1.959964 * error, rel=1e-5)
    perfect = delong(np.array([0, 0, 1, 1], dtype=bool), np.array([0.1, 0.2, 0.8, 0.9]))
    assert delong_unpaired(pair[0], perfect) is None
