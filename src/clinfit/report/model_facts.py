"""The label on the model: one page of facts, uses and warnings, after the Model Facts label of Sendak et al. (2020).

What only a person knows is said to be missing, never guessed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clinfit.evaluation.results import TaskResult
from clinfit.evaluation.system_results import SystemResult
from clinfit.report.checklist import TO_COMPLETE
from clinfit.report.format import count, text_of
from clinfit.report.glossary import definition
from clinfit.report.models import run_name
from clinfit.report.tables import best, cell_of
from clinfit.study import Study, study_hash

#: Beside the primary metric.
VALIDATION = ("auroc", "sensitivity", "specificity", "ppv", "npv", "accuracy", "macro_f1", "balanced_accuracy")
SHOWN = 5


@dataclass(frozen=True)
class Line:
    """missing: whether a person has to complete it."""

    text: str
    missing: bool = False


@dataclass(frozen=True)
class ModelFacts:
    """rows: heading -> its lines, in the order of the label."""

    name: str
    rows: list[tuple[str, list[Line]]]


def model_facts(
    name: str,
    task: TaskResult,
    study: Study,
    described: Mapping[str, Any],
    records: Sequence[Mapping[str, Any]],
) -> ModelFacts | None:
    """The facts of the best trained model, else of the best simple one; None where there is no system.

    described: data/<task>.json. records: the run.json of all models.
    """
    system = best(task, simple=False) or best(task, simple=True)
    if system is None:
        return None
    record = next((r for r in records if run_name(r) == f"{system['model']}-seed{system['seed']}"), {})
    rows = [
        ("Name", [Line(system["name"])]),
        ("Version", _version(study, record)),
        ("Task", _task(name, task, study)),
        ("Population", _population(task, described)),
        ("Mechanism", _mechanism(system, record)),
        ("Validation", _validation(task, system)),
        ("Uses and directions", _uses(study, task, system)),
        ("Warnings", _warnings(task, system)),
        ("Do not use", [Line("on records unlike those of the test split, or elsewhere without validation there")]),
    ]
    return ModelFacts(system["name"], rows)


def _missing(what: str) -> Line:
    return Line(f"{what}: {TO_COMPLETE}", missing=True)


def _version(study: Study, record: Mapping[str, Any]) -> list[Line]:
    stages = record.get("stages", {})
    model = stages[max(stages, key=int)].get("model") if stages else None
    lines = [Line(f"study {study.name}, {study_hash(study)[:12]}")]
    return [*lines, Line(f"model {str(model)[:12]}")] if model else lines


def _task(name: str, task: TaskResult, study: Study) -> list[Line]:
    inputs = ", ".join(study.tasks[name].data.columns)
    source = f" from {inputs}" if inputs else ""
    return [Line(f"answers {name}{source} with one of {', '.join(task['labels'])}")]


def _population(task: TaskResult, described: Mapping[str, Any]) -> list[Line]:
    sizes = ", ".join(f"{split} {count(entry['n'])}" for split, entry in task["counts"].items())
    lines = [Line(f"records: {sizes}")]
    if described.get("source"):
        lines.append(Line(f"source: {text_of(described['source'])}"))
    return [*lines, _missing("who they are, where and when")]


def _mechanism(system: SystemResult, record: Mapping[str, Any]) -> list[Line]:
    spec = record.get("spec", {})
    kinds = (f"{system['family']} model" if system["family"] else "", spec.get("kind", ""))
    base = f"base {spec['base']}" if spec.get("base") else ""
    told = ", ".join(filter(None, [*kinds, base]))
    threshold = system["threshold"]
    rule = "the most probable label"
    if threshold["value"] is not None:
        rule = f"threshold {threshold['value']:.3f}, by the rule {threshold['rule']}"
    return [Line(told) if told else _missing("kind of model"), Line(f"decision: {rule}")]


def _validation(task: TaskResult, system: SystemResult) -> list[Line]:
    if task["withheld"]:
        return [Line("the numbers are withheld: see the verdict")]
    names = [task["primary"], *(name for name in VALIDATION if name != task["primary"])]
    lines = []
    for name in [known for known in names if known in system["metrics"]][:SHOWN]:
        lines.append(Line(f"{definition(name).title} {cell_of(system, name).plain}"))
    return [
        *lines,
        Line("on the test split of this study; whether that is another place or time, the author knows"),
    ]


def _uses(study: Study, task: TaskResult, system: SystemResult) -> list[Line]:
    asked = [Line(f"what the study asks: {study.description}")] if study.description else []
    advice = [Line(sentence) for sentence in task["advice"] if system["name"] in sentence]
    return [*asked, *advice, _missing("users and place in the care pathway")]


def _warnings(task: TaskResult, system: SystemResult) -> list[Line]:
    """Errors and warnings about the data or this system, and that it is for research."""
    told = [f for f in task["findings"] if f["level"] != "info" and f["system"] in (None, system["name"])]
    return [Line("for research only"), *(Line(title) for title in dict.fromkeys(f["title"] for f in told))]
