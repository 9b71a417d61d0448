"""The one renderer: a record becomes prompt ids and answer ids, the same in training, evaluation and serving.

Ids are built from parts: the chat template is rendered once per tokenizer around a stand-in message, its two halves are
kept, and the answer's ids are appended; no marker is ever searched in a rendered record. Before anything else the
renderer checks that the generation prompt is a prefix of the full rendering, and stops with both texts where it is not.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from jinja2 import TemplateError

from clinfit.data.records import Record, Value
from clinfit.errors import ClinfitError
from clinfit.prompts.template import DEFAULT_PROMPT, user_message
from clinfit.study import Task

#: Used for tokenizers without a chat template of their own (plain language models).
PLAIN_TEMPLATE = (
    "{{ bos_token if bos_token else '' }}{% for message in messages %}{% if message['role'] == 'assistant' %}"
    "Answer:\n{{ message['content'] }}{{ eos_token }}{% else %}{{ message['content'] }}\n\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}Answer:\n{% endif %}"
)
#: Some templates print today's date, which would make tomorrow's prompts differ from those trained on.
FIXED_DATE = "26 Jul 2024"
_STAND_IN = "CLINFITSTANDIN"
_GAP = " ... "


@dataclass(frozen=True, slots=True)
class Encoded:
    """One record as token ids.

    prompt_ids: everything up to and including the generation prompt. answer_ids: the gold answer and its end of turn;
    empty for a record without a target. dropped: tokens of document text that were left out to keep to max_length.
    """

    id: str
    prompt_ids: list[int]
    answer_ids: list[int]
    dropped: int

    @property
    def ids(self) -> list[int]:
        return self.prompt_ids + self.answer_ids

    @property
    def labels(self) -> list[int]:
        """Training targets: -100 (ignored) over the prompt, the ids themselves over the answer."""
        return [-100] * len(self.prompt_ids) + self.answer_ids


class Renderer:
    """Renders the records of one task for one tokenizer.

    tokenizer: a fast tokenizer of Transformers. max_length: tokens of prompt and longest answer together.
    label_ids: ids of each label of the task, in its order, as they follow the generation prompt; end_ids: end of turn.
    """

    def __init__(
        self, task: Task, tokenizer: Any, *, max_length: int = 1024, shorten: Literal["middle", "end"] = "middle"
    ) -> None:
        self.task, self.tokenizer, self.max_length = task, tokenizer, max_length
        self.shorten: Literal["middle", "end"] = shorten
        self._head, self._tail, answer_texts = _chat_parts(task, tokenizer)
        self._special = sorted(special_tokens(tokenizer).values(), key=len, reverse=True)
        probe = self._ids([self._head + "?" + self._tail])[0]
        answers = [self._continuation(probe, self._head + "?" + self._tail, text) for text in answer_texts]
        self.end_ids = _common_end(answers, tokenizer)
        self.label_ids = [ids[: len(ids) - len(self.end_ids)] for ids in answers]
        self._check_labels()
        self.prompt_limit = max_length - max(map(len, self.label_ids)) - len(self.end_ids)

    def encode(self, record: Record) -> Encoded:
        """One record; see `encode_all`."""
        return self.encode_all([record])[0]

    def encode_all(self, records: Sequence[Record]) -> list[Encoded]:
        """Records as ids, in order. Too-long documents are shortened, never the instruction and never the answer.

        Raises ClinfitError when the prompt does not fit even without any document text.
        """
        return [encoded for chunk in _chunks(records) for encoded in self._encode_chunk(chunk)]

    @property
    def markup(self) -> tuple[str, str]:
        """What stands before and after the user message in every prompt, system text included."""
        return self._head, self._tail

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all that prompts share: chat markup, system text, the task's template, inputs and labels."""
        task = self.task.model_dump(mode="json", include={"system", "labels"})
        inputs = {name: column.model_dump(mode="json") for name, column in self.task.data.columns.items()}
        fixed = [self._head, self.task.prompt or DEFAULT_PROMPT, self._tail, self.end_ids, task, list(inputs.items())]
        return hashlib.sha256(json.dumps(fixed).encode()).hexdigest()

    def prompt_text(self, inputs: dict[str, Value]) -> str:
        """The full prompt as text, chat markup included."""
        return self._head + self._neutral(user_message(self.task, inputs)) + self._tail

    def answer_ids(self, label: str) -> list[int]:
        """The ids of a label and the end of turn, as trained."""
        return self.label_ids[self.task.labels.index(label)] + self.end_ids

    # ------------------------------------------------------------ internals

    def _encode_chunk(self, records: Sequence[Record]) -> list[Encoded]:
        prompts = self._ids([self.prompt_text(record.inputs) for record in records])
        return [self._encoded(record, ids) for record, ids in zip(records, prompts, strict=True)]

    def _encoded(self, record: Record, prompt_ids: list[int]) -> Encoded:
        answer = [] if record.target is None else self.answer_ids(record.target)
        if len(prompt_ids) <= self.prompt_limit:
            return Encoded(record.id, prompt_ids, answer, 0)
        shortened = self._shortened(record, len(prompt_ids))
        return Encoded(record.id, shortened, answer, len(prompt_ids) - len(shortened))

    def _shortened(self, record: Record, length: int) -> list[int]:
        """Prompt ids with text taken out of the longest text input, then the next, until they fit."""
        inputs = dict(record.inputs)
        names = [name for name, column in self.task.data.columns.items() if column.type == "text"]
        for name in sorted(names, key=lambda name: -len(str(inputs.get(name) or ""))):
            text = inputs[name] = str(inputs.get(name) or "")
            dropped = 0
            while inputs[name]:
                dropped += length - self.prompt_limit  # from the whole text each time, so that every round takes more
                inputs[name] = self._without(text, dropped)
                ids = self._ids([self.prompt_text(inputs)])[0]
                if len(ids) <= self.prompt_limit:
                    return ids
                length = len(ids)
        raise ClinfitError(
            f"the prompt of record {record.id} has {length} tokens without its document text; "
            f"{self.prompt_limit} fit beside the answer",
            expected=f"an instruction shorter than max_length ({self.max_length})",
            fix="raise train.max_length, or shorten the prompt",
        )

    def _without(self, text: str, tokens: int) -> str:
        """`text` less at least `tokens` tokens, taken from the middle or the end."""
        spans = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        keep = len(spans) - tokens - (3 if self.shorten == "middle" else 1)
        if keep < 2:
            return ""
        if self.shorten == "end":
            return text[: spans[keep - 1][1]].rstrip()
        first = (keep + 1) // 2
        return text[: spans[first - 1][1]].rstrip() + _GAP + text[spans[len(spans) - keep // 2][0] :].lstrip()

    def _neutral(self, text: str) -> str:
        """`text` with chat markup taken apart, so that a document cannot end its own turn."""
        for token in self._special:
            if token in text:
                text = text.replace(token, token[0] + " " + token[1:])
        return text

    def _ids(self, texts: list[str]) -> list[list[int]]:
        return self.tokenizer(texts, add_special_tokens=False, return_attention_mask=False)["input_ids"]

    def _continuation(self, prompt_ids: list[int], prompt: str, answer: str) -> list[int]:
        """Ids of `answer` as they follow `prompt`; tokenized apart where the two would merge at the seam."""
        joint, alone = self._ids([prompt + answer, answer])
        return joint[len(prompt_ids) :] if joint[: len(prompt_ids)] == prompt_ids else alone

    def _check_labels(self) -> None:
        for label, ids in zip(self.task.labels, self.label_ids, strict=True):
            if not ids:
                raise ClinfitError(f"label {label!r} has no tokens in this model's tokenizer", fix="rename the label")
        if len({tuple(ids) for ids in self.label_ids}) < len(self.label_ids):
            raise ClinfitError(
                f"two of the labels {self.task.labels} have the same tokens in this model's tokenizer",
                fix="rename one of them",
            )


def special_tokens(tokenizer: Any) -> dict[int, str]:
    """Id and text of every special token: the named ones (beginning, end, padding) and all other chat markup."""
    named = dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))
    return named | {i: token.content for i, token in tokenizer.added_tokens_decoder.items() if token.special}


def _chunks(records: Sequence[Record]) -> Iterable[Sequence[Record]]:
    """The tokenizer keeps offsets and texts of all that it reads at once; in pieces that stays small."""
    return (records[start : start + 256] for start in range(0, len(records), 256))


def _chat_parts(task: Task, tokenizer: Any) -> tuple[str, str, list[str]]:
    """Chat markup before and after the user message, and for each label the answer with its end of turn."""
    system, user = task.system, _STAND_IN
    try:
        prompt = _chat(tokenizer, system, user, None)
        shows_system = not system or system.strip() in prompt
    except TemplateError:
        prompt, shows_system = "", False
    if not shows_system:  # a template without a system role: some refuse it, some drop it without a word
        system, user = None, f"{system}\n\n{_STAND_IN}"
        prompt = _chat(tokenizer, None, user, None)
    head, found, tail = prompt.partition(_STAND_IN)
    answers = []
    for label in task.labels:
        full = _chat(tokenizer, system, user, label)
        answer = full[len(prompt) :]  # some templates put a space before the answer; it is part of it
        if not found or not full.startswith(prompt) or not answer.lstrip().startswith(label.strip()):
            raise ClinfitError(
                "this tokenizer's chat template does not continue its own generation prompt with the answer, "
                f"so training and serving would differ\n  generation prompt: {prompt!r}\n  full rendering:    {full!r}",
                expected="a full rendering that starts with the generation prompt and the answer",
                fix="use a base whose chat template allows it, or give the tokenizer another chat_template",
            )
        answers.append(answer)
    return head, tail, answers


def _chat(tokenizer: Any, system: str | None, user: str, answer: str | None) -> str:
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": user})
    if answer is not None:
        messages.append({"role": "assistant", "content": answer})
    return tokenizer.apply_chat_template(
        messages,
        tokenize=False,
        add_generation_prompt=answer is None,
        chat_template=None if tokenizer.chat_template else PLAIN_TEMPLATE,
        enable_thinking=False,
        date_string=FIXED_DATE,
        strftime_now=lambda _: FIXED_DATE,
    )


def _common_end(answers: Iterable[list[int]], tokenizer: Any) -> list[int]:
    """The end of turn, which closes every answer: the special token after the label (white space behind it is not
    trained). Raises ClinfitError when the template never ends the turn, since such a model would never stop."""
    special = special_tokens(tokenizer)
    answers = list(answers)
    ends = []
    for ids in answers:
        position = next((i for i, token in enumerate(ids) if token in special), None)
        if position is None:
            raise ClinfitError(
                "this tokenizer's chat template puts no end-of-turn token after an answer",
                expected="a special token (such as the end-of-sequence token) after the assistant's text",
                fix="use a base with a complete chat template",
            )
        del ids[position + 1 :]
        ends.append(ids[position:])
    if any(end != ends[0] for end in ends):
        raise ClinfitError(f"the labels' end-of-turn tokens differ: {ends}")
    return ends[0]
