"""The label on the model: one page of facts, uses and warnings, after the Model Facts label of Sendak et al. (2020).

What only a person knows is said to be missing, never guessed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clinfit.evaluation.results import TaskResult
from clinfit.evaluation.system_results import SystemResult
from clinfit.report.checklists.build import TO_COMPLETE
from clinfit.report.format import count, text_of
from clinfit.report.glossary import definition
from clinfit.report.kinds import asked, kind_of
from clinfit.report.section import section
from clinfit.report.sections.first.verdict import where, why_model
from clinfit.report.sections.subject import Subject
from clinfit.report.sections.systems.models import run_name
from clinfit.report.sections.systems.search import searched_words
from clinfit.report.tables import cell_of, rule_in_force, the_model
from clinfit.study.schema import Study, study_hash

#: Metrics, the primary one among them.
SHOWN = 5


@dataclass(frozen=True)
class Line:
    """missing: whether a person has to complete it."""

    text: str
    missing: bool = False


@dataclass(frozen=True)
class ModelFacts:
    """why: how the model was chosen. rows: heading -> its lines, in the order of the label."""

    name: str
    why: str
    rows: list[tuple[str, list[Line]]]


def model_facts(subject: Subject) -> ModelFacts | None:
    """The facts of the model; None where none was chosen, and for a comparison of several runs, which has no study of
    its own."""
    task, study = subject.task, subject.study
    system = the_model(task)
    if system is None or study is None:
        return None
    run = f"{system['model']}-seed{system['seed']}"
    record = next((record for record in subject.records if run_name(record) == run), {})
    rows = [
        ("Name", [Line(system["name"])]),
        ("Version", _version(study, record)),
        ("Task", _task(subject.name, task, study)),
        ("Population", _population(task, subject.described)),
        ("Mechanism", _mechanism(system, record)),
        ("Validation", _validation(task, system)),
        ("Uses and directions", _uses(study, task, system)),
        ("Warnings", _warnings(task, system)),
        ("Do not use", [Line("on records unlike those of the study, or elsewhere without validation there")]),
    ]
    return ModelFacts(system["name"], why_model(task), rows)


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
    return [Line(f"answers {name}{source} with {asked(task)}")]


def _population(task: TaskResult, described: Mapping[str, Any]) -> list[Line]:
    sizes = ", ".join(f"{split} {count(entry['n'])}" for split, entry in task["counts"].items() if entry["n"])
    divided = section(task, "cross_validation")
    lines = [Line(f"records: {sizes}" + (f", in {divided['words']}" if divided else ""))]
    if described.get("source"):
        lines.append(Line(f"source: {text_of(described['source'])}"))
    return [*lines, _missing("who they are, where and when")]


def _mechanism(system: SystemResult, record: Mapping[str, Any]) -> list[Line]:
    spec = record.get("spec", {})
    kinds = (f"{system['family']} model" if system["family"] else "", spec.get("kind", ""))
    base = f"base {spec['base']}" if spec.get("base") else ""
    told = ", ".join(filter(None, [*kinds, base]))
    searched = [Line(searched_words(record["search"]))] if "search" in record else []
    return [Line(told) if told else _missing("kind of model"), *searched, Line(f"decision: {_decision(system)}")]


def _decision(system: SystemResult) -> str:
    """How a probability becomes an answer, or that none does."""
    if section(system, "written"):
        return "none: the text is given as it is written"
    if section(system, "label_thresholds"):
        return "each label from its own probability on, see the table of labels"
    threshold = section(system, "threshold")
    return "the most probable answer" if threshold is None else rule_in_force(system) or "the most probable answer"


def _validation(task: TaskResult, system: SystemResult) -> list[Line]:
    names = [task["primary"], *(name for name in kind_of(task).facts if name != task["primary"])]
    lines = []
    for name in [known for known in names if known in system["metrics"]][:SHOWN]:
        lines.append(Line(f"{definition(name).title} {cell_of(system, name).plain}"))
    return [
        *lines,
        Line(f"{where(task)}, in this study; whether that is another place or time, the author knows"),
    ]


def _uses(study: Study, task: TaskResult, system: SystemResult) -> list[Line]:
    asked = [Line(f"what the study asks: {study.description}")] if study.description else []
    advice = [Line(sentence) for sentence in task["advice"] if system["name"] in sentence]
    return [*asked, *advice, _missing("users and place in the care pathway")]


def _warnings(task: TaskResult, system: SystemResult) -> list[Line]:
    """Errors and warnings about the data or this system, and that it is for research."""
    told = [f for f in task["findings"] if f["level"] != "info" and f["system"] in (None, system["name"])]
    return [Line("for research only"), *(Line(title) for title in dict.fromkeys(f["title"] for f in told))]
