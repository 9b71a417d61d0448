"""The report: one HTML file that needs nothing but itself, made from results alone.

No model, no torch, no network and no patient text: what goes in is metrics.json, the records of the run (study, data
description, environment, model records) and the training logs.
"""

import base64
import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import clinfit
from clinfit.evaluation.results import Results
from clinfit.report.checklists.build import checklists
from clinfit.report.format import flatten
from clinfit.report.gloss import glossed
from clinfit.report.glossary import GLOSSES, MEANINGS, TERMS, definition
from clinfit.report.inputs import ReportInputs
from clinfit.report.notices import notices
from clinfit.report.sections.first.front import front
from clinfit.report.sections.first.overview import overview
from clinfit.report.sections.subject import Subject
from clinfit.report.sections.systems.models import failures, model_view, run_name, training_figures
from clinfit.report.sections.systems.stages import stages_view
from clinfit.report.sections.task import task_view
from clinfit.study.load import study_yaml
from clinfit.study.schema import study_hash

DISCLAIMER = (
    "This report and the models it describes are for research. They are not a medical device and must not be used in "
    "the care of patients without validation on the population and in the setting of use, and without the approval "
    "that applies there. The results hold for the tested records only; performance elsewhere may be worse. Decisions "
    "about a patient are made by the person who is responsible for the patient, never by the model."
)


def write_report(inputs: ReportInputs, path: Path) -> None:
    """Write the page; the same inputs give the same bytes."""
    path.write_text(render(inputs), encoding="utf-8")


def render(inputs: ReportInputs, known: Mapping[str, Any] | None = None) -> str:
    """The page as text. known: its context, where it was made before."""
    environment = templates()
    known = dict(known or context(inputs))
    first, body = (Markup(environment.get_template(f"{name}.html.j2").render(known)) for name in ("first", "body"))
    known["checklists"] = checklists(
        inputs, {entry.anchor: entry.title for entry in contents(first + body)}, anchors(inputs.results)
    )
    ending = Markup(environment.get_template("end.html.j2").render(known))
    page = {
        "first": glossed(first, GLOSSES),
        "body": glossed(body, GLOSSES),
        "ending": ending,
        "contents": contents(first),
        "appendix": contents(body + ending),
    }
    return environment.get_template("report.html.j2").render(known | page)


@cache
def templates() -> Environment:
    """The report's templates, each compiled once: text is escaped, and a name that is not given is an error."""
    return Environment(
        loader=PackageLoader("clinfit.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def context(inputs: ReportInputs) -> dict[str, Any]:
    """What the templates may use."""
    results, study = inputs.results, inputs.study
    subjects = subjects_of(inputs)
    tasks, script = [task_view(subject) for subject in subjects], page_script()
    primaries = {name: task["primary"] for name, task in results["tasks"].items()}
    return {
        "script": Markup(script),
        "script_hash": script_hash(script),
        "css": Markup(resources.files("clinfit.report").joinpath("templates/style.css").read_text(encoding="utf-8")),
        "version": clinfit.__version__,
        "study": study,
        "notices": notices(results),
        "tasks": tasks,
        "overview": overview(subjects),
        "fronts": [front(subject) for subject in subjects],
        "stages": stages_view(results),
        "training": training_figures(inputs.models, inputs.logs, primaries),
        "models": [model_view(record) for record in inputs.models],
        "command": inputs.command,
        "provenance": provenance(inputs),
        "environment": flatten(inputs.environment),
        "study_yaml": study_yaml(study),
        "disclaimer": DISCLAIMER,
        "glossary": [(definition(name), meaning) for name, meaning in MEANINGS.items()],
        "terms": TERMS,
    }


def subjects_of(inputs: ReportInputs) -> list[Subject]:
    """Every task with what its chapter is made from; models that did not finish stand with the tasks they were for."""
    failed, study = failures(inputs.models), inputs.study
    return [
        Subject(
            name=name,
            anchor=anchor,
            task=inputs.results["tasks"][name],
            confidence=inputs.results["confidence"],
            study=study,
            described=inputs.data.get(name, {}),
            failures={run: why for run, why in failed.items() if name in tasks_of_run(run, inputs)},
            records=inputs.models,
        )
        for name, anchor in anchors(inputs.results).items()
    ]


def tasks_of_run(run: str, inputs: ReportInputs) -> Collection[str]:
    """The tasks that a run was for; all of them where the study does not know its model."""
    models = {run_name(record): record["model"] for record in inputs.models}
    spec = next((spec for spec in inputs.study.models if spec.name == models[run]), None)
    return inputs.study.tasks if spec is None else inputs.study.tasks_of(spec)


def anchors(results: Results) -> dict[str, str]:
    """Task -> the beginning of every id of its chapter."""
    return {name: f"task{number}" for number, name in enumerate(results["tasks"], 1)}


@dataclass(frozen=True)
class Entry:
    """A line of the contents. level: 2 for a chapter, 3 for a section of it."""

    level: int
    anchor: str
    title: str


HEADING = re.compile(r'<h([23])[^>]* id="([^"]+)"[^>]*>(.*?)</h\1>', re.DOTALL)


def contents(page: Markup) -> list[Entry]:
    """Every heading of the page that has an id, in its order: the contents cannot name what is not there."""
    return [Entry(int(level), anchor, Markup(title).striptags()) for level, anchor, title in HEADING.findall(page)]


def page_script() -> str:
    """The page's only script; the page says the same without it."""
    return resources.files("clinfit.report").joinpath("templates/page.js").read_text(encoding="utf-8")


def script_hash(script: str) -> str:
    """What the page's security policy must name for the browser to run exactly this script and no other."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def provenance(inputs: ReportInputs) -> list[tuple[str, str]]:
    """What identifies the run: hashes, version, commit, seeds."""
    rows = [
        ("study (SHA-256)", study_hash(inputs.study)),
        ("seeds", ", ".join(map(str, inputs.study.seeds))),
        ("clinfit", clinfit.__version__),
        ("commit", inputs.environment.get("commit") or "—"),
        ("intervals", f"{inputs.results['confidence']:.0%}, {inputs.results['bootstrap']} bootstrap resamples"),
        ("format of metrics.json", inputs.results["format"]),
    ]
    for task, described in inputs.data.items():
        if "fingerprint" in described:
            rows.append((f"data of {task}", str(described["fingerprint"])))
    return rows
