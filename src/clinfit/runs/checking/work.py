"""How much a neural model reads and writes, step by step: what its estimates of memory and time are made from."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from clinfit.data.records import Split
from clinfit.models.estimates.estimate import Work
from clinfit.prompts.encode import Encoded
from clinfit.runs.steps.plan import ANSWERED, answers_before_training, free_tokens
from clinfit.study.models import Causal, Encoder, Mlx
from clinfit.study.schema import Study
from clinfit.study.tasks import Writing
from clinfit.study.taught import Taught, stages_of

Spec = Causal | Encoder | Mlx


@dataclass(frozen=True)
class Reading:
    """How one model reads the records of one task.

    lengths, dropped: tokens of each record as it is read, and of what it loses, by split. whole: tokens of the longest
    record before it is shortened.
    answers: tokens of each answer that the model can give. first: the first training record. thinking: what became of
    the reasoning that its template would begin (prompts/chat.py). examples: how many stand in every prompt, and whence.
    in_pieces: whether answers read a long record in pieces (`long_input: map-reduce`), so that only training and
    likelihood lose text. references: tokens of each reference with its end, by split. most: tokens of a text that
    ends nowhere; 0 where no text is written. All only of models that read prompts.
    """

    task: str
    lengths: Mapping[Split, list[int]]
    dropped: Mapping[Split, list[int]]
    whole: int
    answers: Mapping[str, list[int]]
    answer_tokens: int = 1
    first: Encoded | None = None
    thinking: Literal["none", "off", "stripped"] = "none"
    examples: str = ""
    in_pieces: bool = False
    references: Mapping[Split, list[int]] = field(default_factory=dict)
    most: int = 0

    @property
    def records(self) -> int:
        return sum(len(lengths) for lengths in self.lengths.values())

    @property
    def shortened(self) -> int:
        return sum(lost > 0 for part in self.dropped.values() for lost in part)


def work_of(study: Study, spec: Spec, readings: Sequence[Reading]) -> Work:
    """All that a model does with one seed: what each stage trains on; then validation and test of every task after
    every stage, and before the first one where the base is asked too."""
    stages = stages_of(study, spec)
    times = [False] * len(stages) + [True] * answers_before_training(spec)
    return _together(
        [
            *(fit for stage in stages if (fit := fit_work(spec, stage, readings)) is not None),
            *_answers(study, spec, readings, times),
        ]
    )


def _answers(study: Study, spec: Spec, readings: Sequence[Reading], times: Sequence[bool]) -> Iterator[Work]:
    for reading in readings:
        for split in ANSWERED:
            yield from (answer_work(study, spec, reading, split, untrained=before) for before in times)


def _together(parts: Sequence[Work]) -> Work:
    return Work(
        train_lengths=[length for part in parts for length in part.train_lengths],
        trained_tokens=sum(part.trained_tokens for part in parts),
        scored_tokens=sum(part.scored_tokens for part in parts),
        answer_tokens=max((part.answer_tokens for part in parts), default=1),
        written_tokens=sum(part.written_tokens for part in parts),
        written_rows=max((part.written_rows for part in parts), key=sum, default=[]),
    )


def fit_work(spec: Spec, stage: Taught, readings: Sequence[Reading]) -> Work | None:
    """The training of one stage, by its own settings: what its steps read; validation each epoch; and the same records
    once more by the teacher of `retain: kl`. None of one that trains nothing."""
    if spec.prompting or not stage.weights:
        return None
    settings, retain = spec.train.during(stage.stage.settings), stage.stage.retain
    own = [(reading, _shown(stage, reading)) for reading in readings if reading.task in stage.weights]
    again = 0.0 if retain is None else retain.rehearsal
    learned = own + [(reading, again) for reading in readings if reading.task in stage.rehearsed]
    lengths = [length for reading, share in learned for length in _as_many(reading.lengths["train"], share)]
    epochs = settings.epochs
    if settings.max_steps is not None and lengths:
        epochs = min(epochs, settings.max_steps / math.ceil(len(lengths) / settings.batch_size))
    trained = round(epochs * sum(lengths))
    validated = round(epochs * sum(sum(reading.lengths["validation"]) for reading, _ in learned))
    taught = trained if retain is not None and retain.kl else 0
    answer_tokens = max(reading.answer_tokens for reading, _ in learned)
    return Work(lengths, trained, validated + taught, answer_tokens)


def answer_work(study: Study, spec: Spec, reading: Reading, split: Split, *, untrained: bool) -> Work:
    """The answers to one split of a task. One of texts is read twice, for the text and for the likelihood of its
    reference; a base that is not trained for it may write on until it is stopped."""
    lengths = reading.lengths[split]
    return Work(
        train_lengths=[],
        trained_tokens=0,
        scored_tokens=sum(lengths) * (2 if reading.most else 1),
        answer_tokens=reading.answer_tokens,
        written_tokens=reading.most * len(lengths) if untrained else sum(reading.references.get(split, [])),
        written_rows=_written_rows(study, spec, reading, split),
    )


def _written_rows(study: Study, spec: Spec, reading: Reading, split: Split) -> list[int]:
    """Tokens of prompt and text of each record of which a text is written, the longest first. A prompt is counted with
    its reference, which is in the order of what is written."""
    task = study.tasks[reading.task]
    limit = task.max_new_tokens if isinstance(task, Writing) else free_tokens(spec, task)
    return sorted((length + limit for length in reading.lengths[split]), reverse=True) if limit else []


def _shown(stage: Taught, reading: Reading) -> float:
    """Share of the records of a task that an epoch of the stage shows; with a temperature about all of them."""
    mix = stage.stage.mix
    n = len(reading.lengths["train"])
    return 1.0 if mix is None or mix.records is None else mix.records.get(reading.task, n) / n


def _as_many(lengths: list[int], share: float) -> list[int]:
    whole, rest = divmod(round(share * len(lengths)), len(lengths))
    return lengths * whole + lengths[:rest]
