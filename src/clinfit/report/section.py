"""The sections of the results, as the report reads them: what no analysis made is None."""

from typing import Any

from clinfit.evaluation.results import TaskResult
from clinfit.evaluation.system_results import SystemResult


def section(of: TaskResult | SystemResult, name: str) -> Any:
    """A section of a task or of a system; see evaluation/results.py and system_results.py."""
    return of["sections"].get(name)
