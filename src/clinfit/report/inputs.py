"""What a report is made from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from clinfit.evaluation.results import Results
from clinfit.study.schema import Study


@dataclass(frozen=True)
class ReportInputs:
    """Everything that a report is made from.

    results: metrics.json. study: the resolved study. data: data/<task>.json by task. environment: environment.json.
    models: the run.json of every model and seed, failed ones too. logs: the rows of log.jsonl by run name
    (`<model>-seed<seed>`) and stage. command: what to type to get these results again.
    """

    results: Results
    study: Study
    data: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    models: Sequence[Mapping[str, Any]] = ()
    logs: Mapping[tuple[str, int], Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    command: str = "clinfit run study.yaml"
