"""What the best trained system gets wrong: counts against a recount, ids in order of confidence, no silent losses."""

import json
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from clinfit.evaluation.analyses.errors import LISTED
from clinfit.evaluation.evaluate import evaluate
from clinfit.evaluation.results import ErrorAnalysis
from clinfit.study.schema import Study

MakeStudy = Callable[..., Study]
Rows = Callable[..., pd.DataFrame]
LABELS = ("a", "b", "c")


def three_labels(rows: Rows, n: int = 300) -> pd.DataFrame:
    """A system on three labels that is right on most items; every 20th answer cannot be read."""
    rng = np.random.default_rng(4)
    truth = rng.integers(0, 3, size=n)
    logits = 1.5 * rng.normal(size=(n, 3))
    logits[np.arange(n), truth] += 2
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    said = [LABELS[code] if at % 20 else None for at, code in enumerate(probabilities.argmax(axis=1))]
    return rows("tiny", [LABELS[code] for code in truth], said, LABELS, probabilities=probabilities)


def errors_of(study: Study, *tables: pd.DataFrame) -> ErrorAnalysis:
    errors = evaluate(study, pd.concat(tables))["tasks"]["outcome"]["sections"]["errors"]
    assert errors is not None
    json.dumps(errors, allow_nan=False)
    return errors


def test_counts_are_those_of_a_recount(make_study: MakeStudy, rows: Rows) -> None:
    table = three_labels(rows)
    errors = errors_of(make_study(LABELS), table)
    wrong = table[table["predicted"] != table["gold"]]
    assert (errors["n"], errors["wrong"]) == (300, len(wrong))
    assert sum(pair["n"] for pair in errors["pairs"]) == len(wrong)
    for pair in errors["pairs"]:
        unread = pair["predicted"] == "unparsed"
        here = wrong[
            (wrong["gold"] == pair["label"])
            & (wrong["predicted"].isna() if unread else wrong["predicted"] == pair["predicted"])
        ]
        assert pair["n"] == len(here)
        p = [] if unread else [row["p_" + row["predicted"]] for _, row in here.iterrows()]
        bands = [
            sum(low <= value < high for value in p) for low, high in ((0, 0.5), (0.5, 0.7), (0.7, 0.9), (0.9, 1.1))
        ]
        assert pair["confidence"] == bands and len(bands) == len(errors["bands"])
    assert {pair["predicted"] for pair in errors["pairs"]} == {*LABELS, "unparsed"}


def test_the_most_confident_come_first(make_study: MakeStudy, rows: Rows) -> None:
    table = three_labels(rows)
    confident = errors_of(make_study(LABELS), table)["confident"]
    wrong = table[(table["predicted"] != table["gold"]) & table["predicted"].notna()].set_index("id")
    p = pd.Series({key: row["p_" + row["predicted"]] for key, row in wrong.iterrows()})
    assert len(confident) == LISTED < len(p)
    assert [item["p_predicted"] for item in confident] == pytest.approx(sorted(p, reverse=True)[:LISTED])
    for item in confident:
        row = wrong.loc[item["id"]]
        assert (item["label"], item["predicted"]) == (row["gold"], row["predicted"])
        assert item["label"] != item["predicted"] and item["p_predicted"] == pytest.approx(p[item["id"]])


def test_it_is_the_best_trained_system(make_study: MakeStudy, rows: Rows) -> None:
    gold = ["No", "Yes"] * 50
    good, bad = (["No" if at % step == 1 else label for at, label in enumerate(gold)] for step in (10, 4))
    tables = [rows("forest", gold, bad), rows("tiny", gold, good), rows("always", gold, ["No"] * 100)]
    errors = errors_of(make_study(), *tables)
    assert errors["system"] == "tiny" and errors["wrong"] == 10
    assert [(pair["label"], pair["predicted"], pair["n"]) for pair in errors["pairs"]] == [("Yes", "No", 10)]
    assert errors["pairs"][0]["confidence"] == [0, 0, 0, 10]


def test_no_mistakes_leave_empty_lists(make_study: MakeStudy, rows: Rows) -> None:
    gold = ["No", "Yes"] * 50
    errors = errors_of(make_study(), rows("tiny", gold, gold))
    assert (errors["wrong"], errors["pairs"], errors["confident"]) == (0, [], [])


def test_answers_without_probabilities_are_counted_and_not_ranked(make_study: MakeStudy, rows: Rows) -> None:
    gold = ["No", "Yes"] * 50
    errors = errors_of(make_study(), rows("tiny", gold, ["No"] * 100, probabilities=np.full((100, 2), np.nan)))
    assert errors["wrong"] == 50 and errors["pairs"][0]["confidence"] == [0, 0, 0, 0] and errors["confident"] == []


def test_baselines_have_no_error_analysis(make_study: MakeStudy, rows: Rows) -> None:
    gold = ["No", "Yes"] * 50
    result = evaluate(make_study(), rows("always", gold, ["No"] * 100))["tasks"]["outcome"]
    assert result["sections"].get("errors") is None and result["sections"].get("label_errors") is None
