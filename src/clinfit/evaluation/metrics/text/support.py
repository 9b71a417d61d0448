"""How the output's wording stands to the source: sentences without support, copied stretches, new word pairs, length.

A sentence counts as supported where at least THRESHOLD of its content words (stop words left out, words cut to five
letters as a coarse stem) stand in one stretch of WINDOW sentences of the source. Only whether the words are there is
asked, so this is a proxy: a sentence that turns the meaning round with the same words is supported.

Coverage, density and compression are those of Grusky et al. (2018): fragments are the longest stretches of tokens
that the output shares with the source, found greedily from left to right.
"""

from collections import defaultdict
from functools import lru_cache
from itertools import pairwise

from clinfit.evaluation.metrics.text.normalise import sentences, tokens

#: Least share of content words for a supported sentence. Chosen on the training notes of MTS-Dialog: 17 % of their
#: sentences fall below it against their own dialogue, 93 % against another patient's (0.2: 14 and 91 %; 0.5: 41 and
#: 98 %).
THRESHOLD = 0.25
#: Sentences of the source that are looked at together, since one sentence of a summary draws on several.
WINDOW = 10

_STOP_WORDS = frozenset(
    """about above after again all also am and any are as at be because been before being below between both but by can
    could did do does doing down during each few for from further had has have having he her here hers him his how i if
    in into is it its just may me might more most my no nor not now of off on once only or other our out over own same
    she should so some such than that their them then there these they this those through to too under until up very
    was we were what when where which while who whom why will with would you your patient patients""".split()
)


def unsupported_sentences(output: str, source: str) -> float | None:
    """Share of the output's sentences without support in the source; None where no sentence has a content word."""
    support = [share for sentence in sentences(output) if (share := best_support(sentence, source)) is not None]
    return sum(share < THRESHOLD for share in support) / len(support) if support else None


def best_support(sentence: str, source: str) -> float | None:
    """Largest share of the sentence's content words in one stretch of the source; None where it has none."""
    words = content_words(sentence)
    if not words:
        return None
    return max((len(words & stretch) / len(words) for stretch in _stretches(source)), default=0.0)


def content_words(text: str) -> frozenset[str]:
    """The tokens of a text that say what it is about, cut to five letters; numbers stay whole."""
    return frozenset(
        word if word[:1].isdigit() else word[:5]
        for word in tokens(text)
        if word not in _STOP_WORDS and any(letter.isalnum() for letter in word)
    )


def coverage(output: str, source: str) -> float | None:
    """Share of the output's tokens that stand in fragments copied from the source; None for an empty output."""
    written = tokens(output)
    return sum(fragments(output, source)) / len(written) if written else None


def density(output: str, source: str) -> float | None:
    """Mean length of the fragment that a token of the output stands in, tokens; None for an empty output."""
    written = tokens(output)
    return sum(length**2 for length in fragments(output, source)) / len(written) if written else None


def compression(output: str, source: str) -> float | None:
    """Tokens of the source for one of the output; None where either is empty."""
    written, given = tokens(output), tokens(source)
    return len(given) / len(written) if written and given else None


def novel_bigrams(output: str, source: str) -> float | None:
    """Share of the output's distinct pairs of tokens that the source does not have; None for an output of one token."""
    pairs = _bigrams(output)
    return len(pairs - _bigrams(source)) / len(pairs) if pairs else None


@lru_cache(maxsize=256)
def fragments(output: str, source: str) -> tuple[int, ...]:
    """Lengths of the fragments, tokens: at each place of the output the longest stretch that the source has too."""
    written, given = tokens(output), tokens(source)
    places: defaultdict[str, list[int]] = defaultdict(list)
    for at, word in enumerate(given):
        places[word].append(at)
    lengths: list[int] = []
    at = 0
    while at < len(written):
        longest = 0
        for start in places.get(written[at], ()):
            length = 1
            while (
                at + length < len(written)
                and start + length < len(given)
                and written[at + length] == given[start + length]
            ):
                length += 1
            longest = max(longest, length)
        if longest:
            lengths.append(longest)
        at += max(longest, 1)
    return tuple(lengths)


@lru_cache(maxsize=64)
def _stretches(source: str) -> tuple[frozenset[str], ...]:
    words = [content_words(sentence) for sentence in sentences(source)]
    last = max(len(words) - WINDOW, 0)
    return tuple(frozenset().union(*words[begin : begin + WINDOW]) for begin in range(last + 1)) if words else ()


def _bigrams(text: str) -> set[tuple[str, str]]:
    words = tokens(text)
    return set(pairwise(words))
