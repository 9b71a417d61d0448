"""Whether an answer declines: by a declared list of phrases, strictly.

An answer declines when its first sentence holds one of the phrases, token by token as `normalise.py` makes them: case,
articles and punctuation do not matter, and `can't` is `can not`. An apology of a few words (`I'm sorry.`) is passed
over. Later sentences are not looked at, and nothing else counts: a model that declines in words that the list
lacks counts as answering, and so the list stands in the report.
A conclusion on the evidence (`there is insufficient evidence`) is an answer.
"""

from collections.abc import Sequence

from clinfit.evaluation.metrics.text.normalise import sentences, tokens

#: Words of which an apology holds one, and how many words it has at most.
_SORRY = frozenset(["sorry", "apologies", "apologise", "apologize"])
_APOLOGY = 5


def declines(output: str, phrases: Sequence[str]) -> bool:
    """Whether the first sentence of an output holds one of the phrases."""
    parts = map(tokens, sentences(output))
    first = next((words for words in parts if not _is_apology(words)), ())
    return any(_holds(first, tokens(phrase)) for phrase in phrases)


def _is_apology(words: Sequence[str]) -> bool:
    return len(words) <= _APOLOGY and not _SORRY.isdisjoint(words)


def _holds(words: Sequence[str], phrase: Sequence[str]) -> bool:
    """Whether the phrase stands among the words; one without a token (articles alone) stands nowhere."""
    return bool(phrase) and any(words[at : at + len(phrase)] == phrase for at in range(len(words) - len(phrase) + 1))
