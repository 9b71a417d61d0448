"""The metric engine of written texts: means of item scores, and perplexity, which is no mean of items.

A metric of an item that has nothing to count (the numbers of a text without numbers) is undefined there, and the mean
is over the items that have it. Perplexity is exp(sum of nats / sum of tokens), bits per byte the sum of nats over
log 2 and the bytes: both are of the references, so that every system with likelihoods is asked of the same texts.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from clinfit.evaluation.answers import Bools, Floats, Ints, counted, items_of, repeats_of, tested_part
from clinfit.evaluation.metrics.confusion_metrics import divide
from clinfit.evaluation.metrics.engine import Engine, Scored, Values
from clinfit.evaluation.metrics.fold_scorer import of_a_repeat, with_folds
from clinfit.evaluation.metrics.metric import Metric, resampled, undefined
from clinfit.evaluation.metrics.text.definitions import METRICS as TEXT
from clinfit.evaluation.metrics.text.definitions import Item, unavailable
from clinfit.evaluation.metrics.text.overlap import token_f1
from clinfit.evaluation.statistics.intervals import wilson
from clinfit.evaluation.text_answers import EXACT, TextAnswers, read_text_answers, worst

#: Metrics by what a reader asks of a text, each in the order of its table.
OVERLAP = (
    "token_f1", "rouge1", "rouge2", "rougeL", "rougeLsum", "chrf", "exact_match", "exact_match_raw", "number_recall",
    "entity_recall", "bertscore",
)  # fmt: skip
FAITHFULNESS = (
    "number_precision", "unsupported_numbers", "entity_precision", "unsupported_sentences", "negation_flips",
    "laterality_flips", "subject_flips", "negation_flips_reference", "laterality_flips_reference",
    "subject_flips_reference", "nli", "alignscore",
)  # fmt: skip
FORM = (
    "empty", "cut_off", "preamble", "repeated_ngrams", "length_ratio", "compression", "coverage", "density",
    "novel_bigrams",
)  # fmt: skip
LIKELIHOOD = ("perplexity", "bits_per_byte")
#: Metrics that are 0 or 1 of every item.
YES_OR_NO = frozenset({"exact_match_raw", "exact_match", "empty", "cut_off", "preamble"})
#: Rows of a comparison.
COMPARED = (
    "token_f1", "rougeL", "chrf", "number_recall", "entity_recall", "number_precision", "entity_precision",
    "unsupported_sentences", "bertscore", "nli", "alignscore", "repeated_ngrams", "cut_off", *LIKELIHOOD,
)  # fmt: skip


class TextScorer:
    """Sums once over the items of each unit, then scores any number of weightings of the same items.

    levels: of rankings, of which there are none. units: (n,) unit of each item; None when every item is its own.
    """

    merged = False

    def __init__(self, answers: TextAnswers, levels: int | None = None, units: Ints | None = None) -> None:
        units = np.arange(len(answers)) if units is None else units
        self.n_units = int(units.max(initial=-1)) + 1
        self._names = answers.names
        known = np.isfinite(answers.scores_of)

        def sums(columns: Floats | Bools) -> Floats:
            """(n, c) to (c, units)."""
            rows = [np.bincount(units, column, self.n_units) for column in columns.T.astype(np.float64)]
            return np.array(rows, dtype=np.float64).reshape(columns.shape[1], self.n_units)

        self._counts, self._sums = sums(known), sums(np.where(known, answers.scores_of, 0.0))
        likely = answers.has_likelihood
        self._likely = likely.all() and len(answers) > 0
        if self._likely:
            self._corpus = sums(np.column_stack([answers.nats, answers.tokens, answers.bytes]))

    def __call__(self, weights: Floats) -> Values:
        """(units, b) weights to (b,) values of every metric; nan where undefined."""
        means = divide(self._sums @ weights, self._counts @ weights)
        values: Values = dict(zip(self._names, means, strict=True))
        if self._likely:
            nats, tokens, size = self._corpus @ weights
            values["perplexity"] = np.exp(divide(nats, tokens))
            values["bits_per_byte"] = divide(nats, size) / np.log(2)
        return values


def overall_metrics(scored: Scored) -> dict[str, Metric]:
    """Every metric of the system, in the order of the tables."""
    names = [name for name in (*OVERLAP, *FAITHFULNESS, *FORM) if name in scored.answers.names]
    table = {name: _mean(scored, name) for name in names}
    if "perplexity" in scored.estimates:
        table |= {name: corpus_metric(scored, name) for name in LIKELIHOOD}
    return {name: of_a_repeat(scored.answers, metric) for name, metric in table.items()}


def _mean(scored: Scored, name: str) -> Metric:
    answers: TextAnswers = scored.answers
    scores = answers.score(name)
    n = int(np.isfinite(scores).sum())
    if not n:
        return undefined(_why_undefined(answers, name), 0)
    if np.isnan(scored.estimates[name]):
        return undefined(SILENT_REPEAT, n)
    base = Metric(scored.estimates[name], n=n)
    if n < len(answers):
        base = replace(base, reason=f"{len(answers) - n} of {len(answers)} {counted(answers)} have nothing to count")
    if name in YES_OR_NO:
        return share(scored, name, replace(base, events=int(scores[np.isfinite(scores)].sum())))
    return resampled(base, scored.replicates[name], scored.resamples, scored.confidence)


def share(scored: Scored, name: str, base: Metric) -> Metric:
    """A share of items with its interval: Wilson's, or of groups that of the resamples."""
    if scored.grouped:
        return resampled(base, scored.replicates[name], scored.resamples, scored.confidence)
    low, high = wilson(base.events or 0, base.n, scored.confidence)
    return base if low is None else replace(base, low=low, high=high, method="Wilson")


def corpus_metric(scored: Scored, name: str) -> Metric:
    """Perplexity or bits per byte of a system that has likelihoods."""
    answers: TextAnswers = scored.answers
    sizes = answers.tokens if name == "perplexity" else answers.bytes
    total = int(sizes.sum()) // repeats_of(answers)
    what = "tokens" if name == "perplexity" else "bytes"
    base = Metric(scored.estimates[name], n=len(answers), reason=f"of {total:,} {what} of the references")
    return resampled(base, scored.replicates[name], scored.resamples, scored.confidence)


def _why_undefined(answers: TextAnswers, name: str) -> str:
    if not len(answers):
        return "no items"
    return unavailable().get(
        name, NOTHING_TO_COUNT.get(name.removesuffix("_reference"), "no item has anything to count")
    )


#: Why a mean over repeats has no value although some items have one.
SILENT_REPEAT = "in one of the repeats no answer has anything to count"
#: Why a metric can have no value on any item.
NOTHING_TO_COUNT = {
    "number_precision": "no text holds a number",
    "number_recall": "no reference holds a number",
    "entity_precision": "no text names a disease or drug of the lexicon",
    "entity_recall": "no reference names a disease or drug of the lexicon",
    "negation_flips": "no text names anything that could be denied in one and affirmed in the other",
    "laterality_flips": "no text names a side",
    "subject_flips": "no text names anything that could be somebody else's",
}


def most_probable(
    labels: Sequence[str], positive: str | None, gold: NDArray[np.object_], probabilities: Floats
) -> TextAnswers:
    raise ValueError("texts are not the most probable of anything")


def compared_metrics(answers: TextAnswers, primary: str) -> list[str]:
    """The primary metric first; those that were computed, and likelihoods where the system has any."""
    known = {*answers.names, *(LIKELIHOOD if answers.has_likelihood.all() and len(answers) else ())}
    return [primary, *(name for name in COMPARED if name != primary and name in known)]


def subgroup_metrics(answers: TextAnswers, primary: str) -> list[str]:
    return list(dict.fromkeys([primary, "number_precision", "entity_recall"]))


def headline(answers: TextAnswers, primary: str) -> list[str]:
    return list(dict.fromkeys([primary, "token_f1", "number_precision"]))


def yes_or_no(names: Collection[str]) -> Callable[[TextAnswers, str], tuple[Bools, Bools] | None]:
    """names: of the metrics that are 0 or 1 of every item. (hits, inside) of one of these, (n,) each; None of others,
    and where an item has no score."""

    def proportion(answers: TextAnswers, metric: str) -> tuple[Bools, Bools] | None:
        scores = answers.score(metric) if metric in names else np.array([np.nan])
        return (scores == 1, np.ones(len(answers), dtype=bool)) if np.isfinite(scores).all() else None

    return proportion


def constant_answers(answers: TextAnswers, proportions: Floats) -> dict[str, TextAnswers]:
    """No text at all, which shares nothing with any reference."""
    scores = np.tile([worst(name) for name in answers.names], (len(answers), 1)).reshape(answers.scores_of.shape)
    nothing = np.full(len(answers), np.nan)
    return {
        "an empty text": replace(
            answers,
            parsed=np.ones(len(answers), dtype=bool),
            scores_of=scores.astype(np.float64),
            nats=nothing,
            tokens=nothing,
            bytes=nothing,
        )
    }


def usual_reference(answers: TextAnswers, validation: TextAnswers) -> dict[str, TextAnswers]:
    """One text for every item: the reference of validation that shares most tokens with the others there (mean token
    F1), of CANDIDATES against TRIED of them; in a cross-validation one for each fold, of its own validation. It is
    scored against the references alone, so that a metric that needs the source has no value."""
    if answers.folds is None:
        parts = [(np.arange(len(answers)), np.arange(len(validation)))]
    else:
        chosen = {} if validation.folds is None else validation.folds.parts
        parts = [(items, chosen.get(fold, np.zeros(0, np.int64))) for fold, items in answers.folds.parts.items()]
    scores = np.full(answers.scores_of.shape, np.nan)
    for items, known in parts:
        usual = _usual([str(text) for text in validation.gold[known]])
        if usual is None:
            return {}
        scores[items] = _scored_alike(answers.take(items), usual)
    nothing = np.full(len(answers), np.nan)
    every = np.ones(len(answers), dtype=bool)
    return {
        "one reference for every text": replace(
            answers, parsed=every, scores_of=scores, nats=nothing, tokens=nothing, bytes=nothing
        )
    }


def _usual(texts: Sequence[str]) -> str | None:
    """The text that shares most tokens with the others; None of fewer than two."""
    candidates, tried = (texts[:: -(-len(texts) // most) or 1] for most in (CANDIDATES, TRIED))
    if len(texts) < 2:
        return None
    shared = {text: sum(token_f1(text, other) for other in tried) - (text in tried) for text in candidates}
    return max(shared, key=shared.__getitem__)


def _scored_alike(answers: TextAnswers, text: str) -> Floats:
    """(n, M) scores of one text as the answer to every item."""
    fair = {name: TEXT[name].of for name in OVERLAP if name in answers.names and name in TEXT}
    scores = np.full(answers.scores_of.shape, np.nan)
    for at, gold in enumerate(answers.gold):
        item = Item(text, [str(gold)], None, None)
        for name, of in fair.items():
            value = of(item)
            scores[at, answers.names.index(name)] = np.nan if value is None else value
    return scores


#: References of validation that are tried as the one for every text, and references that each is compared with; both
#: evenly spread.
CANDIDATES, TRIED = 50, 200


def mix(answers: TextAnswers) -> str:
    return "one reference text each"


def scarcest(answers: TextAnswers) -> tuple[str, int]:
    return tested_part(answers), items_of(answers)


def remarks(scored: Scored) -> list[str]:
    """What a clinician would fear of its texts, counted: numbers out of nowhere, a denial turned round, no end."""
    answers: TextAnswers = scored.answers
    told = [
        f"{number} of {of} {SHOWS[metric]}"
        for metric in FEARED
        if (of := _known(answers, metric))
        for number in [int((answers.score(metric) > 0).sum())]
        if number
    ]
    if not told:
        return []
    return [f"Of its texts, {'; '.join(told)}. These are counts by rules (proxies): read some of the texts."]


#: What a text does whose score of the metric is above 0.
SHOWS = {
    "unsupported_numbers": "hold a number that their source does not",
    "negation_flips": "deny what the source affirms or the other way round",
    "laterality_flips": "change a side",
    "subject_flips": "give the patient what is a relative's or the other way round",
    "cut_off": "end at the limit of tokens",
    "empty": "say nothing",
    "preamble": "begin with talk about the answer",
}
#: Those to be afraid of.
FEARED = tuple(metric for metric in SHOWS if metric != "preamble")


def _known(answers: TextAnswers, metric: str) -> int:
    """Items that have the metric."""
    return int(np.isfinite(answers.score(metric)).sum())


#: How much of the reference a text has: an empty text has none.
FAIR = frozenset(OVERLAP)

GENERATION = Engine(
    read=read_text_answers,
    most_probable=most_probable,
    scorer=with_folds(TextScorer),
    metrics=overall_metrics,
    by_label=lambda scored: {},
    compared=compared_metrics,
    subgroup_metrics=subgroup_metrics,
    headline=headline,
    primary=lambda metric, labels: metric,
    proportion=yes_or_no(YES_OR_NO),
    ranked_label=lambda answers, metric: None,
    constant=constant_answers,
    usual=usual_reference,
    fair=FAIR,
    stand_in="token_f1",
    exact=EXACT,
    mix=mix,
    scarcest=scarcest,
    item_values=lambda answers, metric: answers.score(metric),
    remarks=remarks,
)
