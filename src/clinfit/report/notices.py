"""What a reader must know before any figure: said at the top of the report and of the summary."""

from clinfit.evaluation.results import Results
from clinfit.study.data import SYNTHETIC
from clinfit.study.quick import QUICK

#: Findings of a task that are about all of its figures -> what is said of them.
OF_TASKS = {"quick-run": QUICK, "synthetic-data": SYNTHETIC}


def notices(results: Results) -> list[str]:
    """A sentence or two each, and then the findings on the study as a whole."""
    codes = {finding["code"] for task in results["tasks"].values() for finding in task["findings"]}
    told = [text for code, text in OF_TASKS.items() if code in codes]
    return told + [f"{finding['title']}: {finding['evidence']}." for finding in results.get("findings", [])]
