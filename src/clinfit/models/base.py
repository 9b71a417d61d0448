"""The contract of every model family.

    model = Family(spec, task, seed)          # cheap: stores its arguments
    model.fit(train, validation, workspace)   # may be killed; called again with the same workspace it continues
    outputs = model.predict(records)          # order of the records, rows of probabilities sum to 1
    model.save(folder); Family.load(folder)   # no pickle; the loaded model predicts bit for bit the same

One contract test (tests/models/test_contract.py) runs over all families: same seed, same result; load equals
save; batch size and order of the records do not change a record's answer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from clinfit.data.records import Record
from clinfit.study import ModelSpec, Task


@dataclass(frozen=True)
class Outputs:
    """What a model says of n records over K labels, row by row in the records' order.

    probabilities: (n, K) float64, columns in the order of `task.labels`, each row sums to 1.
    label_mass: (n,) total probability that a causal model gives to all labels together; None elsewhere.
    raw: n generated texts; None where nothing was generated.
    prompt_tokens, output_tokens: (n,) counts; None where there are no tokens.
    dropped_tokens: (n,) tokens of the record's text that the model did not see; None where all is seen.
    seconds: (n,) time spent on the record (its share of its batch).
    """

    probabilities: NDArray[np.float64]
    seconds: NDArray[np.float64]
    label_mass: NDArray[np.float64] | None = None
    raw: list[str] | None = None
    prompt_tokens: NDArray[np.int64] | None = None
    output_tokens: NDArray[np.int64] | None = None
    dropped_tokens: NDArray[np.int64] | None = None


@dataclass
class Workspace:
    """Where a fit keeps what it must not lose, and how it tells of its progress.

    folder: checkpoints and `log.jsonl` go here; a fit that finds its own checkpoint continues from it.
    progress: called with (steps done, steps in all, one line of text).
    primary: (gold label indices (n,), probabilities (n, K)) -> the study's primary metric, larger is better;
        None when it cannot be estimated. Models take it as a function, since nothing in them knows a metric.
    track: names of experiment trackers to write to.
    """

    folder: Path
    progress: Callable[[int, int, str], None] = lambda done, total, text: None
    primary: Callable[[NDArray[np.int64], NDArray[np.float64]], float | None] | None = None
    track: Sequence[str] = ()


@dataclass(frozen=True)
class FitSummary:
    """What a fit tells the run record: values that were really used, read back from the trained objects."""

    seconds: float
    parameters: int = 0
    trainable_parameters: int = 0
    details: dict[str, Any] = field(default_factory=dict)
    alarms: list[str] = field(default_factory=list)


class Model(Protocol):
    """The contract (see the module's docstring)."""

    spec: ModelSpec
    task: Task
    seed: int

    def __init__(self, spec: Any, task: Task, seed: int) -> None: ...

    def fit(self, train: Sequence[Record], validation: Sequence[Record], workspace: Workspace) -> FitSummary:
        """Learn from labelled records; validation serves for choices (C, best checkpoint), never for learning."""
        ...

    def predict(self, records: Sequence[Record], *, batch_tokens: int | None = None) -> Outputs:
        """Answer for each record; targets are not looked at. `batch_tokens` only changes speed."""
        ...

    def save(self, folder: Path) -> None:
        """Write everything that `load` needs into the (new or empty) folder."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The saved model, ready to predict."""
        ...


class Writer(Model, Protocol):
    """A family that can also write an answer of its own."""

    def generate(self, records: Sequence[Record], limit: int) -> tuple[list[str], NDArray[np.int64]]:
        """n texts of at most `limit` tokens, and (n,) how many tokens each has."""
        ...
