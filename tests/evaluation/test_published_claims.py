"""Three published claims, rebuilt from their counts: the verdict box of the report says what the counts support."""

import html
import re

import numpy as np
import pandas as pd
import pytest

from clinfit.evaluation.evaluate import evaluate
from clinfit.report.build import write_report
from clinfit.report.inputs import ReportInputs

FLIP = {"Yes": "No", "No": "Yes"}


@pytest.fixture
def told(make_study, tmp_path):
    """Results of one task, and the text of the verdict box of the page that `write_report` makes of them."""

    def tell(*tables, **evaluation):
        study = make_study(**evaluation)
        results = evaluate(study, pd.concat(tables))
        path = tmp_path / "report.html"
        write_report(ReportInputs(results=results, study=study), path)
        box = re.search(r'<section class="verdict.*?</section>', path.read_text(encoding="utf-8"), re.DOTALL)
        assert box is not None
        text = re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", box[0])))
        text = re.sub(r" (?=[,;:.])", "", text)  # a term that is explained stands in an element of its own
        return results["tasks"]["outcome"], text

    return tell


def test_34_of_59_twice_is_not_shown_to_be_better_than_yes_for_everyone(told, rows, from_counts):
    """A language model and a random forest with 57.6 % each; always Yes has 61.0 %."""
    gold, model = from_counts(30, 6, 19, 4)
    _, forest = from_counts(22, 14, 11, 12)
    result, box = told(
        rows("tiny", gold, model), rows("forest", gold, forest), compare=[["tiny", "forest"]], margin=0.05
    )
    by_name = {system["name"]: system["metrics"]["accuracy"] for system in result["systems"]}
    for name in ("tiny", "forest"):
        found = by_name[name]
        assert (found["value"], found["low"], found["high"]) == pytest.approx((34 / 59, 0.449, 0.694), abs=5e-4)
    assert by_name["majority"]["value"] == pytest.approx(36 / 59)
    assert "On these 59 items no model is shown to be better than always answering 'Yes' (Accuracy 61.0 %)." in box
    assert result["advice"] == [
        "No system can be advised for any use: none is shown to be better than always answering 'Yes'."
    ]
    declared = next(c for c in result["comparisons"] if {c["new"], c["reference"]} == {"tiny", "forest"})
    assert (declared["mcnemar"]["p"], declared["rows"][0]["difference"]) == (1.0, 0.0)
    assert declared["non_inferiority"]["shown"] is False, "equal accuracy on 59 items shows no equivalence"
    assert "is not shown to be better than forest" in box
    assert not any(row["supported"] for c in result["comparisons"] for row in c["rows"])


def test_a_test_set_of_one_class_gives_a_reason_and_no_number(told, rows):
    """0.48 before and 0.76 after, precision 1.00: all 200 gold labels had become one class."""
    before = rows("tiny", ["Yes"] * 200, ["Yes"] * 96 + ["No"] * 104, stage=0)
    after = rows("tiny", ["Yes"] * 200, ["Yes"] * 152 + ["No"] * 48)
    result, box = told(before, after, margin=0.05)
    assert result["withheld"] and result["comparisons"] == result["advice"] == [] and "pareto" not in result["sections"]
    assert "No headline numbers are given, because the evaluation found an error." in box
    assert "all records of the test split have the label 'Yes'" in box
    assert "always answering 'Yes' would score an accuracy of 100 %" in box
    assert "48.0" not in box and "76.0" not in box
    assert {m["status"] for system in result["systems"] for m in system["metrics"].values()} == {"withheld"}


@pytest.mark.parametrize(("reversals", "p", "low", "high"), [(15, 0.036, 0.6, 9.4), (25, 0.082, -0.3, 10.2)])
def test_254_against_269_of_300_depends_on_the_reversals(told, rows, reversals, p, low, high):
    was = np.arange(300) < 254
    now = was.copy()
    now[:reversals] = False
    now[254 : 254 + reversals + 15] = True
    gold = ["Yes", "No"] * 150
    before, after = ([g if ok else FLIP[g] for g, ok in zip(gold, right, strict=True)] for right in (was, now))
    result, box = told(rows("tiny", gold, before, stage=0), rows("tiny", gold, after))
    row = result["comparisons"][0]["rows"][0]
    assert row["p"] == pytest.approx(p, abs=6e-4)
    assert (100 * row["low"], 100 * row["high"]) == pytest.approx((low, high), abs=0.06)
    verb = "is better than" if p < 0.05 else "is not shown to be better than"
    assert (
        f"Accuracy: tiny (after) {verb} tiny (before), 89.7 % against 84.7 %, +5.0 points (95 % interval {low:+.1f} to "
        f"{high:+.1f}; McNemar, exact, p = {p:.3f}" in box
    )
