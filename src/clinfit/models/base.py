"""The contract of every model family.

    model = Family(spec, tasks, seed, bases)   # cheap: stores its arguments
    model.fit(lesson, workspace)               # may be killed; called again with the same workspace it continues
    outputs = model.predict(task, records)     # order of the records; of tasks with labels
    texts = model.generate(task, records, 128) # of families that write: what else may be answered
    losses = model.likelihood(task, records)   # how unlikely the reference answers are
    model.save(folder); Family.load(folder)    # no pickle; the loaded model predicts bit for bit the same

Two ways to go on from what was learnt are two things. A lesson that names where it starts takes the weights of an
earlier stage and trains them further, with a new optimizer and schedule. A fit that is called again with the workspace
of one that was killed resumes that very fit, and ends as if nothing had happened.

One contract test (tests/models/test_contract.py) runs over all families and kinds of task: same seed, same result; load
equals save; batch size and order of the records do not change a record's answer.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from clinfit.data.records import Record, Target
from clinfit.errors import ClinfitError
from clinfit.prompts.reasoning import answer_in
from clinfit.scoring.likelihood import Likelihood
from clinfit.study.models import ModelSection, ModelSpec, Train
from clinfit.study.stages import Merge, Mix, Retain, Stage
from clinfit.study.tasks import Task

if TYPE_CHECKING:
    from clinfit.models.bases.pretrained import Bases
    from clinfit.prompts.places import Place

#: Why an answer ended: the model ended it, or it reached the limit.
FinishReason = Literal["stop", "length"]


#: Called with (done, in all, one line of text).
Progress = Callable[[int, int, str], None]


def unheard(done: int, total: int, text: str) -> None:
    """Progress that nobody asked for."""


#: Called at each validation of a training with (step, share of the steps that are done, loss, primary; larger is
#: better). What it raises ends the fit.
Validated = Callable[[int, float, float, float | None], None]


def unwatched(step: int, share: float, loss: float, primary: float | None) -> None:
    """Validations that nobody asked for."""


@dataclass(frozen=True)
class Lesson:
    """What one stage teaches.

    train: labelled records of one or more tasks; a record knows its task. validation: records for choices (C, best
    checkpoint), never to learn from. weights: by task, how many times the loss of each of its records counts; tasks
    that weigh 0 or are not named are left out of training and validation altogether. start: the saved model of an
    earlier stage to begin with; None: the base. stage: how it is taught; None: plainly, as a study without stages does.
    """

    train: Sequence[Record]
    validation: Sequence[Record]
    weights: Mapping[str, float]
    start: Path | None = None
    stage: Stage | None = None

    @property
    def taught(self) -> "Lesson":
        """The lesson without the tasks that weigh nothing."""
        weights = {task: weight for task, weight in self.weights.items() if weight}
        train, validation = (
            [record for record in records if record.task in weights] for records in (self.train, self.validation)
        )
        return replace(self, train=train, validation=validation, weights=weights)

    @property
    def adapter(self) -> Literal["continue", "stack", "new"]:
        """What becomes of the adapter that it starts from; without one there is nothing to choose."""
        return "continue" if self.start is None or self.stage is None else self.stage.adapter

    @property
    def retain(self) -> Retain:
        """What keeps the model near to the one that it starts from; nothing does where that is the base."""
        return Retain() if self.start is None or self.stage is None else self.stage.retain or Retain()

    @property
    def mix(self) -> Mix | None:
        return None if self.stage is None else self.stage.mix

    def settings(self, train: Train) -> Train:
        """The settings of its training, given those of the model."""
        return train if self.stage is None else train.during(self.stage.settings)


@dataclass(frozen=True)
class WrittenText:
    """What a model wrote for one record, why it ended, its tokens, and the seconds that it took; of families with
    tokens those of the prompt, and those of the record's text that it did not see; of a record that was read in pieces
    how many there were, in how many rounds, and of how many the text reached the limit, with the prompt tokens and
    seconds of all."""

    text: str
    finish_reason: FinishReason
    tokens: int
    seconds: float
    prompt_tokens: int | None = None
    dropped_tokens: int | None = None
    pieces: int | None = None
    rounds: int | None = None
    cut_pieces: int | None = None


@dataclass(frozen=True)
class TextOutputs:
    """What a model wrote for n records: texts, reasoning and all, why each ended, and (n,) tokens and seconds of each.

    tokens: 0 for a rule, which has none. prompt_tokens, dropped_tokens: as of `LabelOutputs`. losses: of the records'
    references, where they were asked for and the family has any. pieces, rounds, cut_pieces: (n,) of records that
    were read in pieces, 0 of those read at once; None where none may be (`long_input`).
    """

    texts: list[str]
    finish_reasons: list[FinishReason]
    tokens: NDArray[np.int64]
    seconds: NDArray[np.float64]
    prompt_tokens: NDArray[np.int64] | None = None
    dropped_tokens: NDArray[np.int64] | None = None
    losses: Likelihood | None = None
    pieces: NDArray[np.int64] | None = None
    rounds: NDArray[np.int64] | None = None
    cut_pieces: NDArray[np.int64] | None = None

    @property
    def answers(self) -> list[str]:
        """The texts without the reasoning that some begin with: what is scored, shown and handed out."""
        return [answer_in(text) for text in self.texts]

    @classmethod
    def of(cls, written: Sequence[WrittenText]) -> "TextOutputs":
        """The same, record by record."""
        return cls(
            texts=[one.text for one in written],
            finish_reasons=[one.finish_reason for one in written],
            tokens=np.array([one.tokens for one in written], dtype=np.int64),
            seconds=np.array([one.seconds for one in written], dtype=np.float64),
            prompt_tokens=_known([one.prompt_tokens for one in written]),
            dropped_tokens=_known([one.dropped_tokens for one in written]),
            pieces=_known([one.pieces for one in written]),
            rounds=_known([one.rounds for one in written]),
            cut_pieces=_known([one.cut_pieces for one in written]),
        )


@dataclass(frozen=True)
class LabelOutputs:
    """What a model says of n records over K labels, row by row in the records' order.

    probabilities: (n, K) float64, columns in the order of `task.labels`; each row sums to 1, or, of a multilabel task,
    each number lies in [0, 1] by itself.
    label_mass: (n,) total probability that a causal model gives to all labels together; None elsewhere.
    scorings: of multiple-choice tasks, `letters`, `texts` and `texts-normalised` to their (n, K) probabilities.
    raw, finish_reasons, output_tokens: n generated texts, why they ended, their tokens; None where none were written.
    prompt_tokens: (n,) tokens that are read before an answer, questions included; None where there are no tokens.
    dropped_tokens: (n,) tokens of the record's text that the model did not see; None where all is seen.
    seconds: (n,) time spent on the record (its share of its batch).
    read: position of a record -> what was read in a written answer in place of probabilities, which are nan in its row;
    None where nothing could be read.
    rung, bounded: of remote models, how labels are scored, and (n,) whether a probability rests on a bound
    (models/remote).
    """

    probabilities: NDArray[np.float64]
    seconds: NDArray[np.float64]
    label_mass: NDArray[np.float64] | None = None
    scorings: Mapping[str, NDArray[np.float64]] | None = None
    raw: list[str] | None = None
    finish_reasons: Sequence[FinishReason | None] | None = None
    prompt_tokens: NDArray[np.int64] | None = None
    output_tokens: NDArray[np.int64] | None = None
    dropped_tokens: NDArray[np.int64] | None = None
    read: Mapping[int, Target | None] = field(default_factory=dict)
    rung: str | None = None
    bounded: NDArray[np.bool_] | None = None

    def with_texts(self, written: TextOutputs) -> "LabelOutputs":
        """The same with what the model wrote by itself beside it; `seconds` stay those of the probabilities."""
        return replace(self, raw=written.texts, finish_reasons=written.finish_reasons, output_tokens=written.tokens)


def no_primary(task: str, gold: NDArray[Any], probabilities: NDArray[np.float64]) -> float | None:
    """The primary metric of a fit that has none."""
    return None


@dataclass
class Workspace:
    """Where a fit keeps what it must not lose, and how it tells of its progress.

    folder: checkpoints and `log.jsonl` go here; a fit that finds its own checkpoint continues from it.
    progress: told of the steps of the training.
    primary: (task, gold, probabilities (n, K)) -> the task's primary metric, larger is better; None when it cannot be
        estimated. gold: (n,) label indices; of a multilabel task (n, K) whether each label holds. Models take it as a
        function, since nothing in them knows a metric.
    track: names of experiment trackers to write to.
    validated: told of every validation of the training; families that do not train step by step have none.
    """

    folder: Path
    progress: Progress = unheard
    primary: Callable[[str, NDArray[Any], NDArray[np.float64]], float | None] = no_primary
    track: Sequence[str] = ()
    validated: Validated = unwatched


@dataclass(frozen=True)
class FitSummary:
    """What a fit tells the run record: values that were really used, read back from the trained objects."""

    seconds: float
    parameters: int = 0
    trainable_parameters: int = 0
    details: dict[str, Any] = field(default_factory=dict)
    alarms: list[str] = field(default_factory=list)


class Answerer(Protocol):
    """What answers: a model, or what computes a saved one's answers in another way (models/engines/encoder.py)."""

    @property
    def spec(self) -> ModelSpec: ...

    @property
    def tasks(self) -> Mapping[str, Task]: ...

    def predict(
        self,
        task: str,
        records: Sequence[Record],
        *,
        batch_tokens: int | None = None,
        progress: Progress = unheard,
    ) -> LabelOutputs:
        """Answer the task for each record; targets are not looked at. `batch_tokens` only changes speed. progress: told
        how many records are answered, where that takes time.

        Raises ClinfitError for a task that no stage has taught, unless the spec says that it can be asked (`untaught`).
        """
        ...


class Model(Answerer, Protocol):
    """The contract (see the module's docstring)."""

    seed: int

    def __init__(self, spec: Any, tasks: Mapping[str, Task], seed: int, bases: "Bases | None" = None) -> None:
        """tasks: all that it will ever learn or answer, by name. bases: pretrained bases that models of this process
        share; None: its own."""
        ...

    def fit(self, lesson: Lesson, workspace: Workspace) -> FitSummary:
        """Learn what the lesson teaches."""
        ...

    def save(self, folder: Path) -> None:
        """Write everything that `load` needs into the (new or empty) folder."""
        ...

    @classmethod
    def load(cls, folder: Path, bases: "Bases | None" = None) -> Self:
        """The saved model, ready to predict."""
        ...


def untaught(spec: ModelSection, task: str) -> ClinfitError:
    """What a model says that is asked what it has no answer to."""
    return ClinfitError(
        f"model {spec.name} was never taught {task}",
        expected="a task that one of its stages taught",
        fix=f"give {task} a weight in a stage",
    )


def _known(counts: Sequence[int | None]) -> NDArray[np.int64] | None:
    """The counts, None where any is not known."""
    return None if not counts or None in counts else np.array(counts, dtype=np.int64)


#: What a model says of records, by whatever kind of task.
Outputs = LabelOutputs | TextOutputs


#: Called with the number of a record and its text so far; whether anybody wants more of it.
Heard = Callable[[int, str], bool]


class Writer(Model, Protocol):
    """A family that can write an answer of its own, and say how likely it finds one."""

    def generate(
        self,
        task: str,
        records: Sequence[Record],
        limit: int,
        *,
        done: Callable[[int, WrittenText], None] = lambda index, written: None,
        heard: Heard | None = None,
    ) -> TextOutputs:
        """A text of at most `limit` tokens for each record. done: called with the number of a record and its text as
        soon as it is written; the order is the model's. heard: called while a text is written, with a beginning of it
        that stays; what it does not want more of ends there. Families that know a text only when it is whole do not."""
        ...

    def likelihood(self, task: str, records: Sequence[Record], *, batch_tokens: int | None = None) -> Likelihood | None:
        """How unlikely the model finds the reference answer of each record; None of families that cannot say."""
        ...


@dataclass(frozen=True)
class Attribution:
    """How much each token of a record's texts moves a probability of the model, before any recalibration.

    places: of the tokens. effects: (n,), which sum to about probability - without. without: the probability when a
    token that says nothing stands in the place of each.
    """

    places: Sequence["Place"]
    effects: NDArray[np.float64]
    probability: float
    without: float


@runtime_checkable
class Differentiable(Answerer, Protocol):
    """A family whose probabilities can be followed back to the tokens that it read."""

    def attribute(self, task: str, record: Record, label: str, steps: int) -> Attribution:
        """Integrated gradients of a label's probability in so many steps (scoring/gradients.py)."""
        ...


@runtime_checkable
class Reasoning(Answerer, Protocol):
    """A family that can be asked in words why it answered."""

    def reason(self, task: str, record: Record, question: str, limit: int) -> WrittenText:
        """What the model writes to a question that follows its answer, the record's target, in so many tokens at most.

        For tasks with one answer a record. The text may quote the record, and need not be why. Raises ClinfitError
        where all of it is longer than the base reads.
        """
        ...


class Each(Model, Protocol):
    """A family that asks record by record what costs time or money, so that each answer is kept as it comes.

    answered: the class of an answer, a dataclass that JSON holds.
    """

    answered: type

    def answer_each(
        self,
        task: str,
        records: Sequence[Record],
        *,
        done: Callable[[int, Any], None] = lambda index, answered: None,
    ) -> list[Any]:
        """An answer for each record. done: called with the number of a record and its
        answer as soon as it is there."""
        ...

    def ask_as(self, settings: Mapping[str, Any]) -> None:
        """Take over, from the spec of the run that asks, fields by name that change no answer."""
        ...

    def put_together(self, task: str, answered: Sequence[Any]) -> LabelOutputs:
        """The outputs that these answers are."""
        ...


class Mergeable(Model, Protocol):
    """A family whose models of several stages can be put together without training."""

    def merge(self, starts: Sequence[Path], merge: Merge, workspace: Workspace) -> FitSummary:
        """Become what the saved models in `starts` give together."""
        ...
