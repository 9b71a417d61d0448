"""Reasoning that a model writes before its answer, by the marks that stand around it."""

import re
from collections.abc import Iterable

#: What begins and ends a model's reasoning.
MARKS = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<seed:think>": "</seed:think>",
    "[THINK]": "[/THINK]",
}


def _any_of(marks: Iterable[str]) -> str:
    """In capitals too; but `[think]` is what a person writes."""
    return "|".join(f"(?i:{re.escape(mark)})" if mark[0] == "<" else re.escape(mark) for mark in marks)


_MARK = re.compile(f"(?P<begins>{_any_of(MARKS)})|{_any_of(MARKS.values())}")


def without_reasoning(text: str) -> str | None:
    """The text behind the last end of a reasoning, without those that are closed; None where one is left open."""
    kept, start, is_open = list[str](), 0, False
    for mark in _MARK.finditer(text):
        if mark["begins"]:
            if not is_open:
                kept, is_open = [*kept, text[start : mark.start()]], True
            continue
        if not is_open:  # a template may have begun this one itself
            kept = []
        start, is_open = mark.end(), False
    return None if is_open else " ".join([*kept, text[start:]])


def answer_in(text: str) -> str:
    """What a model answers: its text as it is where it holds no reasoning, else what stands outside; nothing where the
    reasoning has no end."""
    if not reasons(text):
        return text
    return (without_reasoning(text) or "").strip()


def reasons(text: str) -> bool:
    """Whether a text holds a reasoning, or a part of one."""
    return _MARK.search(text) is not None
