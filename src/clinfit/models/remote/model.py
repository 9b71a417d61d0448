"""Remote models: a language model behind an OpenAI-compatible address, asked as it is.

What a fit does is to draw examples and to find out in which way the server can be asked. Both are kept with the model,
so that every answer is asked for alike; nothing is trained, and nothing of the model itself is here.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np

from clinfit.data.records import Record, Target
from clinfit.errors import ClinfitError
from clinfit.files import read_json, write_json
from clinfit.models.base import (
    FinishReason,
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
from clinfit.models.examples import FILE as EXAMPLES
from clinfit.models.examples import drawn_examples, read_examples, told_examples, write_examples
from clinfit.models.remote.asking import Asking, Messages, Told, Usage, Way, found_way, neutral
from clinfit.models.remote.server import Refused, Server
from clinfit.models.remote.tree import Tops, weighed
from clinfit.models.saved import Saved, read_saved, write_saved
from clinfit.prompts.template import NO_YES, divided_message, user_message
from clinfit.scoring.likelihood import Likelihood
from clinfit.scoring.parse import parse_answer
from clinfit.scoring.probabilities import softmax
from clinfit.study.remote import Remote, Rung
from clinfit.study.tasks import Task

if TYPE_CHECKING:
    from clinfit.models.bases.pretrained import Bases

FILE = "remote.json"


@dataclass(frozen=True)
class Answered:
    """What was answered to one record, and what that took.

    log_likelihood: of each label, question by question (one question, but of multilabel tasks); None where an answer
    was written instead, or a question was not answered with a label. said: what was written, question by question.
    bounded: whether a label's probability rests on a bound (tree.py).
    """

    log_likelihood: list[list[float]] | None
    said: list[str] | None
    finish_reason: FinishReason | None
    bounded: bool
    requests: int
    prompt_tokens: int
    output_tokens: int
    seconds: float


class RemoteModel:
    """A language model on a server (contract: models/base.py)."""

    answered = Answered

    def __init__(self, spec: Remote, tasks: Mapping[str, Task], seed: int, bases: "Bases | None" = None) -> None:
        self.spec, self.tasks, self.seed = spec, tasks, seed
        self._taught: list[str] = []
        self._examples: dict[str, list[Record]] = {}
        self._asking: Asking | None = None
        self._found: Way | None = None

    def fit(self, lesson: Lesson, workspace: Workspace) -> FitSummary:
        """Draw the examples of the tasks that the lesson teaches, and find out what the server offers."""
        started, lesson = time.perf_counter(), lesson.taught
        if lesson.start is not None:
            self._examples = read_examples(lesson.start / EXAMPLES)
            self._taught = list(read_saved(lesson.start, Remote).taught)
        for name in lesson.weights:
            records = [record for record in lesson.train if record.task == name]
            labels = self.tasks[name].labels
            self._examples[name] = drawn_examples(records, labels, self.spec.shots, name, self.seed)
        self._taught += [name for name in lesson.weights if name not in self._taught]
        self._asking = self._found = None
        return FitSummary(time.perf_counter() - started, details=self._details(self._way), alarms=[])

    def predict(
        self,
        task: str,
        records: Sequence[Record],
        *,
        batch_tokens: int | None = None,
        progress: Progress = unheard,
    ) -> LabelOutputs:
        """Answer the task for each record."""
        told = 0

        def tell(index: int, answered: Answered) -> None:
            nonlocal told
            told += 1
            progress(told, len(records), "")

        return self.put_together(task, self.answer_each(task, records, done=tell))

    def answer_each(
        self,
        task: str,
        records: Sequence[Record],
        *,
        done: Callable[[int, Answered], None] = lambda index, answered: None,
    ) -> list[Answered]:
        """What the server says of each record. done: called with the number of a record as soon as it is answered."""
        return self._begun().server.each(records, partial(self._answered, task), done)

    def put_together(self, task: str, answered: Sequence[Answered]) -> LabelOutputs:
        """Answers to records as probabilities; where an answer was written, as what the strict parser reads in it."""
        asked, n = self.tasks[task], len(answered)
        probabilities, mass = np.full((n, len(asked.labels)), np.nan), np.full(n, np.nan)
        read: dict[int, Target | None] = {}
        for k, one in enumerate(answered):
            if one.log_likelihood is None:
                read[k] = _read(asked, one.said)
                continue
            scores = np.array(one.log_likelihood)
            shares = softmax(scores)
            probabilities[k] = shares[:, NO_YES.index("yes")] if asked.kind == "multilabel" else shares[0]
            mass[k] = min(1.0, float(np.exp(scores[0]).sum()))
        return LabelOutputs(
            probabilities=probabilities,
            seconds=np.array([one.seconds for one in answered]),
            label_mass=None if asked.kind == "multilabel" else mass,
            scorings={"letters": probabilities} if asked.kind == "multiple-choice" else None,
            raw=["\n".join(one.said or []) for one in answered] if any(one.said for one in answered) else None,
            finish_reasons=[one.finish_reason for one in answered],
            prompt_tokens=np.array([one.prompt_tokens for one in answered], dtype=np.int64),
            output_tokens=np.array([one.output_tokens for one in answered], dtype=np.int64),
            read=read,
            rung=self._rung(task),
            bounded=np.array([one.bounded for one in answered], dtype=np.bool_),
        )

    def generate(
        self,
        task: str,
        records: Sequence[Record],
        limit: int,
        *,
        done: Callable[[int, WrittenText], None] = lambda index, written: None,
        heard: Heard | None = None,
    ) -> TextOutputs:
        """The text that the server writes for each record, the most probable token each time."""
        asking = self._begun()

        def write(record: Record) -> WrittenText:
            started, usage = time.perf_counter(), Usage()
            ((messages, _),) = self._questions(task, record)
            with named(record):
                found = asking.write(messages, limit, usage)
            seconds = time.perf_counter() - started
            return WrittenText(found.text, found.finish_reason, usage.output_tokens, seconds, usage.prompt_tokens)

        return TextOutputs.of(asking.server.each(records, write, done))

    def likelihood(self, task: str, records: Sequence[Record], *, batch_tokens: int | None = None) -> Likelihood | None:
        """How unlikely the model finds the references, without their end of turn, which no server tells; None where the
        server does not say how likely a given text is."""
        if self._way.rung != "prompt-logprobs":
            return None
        asking = self._begun()

        def ask(record: Record) -> tuple[float, int, int]:
            ((messages, _),) = self._questions(task, record)
            with named(record):
                told = self._told(asking, messages, str(record.target), Usage())
            return told.nats, len(told.tokens), len(str(record.target).encode())

        found = asking.server.each(records, ask)
        nats, tokens, sizes = zip(*found, strict=True) if found else ((), (), ())
        return Likelihood(
            nats=np.array(nats, dtype=np.float64),
            tokens=np.array(tokens, dtype=np.int64),
            bytes=np.array(sizes, dtype=np.int64),
        )

    def save(self, folder: Path) -> None:
        write_saved(folder, Saved(self.spec, self.tasks, self.seed, self._taught, None))
        write_json(folder / FILE, self._way.as_dict())
        if any(self._examples.values()):
            write_examples(folder / EXAMPLES, self._examples)

    @classmethod
    def load(cls, folder: Path, bases: "Bases | None" = None) -> Self:
        saved = read_saved(folder, Remote)
        model = cls(saved.spec, saved.tasks, saved.seed)
        model._taught, model._examples = list(saved.taught), read_examples(folder / EXAMPLES)
        model._found = Way(**read_json(folder / FILE))
        return model

    def ask_as(self, settings: Mapping[str, Any]) -> None:
        self.spec, self._asking = self.spec.model_copy(update=dict(settings)), None

    # ------------------------------------------------------------ asking

    def _ready(self) -> Asking:
        """The server, and how it is asked, which is found out unless it is known."""
        if self._asking is None:
            server = Server(self.spec)
            self._found = self._found or found_way(server)
            self._asking = Asking(server, self._found)
        return self._asking

    def _begun(self) -> Asking:
        """The same at the beginning of a step, when it must have the models that it had."""
        asking = self._ready()
        asking.check_listed()
        return asking

    @property
    def _way(self) -> Way:
        return self._found or cast(Way, self._ready().way)

    def _rung(self, task: str) -> Rung:
        """How labels of a task are scored: where the server cannot go on from their common beginning, and may be asked
        in any way, by what is written."""
        way, asked = self._way, self.tasks[task]
        stuck = way.rung == "top-logprobs" and way.continued is None and self.spec.prompts == "chat"
        if stuck and self.spec.labels == "auto" and asked.kind != "multilabel":
            return "generation" if len({label.split()[0] for label in asked.labels}) == 1 else way.rung
        return way.rung

    def _questions(self, task: str, record: Record) -> list[tuple[Messages, Sequence[str]]]:
        """What is asked of a record, each with the answers that are compared."""
        asked = self.tasks[task]
        if asked.kind == "multilabel":
            message = divided_message(asked, record.inputs)
            return [(self._messages(task, message.shared + question), NO_YES) for question in message.questions]
        return [(self._messages(task, user_message(asked, record.inputs)), asked.labels)]

    def _messages(self, task: str, text: str) -> Messages:
        asked = self.tasks[task]
        messages = [{"role": "system", "content": asked.system}] if asked.system else []
        for example in self._examples.get(task, ()):
            messages.append({"role": "user", "content": neutral(user_message(asked, example.inputs))})
            messages.append({"role": "assistant", "content": neutral(str(example.target))})
        return [*messages, {"role": "user", "content": neutral(text)}]

    def _answered(self, task: str, record: Record) -> Answered:
        started, usage, asking = time.perf_counter(), Usage(), self._ready()
        rung, scores = self._rung(task), list[list[float]]()
        said: list[str] = []
        bounded, answered, reasons = False, True, set[FinishReason]()
        with named(record):
            for messages, labels in self._questions(task, record):
                if rung == "generation":
                    written = asking.write(messages, self.spec.answer_tokens, usage)
                    said.append(written.text)
                    reasons.add(written.finish_reason)
                elif rung == "prompt-logprobs":
                    scores.append(logs_of([self._told(asking, messages, label, usage) for label in labels]))
                else:
                    found = weighed(labels, partial(self._next, asking, messages, usage))
                    scores.append([_log(each) for each in found.probabilities])
                    bounded, answered = bounded or found.bounded, answered and found.seen
        return Answered(
            log_likelihood=scores if scores and answered else None,
            said=said or None,
            finish_reason="length" if "length" in reasons else "stop" if reasons else None,
            bounded=bounded,
            requests=usage.requests,
            prompt_tokens=usage.prompt_tokens,
            output_tokens=usage.output_tokens,
            seconds=time.perf_counter() - started,
        )

    def _next(self, asking: Asking, messages: Messages, usage: Usage, beginning: bytes) -> Tops | None:
        """The next tokens behind a beginning; None where the server cannot go on from one, or it ends within a
        character, which no request can hold."""
        continued, text = self._way.continued, beginning.decode(errors="ignore")
        if text.encode() != beginning or (text and self.spec.prompts == "chat" and continued is None):
            return None
        return asking.next_tokens(messages, text, usage, continued)

    def _told(self, asking: Asking, messages: Messages, answer: str, usage: Usage) -> Told:
        if not answer.strip():
            return Told(0.0, [])
        found = asking.answer_nats(messages, neutral(answer), usage)
        if found is None:
            raise ClinfitError(
                f"the server of {self.spec.name} did not tell how likely an answer is, and had done so before",
                fix="labels: top-logprobs, or look at the server's log",
            )
        return found

    def _details(self, way: Way) -> dict[str, Any]:
        return {
            "method": "remote",
            "url": self.spec.url,
            "model": self.spec.model,
            **way.as_dict(),
            "examples": {
                name: {"ids": [one.id for one in records], "told": told_examples(records, self.tasks[name].labels)}
                for name, records in self._examples.items()
            },
        }


@contextmanager
def named(record: Record) -> Iterator[None]:
    """Refusals inside name the record that was asked about."""
    try:
        yield
    except Refused as error:
        raise Refused(error.status, f"record {record.id}: {error.found}", fix=error.fix) from None


def logs_of(labels: Sequence[Told]) -> list[float]:
    """Log-probability of each label as a whole answer: of one whose tokens begin another's ("cancer", "cancer free")
    what the longer ones do not take."""
    spelt = {tuple(label.tokens): math.exp(-label.nats) for label in labels}

    def longer(tokens: tuple[str, ...], among: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
        return [other for other in among if len(other) > len(tokens) and other[: len(tokens)] == tokens]

    found = []
    for label in labels:
        others = longer(tuple(label.tokens), spelt)
        taken = sum(spelt[other] for other in others if not any(other in longer(less, [other]) for less in others))
        found.append(_log(math.exp(-label.nats) - taken) if others else -label.nats)
    return found


def _log(probability: float) -> float:
    """Of 0, one that is next to it."""
    return math.log(max(probability, 1e-300))


def _read(task: Task, said: Sequence[str] | None) -> Target | None:
    """The answer that the strict parser reads in what was written; None where it reads none."""
    if said is None:
        return None
    if task.kind != "multilabel":
        return parse_answer(said[0], task.labels).label
    found = [parse_answer(text, NO_YES).label for text in said]
    if None in found:
        return None
    return tuple(label for label, answer in zip(task.labels, found, strict=True) if answer == "yes")
