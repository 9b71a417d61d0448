"""Whether an answer declines: by a declared list of phrases, strictly.

An answer declines when its first sentence holds one of the phrases, token by token as `normalise.py` makes them: case,
articles and punctuation do not matter, and `can't` is `can not`. Later sentences are not looked at, and nothing else
counts: a model that declines in words that the list lacks counts as answering, and so the list stands in the report.
A conclusion on the evidence (`there is insufficient evidence`) is an answer.
"""

from collections.abc import Sequence

from clinfit.evaluation.metrics.text.normalise import sentences, tokens


def declines(output: str, phrases: Sequence[str]) -> bool:
    """Whether the first sentence of an output holds one of the phrases."""
    first = tokens(next(iter(sentences(output)), ""))
    return any(_holds(first, tokens(phrase)) for phrase in phrases)


def _holds(words: Sequence[str], phrase: Sequence[str]) -> bool:
    """Whether the phrase stands among the words; one without a token (articles alone) stands nowhere."""
    return bool(phrase) and any(words[at : at + len(phrase)] == phrase for at in range(len(words) - len(phrase) + 1))
