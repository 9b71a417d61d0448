"""Rules that need no training. A model that does not beat them has shown nothing."""

import json
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from clinfit.data.records import Record
from clinfit.errors import ClinfitError
from clinfit.models.base import FitSummary, Outputs, Workspace
from clinfit.models.features import document, input_types
from clinfit.study import Baseline, Task

FILE = "model.json"


class BaselineModel:
    """majority, always-positive or keyword; two rows of probabilities, one of which a record gets.

    majority: the shares of the labels among the training records, so the most frequent one is predicted (ties: the
    first declared). always-positive: 1 for the positive label.
    keyword: a record whose text inputs match any of the patterns gets the training frequency of the positive label
    among matching records, the others that among the rest, both with add-one smoothing: (positive + 1) / (n + 2).
    """

    def __init__(self, spec: Baseline, task: Task, seed: int) -> None:
        self.spec, self.task, self.seed = spec, task, seed

    def fit(self, train: Sequence[Record], validation: Sequence[Record], workspace: Workspace) -> FitSummary:
        """Count; `validation` is not used."""
        start = time.perf_counter()
        targets = np.array([self.task.labels.index(str(record.target)) for record in train])
        if self.spec.kind == "majority":
            shares = np.bincount(targets, minlength=len(self.task.labels)) / len(targets)
            self.rows = np.stack([shares, shares])
            details, alarms = {}, []
        elif self.spec.kind == "always-positive":
            self.rows = np.stack([self._binary_row(1.0), self._binary_row(1.0)])
            details, alarms = {}, []
        else:
            details, alarms = self._fit_keyword(train, targets)
        workspace.progress(1, 1, f"{self.spec.kind}: {len(train)} records counted")
        return FitSummary(seconds=time.perf_counter() - start, details=details, alarms=alarms)

    def _fit_keyword(self, train: Sequence[Record], targets: NDArray[np.int64]) -> tuple[dict[str, float], list[str]]:
        if "text" not in input_types(self.task).values():
            raise ClinfitError(
                f"model {self.spec.name!r} of kind keyword has no text to search",
                expected="at least one input of type text",
                fix="remove the model, or declare a text input in data.inputs",
            )
        positive = targets == self._positive
        matched = self._matches(train)
        frequencies = [(positive[part].sum() + 1) / (part.sum() + 2) for part in (~matched, matched)]
        self.rows = np.stack([self._binary_row(frequency) for frequency in frequencies])
        details = {
            "matched": int(matched.sum()),
            "unmatched": int((~matched).sum()),
            "positive_given_no_match": float(frequencies[0]),
            "positive_given_match": float(frequencies[1]),
        }
        return details, [
            f"of the training records that {'match' if match else 'do not match'} a pattern, {frequency:.1%} are "
            f"positive, so the most probable label contradicts the rule"
            for match, frequency in enumerate(frequencies)
            if (self.rows[match].argmax() == self._positive) != bool(match)
        ]

    def predict(self, records: Sequence[Record], *, batch_tokens: int | None = None) -> Outputs:
        start = time.perf_counter()
        matched = self._matches(records) if self.spec.kind == "keyword" else np.zeros(len(records), dtype=bool)
        probabilities = self.rows[matched.astype(int)]
        return Outputs(probabilities, np.full(len(records), (time.perf_counter() - start) / max(len(records), 1)))

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        state = {
            "spec": self.spec.model_dump(mode="json"),
            "task": self.task.model_dump(mode="json"),
            "seed": self.seed,
            "rows": self.rows.tolist(),
        }
        (folder / FILE).write_text(json.dumps(state, ensure_ascii=False, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        state = json.loads((folder / FILE).read_text(encoding="utf-8"))
        model = cls(Baseline.model_validate(state["spec"]), Task.model_validate(state["task"]), state["seed"])
        model.rows = np.array(state["rows"], dtype=np.float64)
        return model

    @property
    def _positive(self) -> int:
        """Index of the positive label."""
        if self.task.positive_label is None:
            raise ClinfitError(
                f"model {self.spec.name!r} of kind {self.spec.kind} needs a positive label",
                expected=f"a task with two labels; this one has {len(self.task.labels)}",
                fix="use kind: majority for this task",
            )
        return self.task.labels.index(self.task.positive_label)

    def _binary_row(self, positive: float) -> NDArray[np.float64]:
        row = np.full(2, 1 - positive)
        row[self._positive] = positive
        return row

    def _matches(self, records: Sequence[Record]) -> NDArray[np.bool_]:
        """(n,) whether any pattern is found in any text input of the record."""
        patterns = [self._compiled(pattern) for pattern in self.spec.patterns]
        names = [name for name, kind in input_types(self.task).items() if kind == "text"]
        documents = [document(record, names) for record in records]
        return np.array([any(pattern.search(text) for pattern in patterns) for text in documents], dtype=bool)

    def _compiled(self, pattern: str) -> re.Pattern[str]:
        try:
            return re.compile(pattern, re.IGNORECASE)
        except re.error as error:
            raise ClinfitError(
                f"pattern {pattern!r} of model {self.spec.name!r} is not a regular expression: {error}",
                expected="Python's regular expressions",
                fix="correct the pattern; write \\( for a literal bracket",
            ) from error
