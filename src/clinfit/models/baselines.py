"""Rules that need no training. A model that does not beat them has shown nothing.

Those that write texts are in writing_rules.py; `nearest` is saved with the training records that it answers from.
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from clinfit.data.mentions import mentions_in, named_in
from clinfit.data.records import Record
from clinfit.errors import ClinfitError
from clinfit.files import read_json, write_json
from clinfit.models.base import (
    FitSummary,
    Heard,
    LabelOutputs,
    Lesson,
    Progress,
    TextOutputs,
    Workspace,
    WrittenText,
    unheard,
)
from clinfit.models.saved import Saved, read_saved, write_saved
from clinfit.models.tabular.features import document, input_types
from clinfit.models.targets import shares_of, targets_of
from clinfit.models.texts.writing_rules import RULES, Examples, examples_of, source_texts, usual_object
from clinfit.study.models import Baseline
from clinfit.study.tasks import Extraction, Task, Writing, lexicon_of

if TYPE_CHECKING:
    from clinfit.models.bases.pretrained import Bases

ROWS, EXAMPLES = "rows.json", "examples.json"

#: The two rows of probabilities of a task: of records that match no pattern, and of those that match one. Of a lexicon
#: each label has a match of its own.
Rows = NDArray[np.float64]


@dataclass(frozen=True)
class Counted:
    """What counting the training records of a task gave."""

    rows: Rows
    details: dict[str, Any] = field(default_factory=dict)
    alarms: list[str] = field(default_factory=list)


class BaselineModel:
    """majority, always-positive, keyword or lexicon; two rows of probabilities a task, one of which a record gets.

    majority: the shares of the labels among the training records, so the most frequent one is predicted (ties: the
    first declared); of a multilabel task each label's own share. always-positive: 1 for the positive label.
    keyword: a record whose text inputs match any of the patterns gets the training frequency of the positive label
    among matching records, the others that among the rest, both with add-one smoothing: (positive + 1) / (n + 2).
    lexicon: the same for each label, by whether the record's texts name it (data/mentions.py).
    Of a task that no stage has taught nothing was counted: every label is as likely as the others, or as not.
    """

    def __init__(self, spec: Baseline, tasks: Mapping[str, Task], seed: int, bases: "Bases | None" = None) -> None:
        self.spec, self.tasks, self.seed = spec, tasks, seed
        self._rows: dict[str, Rows] = {}
        self._examples: dict[str, Examples] = {}

    def fit(self, lesson: Lesson, workspace: Workspace) -> FitSummary:
        """Count; validation is not used. What the lesson does not teach stays as it is in `start`."""
        start = time.perf_counter()
        lesson = lesson.taught
        self._rows = {} if lesson.start is None else _read_rows(lesson.start)
        self._examples = {} if lesson.start is None else _read_examples(lesson.start)
        details: dict[str, Any] = {}
        alarms: list[str] = []
        for name in lesson.weights:
            asked, train = self.tasks[name], [record for record in lesson.train if record.task == name]
            if isinstance(asked, Writing):
                self._examples[name] = self._kept(asked, train)
                details[name] = {"examples": len(self._examples[name].sources)}
                continue
            counted = self._count(asked, train)
            self._rows[name], details[name] = counted.rows, counted.details
            alarms += counted.alarms
        workspace.progress(1, 1, f"{self.spec.kind}: {len(lesson.train)} records counted")
        return FitSummary(time.perf_counter() - start, details={"tasks": details}, alarms=alarms)

    def predict(
        self,
        task: str,
        records: Sequence[Record],
        *,
        batch_tokens: int | None = None,
        progress: Progress = unheard,
    ) -> LabelOutputs:
        start = time.perf_counter()
        rows = self._rows[task] if task in self._rows else self._count(self.tasks[task], []).rows
        matched = self._matched(self.tasks[task], records)
        probabilities = np.where(matched, rows[1], rows[0])
        return LabelOutputs(probabilities, np.full(len(records), (time.perf_counter() - start) / max(len(records), 1)))

    def generate(
        self,
        task: str,
        records: Sequence[Record],
        limit: int,
        *,
        done: Callable[[int, WrittenText], None] = lambda index, written: None,
        heard: Heard | None = None,
    ) -> TextOutputs:
        """What the rule writes for each record; `limit` is of tokens, which rules do not have."""
        start, asked = time.perf_counter(), self.tasks[task]
        assert isinstance(asked, Writing)
        texts = RULES[self.spec.kind](self.spec, asked, source_texts(asked, records), self._examples.get(task))
        seconds = (time.perf_counter() - start) / max(len(records), 1)
        written = [WrittenText(text, "stop", 0, seconds) for text in texts]
        for index, text in enumerate(written):
            done(index, text)
        return TextOutputs.of(written)

    def likelihood(self, task: str, records: Sequence[Record], *, batch_tokens: int | None = None) -> None:
        """A rule finds no text likely or unlikely."""

    def save(self, folder: Path) -> None:
        write_saved(folder, Saved(self.spec, self.tasks, self.seed, [*self._rows, *self._examples], None))
        write_json(folder / ROWS, {task: rows.tolist() for task, rows in self._rows.items()})
        if self._examples:
            write_json(folder / EXAMPLES, {task: asdict(known) for task, known in self._examples.items()})

    @classmethod
    def load(cls, folder: Path, bases: "Bases | None" = None) -> Self:
        saved = read_saved(folder, Baseline)
        model = cls(saved.spec, saved.tasks, saved.seed)
        model._rows, model._examples = _read_rows(folder), _read_examples(folder)
        return model

    def _kept(self, task: Writing, train: Sequence[Record]) -> Examples:
        """What a rule that writes keeps: `nearest` the training records, `majority` one object, others nothing."""
        if isinstance(task, Extraction) and self.spec.kind == "majority":
            return usual_object(task, train)
        return examples_of(task, train if self.spec.kind == "nearest" else [])

    # ------------------------------------------------------------ counting

    def _count(self, task: Task, train: Sequence[Record]) -> Counted:
        if self.spec.kind == "keyword":
            return self._count_keyword(task, train)
        if self.spec.kind == "lexicon":
            return self._count_named(task, train)
        if self.spec.kind == "always-positive":
            row = _binary_row(self._positive(task), 1.0)
        else:
            row = shares_of(task, targets_of(task, train))
        return Counted(np.stack([row, row]))

    def _count_keyword(self, task: Task, train: Sequence[Record]) -> Counted:
        if "text" not in input_types(task).values():
            raise ClinfitError(
                f"model {self.spec.name!r} of kind keyword has no text to search",
                expected="at least one input of type text",
                fix="remove the model, or declare a text input in data.inputs",
            )
        label = self._positive(task)
        positive, matched = targets_of(task, train) == label, self._matches(task, train)
        frequencies = [(positive[part].sum() + 1) / (part.sum() + 2) for part in (~matched, matched)]
        rows = np.stack([_binary_row(label, frequency) for frequency in frequencies])
        details = {
            "matched": int(matched.sum()),
            "unmatched": int((~matched).sum()),
            "positive_given_no_match": float(frequencies[0]),
            "positive_given_match": float(frequencies[1]),
        }
        alarms = [
            f"of the training records that {'match' if match else 'do not match'} a pattern, {frequency:.1%} are "
            f"positive, so the most probable label contradicts the rule"
            for match, frequency in enumerate(frequencies)
            if (rows[match].argmax() == label) != bool(match)
        ]
        return Counted(rows, details, alarms)

    def _count_named(self, task: Task, train: Sequence[Record]) -> Counted:
        holds, named = targets_of(task, train).astype(bool), named_labels(task, train)
        rows = np.stack(
            [((holds & part).sum(axis=0) + 1) / (part.sum(axis=0) + 2) for part in (~named, named)], dtype=np.float64
        )
        return Counted(rows, {"named": dict(zip(task.labels, named.sum(axis=0).tolist(), strict=True))})

    def _matched(self, task: Task, records: Sequence[Record]) -> NDArray[np.bool_]:
        """(n, 1), or of a lexicon (n, K): whether a record gets the second row."""
        if self.spec.kind == "lexicon":
            return named_labels(task, records)
        if self.spec.kind == "keyword":
            return self._matches(task, records)[:, None]
        return np.zeros((len(records), 1), dtype=bool)

    def _positive(self, task: Task) -> int:
        """Index of the positive label."""
        if task.positive_label is None:
            raise ClinfitError(
                f"model {self.spec.name!r} of kind {self.spec.kind} needs a positive label",
                expected=f"a task with two labels; this one has {len(task.labels)}",
                fix="use kind: majority for this task",
            )
        return task.labels.index(task.positive_label)

    def _matches(self, task: Task, records: Sequence[Record]) -> NDArray[np.bool_]:
        """(n,) whether any pattern is found in any text input of the record."""
        patterns = [self._compiled(pattern) for pattern in self.spec.patterns]
        names = [name for name, kind in input_types(task).items() if kind == "text"]
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


def named_labels(task: Task, records: Sequence[Record]) -> NDArray[np.bool_]:
    """(n, K) which labels the texts of each record name, by the task's lexicon; what is denied is not named."""
    lexicon = lexicon_of(task)
    assert lexicon is not None
    texts = [{name: record.inputs[name] for name in task.text_inputs} for record in records]
    named = [named_in(mentions_in(lexicon, own)) for own in texts]
    return np.array([[label in found for label in task.labels] for found in named], dtype=bool).reshape(
        len(records), len(task.labels)
    )


def _binary_row(label: int, probability: float) -> NDArray[np.float64]:
    row = np.full(2, 1 - probability)
    row[label] = probability
    return row


def _read_rows(folder: Path) -> dict[str, Rows]:
    return {task: np.array(rows, dtype=np.float64) for task, rows in read_json(folder / ROWS).items()}


def _read_examples(folder: Path) -> dict[str, Examples]:
    path = folder / EXAMPLES
    return {task: Examples(**known) for task, known in read_json(path).items()} if path.is_file() else {}
