"""The form of the output, whatever it says: length, nothing written, cut off, preambles, repetition."""

import re
from collections.abc import Sequence

from clinfit.evaluation.metrics.text.normalise import tokens

#: What a chat model says before it answers.
PREAMBLE = re.compile(
    r"""[\s*_#>"'“]*(?:
        (?:sure(?:\ thing)?|certainly|absolutely|gladly|great\ question|of\ course)\b
            (?:[*_]*\s*[,.!:;\u2013\u2014-]|[*_]*\s+(?:here|i|let|happy\ to)\b|[*_]*[ ]*\n)
        |(?:ok|okay|alright)\b\W+(?:here|so|let|i)\b
        |here(?:['’]s|\ is|\ are)\ (?:a|an|the|your|my|some)\b(?:\W+\w+){0,12}?\W*(?::|\n)
        |here(?:['’]s|\ is)\ (?:a|an|the|your|my)\ (?:\w+\ ){0,2}(?:summary|answer|response|note|version|list)\b
        |(?:the\ following|below)\ (?:is|are)\ (?:a|an|the|your|my)\b
        |i(?:['’]d|\ would|['’]ll|\ will|['’]m|\ am)\ (?:be\ )?(?:happy|glad|pleased)\b
        |i['’]ll\ (?:now\ )?(?:summari[sz]e|answer|help)\b
        |as\ an?\ (?:ai|language|artificial)\b
        |based\ on\ the\ (?:\w+\ ){0,2}(?:provided|given|above)\b
        |(?:thank\ you|thanks)\ for\ (?:your|the|asking)\b
    )""",
    re.IGNORECASE | re.VERBOSE,
)
NGRAM = 4


def length_ratio(output: str, references: Sequence[str]) -> float | None:
    """Tokens of the output for one of the reference nearest in length; None where every reference is empty."""
    written = len(tokens(output))
    lengths = [length for reference in references if (length := len(tokens(reference)))]
    return written / min(lengths, key=lambda length: abs(length - written)) if lengths else None


def empty(output: str) -> float:
    """1 for an output without a letter or digit."""
    return float(not any(letter.isalnum() for letter in output))


def cut_off(finish_reason: str) -> float:
    """1 for an output that ended at the limit of new tokens."""
    return float(finish_reason == "length")


def preamble(output: str) -> float:
    """1 for an output that begins with talk about the answer (`Sure, here is`), by a list of phrases."""
    return float(PREAMBLE.match(output) is not None)


def repeated_ngrams(output: str) -> float | None:
    """Share of the output's runs of four tokens that have occurred in it before; None for fewer than four tokens."""
    words = tokens(output)
    runs = [words[at : at + NGRAM] for at in range(len(words) - NGRAM + 1)]
    return 1 - len(set(runs)) / len(runs) if runs else None
