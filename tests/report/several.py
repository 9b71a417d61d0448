"""Runs of several kinds of task: made-up answers to each through the real evaluation."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clinfit.data.records import SPLITS, Record, Target
from clinfit.evaluation.facts import Facts, KnownCounts
from clinfit.evaluation.results import Characteristics, FreezeResult, NumberSummary
from clinfit.findings import FindingDict
from clinfit.models.base import LabelOutputs, TextOutputs
from clinfit.predictions import Source, predictions_table
from clinfit.study.schema import Study
from clinfit.study.tasks import SCORINGS, Task, Writing
from predicted import predictions_of

PATIENT_TEXT = "Mrs Jane Doe, born 1950, complains of chest pain"
#: Chapters of ICD-10: some names are longer than a line.
CHAPTERS = [
    "infectious diseases", "neoplasms", "blood and immune system", "endocrine and metabolic", "mental disorders",
    "nervous system", "eye", "ear", "circulatory system", "respiratory system", "digestive system", "skin",
    "musculoskeletal system and connective tissue", "genitourinary system", "pregnancy and childbirth",
    "perinatal conditions", "congenital malformations, deformations and chromosomal abnormalities",
    "symptoms not elsewhere classified", "injury and poisoning", "external causes", "contact with health services",
    "special purposes", "none of these",
]  # fmt: skip
OPTIONS = ["first", "second", "third", "fourth"]
NOTE = {"path": "t.csv", "inputs": {"note": "note"}}
#: The tasks, each of another kind.
TASKS: dict[str, dict[str, Any]] = {
    "finding": {"labels": ["benign", "malignant"], "data": NOTE},
    "chapters": {
        "kind": "multilabel",
        "labels": CHAPTERS,
        "data": NOTE,
        "evaluation": {"primary": "macro_f1", "threshold": {"rule": "f1"}, "subgroups": ["sex"]},
    },
    "exam": {
        "kind": "multiple-choice",
        "options": OPTIONS,
        "data": {"path": "t.csv", "inputs": {name: name for name in ("note", *OPTIONS)}},
        "evaluation": {"primary": "accuracy", "subgroups": ["sex"]},
    },
    "letter": {"kind": "generation", "data": NOTE, "evaluation": {"primary": "rougeL", "subgroups": ["sex"]}},
    "drugs": {
        "kind": "extraction",
        "fields": {"drug": "string", "dose": {"type": "number", "required": False}},
        "data": NOTE,
        "evaluation": {"subgroups": ["sex"]},
    },
}
MODELS = [
    {"name": "majority", "family": "baseline", "kind": "majority"},
    {"name": "words", "family": "classical", "kind": "tfidf-logistic"},
    {"name": "tiny", "family": "causal", "base": "clinfit/tiny", "train": {"select_by": "primary"}, "generate": 5},
]
#: Those of a study that asks for texts too, where nothing can be selected by a primary metric.
WRITERS = [
    *MODELS[:2],
    {"name": "lead", "family": "baseline", "kind": "lead"},
    {**MODELS[2], "train": {"select_by": "loss"}},
]
#: (model, stage, strength): how well a system knows the truth.
SYSTEMS = [("words", 1, 1.2), ("tiny", 0, 0.2), ("tiny", 1, 2.0)]
N = 120
#: Of rows that leak from training into test.
LEAKS = {"exact": ["secret-test-0", "secret-test-1"], "near": ["secret-test-2"]}
#: A finding of the audit for which no numbers are given.
FAULT = FindingDict(
    level="error",
    code="unreadable",
    title="The labels of the test split are all the same",
    evidence="120 of 120",
    advice="read the labels again",
    system=None,
)

Floats = NDArray[np.float64]


def study_of(names: Sequence[str]) -> Study:
    return Study.model_validate(
        {
            "name": "several-tasks",
            "description": "Which findings, chapters and answers does a small language model read from a note?",
            "tasks": {name: TASKS[name] for name in names},
            "models": WRITERS if {"letter", "drugs"} & {*names} else MODELS,
            "evaluation": {"bootstrap": 100},
        }
    )


def answers_of(study: Study) -> pd.DataFrame:
    """Validation and test answers of every system to every task."""
    tables = []
    for name, task in study.tasks.items():
        rng = np.random.default_rng(len(name))
        if isinstance(task, Writing):
            tables.append(predictions_of(name, task, N, systems=SYSTEMS).pipe(_secret))
            continue
        for split in SPLITS[1:]:
            gold = GOLD[task.kind](task, rng)
            part = [_record(name, split, i, task, row) for i, row in enumerate(gold)]
            for model, stage, strength in SYSTEMS:
                made = _outputs(task, gold, strength, model == "tiny", rng)
                source = Source(f"{model}-seed42", model, 42, stage)
                tables.append(predictions_table(source, name, task, split, part, made))
    table = pd.concat(tables, ignore_index=True)
    silent = (table["model"] == "tiny") & (table["stage"] == 0) & (table.index % 15 == 0)
    return table.assign(status=np.where(silent, "unparsed", table["status"]))


def _secret(table: pd.DataFrame) -> pd.DataFrame:
    """The table with ids as the others have, and with texts that quote a patient."""
    ids = table["split"] + "-" + table["id"].str[-5:].astype(int).astype(str)
    texts = {name: table[name] + f". {PATIENT_TEXT}" for name in ("gold", "predicted", "raw")}
    return table.assign(id="secret-" + ids, group="secret-" + ids, **texts)


def _record(name: str, split: Any, i: int, task: Task, gold: NDArray[np.bool_]) -> Record:
    held = tuple(label for label, holds in zip(task.labels, gold, strict=True) if holds)
    target: Target = held if task.kind == "multilabel" else held[0]
    return Record(f"secret-{split}-{i}", f"secret-{split}-{i}", {"note": PATIENT_TEXT}, target, split, name)


def _one_of(task: Task, rng: np.random.Generator) -> NDArray[np.bool_]:
    return np.eye(len(task.labels), dtype=bool)[rng.integers(len(task.labels), size=N)]


def _any_of(task: Task, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Common labels and rare ones; the last one but two is had by none, the first by enough to choose a threshold."""
    shares = np.geomspace(0.5, 0.03, len(task.labels))
    shares[-3] = 0
    return rng.random((N, len(task.labels))) < shares


#: Kind -> (N, K) which labels are right.
GOLD: Mapping[str, Callable[[Task, np.random.Generator], NDArray[np.bool_]]] = {
    "classification": _one_of,
    "multilabel": _any_of,
    "multiple-choice": _one_of,
}


def _outputs(
    task: Task, gold: NDArray[np.bool_], strength: float, causal: bool, rng: np.random.Generator
) -> LabelOutputs:
    """Noise plus `strength` on the truth; a causal model likes the first option, and writes."""
    logits = rng.normal(size=gold.shape) + strength * gold
    if task.kind == "multilabel":
        probabilities = 1 / (1 + np.exp(1.5 - 1.5 * logits))
    else:
        logits[:, 0] += 0.8 if causal and task.kind == "multiple-choice" else 0
        probabilities = _softmax(logits)
    made = LabelOutputs(
        probabilities,
        np.full(N, 0.4 if causal else 0.001),
        label_mass=rng.uniform(0.6, 1, size=N) if causal else None,
        scorings={name: _softmax(logits + 0.7 * k * rng.normal(size=gold.shape)) for k, name in enumerate(SCORINGS)}
        if causal and task.kind == "multiple-choice"
        else None,
        raw=[PATIENT_TEXT] * N,
        prompt_tokens=rng.integers(90, 400, size=N) if causal else None,
        dropped_tokens=(rng.random(N) < 0.05).astype(np.int64) if causal else None,
    )
    if not causal or task.kind == "multilabel":
        return made
    texts = [task.labels[k] if rng.random() < 0.9 else "I cannot say" for k in probabilities.argmax(axis=1)]
    tokens = np.full(N, 3, dtype=np.int64)
    return made.with_texts(TextOutputs(texts, ["stop"] * N, tokens, np.full(N, 0.5)))


def _softmax(logits: Floats) -> Floats:
    values = np.exp(logits)
    return values / values.sum(axis=1, keepdims=True)


WORDS = NumberSummary(mean=13.2, sd=4.1, lower_quartile=11.0, median=13.0, upper_quartile=15.0)
CHARACTERISTICS = Characteristics(
    columns=[
        {"of": "all", "name": "", "n": 270},
        {"of": "outcome", "name": "benign", "n": 150},
        {"of": "outcome", "name": "malignant", "n": 120},
        {"of": "split", "name": "test", "n": 90},
    ],
    rows=[
        {
            "input": "note",
            "type": "text",
            "unit": None,
            "missing": [26, 14, 12, None],
            "missing_difference": 0.06,
            "values": [WORDS, WORDS, None, WORDS],
            "difference": 0.31,
        },
        {
            "input": "site",
            "type": "category",
            "unit": None,
            "missing": [0, 0, 0, 0],
            "missing_difference": None,
            "distinct": 2,
            "counts": {"north": [200, 110, 90, None], "south": [70, 40, 30, None]},
            "difference": 0.05,
        },
    ],
)


def facts_of(study: Study, *, error: bool) -> Facts:
    """Leaks, a property that shifted, groups of whom one is small, and a freeze. error: an audit that withholds all."""
    sexes = ["other" if i < 5 else ("women", "men")[i % 2] for i in range(N)]
    table = pd.DataFrame({"id": [f"secret-test-{i}" for i in range(N)], "sex": sexes})
    shift = {
        "name": "note: words",
        "kind": "text length",
        "train": "mean 12",
        "test": "mean 20",
        "difference": 0.5,
        "alert": True,
        "p": 0.0001,
    }
    return Facts(
        models={
            f"{spec.name}-seed42": {"status": "done", "reason": "", "train_seconds": 12.0} for spec in study.models
        },
        counts={
            name: {"train": KnownCounts(n=4 * N, labels=dict.fromkeys(task.labels, N))}
            for name, task in study.tasks.items()
        },
        subgroups={name: table for name in study.tasks if study.settings(name).subgroup_columns},
        findings={key: [FAULT] for key in study.tasks} if error else {},
        freeze=FreezeResult(
            state="frozen",
            sha256="0" * 64,
            frozen_at="2026-01-01T00:00:00",
            first_scored_at="2026-01-02T00:00:00",
            scored=1,
            changed=[],
            sentence="The evaluation was fixed before the test split was scored.",
        ),
        leaks=dict.fromkeys(study.tasks, LEAKS),
        shift={name: [shift] for name in study.tasks},
        characteristics=dict.fromkeys(study.tasks, CHARACTERISTICS),
    )
