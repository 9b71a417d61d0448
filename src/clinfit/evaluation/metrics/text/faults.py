"""A good text with exactly one fault in it: a number, a negation, a drug or a problem.

Each maker gives the text with the fault, None for a text that it does not fit. What is drawn comes from the generator
that is given, so that one seed makes one fault. A number gets another digit in one place, whatever source and text
hold, so that no metric has a say in it. A drug, a problem and a denial are found by the lexicon that the metrics of
entities and flips use, and names that are put in are of the lexicon, such as neither text nor source has: what the
lexicon does not know gets no fault.
"""

import random
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import cast

from clinfit.evaluation.metrics.text.entities import Kind, mentions
from clinfit.evaluation.metrics.text.normalise import sentences, tokens

#: Kind -> (entity, a name of it as it was written), sorted: what one name may be swapped for.
Names = Mapping[Kind, Sequence[tuple[int, str]]]

_NUMBER = re.compile(r"(?<![\w.,/-])\d+(?:\.\d+)?(?![\w/]|[.,]\d)")
_NEGATION = re.compile(r"\b(?:no|not|denie[sd]|without|negative for)\b", re.IGNORECASE)
_DENIED = re.compile(rf"{_NEGATION.pattern}|\b(?:nor|never|neither|none|nobody|cannot)\b|n['’]t\b", re.IGNORECASE)
_VERB = re.compile(r"(?<=\w )(?:is|are|was|were|has|have|had|may|can|could|should|will|did|does|do)\b")
_AFFIRMED = (
    (r"\b(?:denies|denied)\b", "reports"), (r"\bnegative for\b", "positive for"), (r"\bwithout\b", "with"),
    (r"\b(?:does|do|did|has|have|had|is|are|was|were|could|can) not\b", lambda words: words[0].split()[0]),
    (r"\bno (?:history|evidence|signs?) of\b", "history of"), (r"\b(?:no|nor|not)\b ?", ""),
)  # fmt: skip


def number_changed(text: str, rng: random.Random) -> str | None:
    """Another digit in one place of one number."""
    numbers = list(_NUMBER.finditer(text))
    if not numbers:
        return None
    number = rng.choice(numbers)
    at = rng.choice([place for place in range(number.start(), number.end()) if text[place].isdigit()])
    # A zero that no author writes, in front of a number or last behind its point, would give the fault away.
    odd = at == number.start() or (at == number.end() - 1 and "." in number[0])
    digit = rng.choice([other for other in ("123456789" if odd else "0123456789") if other != text[at]])
    return text[:at] + digit + text[at + 1 :]


def negation_dropped(text: str, rng: random.Random) -> str | None:
    """One sentence on a problem or drug without its negations."""
    denying = [sentence for sentence in sentences(text) if mentions(sentence) and _NEGATION.search(sentence)]
    if not denying:
        return None
    sentence = changed = rng.choice(denying)
    for pattern, words in _AFFIRMED:
        changed = re.sub(pattern, words, changed, flags=re.IGNORECASE)
    return _changed(text.replace(sentence, changed), text)


def negation_added(text: str, rng: random.Random) -> str | None:
    """A `not` behind the first verb of one sentence that denies nothing: is, was, has, may, ..."""
    affirming = [each for each in sentences(text) if _VERB.search(each) and not _DENIED.search(each)]
    if not affirming:
        return None
    sentence = rng.choice(affirming)
    return text.replace(sentence, _VERB.sub(lambda verb: f"{verb[0]} not", sentence, count=1), 1)


def entity_swapped(text: str, source: str, names: Names, rng: random.Random, kind: Kind) -> str | None:
    """One name in all its places, for another of its kind."""
    here = [mention for mention in mentions(text) if mention.kind == kind]
    if not here:
        return None
    known = {mention.entity for mention in (*mentions(source), *mentions(text))}
    elsewhere = [name for entity, name in names.get(kind, ()) if entity not in known]
    mention = rng.choice(here)
    if not elsewhere:
        return None
    other = rng.choice(elsewhere)
    return _changed(re.sub(_as_written(text, mention.start, mention.end), _like(other), text, flags=re.I), text)


def names_in(texts: Collection[str]) -> Names:
    """The problems and drugs that texts name, as they write them first."""
    found: dict[Kind, dict[tuple[int, str], str]] = {}
    for text in texts:
        words = tokens(text)
        for mention in mentions(text):
            name = " ".join(words[mention.start : mention.end])
            written = re.search(_as_written(text, mention.start, mention.end), text, re.IGNORECASE)
            known = found.setdefault(mention.kind, {})
            known.setdefault((mention.entity, name), written[0] if written else name)
    return {
        kind: [(entity, known[entity, name]) for entity, name in sorted(known, key=lambda key: key[1])]
        for kind, known in found.items()
    }


def _as_written(text: str, start: int, end: int) -> str:
    """A pattern for the name of these tokens."""
    return r"\b" + r"\W+".join(map(re.escape, tokens(text)[start:end])) + r"\b"


def _like(name: str) -> Callable[[re.Match[str]], str]:
    """The name with a capital where what it replaces has one: the case must not give the fault away."""
    plain = name if name[1:] != name[1:].casefold() else name.casefold()
    return lambda replaced: plain[0].upper() + plain[1:] if replaced[0][:1].isupper() else plain


def _changed(changed: str, text: str) -> str | None:
    return changed if changed != text else None


Fault = Callable[[str, str, Names, random.Random], str | None]

#: Fault -> its maker, of (text, source, names that may be put in, generator).
FAULTS: Mapping[str, Fault] = {
    "number": lambda text, source, names, rng: number_changed(text, rng),
    "negation dropped": lambda text, source, names, rng: negation_dropped(text, rng),
    "negation added": lambda text, source, names, rng: negation_added(text, rng),
    "drug": lambda text, source, names, rng: entity_swapped(text, source, names, rng, cast(Kind, "drug")),
    "problem": lambda text, source, names, rng: entity_swapped(text, source, names, rng, cast(Kind, "problem")),
}
