"""How much of the reference's wording the output shares: exact match, token F1, ROUGE, chrF.

All are proxies: other words for the same thing count as wrong, and one wrong number hardly shows (ROUGE-1 of "0.9"
against "9.0" is 1.0, since its tokens are "0" and "9" in any order). Over several references the best one counts.

ROUGE (Lin, 2004) is rouge-score's F-measure, with its own tokeniser (a-z and 0-9), with Porter's stemmer, and for Lsum
one sentence a line as `normalise.sentences` divides them. chrF (Popović, 2015) is sacrebleu's sentence score with its
defaults, as a share of 1. Both packages come with the extra `text`. ROUGE reads nothing but a-z and 0-9: a reference of
which most letters are others (Greek, Cyrillic, Chinese) has no ROUGE, for it would be that of a few numbers and Latin
names; chrF reads all scripts.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

from clinfit.evaluation.metrics.text.normalise import normalise, sentences, tokens

ROUGE_TYPES = ("rouge1", "rouge2", "rougeL", "rougeLsum")


def missing(package: str) -> str | None:
    """Why the metrics of a package cannot be computed here; None where they can."""
    if find_spec(package) is not None:
        return None
    return f"{package.replace('_', '-')} is not installed: pip install 'clinfit[text]'"


def version_of(package: str) -> str | None:
    """The installed version; None where there is none."""
    return version(package.replace("_", "-")) if find_spec(package) is not None else None


def exact_match_raw(output: str, reference: str) -> float:
    """1 for the same text, but for white space at its ends."""
    return float(output.strip() == reference.strip())


def exact_match(output: str, reference: str) -> float:
    """1 for the same tokens in the same order."""
    return float(normalise(output) == normalise(reference))


def token_f1(output: str, reference: str) -> float:
    """2PR / (P + R) over the bags of tokens (Rajpurkar et al., 2016); both empty 1, one empty 0."""
    written, wanted = tokens(output), tokens(reference)
    if not written or not wanted:
        return float(written == wanted)
    shared = (Counter(written) & Counter(wanted)).total()
    return 2 * shared / (len(written) + len(wanted))


def rouge(output: str, references: Sequence[str]) -> Mapping[str, float | None]:
    """F of ROUGE-1, -2, -L and -Lsum against the best reference for each.

    None where no reference has a word of a-z and 0-9, for ROUGE-2 two words, or where most letters of each are not a-z
    and would not be compared. An output without any is 0.
    """
    return _rouge(output, tuple(references))


@lru_cache(maxsize=4)
def _rouge(output: str, references: tuple[str, ...]) -> Mapping[str, float | None]:
    """One pass for the four metrics of an item, which ask one after the other."""
    scorer = _rouge_scorer()
    words = {reference: _words_read(reference) for reference in references}
    if scorer is None:
        return dict.fromkeys(ROUGE_TYPES)
    scores = {reference: scorer.score(_lines(reference), _lines(output)) for reference, n in words.items() if n}
    return {
        name: max(
            (
                float(score[name].fmeasure)
                for reference, score in scores.items()
                if words[reference] > (name == "rouge2")
            ),
            default=None,
        )
        for name in ROUGE_TYPES
    }


def chrf(output: str, references: Sequence[str]) -> float | None:
    """Character n-gram F, 0 to 1, against the best reference; None where every reference is empty."""
    scorer = _chrf_scorer()
    usable = [reference for reference in references if reference.strip()]
    if scorer is None or not usable:
        return None
    return min(float(scorer.sentence_score(output, usable).score) / 100, 1.0)


def signatures() -> dict[str, str]:
    """The settings and versions of ROUGE and chrF as they are run here, for those whose package is installed."""
    found: dict[str, str] = {}
    if missing("rouge_score") is None:
        found["rouge"] = f"rouge-score {version('rouge-score')}, stemmer, F; Lsum: a sentence a line"
    if (scorer := _chrf_scorer()) is not None:
        scorer.sentence_score("a", ["a"])
        found["chrf"] = f"sacrebleu {scorer.get_signature()}"
    return found


def _words_read(text: str) -> int:
    """Words of a-z and 0-9, which ROUGE compares; 0 where most letters are not a-z."""
    letters = [letter for letter in text.lower() if letter.isalpha()]
    if 2 * sum(letter.isascii() for letter in letters) < len(letters):
        return 0
    return len(re.findall("[a-z0-9]+", text.lower()))


def _lines(text: str) -> str:
    return "\n".join(sentences(text))


@lru_cache(maxsize=1)
def _rouge_scorer() -> Any:
    if missing("rouge_score"):
        return None
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(list(ROUGE_TYPES), use_stemmer=True)


@lru_cache(maxsize=1)
def _chrf_scorer() -> Any:
    if missing("sacrebleu"):
        return None
    from sacrebleu.metrics.chrf import CHRF

    return CHRF()
