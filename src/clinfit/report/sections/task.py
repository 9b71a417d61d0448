"""What is shown of a task beside its first pages: views in chapters, in the order in which they are shown.

A view is one function from the subject, which holds the task's sections, to what one template shows; it is shown when
the function finds something to show. A new section of the results gets its view here, and a test asks for it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from clinfit.report.glossary import definition
from clinfit.report.sections.answers.abstention import abstention_view, contrast_view
from clinfit.report.sections.answers.confusion import confusion_view
from clinfit.report.sections.answers.errors import doubtful_labels, errors_view
from clinfit.report.sections.answers.extracted import extracted_view
from clinfit.report.sections.answers.labels import labels_view
from clinfit.report.sections.answers.options import positions_view, scorings_view
from clinfit.report.sections.answers.set_errors import set_errors_view
from clinfit.report.sections.answers.texts import doubtful_view, texts_view
from clinfit.report.sections.first.verdict import findings_view, scope, verdict_view
from clinfit.report.sections.performance.checks import canaries_view
from clinfit.report.sections.performance.comparison import comparison_view
from clinfit.report.sections.performance.decisions import decisions_view
from clinfit.report.sections.performance.explorer import explorer
from clinfit.report.sections.performance.folds import folds_view
from clinfit.report.sections.performance.panels import panels
from clinfit.report.sections.performance.refit import refit_view
from clinfit.report.sections.performance.subgroups import subgroup_views
from clinfit.report.sections.records.characteristics import characteristics_view
from clinfit.report.sections.records.cohort import data_view
from clinfit.report.sections.records.external import external_view
from clinfit.report.sections.records.freeze import freeze_view
from clinfit.report.sections.subject import Subject
from clinfit.report.sections.systems.importance import importance_view
from clinfit.report.sections.systems.language import language_view
from clinfit.report.sections.systems.model_facts import model_facts
from clinfit.report.sections.systems.search import search_view
from clinfit.report.sections.systems.systems import cost_view, systems_view

#: The chapters of a task in the appendix, in their order, with what each holds.
FINDINGS, MODEL, ANSWERS = "Findings and uses", "The model", "Probabilities, thresholds and answers"
SYSTEMS, RECORDS, ERRORS = "All systems compared", "Records and groups", "Errors"
CHAPTERS = (FINDINGS, MODEL, ANSWERS, SYSTEMS, RECORDS, ERRORS)


@dataclass(frozen=True)
class View:
    """template: in templates/task/. sections: the sections of the results that it shows, of the task and of systems;
    what every task has beside them needs no name. chapter: where it stands."""

    template: str
    make: Callable[[Subject], Any]
    sections: Sequence[str] = ()
    chapter: str = MODEL


VIEWS = (
    View("findings", findings_view, chapter=FINDINGS),
    View("external", external_view, ("external",), FINDINGS),
    View("freeze", freeze_view, ("freeze",), FINDINGS),
    View("checks", canaries_view, ("canaries",), FINDINGS),
    View("facts", model_facts),
    View("search", search_view),
    View("importance", importance_view, ("importance", "weights")),
    View("clinical", panels, ("curves",), ANSWERS),
    View("thresholds", explorer, ("threshold",), ANSWERS),
    View("confusion", confusion_view, ("confusion", "classes"), ANSWERS),
    View("labels", labels_view, ("label_thresholds", "classes"), ANSWERS),
    View("scorings", scorings_view, ("scorings",), ANSWERS),
    View("positions", positions_view, ("positions", "classes"), ANSWERS),
    View("decisions", decisions_view, ("recalibration", "threshold", "referral", "selective", "conformal"), ANSWERS),
    View("texts", texts_view, ("text_metrics", "written"), ANSWERS),
    View("extracted", extracted_view, ("extracted",), ANSWERS),
    View("abstention", abstention_view, ("abstention",), ANSWERS),
    View("contrast", contrast_view, ("contrast",), ANSWERS),
    View("systems", systems_view, ("chance",), SYSTEMS),
    View("folds", folds_view, ("cross_validation", "folds"), SYSTEMS),
    View("refit", refit_view, ("refit",), SYSTEMS),
    View("comparison", comparison_view, chapter=SYSTEMS),
    View("cost", cost_view, ("pareto",), SYSTEMS),
    View("language", language_view, ("language", "generated"), SYSTEMS),
    View("data", data_view, ("shift", "leakage"), RECORDS),
    View("characteristics", characteristics_view, ("characteristics",), RECORDS),
    View("subgroups", subgroup_views, ("subgroups",), RECORDS),
    View("errors", errors_view, ("errors",), ERRORS),
    View("set_errors", set_errors_view, ("set_errors",), ERRORS),
    View("doubtful_texts", doubtful_view, ("doubtful_texts",), ERRORS),
    View("doubtful_labels", doubtful_labels, ("label_errors",), ERRORS),
)

#: What a comparison of several runs shows.
ACROSS = (
    View("verdict", verdict_view, chapter=FINDINGS),
    *(view for view in VIEWS if view.template in ("findings", "systems", "comparison", "cost")),
)


@dataclass(frozen=True)
class Chapter:
    """shown: templates and what they show."""

    anchor: str
    title: str
    shown: list[tuple[str, Any]]


@dataclass(frozen=True)
class TaskView:
    """primary: title of the primary metric. chapters: those that have anything to show."""

    name: str
    anchor: str
    confidence: str
    scope: str
    primary: str
    chapters: list[Chapter]

    @property
    def shown(self) -> list[tuple[str, Any]]:
        return [entry for chapter in self.chapters for entry in chapter.shown]

    def has(self, template: str) -> bool:
        return any(name == template for name, _ in self.shown)


def task_view(subject: Subject, views: Sequence[View] = VIEWS) -> TaskView:
    made = [(view, view.make(subject)) for view in views]
    chapters = [
        Chapter(
            f"{subject.anchor}-chapter{number}",
            title,
            [(view.template, found) for view, found in made if found and view.chapter == title],
        )
        for number, title in enumerate(CHAPTERS, 1)
    ]
    return TaskView(
        subject.name,
        subject.anchor,
        f"{subject.confidence:.0%}",
        scope(subject.task),
        definition(subject.task["primary"]).title,
        [chapter for chapter in chapters if chapter.shown],
    )
