"""What `evaluate_multilabel` returns, as plain JSON like metrics.json (results.py)."""

from typing import TypedDict

from clinfit.evaluation.system_results import ClassResult, MetricDict


class MultilabelSystem(TypedDict):
    """One system of `evaluate_multilabel`. metrics: names of `definitions.MULTILABEL`; classes: also auprc, brier."""

    name: str
    n: int
    unparsed: int
    metrics: dict[str, MetricDict]
    classes: list[ClassResult]


class MultilabelDifference(TypedDict):
    """One metric, new minus reference, by the paired bootstrap; `f1:<label>` for one label."""

    metric: str
    reference: float | None
    new: float | None
    difference: float | None
    low: float | None
    high: float | None
    method: str | None
    p: float | None
    p_holm: float | None
    reason: str | None


class MultilabelComparison(TypedDict):
    reference: str
    new: str
    n: int
    rows: list[MultilabelDifference]


class MultilabelResults(TypedDict):
    """What `evaluate_multilabel` gives. groups: None where every item stands alone."""

    labels: list[str]
    n: int
    groups: int | None
    confidence: float
    bootstrap: int
    systems: list[MultilabelSystem]
    comparisons: list[MultilabelComparison]
