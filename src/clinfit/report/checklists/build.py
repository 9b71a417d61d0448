"""TRIPOD+AI and TRIPOD-LLM as tables: what the run reports, what it drafts, and what is left to the author.

The items are data (`checklists/*.yaml`); the answers are in `data_items.py` and `model_items.py`. An item that
only a person can answer (fill H) names no resolver and is never filled in.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal

import yaml

from clinfit.report.checklists import data_items as data
from clinfit.report.checklists import model_items as models
from clinfit.report.checklists.answer import MISSING, Answer, Resolver
from clinfit.report.tables import SIMPLE_FAMILIES

if TYPE_CHECKING:
    from clinfit.report.inputs import ReportInputs

ANSWERS: dict[str, Resolver] = {
    resolver.__name__: resolver
    for resolver in (
        data.title, data.abstract, data.objectives, data.data_sources, data.dates, data.outcome,
        data.predictor_definitions, data.fairness, data.data_availability, data.interpretation, data.limitations,
        data.preparation, data.predictors, data.sample_size, data.missing_data, data.partition, data.held_out,
        data.shift, data.flow, data.characteristics, data.events, models.handling, models.model_building,
        models.imbalance, models.missing_and_imbalanced, models.output, models.updating, models.calculation,
        models.clusters, models.measures, models.full_model, models.code, models.performance, models.prespecified,
        models.comparison, models.llm_name, models.llm_settings, models.llm_tuning, models.llm_output,
        models.generated, models.prompt, models.no_summaries, models.no_alignment, models.compute,
    )
}  # fmt: skip

#: What a task shows in the place of a section that its kind does not have.
INSTEAD = {"confusion": "labels"}

TO_COMPLETE = "not reported: author to complete"


@dataclass(frozen=True)
class Item:
    """fill: A from the run, S drafted from the study, H by a person; resolver: a key of ANSWERS, None for H."""

    id: str
    topic: str
    fill: Literal["A", "S", "H"]
    resolver: str | None = None


@dataclass(frozen=True)
class Checklist:
    name: str
    source: str
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Row:
    """One line of the table. links: id and words of the headings where the report shows it."""

    id: str
    topic: str
    status: str
    words: str
    text: str
    links: list[tuple[str, str]]


@dataclass(frozen=True)
class ChecklistView:
    name: str
    anchor: str
    source: str
    score: str
    rows: list[Row]


@cache
def read_checklist(name: Literal["tripod_ai", "tripod_llm"]) -> Checklist:
    file = resources.files("clinfit.report").joinpath(f"checklists/{name}.yaml")
    content: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return Checklist(content["name"], content["source"], tuple(Item(**row) for row in content["rows"]))


def checklists(inputs: "ReportInputs", headings: Mapping[str, str], anchors: Mapping[str, str]) -> list[ChecklistView]:
    """The checklists that apply; TRIPOD-LLM unless all models are simple ones.

    headings: id -> title in the page. anchors: task -> the beginning of the ids of its chapter.
    """
    systems = [system for task in inputs.results["tasks"].values() for system in task["systems"]]
    names: list[Literal["tripod_ai", "tripod_llm"]] = ["tripod_ai"]
    if any(system["family"] not in SIMPLE_FAMILIES for system in systems):
        names.append("tripod_llm")
    return [_view(name, read_checklist(name), inputs, headings, anchors) for name in names]


def answer(item: Item, inputs: "ReportInputs") -> Answer:
    """What the run says to an item; nothing to one that is a person's."""
    return MISSING if item.fill == "H" or item.resolver is None else ANSWERS[item.resolver](inputs)


def _view(
    name: str,
    checklist: Checklist,
    inputs: "ReportInputs",
    headings: Mapping[str, str],
    anchors: Mapping[str, str],
) -> ChecklistView:
    answers = [answer(item, inputs) for item in checklist.items]
    rows = [
        _row(item, given, links(given.section, headings, anchors))
        for item, given in zip(checklist.items, answers, strict=True)
    ]
    return ChecklistView(checklist.name, name.replace("_", "-"), checklist.source, score(answers), rows)


def links(section: str, headings: Mapping[str, str], anchors: Mapping[str, str]) -> list[tuple[str, str]]:
    """Where the report shows an answer: the section of every task that has it, else the one of the whole report.

    A section that the page does not have (a figure that a task cannot give) is not pointed to.
    """
    found = []
    for task, anchor in anchors.items():
        ids = (f"{anchor}-{name}" for name in (section, INSTEAD.get(section, section)))
        shown = next((known for known in ids if known in headings), None)
        if shown is not None:
            found.append((shown, headings[shown] if len(anchors) == 1 else f"{headings[shown]} ({task})"))
    if not found and section in headings:
        return [(section, headings[section])]
    return found


def score(answers: Sequence[Answer]) -> str:
    """Reported of the applicable items, in words; drafts and half answers are told apart and do not count."""
    counts = Counter(given.status for given in answers)
    applicable = len(answers) - counts["not applicable"]
    return (
        f"{counts['reported']} of {applicable} applicable items are reported, {counts['partly']} partly, "
        f"{counts['draft']} drafted for the author to confirm; {counts['missing']} are left to the author."
    )


def _row(item: Item, given: Answer, shown: list[tuple[str, str]]) -> Row:
    words = {
        "reported": "reported",
        "partly": "partly",
        "draft": "draft: author to confirm",
        "not applicable": "not applicable",
        "missing": TO_COMPLETE,
    }[given.status]
    return Row(item.id, item.topic, given.status.replace(" ", "-"), words, given.text, shown)
