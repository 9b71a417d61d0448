"""Each kind of task as it looks from outside: where it is asked, how an answer is shown, how many become a table."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import pandas as pd

from clinfit.data.mentions import Mention
from clinfit.data.records import labels_in
from clinfit.packs.answer import Answer, answers_table, fields_table, texts_table
from clinfit.predictions import answer_text


class Shown(Protocol):
    """What is needed of a model to show its answers: a ServedModel, or what answers tell of one that is not served."""

    @property
    def kind(self) -> str: ...
    @property
    def labels(self) -> Sequence[str]: ...
    @property
    def fields(self) -> Sequence[str]: ...
    @property
    def has_sets(self) -> bool: ...


@dataclass(frozen=True)
class Past:
    """A model that is not served any more. fields: of extraction."""

    kind: str = "classification"
    labels: Sequence[str] = ()
    fields: Sequence[str] = ()
    has_sets: bool = False


def past(answers: Sequence[Answer]) -> Past:
    """The model that gave these, as far as they tell. Without one there is nothing to show but errors."""
    if not answers:
        return Past()
    first = answers[0]
    fields = next((list(answer.extracted) for answer in answers if answer.extracted is not None), [])
    return Past(first.kind, list(first.probabilities), fields, first.prediction_set is not None)


@dataclass(frozen=True)
class Kind:
    """route: address that takes its records. view: an answer as JSON. table: as `clinfit predict` writes answers."""

    route: str
    view: Callable[[Shown, Answer], dict[str, Any]]
    table: Callable[[Shown, Sequence[Answer]], pd.DataFrame]


def _labels_view(model: Shown, answer: Answer) -> dict[str, Any]:
    probabilities = [answer.probabilities[label] for label in model.labels]
    return {
        **_types_view(answer),
        "label": answer_text(answer.decision),
        "probs": probabilities,
        "num_classes": len(probabilities),
        "predicted": answer.predicted,
        "decision": answer.decision,
        "threshold": answer.threshold,
        "probabilities": answer.probabilities,
        "status": answer.status,
        "notes": answer.notes,
        "prediction_set": answer.prediction_set,
        "engine": answer.engine,
        "dropped_tokens": answer.dropped_tokens,
        "truncated": None if answer.dropped_tokens is None else answer.dropped_tokens > 0,
    }


def _types_view(answer: Answer) -> dict[str, Any]:
    """Each label with its score and whether the text names it, and where it names what; of tasks with a lexicon."""
    if answer.mentions is None:
        return {}
    decided = labels_in(answer.decision)
    types = [
        {
            "type": label,
            "score": score,
            "threshold": answer.threshold.get(label),
            "decided": label in decided,
            "mentioned": label in answer.named,
        }
        for label, score in answer.probabilities.items()
    ]
    return {"types": types, "extracted_diseases": [asdict(mention) for mention in answer.mentions]}


def _labels_table(model: Shown, answers: Sequence[Answer]) -> pd.DataFrame:
    return answers_table(answers, model.labels, sets=model.has_sets)


def _text_view(model: Shown, answer: Answer) -> dict[str, Any]:
    return {
        "text": answer.decision,
        "finish_reason": answer.finish_reason,
        "prompt_tokens": answer.prompt_tokens,
        "output_tokens": answer.output_tokens,
        "status": answer.status,
        "notes": answer.notes,
        "engine": answer.engine,
        "dropped_tokens": answer.dropped_tokens,
        "truncated": None if answer.dropped_tokens is None else answer.dropped_tokens > 0,
    }


def _fields_view(model: Shown, answer: Answer) -> dict[str, Any]:
    return {"extracted": answer.extracted, **_text_view(model, answer)}


def _fields_table(model: Shown, answers: Sequence[Answer]) -> pd.DataFrame:
    return fields_table(answers, model.fields)


LABELS = Kind("/v1/classify", _labels_view, _labels_table)

TEXTS = Kind("/v1/write", _text_view, lambda model, answers: texts_table(answers))

FIELDS = Kind(TEXTS.route, _fields_view, _fields_table)

#: By kind of task.
KINDS: dict[str, Kind] = {
    "classification": LABELS,
    "multilabel": LABELS,
    "multiple-choice": LABELS,
    "generation": TEXTS,
    "extraction": FIELDS,
}


def kind_of(model: Shown) -> Kind:
    return KINDS[model.kind]


def answer_from(values: Mapping[str, Any]) -> Answer:
    """An answer that was kept as JSON."""
    named = ("predicted", "decision", "notes", "prediction_set")
    lists = {name: tuple(values[name]) for name in named if isinstance(values[name], list)}
    kept = values.get("mentions")
    mentions = None if kept is None else tuple(Mention(**mention) for mention in kept)
    return Answer(**{**values, **lists, "mentions": mentions})
