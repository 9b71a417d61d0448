"""A study of three tasks of three kinds on the same few texts, and models trained on it, without a run."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from clinfit.data.records import Record
from clinfit.evaluation.decisions.thresholds import ThresholdChoice
from clinfit.evaluation.results import Results
from clinfit.files import hash_folder
from clinfit.models.base import Lesson, Model, Workspace
from clinfit.models.families import create_model
from clinfit.packs.write import Trained
from clinfit.study.data import Data, InputColumn
from clinfit.study.schema import Study
from clinfit.study.tasks import Classification, Multilabel, MultipleChoice, Task
from small_study import CANARY

TEXT: dict[str, InputColumn | str] = {
    "text": InputColumn(column="text"),
    "age": InputColumn(column="age", type="number", unit="years"),
}
QUESTION: dict[str, InputColumn | str] = {name: name for name in ("question", "first", "second", "third")}
TASKS: dict[str, Task] = {
    "cancer": Classification(labels=["no", "yes"], data=Data(path="data.csv", inputs=TEXT)),
    "organs": Multilabel(kind="multilabel", labels=["lung", "skin", "heart"], data=Data(path="data.csv", inputs=TEXT)),
    "next": MultipleChoice(
        kind="multiple-choice", options=["first", "second", "third"], data=Data(path="data.csv", inputs=QUESTION)
    ),
}
#: label -> threshold of the multilabel task.
THRESHOLDS = {"lung": 0.3, "skin": 0.5, "heart": 0.05}


def records(name: str, n: int = 24) -> list[Record]:
    """Labelled records of a task; every text holds the canary."""
    return [replace(_record(name, k), task=name) for k in range(n)]


def _record(name: str, k: int) -> Record:
    text = f"Case {k}: {'tumour' if k % 3 == 0 else 'fracture'} of the {'lung' if k % 2 else 'skin'}, {CANARY}."
    if name == "next":
        words = ["rest", "surgery", "aspirin"]
        inputs = {"question": text} | {option: words[(k + j) % 3] for j, option in enumerate(QUESTION) if j}
        return Record(f"r{k}", f"g{k}", {**inputs, **dict(zip(list(QUESTION)[1:], words, strict=True))}, "ABC"[k % 3])
    target = ("no", "yes")[k % 3 == 0] if name == "cancer" else ("lung",) if k % 2 else ("skin", "heart")[: 1 + k % 4]
    return Record(f"r{k}", f"g{k}", {"text": text, "age": float(30 + k)}, target)


def study_of(*models: Mapping[str, Any], tasks: Mapping[str, Task] = TASKS) -> Study:
    return Study.model_validate({"name": "three", "tasks": dict(tasks), "models": list(models)})


def train(study: Study, folder: Path) -> tuple[list[Trained], dict[str, Model]]:
    """Every model of the study trained on its tasks, saved below the folder; by name, as it was before it was saved."""
    trained, models = [], {}
    for spec in study.models:
        tasks = study.tasks_of(spec)
        lesson = Lesson([record for name in tasks for record in records(name)], [], dict.fromkeys(tasks, 1.0))
        model = create_model(spec, tasks, 42)
        summary = model.fit(lesson, Workspace(folder / spec.name / "work"))
        saved = folder / spec.name / "model"
        model.save(saved)
        models[spec.name] = model
        trained.append(
            Trained(
                run=f"{spec.name}-seed42",
                spec=spec.model_dump(mode="json"),
                seed=42,
                stage=1,
                sha256=hash_folder(saved),
                details=summary.details,
                model=saved,
                pack=folder / spec.name / "pack",
            )
        )
    return trained, models


def results_of(study: Study, withheld: Mapping[str, str] | None = None) -> Results:
    """What the evaluation would say of the models, as far as packs read it. withheld: task -> why."""
    return {"confidence": 0.95, "tasks": {name: _task(study, name, withheld or {}) for name in study.tasks}}  # type: ignore


def _task(study: Study, name: str, withheld: Mapping[str, str]) -> dict[str, Any]:
    finding = {"level": "error", "title": withheld.get(name, ""), "evidence": "", "advice": "", "system": None}
    return {
        "kind": study.tasks[name].kind,
        "labels": study.tasks[name].labels,
        "primary": "macro_f1" if study.tasks[name].kind == "multilabel" else "accuracy",
        "withheld": name in withheld,
        "findings": [finding] if name in withheld else [],
        "verdict": [],
        "sections": {},
        "systems": [_system(study.tasks[name], spec.name) for spec in study.models if name in study.tasks_of(spec)],
    }


def _system(task: Task, model: str) -> dict[str, Any]:
    one = ThresholdChoice("fixed", 0.25, words="a fixed value").as_dict()
    many = {label: ThresholdChoice("f1", value).as_dict() for label, value in THRESHOLDS.items()}
    threshold = {"classification": one, "multilabel": many, "multiple-choice": None}[task.kind]
    system = {"name": model, "model": model, "seed": 42, "stage": 1, "moment": None, "n": 24, "metrics": {}}
    return system | {"sections": {} if threshold is None else {"threshold": threshold}}


def described(study: Study) -> dict[str, Any]:
    """What data/<task>.json would say, as far as packs read it."""
    return {name: {"inputs": {key: {"seen": None} for key in task.data.inputs}} for name, task in study.tasks.items()}
