"""Runs in miniature: made-up answers through the real evaluation, with the records that a run keeps beside them."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pytest

from clinfit.data.records import Record, Split
from clinfit.evaluation.evaluate import evaluate
from clinfit.evaluation.facts import Facts, KnownCounts
from clinfit.models.base import LabelOutputs
from clinfit.predictions import Source, predictions_table
from clinfit.report.build import render
from clinfit.report.inputs import ReportInputs
from clinfit.study.schema import Study
from shuffled import importance_of

from .several import CHARACTERISTICS, PATIENT_TEXT, answers_of, facts_of, study_of

BINARY = ("benign", "malignant")
THREE = ("low", "medium", "high")

MAJORITY = {"name": "majority", "family": "baseline", "kind": "majority"}
FOREST = {"name": "random-forest", "family": "classical", "kind": "random-forest"}
TINY = {"name": "tiny", "family": "causal", "base": "clinfit/tiny", "train": {"select_by": "primary"}}

#: A system that a case holds: (model, stage, strength); strength None gives every record the same probabilities.
System = tuple[str, int, float | None]


def study(labels: Sequence[str], models: Sequence[dict[str, Any]], description: str, **evaluation: Any) -> Study:
    return Study.model_validate(
        {
            "name": "quickstart",
            "description": description,
            "tasks": {"finding": {"labels": list(labels), "data": {"path": "t.csv", "inputs": {"note": "note"}}}},
            "models": list(models),
            "evaluation": {"bootstrap": 100, **evaluation},
        }
    )


def records(labels: Sequence[str], split: Split, n: int, rng: np.random.Generator) -> list[Record]:
    """Records with unequal shares of the labels and a text that must never appear in a report."""
    shares = np.linspace(1.6, 1, len(labels))
    gold = rng.choice(len(labels), size=n, p=shares / shares.sum())
    return [
        Record(f"secret-{split}-{i}", f"secret-{split}-{i}", {"note": PATIENT_TEXT}, labels[k], split)
        for i, k in enumerate(gold)
    ]


def outputs(
    labels: Sequence[str], part: Sequence[Record], strength: float | None, rng: np.random.Generator
) -> LabelOutputs:
    """Softmax of noise plus `strength` on the truth."""
    gold = np.array([labels.index(record.target or "") for record in part])
    logits = rng.normal(size=(len(part), len(labels)))
    if strength is None:
        logits = np.tile(np.linspace(0.5, 0, len(labels)), (len(part), 1))
    else:
        logits[np.arange(len(part)), gold] += strength
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return LabelOutputs(probabilities, np.full(len(part), 0.01), raw=[PATIENT_TEXT] * len(part))


def predictions(labels: Sequence[str], systems: Sequence[System], *, n: int = 90, one_class: bool) -> pd.DataFrame:
    task = study(labels, [MAJORITY], "").tasks["finding"]
    rng = np.random.default_rng(7)
    splits: list[tuple[Split, list[Record]]] = [(s, records(labels, s, n, rng)) for s in ("validation", "test")]
    if one_class:
        splits[1] = ("test", [Record(r.id, r.group, r.inputs, labels[1], "test") for r in splits[1][1]])
    tables = []
    for model, stage, strength in systems:
        for split, part in splits:
            source = Source(f"{model}-seed42", model, 42, stage)
            tables.append(predictions_table(source, "finding", task, split, part, outputs(labels, part, strength, rng)))
    table = pd.concat(tables, ignore_index=True)
    silent = (table["model"] == "tiny") & (table["stage"] == 0) & (table.index % 10 == 0)
    return table.assign(status=np.where(silent, "unparsed", table["status"]))


def model_record(model: str, family: str, reason: str | None = None) -> dict[str, Any]:
    """run.json; one with a reason has failed before its first stage was done."""
    done = {
        "model": "cd" * 32,
        "seconds": 187.4,
        "parameters": 6_500_000 if family == "causal" else 0,
        "trainable_parameters": 312_000 if family == "causal" else 0,
        "details": {"precision": "bf16", "steps": 84, "best_step": 63, "peak_memory_bytes": 1_200_000_000},
        "alarms": [],
    }
    return {
        "study": "quickstart",
        "model": model,
        "seed": 42,
        "family": family,
        "inputs": "ab" * 32,
        "spec": {"name": model, "family": family, "lora": {"rank": 16}, "train": {"select_by": "primary"}},
        "stages": {} if reason else {"1": done},
        "status": "failed" if reason else "done",
        "reason": reason,
    }


def log_rows() -> list[dict[str, Any]]:
    """log.jsonl of 84 steps; the best primary value is at step 63, the lowest loss at step 42."""
    rows: list[dict[str, Any]] = []
    for step in range(1, 85):
        row: dict[str, Any] = {"step": step, "epoch": step / 21, "loss": 0.7 * float(np.exp(-step / 30))}
        if step % 21 == 0:
            loss, primary = 0.3 + abs(step - 42) / 400, 0.95 - abs(step - 63) / 200
            row |= {"validation_loss": loss, "validation_primary": primary}
            row |= {"validation_tasks": {"finding": {"loss": loss, "primary": primary, "shares": [0.5, 0.5]}}}
        rows.append(row)
    return rows


def described(labels: Sequence[str]) -> dict[str, Any]:
    """data/<task>.json, as `TaskData.describe` gives it, with the findings of the audit."""
    missing = {
        "level": "info",
        "code": "missing-values",
        "title": "Some notes are empty",
        "evidence": "6 of 270 records",
    }
    return {
        "source": "t.csv",
        "fingerprint": "ef" * 32,
        "rows": 272,
        "dropped": {"missing note": 2},
        "cleaned": {"strip_citations": 31},
        "records": 270,
        "groups": 270,
        "labels": list(labels),
        "inputs": {"note": {"type": "text", "unit": None, "seen": None}},
        "split_ids": {"test": ["secret-test-0"]},
        "findings": [missing | {"advice": "look at these records", "system": None}],
    }


def trust_facts() -> Facts:
    """Two hospitals and a small one, ages without a value, three leaking test records, one property that shifted."""
    ids = [f"secret-test-{i}" for i in range(90)]
    ages = ["below 65" if i % 2 else "65 and above" for i in range(85)]
    table = {
        "id": ids,
        "hospital": ["tiny clinic" if i < 5 else "AB"[i % 2] for i in range(90)],
        "age": [*ages, *["missing"] * 5],
    }
    row = {
        "name": "note: words",
        "kind": "text length",
        "train": "mean 12",
        "test": "mean 20",
        "difference": 0.5,
        "alert": True,
        "p": 0.0001,
    }
    return Facts(
        subgroups={"finding": pd.DataFrame(table)},
        leaks={"finding": {"exact": ids[:2], "near": ids[2:3]}},
        shift={
            "finding": [row, row | {"name": "share", "kind": "label", "difference": -0.01, "alert": False, "p": 0.9}]
        },
    )


def report_inputs(
    labels: Sequence[str],
    systems: Sequence[System],
    models: Sequence[dict[str, Any]],
    *,
    failed: dict[str, str] | None = None,
    one_class: bool = False,
    trust: bool = False,
    description: str = "Does fine-tuning help a small language model to read cell measurements?",
    **evaluation: Any,
) -> ReportInputs:
    chosen = study(labels, models, description, **evaluation)
    runs = [model_record(m["name"], m["family"], (failed or {}).get(m["name"])) for m in models]
    facts = Facts(
        models={
            f"{r['model']}-seed42": {
                "status": r["status"],
                "reason": r["reason"] or "",
                "train_seconds": sum(stage["seconds"] for stage in r["stages"].values()),
            }
            for r in runs
        },
        counts={"finding": {"train": KnownCounts(n=45 * len(labels), labels=dict.fromkeys(labels, 45))}},
        characteristics={"finding": CHARACTERISTICS},
    )
    if trust:
        facts |= trust_facts()
    table = predictions(labels, systems, one_class=one_class)
    if "random-forest" in {system[0] for system in systems}:
        facts["importance"] = {"finding": importance_of(table, "random-forest-seed42", 1, weights=False)}
    return ReportInputs(
        results=evaluate(chosen, table, facts),
        study=chosen,
        data={"finding": described(labels)},
        environment={"clinfit": "0.1.0", "commit": "b3b4909", "libraries": {"torch": "2.13.0"}},
        models=runs,
        logs={("tiny-seed42", 1): log_rows()} if any(system[0] == "tiny" for system in systems) else {},
        command="clinfit run studies/quickstart.yaml",
    )


def case(name: str) -> ReportInputs:
    """One run for every kind of content."""
    systems: list[System] = [("majority", 1, None), ("random-forest", 1, 2.0), ("tiny", 0, 0.2), ("tiny", 1, 2.4)]
    models = [MAJORITY, FOREST, TINY]
    if name == "binary":
        return report_inputs(BINARY, systems, models)
    if name == "subgroups":
        ages = {"column": "age", "bins": [65], "title": "Age"}
        return report_inputs(BINARY, systems, models, trust=True, site="hospital", subgroups=[ages])
    if name == "three labels":
        return report_inputs(THREE, systems, models, primary="macro_f1")
    if name == "one class":
        return report_inputs(BINARY, systems, models, one_class=True)
    if name == "failed model":
        reason = "the training loss is not a finite number at step 3"
        return report_inputs(BINARY, systems[:2], models, failed={"tiny": reason})
    if name == "no neural model":
        return report_inputs(BINARY, systems[:2], models[:2])
    assert name == "hostile words", name
    return report_inputs(BINARY, systems[:1], models[:1], description="<script>alert(1)</script> & more")


def several(names: Sequence[str], *, error: bool = False) -> ReportInputs:
    """A run of these tasks of `several.TASKS`, which are of several kinds. error: the numbers are withheld."""
    chosen, answers = study_of(names), answers_of(study_of(names))
    facts = facts_of(chosen, error=error)
    facts["importance"] = {
        name: importance_of(answers.loc[answers["task"] == name].dropna(axis="columns", how="all"), "words-seed42", 1)
        for name in names
        if chosen.tasks[name].labels
    }
    validated = {name: {"loss": 0.5, "primary": 0.6, "shares": []} for name in names}
    logs = [row | ({"validation_tasks": validated} if "validation_loss" in row else {}) for row in log_rows()]
    return ReportInputs(
        results=evaluate(chosen, answers, facts),
        study=chosen,
        data={name: described(task.labels) for name, task in chosen.tasks.items()},
        environment={"clinfit": "0.1.0", "commit": "b3b4909", "libraries": {"torch": "2.13.0"}},
        models=[model_record(spec.name, spec.family) for spec in chosen.models],
        logs={("tiny-seed42", 1): logs},
        command="clinfit run studies/several-tasks.yaml",
    )


CASES = ("binary", "subgroups", "three labels", "one class", "failed model", "no neural model", "hostile words")
#: Case -> the tasks of its study.
SEVERAL = {
    "several labels": ("chapters",),
    "options": ("exam",),
    "three kinds": ("finding", "chapters", "exam"),
    "three kinds withheld": ("finding", "chapters", "exam"),
    "texts": ("letter",),
    "four kinds": ("finding", "chapters", "exam", "letter"),
    "fields": ("drugs",),
}


Thing = TypeVar("Thing")


class Made(dict[str, Thing]):
    """What is made of a name when it is first asked for: a test file looks at few of the cases."""

    def __init__(self, make: Callable[[str], Thing]) -> None:
        self._make = make

    def __missing__(self, name: str) -> Thing:
        return self.setdefault(name, self._make(name))


@pytest.fixture(scope="session")
def cases() -> dict[str, ReportInputs]:
    return Made(lambda name: several(SEVERAL[name], error="withheld" in name) if name in SEVERAL else case(name))


@pytest.fixture(scope="session")
def pages(cases: dict[str, ReportInputs]) -> dict[str, str]:
    return Made(lambda name: render(cases[name]))
