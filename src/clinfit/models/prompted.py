"""Prompting: a causal language model of which nothing is trained, asked with a few examples or with none.

What a fit does is to draw the examples from the training records of its lesson, the only ones that it is given to learn
from. They are saved with the model, in full, since they are a part of every prompt.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from clinfit.errors import ClinfitError
from clinfit.models.base import FitSummary, Lesson, Workspace
from clinfit.models.bases.pretrained import Base, find_base
from clinfit.models.causal import CausalModel, LoadedCausal
from clinfit.models.examples import FILE, drawn_examples, read_examples, told_examples, write_examples
from clinfit.models.saved import Pretrained, Saved, read_saved
from clinfit.study.models import Causal
from clinfit.training.adapters import parameter_counts


class PromptedModel(CausalModel):
    """A causal language model with `method: prompt` (contract: models/base.py)."""

    def fit(self, lesson: Lesson, workspace: Workspace) -> FitSummary:
        """Draw the examples of the tasks that the lesson teaches; those of earlier stages stay."""
        started = time.perf_counter()
        lesson = lesson.taught
        examples, self._taught = self._begun(lesson.start)
        for name in lesson.weights:
            records = [record for record in lesson.train if record.task == name]
            examples[name] = drawn_examples(
                records, self.tasks[name].labels, cast(Causal, self.spec).shots, name, self.seed
            )
        self._taught += [name for name in lesson.weights if name not in self._taught]
        self._examples, self._loaded = examples, None  # opened again, with the examples
        loaded = self._ready()
        parameters, _ = parameter_counts(loaded.model)
        details = self._details(loaded, lesson)
        return FitSummary(time.perf_counter() - started, parameters, 0, details, [*loaded.notes, *self._alarms()])

    def _begun(self, start: Path | None) -> tuple[dict[str, Any], list[str]]:
        """Examples and tasks of the model that a lesson begins with."""
        if start is None:
            return {}, []
        return {**read_examples(start / FILE)}, list(read_saved(start, self.spec_type).taught)

    def _details(self, loaded: LoadedCausal, lesson: Lesson) -> dict[str, Any]:
        return {
            "method": "prompt",
            "precision": loaded.precision,
            "base": find_base(self.spec.base, self.spec.revision).as_dict(),
            "base_commit": getattr(loaded.model.config, "_commit_hash", None),
            "max_length": self.spec.train.max_length,
            "rope": loaded.rope,
            "examples": {
                name: {"ids": [one.id for one in records], "told": told_examples(records, self.tasks[name].labels)}
                for name, records in self._examples.items()
            },
            "tasks": {
                name: {"weight": weight, "records": len(self._examples[name]), **self._task_facts(loaded, name)}
                for name, weight in lesson.weights.items()
            },
        }

    def _alarms(self) -> list[str]:
        """Labels that no example shows, where there are examples."""
        alarms = []
        for name, records in self._examples.items():
            shown = {str(one.target) for one in records}
            if records and (missing := [label for label in self.tasks[name].labels if label not in shown]):
                alarms.append(f"no example of {name} has the label {' or '.join(missing)}")
        return alarms

    def _open(self, base: Base, pretrained: Pretrained | None, tokenizer_folder: Path | None) -> LoadedCausal:
        loaded = super()._open(base, pretrained, tokenizer_folder)
        if any(self._examples.values()):
            loaded.keep(loaded.beginnings())  # nothing is trained, and examples are most of every prompt
        return loaded

    def _save(self, folder: Path, others: Mapping[str, str]) -> None:
        super()._save(folder, others)
        if any(self._examples.values()):
            write_examples(folder / FILE, self._examples)

    def _restored(self, saved: Saved[Any], folder: Path, *, trains: bool) -> LoadedCausal:
        if trains:
            raise ClinfitError(f"model {self.spec.name} has `method: prompt`, and nothing of it can be trained")
        self._examples = read_examples(folder / FILE)
        return super()._restored(saved, folder, trains=False)
