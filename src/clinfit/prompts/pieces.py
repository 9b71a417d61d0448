"""A text in pieces that fit: cut at sentence ends, and at a space where a sentence is longer than a piece may be."""

import re
from bisect import bisect_left
from collections.abc import Sequence
from math import ceil
from typing import Any

#: A sentence ends at `.`, `!` or `?` before a space, and at a line break.
SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\s*\n\s*")


def pieces(tokenizer: Any, text: str, room: int) -> list[str]:
    """The text in pieces of at most `room` tokens each, as even as sentences allow; between them only white space is
    left out."""
    offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    starts, total = [start for start, _ in offsets], len(offsets)
    if not total:
        return []
    # The first token that begins behind the sentence, in the space or behind it: a token may hold the space before it.
    ends = sorted({bisect_left(starts, match.start()) for match in SENTENCE_END.finditer(text)} | {total})
    even = ceil(total / ceil(total / room))
    found, begin = list[str](), 0
    while begin < total:
        end = _end(ends, begin, room, even) or _between_words(text, starts, begin, min(begin + room, total))
        found.append(text[starts[begin] : starts[end] if end < total else len(text)].strip())
        begin = end
    return [piece for piece in found if piece]


def _end(ends: Sequence[int], begin: int, room: int, even: int) -> int | None:
    """The sentence end with which a piece gets its even share, or else the last that fits; None where none does."""
    fitting = [end for end in ends if begin < end <= begin + room]
    return next((end for end in fitting if end - begin >= even), fitting[-1] if fitting else None)


def _between_words(text: str, starts: Sequence[int], begin: int, end: int) -> int:
    """The last place up to `end` where a word begins; `end` itself where there is none."""
    if end == len(starts):
        return end
    for place in range(end, begin, -1):
        at = starts[place]
        if text[at].isspace() or text[at - 1].isspace():
            return place
    return end
