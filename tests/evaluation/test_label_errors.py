"""Likely label errors: injected ones are found, the thresholds are those of the published method, nothing is hidden."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from clinfit.evaluation.analyses.label_errors import LISTED, label_issues, noise_counts
from clinfit.evaluation.evaluate import evaluate
from clinfit.evaluation.results import TaskResult
from clinfit.study.schema import Study

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
MakeStudy = Callable[..., Study]
Rows = Callable[..., pd.DataFrame]


def separable(n: int, k: int, seed: int) -> tuple[Ints, Floats]:
    """True labels, and probabilities that know them: 0.7 to 0.99 on the truth."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, k, size=n)
    sure = rng.uniform(0.7, 0.99, size=n)
    probabilities = np.repeat(((1 - sure) / (k - 1))[:, None], k, axis=1)
    probabilities[np.arange(n), truth] = sure
    return truth.astype(np.int64), probabilities


def flipped(truth: Ints, k: int, share: float, seed: int) -> tuple[Ints, set[int]]:
    """The labels with a share of them moved to the next label, and the places of these."""
    places = np.random.default_rng(seed).choice(len(truth), size=round(share * len(truth)), replace=False)
    labels = truth.copy()
    labels[places] = (labels[places] + 1) % k
    return labels, set(places.tolist())


def reference_counts(gold: Ints, probabilities: Floats) -> list[list[float]]:
    """Confident joint of Northcutt et al. (2021), item by item, scaled to the number of items of each label."""
    n, k = probabilities.shape
    thresholds = [sum(probabilities[x, j] for x in range(n) if gold[x] == j) / max(1, sum(gold == j)) for j in range(k)]
    joint = [[0.0] * k for _ in range(k)]
    for x in range(n):
        likely = [j for j in range(k) if (gold == j).any() and probabilities[x, j] >= thresholds[j] - 1e-6]
        if likely:
            joint[gold[x]][max(likely, key=lambda j: probabilities[x, j])] += 1
    for j in range(k):
        joint[j][j] = max(joint[j][j], 1.0)
    return [[cell / sum(row) * float((gold == i).sum()) for cell in row] for i, row in enumerate(joint)]


# ---------------------------------------------------------------- the method


@pytest.mark.parametrize("k", [2, 3, 5])
def test_most_flipped_labels_are_found_and_little_else(k: int) -> None:
    truth, probabilities = separable(600, k, seed=k)
    labels, places = flipped(truth, k, 0.05, seed=1)
    found = set(label_issues(labels, probabilities).tolist())
    assert len(places) == 30
    assert len(found) >= 20
    assert found <= places, "where the truth is the likeliest label, only flipped labels are suspects"


def test_right_labels_raise_no_suspicion() -> None:
    truth, probabilities = separable(600, 3, seed=9)
    assert len(label_issues(truth, probabilities)) == 0


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 5), st.integers(8, 80), st.integers(0, 10_000), st.floats(0.2, 5))
def test_counts_are_those_of_the_published_thresholds(k: int, n: int, seed: int, spread: float) -> None:
    rng = np.random.default_rng(seed)
    gold = rng.integers(0, k, size=n).astype(np.int64)
    logits = spread * rng.normal(size=(n, k))
    logits[np.arange(n), gold] += 1
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert (
        np.abs(noise_counts(gold, probabilities) - np.array(reference_counts(gold, probabilities))).max() <= 0.5 + 1e-9
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 4), st.integers(0, 10_000))
def test_suspects_are_the_worst_margins_of_each_pair(k: int, seed: int) -> None:
    truth, probabilities = separable(120, k, seed)
    labels, _ = flipped(truth, k, 0.1, seed)
    found = label_issues(labels, probabilities)
    own = probabilities[found, labels[found]]
    assert (np.diff(own) >= 0).all(), "worst first"
    assert (probabilities[found].argmax(axis=1) != labels[found]).all(), "the likeliest label is no error"
    expected: set[int] = set()
    counts = noise_counts(labels, probabilities)
    for i in range(k):
        for j in set(range(k)) - {i}:
            margins = {int(x): probabilities[x, j] - probabilities[x, i] for x in np.flatnonzero(labels == i)}
            expected |= set(sorted(margins, key=lambda x: -margins[x])[: counts[i, j]])
    wrong = probabilities.argmax(axis=1) != labels
    assert set(found.tolist()) == {x for x in expected if wrong[x]}


def test_a_label_without_items_does_not_disturb() -> None:
    truth, probabilities = separable(200, 2, seed=3)
    labels, _ = flipped(truth, 2, 0.05, seed=3)
    third = np.column_stack([0.99 * probabilities, np.full(200, 0.01)])
    assert set(label_issues(labels, third).tolist()) == set(label_issues(labels, probabilities).tolist())
    assert noise_counts(labels, third)[2].tolist() == [0, 0, 0]


# ---------------------------------------------------------------- in the evaluation


def outcome(make_study: MakeStudy, rows: Rows, n: int = 400, share: float = 0.05, **changes: Any) -> TaskResult:
    """Forest and tiny on test and validation with a share of their test labels flipped."""
    tables = []
    for split, seed in (("test", 0), ("validation", 1)):
        truth, probabilities = separable(n, 2, seed)
        labels = flipped(truth, 2, share, seed)[0] if split == "test" else truth
        gold, said = ([("No", "Yes")[code] for code in codes] for codes in (labels, probabilities.argmax(axis=1)))
        for model in ("forest", "tiny"):
            tables.append(rows(model, gold, said, probabilities=probabilities, split=split))
    return evaluate(make_study(**changes), pd.concat(tables))["tasks"]["outcome"]


def test_suspects_carry_ids_and_both_labels(make_study: MakeStudy, rows: Rows) -> None:
    truth, probabilities = separable(400, 2, 0)
    labels, places = flipped(truth, 2, 0.05, 0)
    result = outcome(make_study, rows)
    suspects = result["sections"]["label_errors"]
    found = {int(item["id"].removeprefix("test-")) for item in suspects if item["split"] == "test"}
    assert len(found) >= 12 and found <= places
    for item in suspects:
        place = int(item["id"].rpartition("-")[2])
        assert item["split"] == "test" and item["label"] == ("No", "Yes")[labels[place]] != item["suggested"]
        assert item["p_label"] == pytest.approx(probabilities[place, labels[place]])
        assert item["p_label"] + item["p_suggested"] == pytest.approx(1)
    told = next(finding for finding in result["findings"] if finding["code"] == "label-errors")
    assert told["level"] == "info" and told["title"].startswith(f"{len(suspects)} labels are likely wrong")
    assert f"{len(suspects)} of them in the test split" in told["evidence"]
    assert "2 trained systems" in told["evidence"] and "too good" in told["evidence"]


def test_nothing_is_taken_out_of_the_test_split(make_study: MakeStudy, rows: Rows) -> None:
    result = outcome(make_study, rows)
    forest = next(system for system in result["systems"] if system["name"] == "forest")
    assert result["sections"]["label_errors"] and forest["n"] == forest["metrics"]["accuracy"]["n"] == 400
    assert forest["metrics"]["accuracy"]["value"] == pytest.approx(0.95)


def test_the_list_ends_and_says_so(make_study: MakeStudy, rows: Rows) -> None:
    result = outcome(make_study, rows, n=900, share=0.1)
    assert len(result["sections"]["label_errors"]) == LISTED
    told = next(finding for finding in result["findings"] if finding["code"] == "label-errors")
    assert told["title"].startswith(f"at least {LISTED} labels")


def test_a_system_that_knows_nothing_suspects_nobody(make_study: MakeStudy, rows: Rows) -> None:
    rng = np.random.default_rng(0)
    gold = rng.choice(["No", "Yes"], size=300).tolist()
    yes = rng.random(300)
    said = ["Yes" if p > 0.5 else "No" for p in yes]
    table = rows("tiny", gold, said, probabilities=np.column_stack([1 - yes, yes]))
    result = evaluate(make_study(), table)["tasks"]["outcome"]
    assert "not-better-than-majority" in {finding["code"] for finding in result["findings"]}
    assert result["sections"].get("label_errors") is None


def test_answers_without_probabilities_cannot_judge(make_study: MakeStudy, rows: Rows) -> None:
    gold = ["No", "Yes"] * 100
    table = rows("tiny", gold, gold, probabilities=np.full((200, 2), np.nan))
    assert evaluate(make_study(), table)["tasks"]["outcome"]["sections"].get("label_errors") is None
