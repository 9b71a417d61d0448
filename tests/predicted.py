"""Made-up studies and predictions of every kind of task, for tests of what comes after models."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd

from clinfit.data.records import SPLITS, Record
from clinfit.evaluation.evaluate import evaluate
from clinfit.evaluation.facts import Facts
from clinfit.evaluation.results import Characteristics, Results
from clinfit.predictions import PROBABILITY, SEPARATOR
from clinfit.runs.steps.item_scores import score_table, with_scores
from clinfit.study.evaluation import Evaluation, settings_of
from clinfit.study.models import Baseline, Causal, Classical
from clinfit.study.schema import Study
from clinfit.study.tasks import SCORINGS, Task, Writing, task_from
from shuffled import importance_of

N = 160
OPTIONS = {name: name for name in ("first", "second", "third", "fourth")}


@dataclass(frozen=True)
class Made:
    """block: of the task, but for its data. inputs: of the data beside `text`."""

    block: Mapping[str, Any]
    inputs: Mapping[str, str] = field(default_factory=dict)


#: By kind of task.
MADE: dict[str, Made] = {
    "classification": Made({"kind": "classification", "labels": ["No", "Yes"]}),
    "multilabel": Made({"kind": "multilabel", "labels": ["renal", "cardiac", "tumour"]}),
    "multiple-choice": Made({"kind": "multiple-choice", "options": list(OPTIONS)}, OPTIONS),
    "generation": Made({"kind": "generation", "max_new_tokens": 16}),
    "extraction": Made(
        {"kind": "extraction", "fields": {"drug": "string", "dose": {"type": "number", "required": False}}}
    ),
}
#: Kinds whose answers are labels, with probabilities.
LABELLED = [kind for kind in MADE if kind not in ("generation", "extraction")]
#: What stands in the place of `forest` where texts are asked for, by kind.
RULES: dict[str, Literal["lead", "nearest"]] = {"generation": "lead", "extraction": "nearest"}
#: Systems: model, stage, how much it knows.
SYSTEMS = (("forest", 1, 1.5), ("tiny", 0, 0.1), ("tiny", 1, 2.5))


def task_of(kind: str, **settings: Any) -> Task:
    """settings: of its `evaluation`, none for the study's."""
    made = MADE[kind]
    block: dict[str, Any] = {**made.block, "data": {"path": "items.csv", "inputs": {"text": "text", **made.inputs}}}
    return task_from(block | ({"evaluation": settings} if settings else {}))


def study_of(tasks: Mapping[str, Task], **evaluation: Any) -> Study:
    """A majority baseline, a classical `forest` and a causal `tiny` with free answers; where texts are asked for, a
    rule that writes in place of the first two."""
    asked = {task.kind for task in tasks.values()}
    return Study(
        name="made-up",
        tasks=dict(tasks),
        models=[
            *(
                [
                    Baseline(name="always", family="baseline", kind="majority"),
                    Classical(name="forest", family="classical", kind="random-forest"),
                ]
                if any(task.labels for task in tasks.values())
                else []
            ),
            *(Baseline(name=RULES[kind], family="baseline", kind=RULES[kind]) for kind in RULES if kind in asked),
            Causal(name="tiny", family="causal", base="clinfit/tiny", generate=8),
        ],
        evaluation=Evaluation(**{"bootstrap": 400} | evaluation),
    )


def predictions_of(
    name: str,
    task: Task,
    n: int = N,
    seed: int = 0,
    systems: Sequence[tuple[str, int, float]] = SYSTEMS,
    of_models: int = 42,
) -> pd.DataFrame:
    """Validation and test rows of every system. seed: of the items; of_models: the models' own."""
    rng = np.random.default_rng([seed, of_models] if of_models != 42 else seed)
    if not task.labels:
        rule = RULES[task.kind]
        systems = [(rule if model == "forest" else model, *rest) for model, *rest in systems]  # type: ignore[misc]
    table = pd.concat(
        [
            _rows(name, task, split, model, stage, strength, n, seed, rng)
            for split in SPLITS[1:]
            for model, stage, strength in systems
        ],
        ignore_index=True,
    )
    return table.assign(seed=of_models, run=table["model"] + f"-seed{of_models}")


def _rows(
    name: str, task: Task, split: str, model: str, stage: int, strength: float, n: int, seed: int, rng: Any
) -> pd.DataFrame:
    if isinstance(task, Writing):
        return _texts(name, task, split, model, stage, strength, n, seed, rng)
    gold, probabilities, texts = _TRUTH[task.kind](task, n, strength, np.random.default_rng([seed, len(split)]), rng)
    ids = [f"{split}-{i:05d}" for i in range(n)]
    causal = model == "tiny"
    table = pd.DataFrame(
        {
            "run": f"{model}-seed42", "model": model, "seed": 42, "stage": stage, "task": name, "kind": task.kind,
            "split": split, "id": ids, "group": ids, "gold": gold, "predicted": texts(probabilities), "status": "ok",
            "raw": texts(probabilities) if causal and task.kind != "multilabel" else None, "finish_reason": None,
            "prompt_tokens": pd.array([40 if causal else None] * n, dtype="Int64"),
            "output_tokens": pd.array([2 if causal else None] * n, dtype="Int64"),
            "dropped_tokens": pd.array([0 if causal else None] * n, dtype="Int64"),
            "seconds": 0.01 if causal else 0.001,
        }
    )  # fmt: skip
    for k, label in enumerate(task.labels):
        table[PROBABILITY + label] = probabilities[:, k]
    if task.kind != "multilabel":
        table["label_mass"] = 0.9 if causal else np.nan
    if task.kind == "multiple-choice":
        for scoring in SCORINGS:
            for k, label in enumerate(task.labels):
                table[f"{scoring}_{label}"] = probabilities[:, k] if causal else np.nan
    return table


#: Words of made-up references, and what stands in their place in a text that knows them less well.
WORDS = ("fever", "cough", "warfarin", "left", "knee", "pain", "day", "rest", "swollen", "asthma")
OTHERS = ("quiet", "river", "stone", "cloud", "green")


def _sentences(n: int, keeps: float, truth: Any, rng: Any) -> tuple[list[str], list[str]]:
    references = [f"{' '.join(truth.choice(WORDS, 6))} {int(truth.integers(1, 90))} mg" for _ in range(n)]
    return references, [
        " ".join(word if rng.random() < keeps else str(rng.choice(OTHERS)) for word in reference.split())
        for reference in references
    ]


def _objects(n: int, keeps: float, truth: Any, rng: Any) -> tuple[list[str], list[str]]:
    """Every eighth answer is no object, every ninth lacks a field."""
    golds = [
        {"drug": str(truth.choice(WORDS)), "dose": float(truth.integers(1, 90)) if i % 5 else None} for i in range(n)
    ]
    outputs = []
    for i, gold in enumerate(golds):
        said = {"drug": gold["drug"] if rng.random() < keeps else str(rng.choice(OTHERS)), "dose": gold["dose"]}
        outputs.append("Sure." if i % 8 == 0 else json.dumps({"dose": said["dose"]} if i % 9 == 0 else said))
    return [json.dumps(gold) for gold in golds], outputs


def _texts(
    name: str, task: Task, split: str, model: str, stage: int, strength: float, n: int, seed: int, rng: Any
) -> pd.DataFrame:
    """Texts with more of what their references hold the stronger a system is, and the scores of each."""
    assert isinstance(task, Writing)
    made = {"generation": _sentences, "extraction": _objects}[task.kind]
    keeps = 1 / (1 + np.exp(-2 * (strength - 1)))
    references, outputs = made(n, keeps, np.random.default_rng([seed, len(split)]), rng)
    ids, causal = [f"{split}-{i:05d}" for i in range(n)], model == "tiny"
    table = pd.DataFrame(
        {
            "run": f"{model}-seed42", "model": model, "seed": 42, "stage": stage, "task": name, "kind": task.kind,
            "split": split, "id": ids, "group": ids, "gold": references, "predicted": outputs, "status": "ok",
            "raw": outputs, "finish_reason": ["length" if i % 4 == 0 and causal else "stop" for i in range(n)],
            "prompt_tokens": pd.array([40 if causal else None] * n, dtype="Int64"),
            "output_tokens": pd.array([8 if causal else 0] * n, dtype="Int64"),
            "dropped_tokens": pd.array([0 if causal else None] * n, dtype="Int64"),
            "seconds": 0.01 if causal else 0.001,
            "nats": 20 - 5 * strength + rng.random(n) if causal else np.nan,
            "nats_tokens": pd.array([9 if causal else None] * n, dtype="Int64"),
            "nats_bytes": pd.array([40 if causal else None] * n, dtype="Int64"),
        }
    )  # fmt: skip
    records = [
        Record(id, id, {"text": f"Seen today: {reference}, and more."})
        for id, reference in zip(ids, references, strict=True)
    ]
    return with_scores(table, score_table(task, settings_of(task.kind, Evaluation()), records, table))


Texts = Callable[[np.ndarray], list[str]]


def _one_label(task: Task, n: int, strength: float, truth: Any, noise: Any) -> tuple[list[str], np.ndarray, Texts]:
    k = len(task.labels)
    gold = truth.integers(0, k, n)
    logits = noise.normal(size=(n, k)) + strength * np.eye(k)[gold]
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    gold[5:8] = (gold[5:8] + 1) % k  # mistakes of whoever labelled
    return [task.labels[code] for code in gold], probabilities, lambda p: [task.labels[code] for code in p.argmax(1)]


def _label_sets(task: Task, n: int, strength: float, truth: Any, noise: Any) -> tuple[list[str], np.ndarray, Texts]:
    def texts(sets: np.ndarray) -> list[str]:
        return [SEPARATOR.join(label for label, there in zip(task.labels, row, strict=True) if there) for row in sets]

    gold = truth.random((n, len(task.labels))) < np.linspace(0.5, 0.2, len(task.labels))
    probabilities = 1 / (1 + np.exp(-(strength * (2 * gold - 1) + noise.normal(size=gold.shape))))
    return texts(gold), probabilities, lambda p: texts(p >= 0.5)


_TRUTH: dict[str, Callable[[Task, int, float, Any, Any], tuple[list[str], np.ndarray, Texts]]] = {
    "classification": _one_label,
    "multilabel": _label_sets,
    "multiple-choice": _one_label,
}


def facts_of(names: list[str], n: int = N) -> Facts:
    """Leaks, subgroups and shift of each task."""
    ids = [f"test-{k:05d}" for k in range(n)]
    difference = {
        "name": "words",
        "kind": "text length",
        "train": "12",
        "test": "20",
        "difference": 0.5,
        "alert": True,
        "p": 0.0001,
    }
    return Facts(
        models={"tiny-seed42": {"status": "done", "train_seconds": 1.5, "alarms": ["loss rose"]}},
        leaks={name: {"exact": ids[:5]} for name in names},
        subgroups={name: pd.DataFrame({"id": ids, "sex": ["fm"[k % 2] for k in range(n)]}) for name in names},
        shift={name: [difference] for name in names},
        characteristics={name: Characteristics(columns=[{"of": "all", "name": "", "n": n}], rows=[]) for name in names},
    )


def results_of(kinds: Mapping[str, str], **evaluation: Any) -> Results:
    """Evaluated results of a study. kinds: task -> kind."""
    study = study_of({name: task_of(kind) for name, kind in kinds.items()}, **{"subgroups": ["sex"]} | evaluation)
    table = pd.concat([predictions_of(name, task) for name, task in study.tasks.items()], ignore_index=True)
    facts = facts_of(list(kinds))
    facts["importance"] = {
        name: importance_of(table.loc[table["task"] == name].dropna(axis="columns", how="all"), "forest-seed42", 1)
        for name, kind in kinds.items()
        if kind in LABELLED
    }
    return evaluate(study, table, facts)
