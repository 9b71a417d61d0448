"""The metrics without the items that leak are those of a table without these items; counts and the finding agree."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from clinfit.evaluation.evaluate import evaluate
from clinfit.evaluation.facts import Facts
from clinfit.evaluation.results import TaskResult
from clinfit.study.schema import Study

MakeStudy = Callable[..., Study]
Rows = Callable[..., pd.DataFrame]
Leaks = Mapping[str, Sequence[str]]

#: Test items that the models have seen: all answered right.
EXACT, NEAR = [f"test-{at:05d}" for at in range(20)], [f"test-{at:05d}" for at in range(15, 40)]
LEAKS = {"exact": EXACT, "near": NEAR}


def table(
    rows: Rows, model: str = "tiny", labels: Sequence[str] = ("No", "Yes"), seed: int = 0, **options: Any
) -> pd.DataFrame:
    """160 items; a model that knows the first 40 by heart and guesses better than chance at the others."""
    rng = np.random.default_rng(seed)
    n, k = 160, len(labels)
    truth = np.arange(n) % k
    logits = rng.normal(size=(n, k))
    logits[np.arange(n), truth] += np.where(np.arange(n) < 40, 9.0, 1.0)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    said = [labels[code] for code in probabilities.argmax(axis=1)]
    return rows(model, [labels[code] for code in truth], said, labels, probabilities=probabilities, **options)


def outcome(study: Study, predictions: pd.DataFrame, leaks: Leaks, **facts: Any) -> TaskResult:
    known = Facts(leaks={"outcome": {kind: list(ids) for kind, ids in leaks.items()}}, **facts)
    return evaluate(study, predictions, known)["tasks"]["outcome"]


@pytest.mark.parametrize("labels", [("No", "Yes"), ("a", "b", "c")])
def test_without_is_what_a_table_without_them_gives(make_study: MakeStudy, rows: Rows, labels: Sequence[str]) -> None:
    predictions = table(rows, labels=labels)
    result = outcome(make_study(labels), predictions, LEAKS)
    kept = predictions[~predictions["id"].isin([*EXACT, *NEAR])]
    alone = evaluate(make_study(labels), kept)["tasks"]["outcome"]
    assert result["sections"].get("leakage") is not None
    for system in result["systems"]:
        pairs = result["sections"]["leakage"]["metrics"][system["name"]]
        without = next(entry for entry in alone["systems"] if entry["name"] == system["name"])
        assert {"accuracy", "balanced_accuracy", "macro_f1"} < set(pairs)
        for name, (whole, clean) in pairs.items():
            assert whole == system["metrics"][name]
            expected = without["metrics"][name]
            for key in ("value", "low", "high"):
                assert clean[key] == pytest.approx(expected[key]), (name, key)
            assert (clean["n"], clean["events"]) == (expected["n"], expected["events"])
    assert {len(pair) for pairs in result["sections"]["leakage"]["metrics"].values() for pair in pairs.values()} == {2}


def test_an_item_of_two_kinds_counts_once(make_study: MakeStudy, rows: Rows) -> None:
    leakage = outcome(make_study(), table(rows), LEAKS)["sections"]["leakage"]
    assert leakage is not None and leakage["items"] == 40 and leakage["kinds"] == {"exact": 20, "near": 25}


def test_the_finding_has_both_numbers(make_study: MakeStudy, rows: Rows) -> None:
    result = outcome(make_study(), table(rows), LEAKS)
    assert result["sections"].get("leakage") is not None
    told = next(finding for finding in result["findings"] if finding["code"] == "leaking-test-items")
    whole, clean = (metric["value"] for metric in result["sections"]["leakage"]["metrics"]["tiny"]["accuracy"])
    assert whole is not None and clean is not None and whole > clean + 0.03
    assert told["level"] == "warn" and told["system"] == "tiny"
    assert told["title"].startswith("40 of 160 test items leak")
    assert f"{100 * whole:.1f} % with them and {100 * clean:.1f} % without" in told["title"]
    assert "20 have the same inputs" in told["evidence"] and "25 have nearly the same text" in told["evidence"]
    assert not any(name in told["title"] + told["evidence"] for name in EXACT)


def test_clean_splits_say_nothing(make_study: MakeStudy, rows: Rows) -> None:
    for leaks in ({}, {"exact": []}):
        result = outcome(make_study(), table(rows), leaks)
        assert result["sections"].get("leakage") is None
        assert "leaking-test-items" not in {finding["code"] for finding in result["findings"]}


def test_where_everything_leaks_nothing_is_left(make_study: MakeStudy, rows: Rows) -> None:
    predictions = table(rows)
    result = outcome(make_study(), predictions, {"exact": predictions["id"].tolist()})
    assert result["sections"].get("leakage") is not None
    whole, clean = result["sections"]["leakage"]["metrics"]["tiny"]["accuracy"]
    assert whole["value"] is not None and clean["value"] is None and clean["reason"] == "every test item leaks"
    told = next(finding for finding in result["findings"] if finding["code"] == "leaking-test-items")
    assert "not estimable without" in told["title"]


@pytest.mark.filterwarnings("error")
def test_one_label_left_is_told_and_not_scored(make_study: MakeStudy, rows: Rows) -> None:
    predictions = table(rows)
    positives = predictions[predictions["gold"] == "Yes"]["id"].tolist()
    result = outcome(make_study(primary="auroc"), predictions, {"near": positives})
    assert result["sections"].get("leakage") is not None
    clean = {name: pair[1] for name, pair in result["sections"]["leakage"]["metrics"]["tiny"].items()}
    assert clean["auroc"]["value"] is None and "one class" in (clean["auroc"]["reason"] or "")
    assert clean["accuracy"]["n"] == 80 and clean["accuracy"]["value"] is not None


def test_groups_that_repeat_are_resampled_whole(make_study: MakeStudy, rows: Rows) -> None:
    predictions = table(rows, groups=[f"patient {at // 2}" for at in range(160)])
    leakage = outcome(make_study(), predictions, LEAKS)["sections"]["leakage"]
    assert leakage is not None
    _, clean = leakage["metrics"]["tiny"]["accuracy"]
    assert "by group" in (clean["method"] or "") and clean["n"] == 120


def test_group_overlap_withholds_and_still_counts(make_study: MakeStudy, rows: Rows) -> None:
    error = {
        "level": "error",
        "code": "group-leakage",
        "title": "groups straddle",
        "evidence": "",
        "advice": "",
        "system": None,
    }
    result = outcome(make_study(), table(rows), {"group": EXACT}, findings={"outcome": [error]})
    assert result["withheld"] and result["sections"]["leakage"] == {"items": 20, "kinds": {"group": 20}, "metrics": {}}
