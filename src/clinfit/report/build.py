"""The report: one HTML file that needs nothing but itself, made from results alone.

No model, no torch, no network and no patient text: what goes in is metrics.json, the records of the run (study, data
description, environment, model records) and the training logs.
"""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import clinfit
from clinfit.evaluation.results import Results
from clinfit.report.checklist import checklists
from clinfit.report.format import flatten
from clinfit.report.glossary import MEANINGS, TERMS, definition
from clinfit.report.model_facts import model_facts
from clinfit.report.models import failures, model_view, training_figures
from clinfit.report.task import task_view
from clinfit.study import Study, study_hash, study_yaml

DISCLAIMER = (
    "This report and the models it describes are for research. They are not a medical device and must not be used in "
    "the care of patients without validation on the population and in the setting of use, and without the approval "
    "that applies there. The results hold for the tested records only; performance elsewhere may be worse. Decisions "
    "about a patient are made by the person who is responsible for the patient, never by the model."
)


@dataclass(frozen=True)
class ReportInputs:
    """Everything that a report is made from.

    results: metrics.json. study: the resolved study. data: data/<task>.json by task. environment: environment.json.
    models: the run.json of every model and seed, failed ones too. logs: the rows of log.jsonl by run name
    (`<model>-seed<seed>`) and stage. command: what to type to get these results again.
    """

    results: Results
    study: Study
    data: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    models: Sequence[Mapping[str, Any]] = ()
    logs: Mapping[tuple[str, int], Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    command: str = "clinfit run study.yaml"


def write_report(inputs: ReportInputs, path: Path) -> None:
    """Write the page; the same inputs give the same bytes."""
    path.write_text(render(inputs), encoding="utf-8")


def render(inputs: ReportInputs) -> str:
    """The page as text."""
    environment = templates()
    known = context(inputs)
    body = Markup(environment.get_template("body.html.j2").render(known))
    known["checklists"] = checklists(inputs, {entry.anchor: entry.title for entry in contents(body)})
    ending = Markup(environment.get_template("end.html.j2").render(known))
    page = {"body": body, "ending": ending, "contents": contents(body + ending)}
    return environment.get_template("report.html.j2").render(known | page)


def templates() -> Environment:
    """The report's templates: text is escaped, and a name that is not given is an error."""
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
    failed = failures(inputs.models)
    tasks = [
        task_view(
            number,
            name,
            task,
            results["confidence"],
            inputs.data.get(name, {}),
            failed,
            inputs.models,
            study.evaluation.decision_range,
        )
        for number, (name, task) in enumerate(results["tasks"].items())
    ]
    primary = next((task["primary"] for task in results["tasks"].values()), study.evaluation.primary)
    script = explorer_script() if any(task.explorer for task in tasks) else ""
    return {
        "script": Markup(script),
        "script_hash": script_hash(script),
        "css": Markup(resources.files("clinfit.report").joinpath("templates/style.css").read_text(encoding="utf-8")),
        "version": clinfit.__version__,
        "study": study,
        "tasks": tasks,
        "model_facts": {
            name: model_facts(name, task, study, inputs.data.get(name, {}), inputs.models)
            for name, task in results["tasks"].items()
        },
        "training": training_figures(inputs.models, inputs.logs, primary),
        "models": [model_view(record) for record in inputs.models],
        "command": inputs.command,
        "provenance": provenance(inputs),
        "environment": flatten(inputs.environment),
        "study_yaml": study_yaml(study),
        "disclaimer": DISCLAIMER,
        "glossary": [(definition(name), meaning) for name, meaning in MEANINGS.items()],
        "terms": TERMS,
    }


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


def explorer_script() -> str:
    """The page's only script; left out where no task has anything to explore."""
    return resources.files("clinfit.report").joinpath("templates/explorer.js").read_text(encoding="utf-8")


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
