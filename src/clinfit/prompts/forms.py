"""How a record of each kind of task is asked: one prompt, and behind it the answers that are compared.

classification   the labels
multilabel       for each label a question, and behind it no and yes
multiple-choice  the options' letters, and their texts
generation, extraction  none: room for a text; in training the record's reference

What is compared in scoring and what is learnt in training are made of the same parts here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

from clinfit.data.records import Record, Target, Value
from clinfit.prompts.chat import Chat
from clinfit.prompts.template import NO_YES, divided_message, option_texts, user_message
from clinfit.study.tasks import MultipleChoice, Task, TextTask

#: What a record holds, by the names that the study declares.
Inputs = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Branch:
    """What may stand behind a prompt: `context`, which is read only (a question), then one of the answers.

    end: the end of turn behind every answer. room: tokens kept free for an answer that is written. overlapping:
    whether one answer begins another ("cancer", "cancer free"), so that only with their ends they are two events.
    """

    context: list[int]
    answers: list[list[int]]
    end: list[int]
    room: int = 0
    overlapping: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "overlapping", _any_begins_another(self.answers))

    @property
    def longest(self) -> int:
        """Tokens of context, longest answer (or the room for one) and end."""
        return len(self.context) + max([self.room, *map(len, self.answers)]) + len(self.end)


@dataclass(frozen=True, slots=True)
class Trained:
    """What training puts behind a prompt: `context` is read only, `answer` is the gold one with its end of turn."""

    context: list[int]
    answer: list[int]


class Form(Protocol):
    """One kind of task. names: of the answers that `chat` knows beforehand."""

    names: Sequence[str]
    chat: Chat

    @property
    def task(self) -> Task: ...

    def ask(self, records: Sequence[Inputs]) -> list[tuple[str, list[Branch]]]:
        """The prompt of each record as text, chat markup included, and its branches.

        Many records at once, since a call of a tokenizer costs as much as a short text.
        """
        ...

    def train(self, target: Target, branches: Sequence[Branch]) -> list[Trained]:
        """What is learnt behind a prompt with these branches."""
        ...


class LabelForm:
    """One label: one branch, the same for all records."""

    def __init__(self, task: Task, tokenizer: Any, examples: Sequence[Record] = ()) -> None:
        self.task, self.names = task, task.labels
        self.chat = chat_behind(tokenizer, task, examples, self.names)
        self._branches = [Branch([], self.chat.answers, self.chat.end_ids)]

    def ask(self, records: Sequence[Inputs]) -> list[tuple[str, list[Branch]]]:
        chat = self.chat
        return [
            (chat.head + chat.neutral(user_message(self.task, inputs)) + chat.tail, self._branches)
            for inputs in records
        ]

    def train(self, target: Target, branches: Sequence[Branch]) -> list[Trained]:
        return [_trained(branches[0], self.task.labels.index(str(target)))]


class QuestionForm:
    """Any number of labels: a branch for each, with its question as context, and no and yes as answers."""

    def __init__(self, task: Task, tokenizer: Any, examples: Sequence[Record] = ()) -> None:
        if examples:
            raise NotImplementedError("examples are for tasks with one answer a record")
        self.task, self.names = task, NO_YES
        self.chat = Chat(tokenizer, task.system, self.names)
        self._branch = lru_cache(maxsize=4096)(self._new_branch)  # most prompts ask all records alike

    def ask(self, records: Sequence[Inputs]) -> list[tuple[str, list[Branch]]]:
        return [self._ask(inputs) for inputs in records]

    def _ask(self, inputs: Inputs) -> tuple[str, list[Branch]]:
        message, chat = divided_message(self.task, inputs), self.chat
        branches = [self._branch(chat.neutral(question)) for question in message.questions]
        return chat.head + chat.neutral(message.shared), branches

    def train(self, target: Target, branches: Sequence[Branch]) -> list[Trained]:
        return [
            _trained(branch, int(label in target)) for label, branch in zip(self.task.labels, branches, strict=True)
        ]

    def _new_branch(self, question: str) -> Branch:
        (context,) = self.chat.continuation_ids(self.chat.head + "?", [question + self.chat.tail])
        return Branch(context, self.chat.answers, self.chat.end_ids)


class OptionForm:
    """One of the record's options: a branch of their letters and a branch of their texts."""

    def __init__(self, task: MultipleChoice, tokenizer: Any, examples: Sequence[Record] = ()) -> None:
        self.task, self.names = task, task.labels
        self.chat = chat_behind(tokenizer, task, examples, self.names)
        self._letters = Branch([], self.chat.answers, self.chat.end_ids)

    def ask(self, records: Sequence[Inputs]) -> list[tuple[str, list[Branch]]]:
        chat, width = self.chat, len(self.task.options)
        texts = [chat.neutral(text) for inputs in records for text in option_texts(self.task, inputs)]
        answers = chat.answer_ids(texts)
        return [
            (
                chat.head + chat.neutral(user_message(self.task, inputs)) + chat.tail,
                [self._letters, Branch([], answers[at * width : (at + 1) * width], chat.end_ids)],
            )
            for at, inputs in enumerate(records)
        ]

    def train(self, target: Target, branches: Sequence[Branch]) -> list[Trained]:
        letters, texts = branches
        return [_trained(letters if self.task.answer == "letters" else texts, self.task.labels.index(str(target)))]


class TextForm:
    """A text: one branch without answers, which keeps room for as many tokens as a model may write.

    The prompt is the same whatever the reference: a reference that is longer than the room is learnt whole all the
    same, and the row is then longer than `max_length`.
    """

    def __init__(self, task: TextTask, tokenizer: Any, examples: Sequence[Record] = ()) -> None:
        self.task, self.names = task, list[str]()
        self.chat = chat_behind(tokenizer, task, examples, self.names)
        self._branches = [Branch([], [], self.chat.end_ids, task.max_new_tokens)]

    def ask(self, records: Sequence[Inputs]) -> list[tuple[str, list[Branch]]]:
        chat = self.chat
        return [
            (chat.head + chat.neutral(user_message(self.task, inputs)) + chat.tail, self._branches)
            for inputs in records
        ]

    def train(self, target: Target, branches: Sequence[Branch]) -> list[Trained]:
        (answer,) = self.chat.answer_ids([self.chat.neutral(str(target))])
        return [Trained([], answer + self.chat.end_ids)]


FORMS: dict[str, Any] = {
    "classification": LabelForm,
    "multilabel": QuestionForm,
    "multiple-choice": OptionForm,
    "generation": TextForm,
    "extraction": TextForm,
}


def chat_behind(tokenizer: Any, task: Task, records: Sequence[Record], names: Sequence[str] = ()) -> Chat:
    """The chat of a task with one answer a record, behind records with their answers; their texts cannot end their
    turns."""
    chat = Chat(tokenizer, task.system, names)
    if not records:
        return chat
    turns = [(user_message(task, record.inputs), _answer_of(task, record)) for record in records]
    return Chat(tokenizer, task.system, names, [(chat.neutral(asked), chat.neutral(said)) for asked, said in turns])


def _answer_of(task: Task, record: Record) -> str:
    """A record's own answer as a model would write it."""
    answer = str(record.target)
    if isinstance(task, MultipleChoice) and task.answer != "letters":
        return option_texts(task, record.inputs)[task.labels.index(answer)]
    return answer


def _trained(branch: Branch, answer: int) -> Trained:
    return Trained(branch.context, branch.answers[answer] + branch.end)


def _any_begins_another(answers: Sequence[Sequence[int]]) -> bool:
    return any(list(a) == list(b[: len(a)]) for i, a in enumerate(answers) for j, b in enumerate(answers) if i != j)
