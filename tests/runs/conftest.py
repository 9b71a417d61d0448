"""What tests of steps share."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from clinfit.runs import execute
from clinfit.runs.control.status import Monitor
from clinfit.runs.execute import Result
from clinfit.runs.steps.failures import Failure
from clinfit.study.schema import Study
from spoiled import spoil_workers


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs end behind their last step: no metrics, no report, no packs."""

    def conclude(study: Study, failed: dict[str, Failure], monitor: Monitor, again: str) -> Result:
        monitor.update(state="failed" if failed else "done")
        return Result(monitor.folder.path, None, None, {}, failed)

    monkeypatch.setattr(execute, "conclude", conclude)


@pytest.fixture
def spoil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Lets worker processes do something when they fit the model `keyword`; "" lets them alone again."""
    place = tmp_path / "spoiled"
    place.mkdir()
    monkeypatch.setenv("PYTHONPATH", f"{place}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    yield partial(spoil_workers, place)
