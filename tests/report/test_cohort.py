"""The first table."""

from copy import deepcopy

from clinfit.report.inputs import ReportInputs
from clinfit.report.sections.records.characteristics import characteristics_view
from clinfit.report.sections.subject import Subject


def test_outcomes_and_splits_side_by_side(cases: dict[str, ReportInputs]) -> None:
    task = cases["subgroups"].results["tasks"]["finding"]
    view = characteristics_view(Subject("finding", "task1", task, 0.95))
    assert view is not None and view.splits is not None
    assert view.outcomes.columns == ["Characteristic", "All", "benign", "malignant", "Difference"]
    rows = {row[0]: row[1:] for row in view.outcomes.rows}
    assert rows["note, words"] == ["13 [11, 15]", "13 [11, 15]", "\N{EM DASH}", "0.31"]
    assert rows["site: north"] == ["200 (74.1\N{NARROW NO-BREAK SPACE}%)", *rows["site: north"][1:3], "0.05"]
    assert rows["note: missing"][:2] == ["26 (9.6\N{NARROW NO-BREAK SPACE}%)", "14 (9.3\N{NARROW NO-BREAK SPACE}%)"]
    assert rows["note: missing"][3] == "0.06" and "site: missing" not in rows
    assert dict(row[:2] for row in view.splits.rows)["note: missing"] == "not told"
    assert dict(row[:2] for row in view.splits.rows)["site: south"] == "not told"


def test_no_share_tells_how_many_values_are_missing(cases: dict[str, ReportInputs]) -> None:
    """12 of 98 known values are 12.2 %, of 97 and of 99 they are not."""
    task = deepcopy(cases["subgroups"].results["tasks"]["finding"])
    _, site = task["sections"]["characteristics"]["rows"]
    site["missing"], site["missing_difference"] = [None, None, 12, None], None
    view = characteristics_view(Subject("finding", "task1", task, 0.95))
    assert view is not None
    rows = {row[0]: row[1:] for row in view.outcomes.rows}
    assert rows["site: north"] == ["200", "110", "90 (83.3\N{NARROW NO-BREAK SPACE}%)", "0.05"]
    assert rows["site: missing"] == ["not told", "not told", "12 (10.0\N{NARROW NO-BREAK SPACE}%)", ""]
    assert "those of missing values too" in view.outcomes.hint
