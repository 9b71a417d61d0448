"""The metric engine of declared fields: shares of items, and precision, recall and F1 of the values of fields.

    precision = correct / given    recall = correct / true    F1 = 2 correct / (given + true)

over the values of one field, or of all fields together (micro), where `correct`, `given` and `true` are sums over items
(metrics/fields.py). Accuracy of a field is the share of items whose value is right, where none is right if the
reference has none. Perplexity and bits per byte are those of every written text.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from clinfit.data.fields import FAULTS
from clinfit.evaluation.answers import Floats, Ints, items_of, repeats_of, tested_part
from clinfit.evaluation.field_answers import ALL, FieldAnswers, read_field_answers
from clinfit.evaluation.metrics.confusion_metrics import divide
from clinfit.evaluation.metrics.engine import Engine, Scored, Values
from clinfit.evaluation.metrics.fields import OF_ITEM
from clinfit.evaluation.metrics.fold_scorer import of_a_repeat, with_folds
from clinfit.evaluation.metrics.generation import (
    LIKELIHOOD,
    SILENT_REPEAT,
    TextScorer,
    corpus_metric,
    most_probable,
    share,
    yes_or_no,
)
from clinfit.evaluation.metrics.metric import Metric, resampled, undefined

#: Of the values of all fields together.
MICRO = ("field_f1", "field_precision", "field_recall")
#: Of one field, before `:` and its name.
BY_FIELD = ("accuracy", "precision", "recall", "f1")
#: Sums of an item's counts that a ratio divides.
_COUNTS = ("correct", "given", "true")


class FieldScorer(TextScorer):
    """As `TextScorer`; counts of fields become ratios of sums."""

    def __init__(self, answers: FieldAnswers, levels: int | None = None, units: Ints | None = None) -> None:
        super().__init__(answers, levels, units)
        self._fields = answers.fields
        self._at = {
            count: [answers.names.index(f"{count}:{field}") for field in self._fields] for count in ("right", *_COUNTS)
        }

    def __call__(self, weights: Floats) -> Values:
        values = super().__call__(weights)
        found: Values = {name: value for name, value in values.items() if ":" not in name}
        if not self._fields:
            return found
        correct, given, true = (self._sums[self._at[count]] @ weights for count in _COUNTS)  # (fields, b)
        for k, field in enumerate(self._fields):
            found[f"accuracy:{field}"] = values[f"right:{field}"]
            found |= {f"{name}:{field}": v for name, v in _ratios(correct[k], given[k], true[k]).items()}
        micro = _ratios(correct.sum(axis=0), given.sum(axis=0), true.sum(axis=0))
        return found | {f"field_{name}": value for name, value in micro.items()}


def _ratios(correct: Floats, given: Floats, true: Floats) -> Values:
    return {
        "precision": divide(correct, given),
        "recall": divide(correct, true),
        "f1": divide(2 * correct, given + true),
    }


def overall_metrics(scored: Scored) -> dict[str, Metric]:
    """Every metric of the system, in the order of the tables."""
    answers: FieldAnswers = scored.answers
    sums = {count: _sum(answers, count, answers.fields) for count in _COUNTS}
    table = {name: _ratio(scored, name, name.removeprefix("field_"), sums) for name in MICRO if answers.fields}
    table |= {name: _share(scored, name, answers.score(name)) for name in OF_ITEM if name in answers.names}
    if "perplexity" in scored.estimates:
        table |= {name: corpus_metric(scored, name) for name in LIKELIHOOD}
    return {name: of_a_repeat(answers, metric) for name, metric in table.items()}


def field_table(scored: Scored) -> dict[str, dict[str, Metric]]:
    """Accuracy, precision, recall and F1 of each field."""
    answers: FieldAnswers = scored.answers
    table: dict[str, dict[str, Metric]] = {}
    for field in answers.fields:
        sums = {count: _sum(answers, count, [field]) for count in _COUNTS}
        found = {"accuracy": _share(scored, f"accuracy:{field}", answers.score(f"right:{field}"))} | {
            name: _ratio(scored, f"{name}:{field}", name, sums) for name in BY_FIELD[1:]
        }
        table[field] = {name: of_a_repeat(answers, metric) for name, metric in found.items()}
    return table


def _sum(answers: FieldAnswers, count: str, fields: Sequence[str]) -> int:
    return int(sum(answers.score(f"{count}:{field}").sum() for field in fields))


def _share(scored: Scored, metric: str, scores: Floats) -> Metric:
    known = scores[np.isfinite(scores)]
    if not len(known):
        return undefined("no items" if not len(scores) else "not known of these texts")
    if np.isnan(scored.estimates[metric]):
        return undefined(SILENT_REPEAT, len(known))
    return share(scored, metric, Metric(scored.estimates[metric], n=len(known), events=int(known.sum())))


def _ratio(scored: Scored, metric: str, name: str, sums: dict[str, int]) -> Metric:
    """Values of one item hang together, so that the interval is that of the resampled items."""
    n = {"precision": sums["given"], "recall": sums["true"], "f1": sums["given"] + sums["true"]}[name]
    if not n:
        return undefined("no value was given" if name == "precision" else "no reference has a value")
    if np.isnan(scored.estimates[metric]):
        return undefined(SILENT_REPEAT, n)
    events = None if name == "f1" else sums["correct"]
    base = Metric(scored.estimates[metric], n=n, events=events, reason="of values, not of items")
    return resampled(base, scored.replicates[metric], scored.resamples, scored.confidence)


def compared_metrics(answers: FieldAnswers, primary: str) -> list[str]:
    """The primary metric first, then the overall ones, then F1 of each field."""
    likely = LIKELIHOOD if answers.has_likelihood.all() and len(answers) else ()
    names = [*MICRO, ALL, "valid_output", *likely]
    return [primary, *(name for name in names if name != primary), *(f"f1:{field}" for field in answers.fields)]


def subgroup_metrics(answers: FieldAnswers, primary: str) -> list[str]:
    return list(dict.fromkeys([primary, ALL, "valid_output"]))


def headline(answers: FieldAnswers, primary: str) -> list[str]:
    return list(dict.fromkeys([primary, "field_f1", "valid_output"]))


def constant_answers(answers: FieldAnswers, proportions: Floats) -> dict[str, FieldAnswers]:
    """No object at all, of which every field is wrong."""
    scores = np.zeros_like(answers.scores_of)
    for k, name in enumerate(answers.names):
        kind, _, field = name.partition(":")
        if kind in ("given", "true"):
            scores[:, k] = answers.score(f"true:{field}")
        elif name == "not_json":
            scores[:, k] = 1.0
    nothing = np.full(len(answers), np.nan)
    parsed = np.ones(len(answers), dtype=bool)
    changed = replace(answers, parsed=parsed, scores_of=scores, nats=nothing, tokens=nothing, bytes=nothing)
    return {"an empty text": changed}


def mix(answers: FieldAnswers) -> str:
    fields = len(answers.fields)
    return f"{fields} field{'' if fields == 1 else 's'} each"


def scarcest(answers: FieldAnswers) -> tuple[str, int]:
    """The field that fewest references have a value of."""
    repeats = repeats_of(answers)
    counts = {f"field {field}": int((answers.score(f"true:{field}") > 0).sum()) // repeats for field in answers.fields}
    return min(counts.items(), key=lambda item: item[1], default=(tested_part(answers), items_of(answers)))


def remarks(scored: Scored) -> list[str]:
    """How many texts are no valid object, and why."""
    answers: FieldAnswers = scored.answers
    invalid = int((answers.score("valid_output") == 0).sum())
    if not invalid:
        return []
    why = [f"{what} in {n}" for fault, what in FAULTS.items() if (n := int((answers.score(fault) == 1).sum()))]
    return [
        f"Of its answers, {invalid} of {len(answers)} are no valid object and count as wrong in everything: "
        f"{'; '.join(why)}."
    ]


EXTRACTION = Engine(
    read=read_field_answers,
    most_probable=most_probable,
    scorer=with_folds(FieldScorer),
    metrics=overall_metrics,
    by_label=field_table,
    compared=compared_metrics,
    subgroup_metrics=subgroup_metrics,
    headline=headline,
    primary=lambda metric, labels: metric,
    proportion=yes_or_no(OF_ITEM),
    ranked_label=lambda answers, metric: None,
    constant=constant_answers,
    fair=frozenset({*MICRO, ALL, "valid_output"}),
    stand_in="field_f1",
    exact=ALL,
    mix=mix,
    scarcest=scarcest,
    remarks=remarks,
)
