"""The one renderer: a record becomes prompt ids and answer ids, the same in training, evaluation and serving.

Ids are built from parts: the chat template is rendered once per tokenizer around a stand-in message, its two halves are
kept, and the answer's ids are appended; no marker is ever searched in a rendered record. Before anything else the
renderer checks that the generation prompt is a prefix of the full rendering, and stops with both texts where it is not.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from clinfit.data.records import Record, Value
from clinfit.errors import ClinfitError
from clinfit.prompts.forms import FORMS, Branch, Form, Inputs, Trained, chat_behind
from clinfit.prompts.pieces import pieces
from clinfit.prompts.places import Place, common, places_in
from clinfit.prompts.shorten import CUT, Where, longest_first, shortened, size_of
from clinfit.prompts.template import prompt_source
from clinfit.study.tasks import Task, Writing

#: Settings of a task that its prompt, or what stands behind it, is made of.
PROMPTED = {"system", "labels", "options", "answer", "max_new_tokens", "fields"}


@dataclass(frozen=True, slots=True)
class Encoded:
    """One record as token ids.

    prompt_ids: what all branches share; of tasks that are asked once a record, everything up to and including the
    generation prompt. branches: the answers that scoring compares behind it. trained: what training puts behind it;
    empty for a record without a target. dropped: tokens of document text that were left out to keep to max_length.
    """

    id: str
    prompt_ids: list[int]
    branches: list[Branch]
    trained: list[Trained]
    dropped: int

    @property
    def read_tokens(self) -> int:
        """Tokens that are read only: the prompt and every question behind it."""
        return len(self.prompt_ids) + sum(len(branch.context) for branch in self.branches)

    @property
    def answer_ids(self) -> list[int]:
        """The gold answers, each with its end of turn, one behind the other."""
        return [token for part in self.trained for token in part.answer]

    @property
    def ids(self) -> list[int]:
        """All that training reads: the prompt, then each question and answer."""
        return self.prompt_ids + [token for part in self.trained for token in part.context + part.answer]

    @property
    def labels(self) -> list[int]:
        """Training targets: -100 (ignored) over what is read only, the ids themselves over the answers."""
        behind = [token for part in self.trained for token in [-100] * len(part.context) + part.answer]
        return [-100] * len(self.prompt_ids) + behind


class Renderer:
    """Renders the records of one task for one tokenizer.

    tokenizer: a fast tokenizer of Transformers. max_length: tokens of prompt and longest answer together (of a text
    that is written: the room for it), and with the question before it where a task asks several.
    examples: labelled records that stand before every question with their answers. Each is shortened to an equal share
    of max_length, and so is none ever dropped; the record gets what they leave, which is its own share at least.
    answers: ids of each answer that does not depend on the record, by its name, as they follow the generation prompt
    (labels; no and yes of multilabel tasks; letters of options). end_ids: end of turn.
    """

    def __init__(
        self,
        task: Task,
        tokenizer: Any,
        *,
        max_length: int = 1024,
        shorten: Where = "middle",
        examples: Sequence[Record] = (),
    ) -> None:
        self.task, self.tokenizer, self.max_length = task, tokenizer, max_length
        self.shorten: Where = shorten
        self._examples = self._as_examples(examples)
        self._form: Form = FORMS[task.kind](task, tokenizer, self._examples)
        self.answers = dict(zip(self._form.names, self._form.chat.answers, strict=True))
        self.end_ids = self._form.chat.end_ids
        self._check_answers()

    def encode(self, record: Record) -> Encoded:
        """One record; see `encode_all`."""
        return self.encode_all([record])[0]

    def encode_all(self, records: Sequence[Record]) -> list[Encoded]:
        """Records as ids, in order. Too-long documents are shortened, never the instruction, options or the answer.

        Raises ClinfitError when the prompt does not fit even without any document text.
        """
        return [encoded for chunk in _chunks(records) for encoded in self._encode_chunk(chunk)]

    def placed(self, record: Record) -> tuple[Encoded, list[Place]]:
        """A record, and where its texts, options left out, stand in its prompt."""
        inputs = self._fitting(record)
        texts = {name: str(record.inputs[name]) for name in longest_first(self.task, inputs) if inputs.get(name)}
        return self.encode(record), places_in(self.tokenizer, self.task, self.prompt_text, texts, inputs)

    def behind_answer(self, record: Record, question: str) -> list[int]:
        """Prompt ids of a further question, behind the record as it is asked and the answer that it has.

        For tasks with one answer a record. The prompt may be longer than max_length by the question and its markup.
        """
        read = replace(record, inputs=dict(self._fitting(record)))
        chat = chat_behind(self.tokenizer, self.task, [*self._examples, read])
        return chat.ids([chat.head + question + chat.tail])[0]

    def divided(self, record: Record) -> tuple[str, list[Inputs]]:
        """The longest text input of a record that is too long, and the record's inputs with each piece of that text in
        its place, all of which fit. No pieces where it would not fit even with a word of it."""
        name = longest_first(self.task, record.inputs)[0]
        text, others = str(record.inputs.get(name) or ""), self._beside(record, name)
        (alone,) = self._sizes([others])
        room = self.max_length - alone
        while room > 0:
            found: list[Inputs] = [{**others, name: piece} for piece in pieces(self.tokenizer, text, room)]
            beyond = max(self._sizes(found), default=0) - self.max_length
            if beyond <= 0:
                return name, found
            room -= beyond
        return name, []

    def _beside(self, record: Record, name: str) -> Inputs:
        """The inputs with that text cut out. Other texts, when they are long too, are shortened to half of the room
        that the prompt leaves, so that pieces are not of a few words."""
        texts = [other for other in longest_first(self.task, record.inputs) if record.inputs.get(other)]
        inputs = {**record.inputs, name: CUT}
        bare, alone = self._sizes([record.inputs | dict.fromkeys(texts, CUT), inputs])
        half = (bare + self.max_length) // 2
        if bare >= self.max_length or alone <= half:
            return inputs
        return shortened(self._form, replace(record, inputs=inputs), alone, half, self.shorten).inputs

    def _sizes(self, inputs: Sequence[Inputs]) -> list[int]:
        asked = self._form.ask(inputs)
        prompts = self._form.chat.ids([prompt for prompt, _ in asked])
        return [size_of(ids, branches) for ids, (_, branches) in zip(prompts, asked, strict=True)]

    @property
    def room(self) -> int:
        """Tokens that every prompt leaves free for a text that is written; 0 for tasks with labels."""
        return self.task.max_new_tokens if isinstance(self.task, Writing) else 0

    @property
    def markup(self) -> tuple[str, str]:
        """What stands before and after the user message in every prompt, system text included."""
        return self._form.chat.head, self._form.chat.tail

    @property
    def thinking(self) -> Literal["none", "off", "stripped"]:
        """What became of the reasoning that the template would put before answers (prompts/chat.py)."""
        return self._form.chat.thinking

    @property
    def beginning(self) -> list[int]:
        """The ids that prompts of records without anything in common begin with: system text, instruction, examples."""
        columns = self.task.data.columns
        unlike: list[dict[str, Value]] = [
            {name: float(k) if column.type == "number" else text for name, column in columns.items()}
            for k, text in enumerate(("A1", "Zz"), 1)
        ]
        prompts = [prompt for prompt, _ in self._form.ask(unlike)]
        return common(self._form.chat.ids(prompts))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all that prompts share: chat markup, system text, the task's template, inputs and labels."""
        head, tail = self.markup
        task = self.task.model_dump(mode="json", include=PROMPTED)
        inputs = {name: column.model_dump(mode="json") for name, column in self.task.data.columns.items()}
        fixed = [head, prompt_source(self.task), tail, self.end_ids, task, list(inputs.items())]
        return hashlib.sha256(json.dumps(fixed).encode()).hexdigest()

    def prompt_text(self, inputs: Mapping[str, Value]) -> str:
        """The prompt that all branches share, as text, chat markup included."""
        return self._form.ask([inputs])[0][0]

    # ------------------------------------------------------------ internals

    def _fitting(self, record: Record) -> Inputs:
        """The record's inputs, shortened where they are too long."""
        (whole,) = self._sizes([record.inputs])
        if whole <= self.max_length:
            return record.inputs
        return shortened(self._form, record, whole, self.max_length, self.shorten).inputs

    def _as_examples(self, records: Sequence[Record]) -> list[Record]:
        """Records shortened to their share of max_length; raises ClinfitError where one does not fit into it."""
        share = self.max_length // (len(records) + 1)
        alone: Form = FORMS[self.task.kind](self.task, self.tokenizer)
        found = []
        for record in records:
            ((prompt, branches),) = alone.ask([record.inputs])
            beyond = _beyond_room(alone, record, branches)
            size = size_of(alone.chat.ids([prompt])[0], branches)
            try:
                cut = shortened(alone, record, size, share - beyond, self.shorten) if size + beyond > share else None
            except ClinfitError as error:
                raise ClinfitError(
                    f"example {record.id} does not fit into its share of max_length: {share} of {self.max_length} "
                    f"tokens, with {len(records)} examples and the record itself",
                    fix="fewer shots, a larger train.max_length, or a shorter prompt"
                    + (", or examples with shorter references" if beyond else ""),
                ) from error
            found.append(record if cut is None else replace(record, inputs=dict(cut.inputs)))
        return found

    def _encode_chunk(self, records: Sequence[Record]) -> list[Encoded]:
        asked = self._form.ask([record.inputs for record in records])
        prompts = self._form.chat.ids([prompt for prompt, _ in asked])
        return [
            self._encoded(record, ids, branches)
            for record, ids, (_, branches) in zip(records, prompts, asked, strict=True)
        ]

    def _encoded(self, record: Record, prompt_ids: list[int], branches: list[Branch]) -> Encoded:
        whole = size_of(prompt_ids, branches)
        if whole > self.max_length:
            cut = shortened(self._form, record, whole, self.max_length, self.shorten)
            prompt_ids, branches = cut.prompt_ids, cut.branches
        trained = [] if record.target is None else self._form.train(record.target, branches)
        return Encoded(record.id, prompt_ids, branches, trained, whole - size_of(prompt_ids, branches))

    def _check_answers(self) -> None:
        for name, ids in self.answers.items():
            if not ids:
                raise ClinfitError(f"label {name!r} has no tokens in this model's tokenizer", fix="rename the label")
        if len({tuple(ids) for ids in self.answers.values()}) < len(self.answers):
            raise ClinfitError(
                f"two of the labels {list(self.answers)} have the same tokens in this model's tokenizer",
                fix="rename one of them",
            )


def _beyond_room(form: Form, example: Record, branches: Sequence[Branch]) -> int:
    """Tokens by which an example's answer is longer than what its branches keep free: a reference may be longer than
    what a model may write, and an example shows it whole."""
    if not isinstance(form.task, Writing):
        return 0
    (part,) = form.train(str(example.target), branches)
    return max(0, len(part.context) + len(part.answer) - branches[0].longest)


def _chunks(records: Sequence[Record]) -> Iterable[Sequence[Record]]:
    """The tokenizer keeps offsets and texts of all that it reads at once; in pieces that stays small."""
    return (records[start : start + 256] for start in range(0, len(records), 256))
