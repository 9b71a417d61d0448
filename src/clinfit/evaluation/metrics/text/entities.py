"""Problems and drugs of the output, by a lexicon: those that the source names, those of the reference that it names.

The longest name counts (`type 2 diabetes`, not `diabetes` in it), and all names of an entity are one (`heart attack`,
`myocardial infarction`). A name of the output is found where the source has the entity or the name itself, so that
`diabetes` is found in `type 2 diabetes`. These are proxies: only whether it is named is asked, not what is said of it,
and a name that the lexicon lacks counts neither way (see LEXICON.md beside this file).
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Literal, cast

from clinfit.evaluation.metrics.text.normalise import tokens

Kind = Literal["problem", "drug"]
Name = tuple[str, ...]


@dataclass(frozen=True)
class Mention:
    """entity: its number in the lexicon. start, end: of the name among the tokens of the text."""

    entity: int
    kind: Kind
    start: int
    end: int


@lru_cache(maxsize=1)
def lexicon() -> dict[Name, tuple[int, Kind]]:
    """Name as tokens without plural marks -> number and kind of its entity."""
    text = (files("clinfit.evaluation.metrics.text") / "lexicon.txt").read_text(encoding="utf-8")
    names: dict[Name, tuple[int, Kind]] = {}
    for number, line in enumerate(text.splitlines()):
        kind, _, spellings = line.partition("\t")
        for spelling in spellings.split("|"):
            names.setdefault(_singular(tokens(spelling)), (number, cast(Kind, kind)))
    return names


@lru_cache(maxsize=256)
def mentions(text: str) -> tuple[Mention, ...]:
    """The longest names in a text, from left to right, none inside another."""
    found: list[Mention] = []
    end = 0
    for mention in _all_mentions(text):
        if mention.start >= end:
            found.append(mention)
            end = mention.end
    return tuple(found)


def entities(text: str) -> frozenset[int]:
    """The entities that a text names."""
    return frozenset(mention.entity for mention in mentions(text))


def unsupported(output: str, source: str) -> frozenset[int]:
    """The entities of the output that the source does not name."""
    return entities(output) - frozenset(mention.entity for mention in _all_mentions(source))


def entity_precision(output: str, source: str) -> float | None:
    """Share of the output's entities that the source names; None where the output names none."""
    written = entities(output)
    return 1 - len(unsupported(output, source)) / len(written) if written else None


def entity_recall(output: str, references: Sequence[str]) -> float | None:
    """Share of the reference's entities that the output names, the best reference; None where none names any."""
    return max(
        (
            1 - len(unsupported(reference, output)) / len(wanted)
            for reference in references
            if (wanted := entities(reference))
        ),
        default=None,
    )


@lru_cache(maxsize=1)
def _by_first_token() -> dict[str, list[Name]]:
    """First token -> the names that begin with it, the longest first."""
    names: defaultdict[str, list[Name]] = defaultdict(list)
    for name in lexicon():
        names[name[0]].append(name)
    return {first: sorted(group, key=len, reverse=True) for first, group in names.items()}


@lru_cache(maxsize=256)
def _all_mentions(text: str) -> tuple[Mention, ...]:
    """Every name in a text, those inside others too; at one place the longest first."""
    return tuple(_find(_singular(tokens(text))))


def _find(words: Name) -> Iterator[Mention]:
    known, beginnings = lexicon(), _by_first_token()
    for start, word in enumerate(words):
        for name in beginnings.get(word, ()):
            if words[start : start + len(name)] == name:
                entity, kind = known[name]
                yield Mention(entity, kind, start, start + len(name))


def _singular(words: Sequence[str]) -> Name:
    """The words without a plural `s`: headaches, headache. Not after s, i or u: illness, arthritis, fibrosis, virus."""
    return tuple(word[:-1] if len(word) > 4 and word[-1] == "s" and word[-2] not in "siu" else word for word in words)
