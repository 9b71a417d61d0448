"""An encoder of a pack that another engine than torch computes: torch is not imported."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from transformers import PreTrainedTokenizerFast

from clinfit.data.records import Record
from clinfit.models.base import LabelOutputs, Progress, unheard, untaught
from clinfit.models.engines.base import Engine
from clinfit.models.heads import PROBABILITIES, ids_of, slices
from clinfit.models.saved import TOKENIZER, Saved, read_saved
from clinfit.study.models import Encoder
from clinfit.study.tasks import Task


@dataclass(frozen=True)
class EngineEncoder:
    """Answers as `EncoderModel` does, one record at a time (contract: `Answerer` of models/base.py).

    others: of tasks that earlier models answer with adapters of their own.
    """

    saved: Saved[Encoder]
    tokenizer: Any
    computes: Engine
    others: Mapping[str, "EngineEncoder"]

    @classmethod
    def load(cls, folder: Path, engine_of: Callable[[str], Engine], place: str = "") -> Self:
        """A saved encoder. engine_of: of the part at a place below the folder, "" being the model itself."""
        saved = read_saved(folder / place, Encoder)
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder / place / TOKENIZER, local_files_only=True)
        parts = {inner: cls.load(folder, engine_of, inner) for inner in dict.fromkeys(saved.others.values())}
        return cls(saved, tokenizer, engine_of(place), {task: parts[inner] for task, inner in saved.others.items()})

    @property
    def spec(self) -> Encoder:
        return self.saved.spec

    @property
    def tasks(self) -> Mapping[str, Task]:
        return self.saved.tasks

    @property
    def engine(self) -> str:
        """What computes the answers, as every answer names it."""
        return self.computes.name

    def predict(
        self,
        task: str,
        records: Sequence[Record],
        *,
        batch_tokens: int | None = None,
        progress: Progress = unheard,
    ) -> LabelOutputs:
        """Class probabilities, softmax or sigmoid of the head."""
        if task in self.others:
            return self.others[task].predict(task, records, progress=progress)
        if task not in self.saved.taught:
            raise untaught(self.spec, task)
        asked, own = self.saved.tasks[task], slices(self.saved.tasks)[task]
        rows, dropped = ids_of(self.tokenizer, self.spec.train, asked, records)
        logits, seconds = np.zeros((len(rows), own.stop - own.start)), np.zeros(len(rows))
        for at, row in enumerate(rows):
            began = time.perf_counter()
            logits[at] = self.computes.logits([row])[0, own]
            seconds[at] = time.perf_counter() - began
            progress(at + 1, len(rows), "")
        return LabelOutputs(
            probabilities=PROBABILITIES[asked.kind](logits) if rows else logits,
            seconds=seconds,
            prompt_tokens=np.array([len(row) for row in rows], dtype=np.int64),
            dropped_tokens=np.array(dropped, dtype=np.int64),
        )
