"""Where a text names the types of a lexicon, by rules.

A name is found at word boundaries, whatever its case, with spaces, hyphens or slashes between its words and with a
plural s; one of capitals only (CRC) as it stands in the lexicon. A place is a name with a head behind it (lung cancer,
non-small cell lung cancer), or before it and `of` (cancer of the lung); words of `between`, other places and commas may
stand amid them (lung, colon and breast cancer). Offsets count characters of the text as it was given.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from clinfit.data.values import as_paragraphs
from clinfit.study.lexicon import Lexicon

#: Stands for every name in a masked text.
MASK = "[TYPE]"
#: Where a name may begin and end.
START, END = r"(?<!\w)", r"(?!\w)"
#: What may stand between the words of a name, and between a place and its head.
GAP, LOOSE_GAP = r"[\s/\-‐‑–]+", r"[\s,/&\-‐‑–]+"
#: Words of `between` and places amid a place and its head, and words between a negation and what it denies, at most.
AMID, DENIED_WITHIN = 6, 4


@dataclass(frozen=True)
class Mention:
    """A name of a type. input: where it stands. start, end: characters of that text. negated: words before deny it."""

    type: str
    input: str
    text: str
    start: int
    end: int
    negated: bool


class Patterns:
    """A lexicon, compiled."""

    def __init__(self, lexicon: Lexicon) -> None:
        head = rf"(?:{_any(lexicon.heads)})" if lexicon.heads else None
        places = [place for known in lexicon.types.values() for place in known.places]
        filler = _any({*lexicon.between, *places} - {*lexicon.heads}) if places else ""
        self._names = {
            label: re.compile("|".join(_parts(known.names, known.places, head, filler)))
            for label, known in lexicon.types.items()
        }
        self._word = re.compile(
            "|".join(rf"{START}(?:{_any(words)}){END}" for words in (places, _all_names(lexicon)) if words)
        )
        self._denial = (
            re.compile(rf"{START}(?:{_any(lexicon.negations)})(?:\s+[\w'’-]+){{0,{DENIED_WITHIN}}}\s*$")
            if lexicon.negations
            else None
        )

    def find(self, text: str, input: str = "") -> list[Mention]:
        """Every mention in a text, from left to right; those of two types may overlap."""
        found = [
            Mention(label, input, match[0], match.start(), match.end(), self._denied(text, match.start()))
            for label, pattern in self._names.items()
            for match in pattern.finditer(text)
        ]
        return sorted(found, key=lambda mention: (mention.start, -mention.end))

    def types(self, text: str) -> list[str]:
        """The types that a text names and does not deny, in the order of the lexicon."""
        named = named_in(self.find(text))
        return [label for label in self._names if label in named]

    def masked(self, text: str) -> str:
        """The text with MASK for every name, and for every place that stands alone."""
        spans = [(mention.start, mention.end) for mention in self.find(text)]
        spans += [match.span() for match in self._word.finditer(text)]
        parts, at = [], 0
        for start, end in _joined(spans):
            parts += [text[at:start], MASK]
            at = end
        return "".join([*parts, text[at:]])

    def _denied(self, text: str, start: int) -> bool:
        return self._denial is not None and self._denial.search(text, max(0, start - 80), start) is not None


def mentions_in(lexicon: Lexicon, texts: Mapping[str, object]) -> tuple[Mention, ...]:
    """Every mention in the text inputs of a record, by input; of a list of paragraphs in the text that they make."""
    patterns = patterns_of(lexicon)
    read = {name: value if isinstance(value, str) else as_paragraphs(value) for name, value in texts.items()}
    return tuple(mention for name, text in read.items() if text is not None for mention in patterns.find(text, name))


def named_in(mentions: Iterable[Mention]) -> frozenset[str]:
    """The types that are named and not denied."""
    return frozenset(mention.type for mention in mentions if not mention.negated)


def patterns_of(lexicon: Lexicon) -> Patterns:
    """The compiled lexicon, compiled once a process."""
    return _compiled(lexicon.model_dump_json())


@lru_cache(maxsize=16)
def _compiled(content: str) -> Patterns:
    return Patterns(Lexicon.model_validate_json(content))


# ---------------------------------------------------------------- patterns


def _all_names(lexicon: Lexicon) -> list[str]:
    return [name for known in lexicon.types.values() for name in known.names]


def _parts(names: Sequence[str], places: Sequence[str], head: str | None, filler: str) -> Iterable[str]:
    """The patterns of one type; longer names first, so that they are found whole."""
    if places:
        place, amid = f"(?:{_any(places)})", rf"(?:(?:{filler}){LOOSE_GAP}){{0,{AMID}}}"
        yield rf"{START}{place}{LOOSE_GAP}{amid}+{head}{END}"  # nothing amid them is a head: no need to go back
        yield rf"{START}{head}\s+of\s+{amid}{place}{END}"
    if names:
        yield rf"{START}(?:{_any(names)}){END}"


def _any(words: Iterable[str]) -> str:
    """Any of the words, the longest first. A plural that its singular finds is left out: text that can be read in two
    ways is read in all of them, which takes exponentially long."""
    known = {*words}
    plurals = {word + end for word in known for end in ("s", "es")}
    kept = [word for word in known if word.isupper() or word not in plurals]
    return "|".join(_word(word) for word in sorted(kept, key=lambda word: (-len(word), word)))


def _word(word: str) -> str:
    """A name as a pattern."""
    gaps = GAP.join(re.escape(part).replace("'", "['’]") for part in re.split(r"[\s/-]+", word.strip()))
    return f"{gaps}s?" if word.isupper() else f"(?i:{gaps}(?:s|es)?)"


def _joined(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The spans in order, those that overlap as one."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if joined and start < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined
