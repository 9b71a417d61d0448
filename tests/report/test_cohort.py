"""The first table."""

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
    assert rows["note: missing"][3] == "0.06" and "site: missing" not in rows
    assert dict(row[:2] for row in view.splits.rows)["site: south"] == "not told"
