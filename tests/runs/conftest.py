"""What tests of steps share."""

import pytest

from clinfit.runs import execute
from clinfit.runs.control.status import Monitor
from clinfit.runs.execute import Result
from clinfit.runs.steps.failures import Failure
from clinfit.study.schema import Study


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs end behind their last step: no metrics, no report, no packs."""

    def conclude(study: Study, failed: dict[str, Failure], monitor: Monitor, again: str) -> Result:
        monitor.update(state="failed" if failed else "done")
        return Result(monitor.folder.path, None, None, {}, failed)

    monkeypatch.setattr(execute, "conclude", conclude)
