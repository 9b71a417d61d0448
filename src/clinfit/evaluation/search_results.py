"""What a search for hyperparameters leaves behind (runs/steps/search.py)."""

from typing import Any, TypedDict


class TrialDict(TypedDict):
    """One trial. state: done, pruned or failed. value: in the metric's own sign; of a pruned one at its last
    validation. error: standard error of the value. validations: how many were looked at. same_as: an earlier trial with
    the same point, whose value it took. reason: why it failed."""

    number: int
    state: str
    point: dict[str, Any]
    value: float | None
    error: float | None
    seconds: float
    validations: int
    same_as: int | None
    reason: str | None


class SearchOutcome(TypedDict):
    """What a search found.

    by: primary or loss. metric: what was compared, `loss` for the loss on validation. task: None where it is of
    several. records: of validation. space: by setting, the values or the ends of a range. own: the number of the trial
    with the block's own point. chosen: the number of the best trial that is done. point: its settings. importance: by
    setting, shares that sum to 1; None where there are too few trials.
    """

    format: str
    by: str
    metric: str
    lower_is_better: bool
    task: str | None
    records: int
    seed: int
    planned: int
    space: dict[str, Any]
    own: int | None
    trials: list[TrialDict]
    chosen: int
    point: dict[str, Any]
    importance: dict[str, float] | None
