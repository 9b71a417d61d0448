"""Every metric of generated text by name, and the scores of one item.

METRICS look at strings only: no model, no network. JUDGED are computed with weights of their own, where a study names
them (models/texts/judges.py). A proxy stands for something else that it cannot see (whether a text is
true, whether it is good); what is no proxy is what it says.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from clinfit.evaluation.metrics.text import entities, flips, form, numbers, overlap, support

Need = Literal["reference", "source", "finish reason"]


@dataclass(frozen=True)
class Item:
    """What one output is scored against. source, finish_reason: None where they are not known."""

    output: str
    references: Sequence[str]
    source: str | None
    finish_reason: str | None


@dataclass(frozen=True)
class Described:
    """better: None when neither way is better. needs: what an item must have beside the output. percent: a share, shown
    in per cent."""

    title: str
    better: Literal["higher", "lower"] | None
    needs: Need | None
    proxy: bool
    percent: bool
    formula: str


@dataclass(frozen=True)
class TextMetric(Described):
    """of: the score of an item that has what is needed. package: what must be installed."""

    of: Callable[[Item], float | None]
    package: str | None = None


def _best(score: Callable[[str, str], float]) -> Callable[[Item], float | None]:
    """The score against the reference that suits best."""
    return lambda item: max(score(item.output, reference) for reference in item.references)


def _against_references(score: Callable[[str, Sequence[str]], float | None]) -> Callable[[Item], float | None]:
    return lambda item: score(item.output, item.references)


def _against_source(score: Callable[[str, str], float | None]) -> Callable[[Item], float | None]:
    return lambda item: score(item.output, item.source or "")


def _flips_to_source(score: Callable[[str, Sequence[str]], float | None]) -> Callable[[Item], float | None]:
    return lambda item: score(item.output, [item.source or ""])


def _rouge(name: str) -> Callable[[Item], float | None]:
    return lambda item: overlap.rouge(item.output, item.references)[name]


def _flip(title: str, against: Need, rule: Callable[[str, Sequence[str]], float | None]) -> TextMetric:
    """A number of flips an item, against the source or the references."""
    of = _flips_to_source(rule) if against == "source" else _against_references(rule)
    formula = f"shared entities whose {title} is one in the output and only the other in the {against}"
    return TextMetric(f"{title.capitalize()} flips, against the {against}", "lower", against, True, False, formula, of)


METRICS: dict[str, TextMetric] = {
    "exact_match_raw": TextMetric(
        "Exact match, as written", "higher", "reference", True, True,
        "the output is a reference, white space at the ends apart", _best(overlap.exact_match_raw),
    ),
    "exact_match": TextMetric(
        "Exact match", "higher", "reference", True, True,
        "the output's tokens are a reference's: case, punctuation and articles apart; numbers and signs kept",
        _best(overlap.exact_match),
    ),
    "token_f1": TextMetric(
        "Token F1", "higher", "reference", True, True,
        "2 x shared tokens / (tokens of output + of reference), best reference; both empty 1, one empty 0",
        _best(overlap.token_f1),
    ),
    "rouge1": TextMetric(
        "ROUGE-1", "higher", "reference", True, True,
        "F of shared words, rouge-score's tokens (a-z, 0-9), stemmed, best reference; none where most of its letters "
        "are not a-z",
        _rouge("rouge1"), "rouge_score",
    ),
    "rouge2": TextMetric(
        "ROUGE-2", "higher", "reference", True, True, "F of shared pairs of words, as ROUGE-1", _rouge("rouge2"),
        "rouge_score",
    ),
    "rougeL": TextMetric(
        "ROUGE-L", "higher", "reference", True, True, "F of the longest common subsequence of words, as ROUGE-1",
        _rouge("rougeL"), "rouge_score",
    ),
    "rougeLsum": TextMetric(
        "ROUGE-Lsum", "higher", "reference", True, True,
        "F of the longest common subsequences of each reference sentence with all of the output, as ROUGE-1",
        _rouge("rougeLsum"), "rouge_score",
    ),
    "chrf": TextMetric(
        "chrF", "higher", "reference", True, True,
        "F (beta 2) of shared runs of 1 to 6 characters, best reference, sacrebleu",
        _against_references(overlap.chrf), "sacrebleu",
    ),
    "number_precision": TextMetric(
        "Numbers found in the source", "higher", "source", True, True,
        "quantities of the output that the source holds / quantities of the output",
        _against_source(numbers.number_precision),
    ),
    "unsupported_numbers": TextMetric(
        "Numbers not in the source", "lower", "source", True, False,
        "quantities of the output that the source does not hold; none where it has digits of which none is read",
        _against_source(numbers.unsupported_numbers),
    ),
    "number_recall": TextMetric(
        "Numbers of the reference kept", "higher", "reference", True, True,
        "quantities of the reference that the output holds / quantities of the reference, best reference",
        _against_references(numbers.number_recall),
    ),
    "entity_precision": TextMetric(
        "Entities found in the source", "higher", "source", True, True,
        "problems and drugs of the output that the source names / those of the output, by the lexicon",
        _against_source(entities.entity_precision),
    ),
    "entity_recall": TextMetric(
        "Entities of the reference kept", "higher", "reference", True, True,
        "problems and drugs of the reference that the output names / those of the reference, best reference",
        _against_references(entities.entity_recall),
    ),
    "negation_flips": _flip("negation", "source", flips.negation_flips),
    "laterality_flips": _flip("laterality", "source", flips.laterality_flips),
    "subject_flips": _flip("subject", "source", flips.subject_flips),
    "negation_flips_reference": _flip("negation", "reference", flips.negation_flips),
    "laterality_flips_reference": _flip("laterality", "reference", flips.laterality_flips),
    "subject_flips_reference": _flip("subject", "reference", flips.subject_flips),
    "unsupported_sentences": TextMetric(
        "Sentences without support", "lower", "source", True, True,
        f"sentences with less than {support.THRESHOLD:.0%} of their content words in any {support.WINDOW} sentences of "
        "the source / sentences",
        _against_source(support.unsupported_sentences),
    ),
    "coverage": TextMetric(
        "Copied from the source", None, "source", False, True,
        "tokens of the output in fragments shared with the source / its tokens", _against_source(support.coverage),
    ),
    "density": TextMetric(
        "Length of copied stretches", None, "source", False, False,
        "sum of squared lengths of shared fragments / tokens of the output", _against_source(support.density),
    ),
    "compression": TextMetric(
        "Compression", None, "source", False, False, "tokens of the source / tokens of the output",
        _against_source(support.compression),
    ),
    "novel_bigrams": TextMetric(
        "Word pairs not in the source", None, "source", False, True,
        "distinct pairs of neighbouring tokens that the source does not have / those of the output",
        _against_source(support.novel_bigrams),
    ),
    "length_ratio": TextMetric(
        "Length against the reference", None, "reference", False, False,
        "tokens of the output / tokens of the reference nearest in length; ideal 1",
        _against_references(form.length_ratio),
    ),
    "empty": TextMetric(
        "Empty", "lower", None, False, True, "1 for an output without a letter or digit",
        lambda item: form.empty(item.output),
    ),
    "cut_off": TextMetric(
        "Cut off", "lower", "finish reason", False, True, "1 for an output that ended at the limit of new tokens",
        lambda item: form.cut_off(item.finish_reason or ""),
    ),
    "preamble": TextMetric(
        "Preamble", "lower", None, False, True,
        "1 for an output that begins with talk about the answer, by a list of phrases (`Sure, here is`)",
        lambda item: form.preamble(item.output),
    ),
    "repeated_ngrams": TextMetric(
        "Repetition", "lower", None, False, True,
        "runs of four tokens that occurred before in the output / runs of four tokens",
        lambda item: form.repeated_ngrams(item.output),
    ),
}  # fmt: skip

JUDGED: dict[str, Described] = {
    "bertscore": Described(
        "BERTScore", "higher", "reference", True, True,
        "F1 of greedy matching: each token of one text with the most similar of the other, by the cosine of the "
        "encoder's vectors; not rescaled (Zhang et al., 2020)",
    ),
    "nli": Described(
        "Entailed by the source", "higher", "source", True, False,
        "mean over the text's sentences of the largest P(entailment) by any sentence of the source less the largest "
        "P(contradiction) by any "
        "(SummaC-ZS; Laban et al., 2022)",
    ),
    "alignscore": Described(
        "Supported by the source", "higher", "source", True, False,
        "mean over the text's sentences of the largest P(aligned) by any piece of the source of about 350 words "
        "(AlignScore; Zha et al., 2023)",
    ),
}  # fmt: skip
KNOWN: dict[str, Described] = {**METRICS, **JUDGED}


def item_scores(
    output: str, references: Sequence[str], source: str | None, finish_reason: str | None
) -> dict[str, float | None]:
    """Each metric of one output; None where it is undefined: without what it needs, or with nothing to count."""
    item = Item(output, references, source, finish_reason)
    has: dict[Need | None, bool] = {
        None: True,
        "reference": bool(references),
        "source": source is not None,
        "finish reason": finish_reason is not None,
    }
    return {name: metric.of(item) if has[metric.needs] else None for name, metric in METRICS.items()}


def packages() -> dict[str, str | None]:
    """The packages that metrics need, by the name that is imported, with their versions; None for a missing one."""
    names = dict.fromkeys(metric.package for metric in METRICS.values() if metric.package)
    return {name: overlap.version_of(name) for name in names}


def unavailable() -> dict[str, str]:
    """Metric -> why it is None for every item here: its package is missing."""
    reasons = {name: overlap.missing(metric.package) for name, metric in METRICS.items() if metric.package}
    return {name: reason for name, reason in reasons.items() if reason is not None}
