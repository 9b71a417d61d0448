"""Reasoning that a model writes before its answer, by the marks that stand around it."""

import re

#: What begins and ends a model's reasoning.
MARKS = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<seed:think>": "</seed:think>",
    "[THINK]": "[/THINK]",
}
_BLOCK = re.compile("|".join(f"{re.escape(begin)}.*?{re.escape(end)}" for begin, end in MARKS.items()), re.I | re.S)
_END = re.compile("|".join(map(re.escape, MARKS.values())), re.I)
_BEGINNING = re.compile("|".join(map(re.escape, MARKS)), re.I)


def without_reasoning(text: str) -> str | None:
    """The text behind the last end of a reasoning, without those that are closed; None where one is left open."""
    text = _END.split(_BLOCK.sub(" ", text))[-1]  # a template may have begun the first one itself
    return None if _BEGINNING.search(text) else text


def answer_in(text: str) -> str:
    """What a model answers: its text as it is where it holds no reasoning, else what stands outside; nothing where the
    reasoning has no end."""
    if not reasons(text):
        return text
    return (without_reasoning(text) or "").strip()


def reasons(text: str) -> bool:
    """Whether a text holds a reasoning, or a part of one."""
    return bool(_BEGINNING.search(text) or _END.search(text))
