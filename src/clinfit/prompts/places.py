"""Where the texts of a record stand among the tokens that a model reads."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clinfit.data.records import Value
from clinfit.prompts.shorten import CUT
from clinfit.prompts.template import value_text
from clinfit.study.tasks import Task

#: Stands for a text while its place is looked for.
_STAND_IN = "CLINFITSTANDIN"
Render = Callable[[Mapping[str, Value]], str]


@dataclass(frozen=True)
class Place:
    """A token of a text. at: its place among the tokens. input, start, end: the characters that it stands for, of the
    record's text as it was given, before it was shortened."""

    at: int
    input: str
    start: int
    end: int


def places_in(
    tokenizer: Any,
    task: Task,
    render: Render,
    texts: Mapping[str, str],
    shown: Mapping[str, Value],
) -> list[Place]:
    """The tokens of the texts in what `render` makes of a record.

    texts: by input, as they were given. shown: the record's inputs as they are rendered, texts shortened. A text that
    stands there twice or otherwise than as it is (a template may do anything) has no places.
    """
    rendered = render(shown)
    offsets = tokenizer(rendered, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    found: dict[int, Place] = {}
    for name, text in texts.items():
        short = value_text(shown[name], task.data.columns[name])
        before, *after = render({**shown, name: _STAND_IN}).split(_STAND_IN)
        if len(after) != 1 or not rendered.startswith(before + short):
            continue
        for part, whole, length in _kept(short, text):
            first = len(before) + part
            for at, (start, end) in enumerate(offsets):
                begin, behind = max(start, first), min(end, first + length)
                piece = rendered[begin:behind]
                if piece.strip():
                    begin += len(piece) - len(piece.lstrip())
                    found.setdefault(at, Place(at, name, begin - first + whole, behind - first + whole))
    return list(found.values())


def neutral_token(tokenizer: Any) -> int:
    """A token that says nothing: of what stands where text was left out."""
    return tokenizer(CUT, add_special_tokens=False)["input_ids"][0]


def _kept(short: str, text: str) -> list[tuple[int, int, int]]:
    """Parts of a text that were kept when it was shortened: where each begins in the short one and in the whole one,
    and its length."""
    trimmed = text.strip()
    lead = text.index(trimmed)
    if short == trimmed:
        return [(0, lead, len(short))]
    first = alike(short, trimmed)
    last = min(alike(short[::-1], trimmed[::-1]), len(short) - first)
    return [(0, lead, first), (len(short) - last, lead + len(trimmed) - last, last)]


def alike(one: Sequence[Any], other: Sequence[Any]) -> int:
    """How many characters, or ids, two texts begin with alike."""
    return next((k for k, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def common(texts: Sequence[Sequence[int]]) -> list[int]:
    """The ids that all of the texts begin with."""
    first, *others = texts
    return list(first[: min((alike(first, other) for other in others), default=len(first))])
