"""Each kind of task as it looks from outside: where it is asked, how an answer is shown, how many become a table."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from clinfit.data.mentions import Mention
from clinfit.data.records import labels_in
from clinfit.packs.answer import Answer, answers_table, fields_table, texts_table
from clinfit.predictions import answer_text
from clinfit.serve.models import ServedModel
from clinfit.study.tasks import Extraction


@dataclass(frozen=True)
class Kind:
    """route: address that takes its records. view: an answer as JSON. table: as `clinfit predict` writes answers."""

    route: str
    view: Callable[[ServedModel, Answer], dict[str, Any]]
    table: Callable[[ServedModel, Sequence[Answer]], pd.DataFrame]


def _labels_view(model: ServedModel, answer: Answer) -> dict[str, Any]:
    probabilities = [answer.probabilities[label] for label in model.task.labels]
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


def _labels_table(model: ServedModel, answers: Sequence[Answer]) -> pd.DataFrame:
    return answers_table(answers, model.task.labels, sets=model.served.has_sets)


def _text_view(model: ServedModel, answer: Answer) -> dict[str, Any]:
    return {
        "text": answer.decision,
        "finish_reason": answer.finish_reason,
        "status": answer.status,
        "notes": answer.notes,
        "engine": answer.engine,
        "dropped_tokens": answer.dropped_tokens,
        "truncated": None if answer.dropped_tokens is None else answer.dropped_tokens > 0,
    }


def _fields_view(model: ServedModel, answer: Answer) -> dict[str, Any]:
    return {"extracted": answer.extracted, **_text_view(model, answer)}


def _fields_table(model: ServedModel, answers: Sequence[Answer]) -> pd.DataFrame:
    assert isinstance(model.task, Extraction)
    return fields_table(answers, list(model.task.fields))


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


def kind_of(model: ServedModel) -> Kind:
    return KINDS[model.task.kind]


def answer_from(values: Mapping[str, Any]) -> Answer:
    """An answer that was kept as JSON."""
    named = ("predicted", "decision", "notes", "prediction_set")
    lists = {name: tuple(values[name]) for name in named if isinstance(values[name], list)}
    kept = values.get("mentions")
    mentions = None if kept is None else tuple(Mention(**mention) for mention in kept)
    return Answer(**{**values, **lists, "mentions": mentions})
