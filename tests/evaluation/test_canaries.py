"""Canaries have their closed-form values, and a broken harness does not get past them."""

from dataclasses import replace

import numpy as np
import pytest

from clinfit.evaluation.analyses import canaries
from clinfit.evaluation.analyses.canaries import run_canaries
from clinfit.evaluation.answers import UNPARSED
from clinfit.evaluation.metrics.classification import CLASSIFICATION


@pytest.mark.parametrize(
    ("gold", "labels", "positive"),
    [
        ([0, 1, 1, 1, 0, 1] * 10, ["No", "Yes"], "Yes"),
        ([0, 1, 1, 1, 0, 1] * 10, ["No", "Yes"], "No"),
        ([0, 1, 2, 2, 0, 1, 1] * 10, ["a", "b", "c"], None),
        ([0, 1, 1] * 10, ["a", "b", "absent"], None),
        ([1] * 30, ["No", "Yes"], "Yes"),
        ([0] * 30, ["No", "Yes"], "Yes"),
        ([0, 1], ["No", "Yes"], "Yes"),
    ],
)
def test_every_canary_passes(gold, labels, positive):
    found = run_canaries(np.array(gold), labels, positive)
    assert len(found) == (5 if positive is None else 6)
    assert [canary["name"] for canary in found if not canary["passed"]] == []


def test_perfect_inverted_and_unparsed_values():
    by_name = {canary["name"]: canary["found"] for canary in run_canaries(np.array([0, 1, 1]), ["No", "Yes"], "Yes")}
    assert by_name["perfect"]["accuracy"] == 1
    assert by_name["inverted"]["accuracy"] == by_name["all unparsed"]["accuracy"] == 0
    assert by_name["always Yes"]["accuracy"] == pytest.approx(2 / 3)
    assert by_name["all unparsed"]["auroc"] is None
    never = by_name["always No"]
    assert (never["sensitivity"], never["specificity"], never["f1"], never["ppv"]) == (0, 1, 0, None)


def test_a_harness_that_maps_the_unknown_to_yes_is_caught(monkeypatch):
    """The fault behind a published result: `mapping.get(x, 1)` on gold labels and on unparsed answers."""

    def broken(table, labels, positive):
        answers, undeclared = CLASSIFICATION.read(table, labels, positive)
        answers.predicted[answers.predicted == UNPARSED] = 1
        answers.gold[:] = 1
        return answers, undeclared

    monkeypatch.setattr(canaries, "CLASSIFICATION", replace(CLASSIFICATION, read=broken))
    failed = [
        canary["name"] for canary in run_canaries(np.array([0, 1] * 20), ["No", "Yes"], "Yes") if not canary["passed"]
    ]
    assert {"perfect", "inverted", "all unparsed"} <= set(failed)
