"""One task with everything that the views of its chapter may use."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from clinfit.evaluation.results import TaskResult
from clinfit.study.schema import Study


@dataclass(frozen=True)
class Subject:
    """anchor: before every id of the chapter. study: None for a comparison of several runs. described:
    data/<task>.json. failures: run -> why it did not finish. records: the run.json of every model and seed."""

    name: str
    anchor: str
    task: TaskResult
    confidence: float
    study: Study | None = None
    described: Mapping[str, Any] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)
    records: Sequence[Mapping[str, Any]] = ()

    @property
    def decision_range(self) -> Sequence[float] | None:
        """The thresholds that the study calls clinically reasonable; None where it names none."""
        return None if self.study is None else getattr(self.study.settings(self.name), "decision_range", None)
