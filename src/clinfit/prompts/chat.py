"""The chat markup of a tokenizer: what stands around a user message, and how an answer and its end follow it."""

from collections.abc import Sequence
from typing import Any, Literal

from jinja2 import TemplateError

from clinfit.errors import ClinfitError
from clinfit.prompts.reasoning import MARKS

#: Used for tokenizers without a chat template of their own (plain language models).
PLAIN_TEMPLATE = (
    "{{ bos_token if bos_token else '' }}{% for message in messages %}{% if message['role'] == 'assistant' %}"
    "Answer:\n{{ message['content'] }}{{ eos_token }}{% else %}{{ message['content'] }}\n\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}Answer:\n{% endif %}"
)
#: Some templates print today's date, which would make tomorrow's prompts differ from those trained on.
FIXED_DATE = "26 Jul 2024"
#: The same day as a format asks for it, in place of what Transformers gives templates to tell the date.
_DATE_PARTS = {
    "%d": "26", "%-d": "26", "%m": "07", "%-m": "7", "%Y": "2024", "%y": "24", "%b": "Jul", "%B": "July", "%a": "Fri",
    "%A": "Friday", "%H": "12", "%I": "12", "%M": "00", "%S": "00", "%p": "PM",
}  # fmt: skip
_FIXED_CLOCK = (
    "{% macro strftime_now(format) %}{{ format"
    + "".join(f" | replace('{part}', '{value}')" for part, value in _DATE_PARTS.items())
    + " }}{%+ endmacro +%}"
)
_STAND_IN = "CLINFITSTANDIN"


class Chat:
    """One tokenizer's chat template, rendered once around a stand-in message, and its halves as text and ids.

    system: the system text. answers: those known beforehand. turns: user messages with their answers that stand before
    every prompt, neutral texts.
    head, tail: what stands before and after the user message; the tail ends with the generation prompt.
    answers: ids of each answer as they follow the generation prompt, without the end. end_ids: the end of turn.
    thinking: what became of a reasoning before answers: `none` was begun, the template leaves it empty (`off`), or its
    beginning was taken away (`stripped`).
    Raises ClinfitError when the generation prompt is not a prefix of the full rendering or begins a reasoning that the
    answer would stand in, or when the turn never ends.
    """

    def __init__(
        self, tokenizer: Any, system: str | None, answers: Sequence[str], turns: Sequence[tuple[str, str]] = ()
    ) -> None:
        self.tokenizer = tokenizer
        self.head, self.tail, (*texts, self._frame), stripped = _chat_parts(
            tokenizer, system, [*answers, _STAND_IN], turns
        )
        texts = texts or [self._frame]
        self.thinking: Literal["none", "off", "stripped"] = (
            "stripped" if stripped else "off" if any(mark in self.tail for mark in MARKS) else "none"
        )
        self._special = special_tokens(tokenizer)
        self._markup = sorted(self._special.values(), key=len, reverse=True)
        followed = [self._cut(ids) for ids in self._after_prompt(texts)]
        self.end_ids = followed[0][1]
        if any(end != self.end_ids for _, end in followed):
            raise ClinfitError(f"the labels' end-of-turn tokens differ: {[end for _, end in followed]}")
        self.answers = [ids for ids, _ in followed[: len(answers)]]

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of texts, each by itself, without special tokens around them."""
        if not texts:
            return []
        return self.tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False)["input_ids"]

    def neutral(self, text: str) -> str:
        """`text` with chat markup taken apart, so that a document cannot end its own turn."""
        for token in self._markup:
            if token in text:
                text = text.replace(token, token[0] + " " + token[1:])
        return text

    def answer_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of neutral texts as answers, without the end; for answers that differ from record to record."""
        before, _, after = self._frame.partition(_STAND_IN)
        return [self._cut(ids)[0] for ids in self._after_prompt([before + text + after for text in texts])]

    def continuation_ids(self, before: str, texts: Sequence[str]) -> list[list[int]]:
        """Ids of texts as they follow `before`; tokenized apart where the two would merge at the seam."""
        first, *joint = self.ids([before, *(before + text for text in texts)])
        merged = [at for at, together in enumerate(joint) if together[: len(first)] != first]
        apart = dict(zip(merged, self.ids([texts[at] for at in merged]), strict=True))
        return [apart.get(at, together[len(first) :]) for at, together in enumerate(joint)]

    def _after_prompt(self, texts: Sequence[str]) -> list[list[int]]:
        return self.continuation_ids(self.head + "?" + self.tail, texts)

    def _cut(self, ids: list[int]) -> tuple[list[int], list[int]]:
        """An answer's ids and its end of turn: the special token after the text (white space behind it is not trained).

        Raises ClinfitError when the template never ends the turn, since such a model would never stop.
        """
        position = next((i for i, token in enumerate(ids) if token in self._special), None)
        if position is None:
            raise ClinfitError(
                "this tokenizer's chat template puts no end-of-turn token after an answer",
                expected="a special token (such as the end-of-sequence token) after the assistant's text",
                fix="use a base with a complete chat template",
            )
        return ids[:position], ids[position : position + 1]


def special_tokens(tokenizer: Any) -> dict[int, str]:
    """Id and text of every special token: the named ones (beginning, end, padding) and all other chat markup."""
    named = dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))
    return named | {i: token.content for i, token in tokenizer.added_tokens_decoder.items() if token.special}


def _chat_parts(
    tokenizer: Any, system: str | None, answers: Sequence[str], turns: Sequence[tuple[str, str]]
) -> tuple[str, str, list[str], bool]:
    """Chat markup before and after the user message, each answer with what the template puts around it, and whether a
    reasoning that the generation prompt begins was taken away.

    It is where the template's own rendering of an answer has none, so that training and serving stay one.
    """
    user = _STAND_IN
    try:
        prompt = _rendered(tokenizer, system, turns, user, None)
        shows_system = not system or system.strip() in prompt
    except TemplateError:
        prompt, shows_system = "", False
    if not shows_system:  # a template without a system role: some refuse it, some drop it without a word
        if turns:
            (first, answer), *others = turns
            turns = [(f"{system}\n\n{first}", answer), *others]
        else:
            user = f"{system}\n\n{_STAND_IN}"
        system = None
        prompt = _chat(tokenizer, None, turns, user, None)
    fulls = [_chat(tokenizer, system, turns, user, answer) for answer in answers]
    bare = _without_opened(prompt)
    stripped = bare != prompt and all(
        not full.startswith(prompt) and full[len(bare) :].startswith(answer) and full.startswith(bare)
        for full, answer in zip(fulls, answers, strict=True)
    )
    prompt = bare if stripped else prompt
    head, found, tail = prompt.partition(_STAND_IN)
    texts = []
    for answer, full in zip(answers, fulls, strict=True):
        text = full[len(prompt) :]  # some templates put a space before the answer; it is part of it
        if not found or not full.startswith(prompt) or not text.lstrip().startswith(answer.strip()):
            # Examples are records: with them in the prompt, nothing of it is quoted.
            shown = "" if turns else f"\n  generation prompt: {prompt!r}\n  full rendering:    {full!r}"
            raise ClinfitError(
                "this tokenizer's chat template does not continue its own generation prompt with the answer, "
                f"so training and serving would differ{' (with examples in the prompt)' if turns else shown}",
                expected="a full rendering that starts with the generation prompt and the answer",
                fix="use a base whose chat template allows it, or give the tokenizer another chat_template",
            )
        texts.append(text)
    opened = next((mark for mark, end in MARKS.items() if tail.rfind(mark) > tail.rfind(end)), None)
    if opened:
        raise ClinfitError(
            f"this tokenizer's chat template begins a reasoning ({opened}) before every answer, so labels would be "
            "learnt and scored as parts of it",
            expected="a template that leaves reasoning out where `enable_thinking` is false",
            fix="use a base that answers without reasoning, or give the tokenizer another chat_template",
        )
    return head, tail, texts, stripped


def _without_opened(prompt: str) -> str:
    """A generation prompt without the mark of a reasoning that it ends with."""
    mark = next((mark for mark in MARKS if prompt.rstrip().endswith(mark)), None)
    return prompt if mark is None else prompt[: prompt.rindex(mark)]


def _chat(tokenizer: Any, system: str | None, turns: Sequence[tuple[str, str]], user: str, answer: str | None) -> str:
    """A rendering that must succeed; raises ClinfitError where it does not."""
    try:
        return _rendered(tokenizer, system, turns, user, answer)
    except TemplateError as error:
        why = "with examples in the prompt" if turns else error
        raise ClinfitError(
            f"this tokenizer's chat template cannot render a message of text ({why})",
            fix="use a base whose chat template allows it, or give the tokenizer another chat_template",
        ) from error


def _rendered(
    tokenizer: Any, system: str | None, turns: Sequence[tuple[str, str]], user: str, answer: str | None
) -> str:
    messages = [{"role": "system", "content": system}] if system else []
    for asked, answered in turns:
        messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
    messages.append({"role": "user", "content": user})
    if answer is not None:
        messages.append({"role": "assistant", "content": answer})
    template = tokenizer.get_chat_template() if tokenizer.chat_template else PLAIN_TEMPLATE
    if "strftime_now" in template:
        template = _FIXED_CLOCK + template
    return tokenizer.apply_chat_template(
        messages,
        tokenize=False,
        add_generation_prompt=answer is None,
        chat_template=template,
        enable_thinking=False,
        date_string=FIXED_DATE,
    )
