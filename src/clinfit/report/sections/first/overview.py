"""The summary of a report on several tasks: how each of them stands, on the first page."""

from collections.abc import Sequence
from dataclasses import dataclass

from clinfit.evaluation.results import TaskResult
from clinfit.evaluation.system_results import SystemResult
from clinfit.report.format import NOTHING, Cell, count
from clinfit.report.glossary import definition
from clinfit.report.kinds import asked_briefly
from clinfit.report.sections.first.verdict import findings, level_of, scope
from clinfit.report.sections.subject import Subject
from clinfit.report.tables import baseline, best_neural, cell_of, the_model

#: Sentences of the verdict that the summary repeats; the chapter has them all.
SENTENCES = 2


@dataclass(frozen=True)
class Standing:
    """One system and its value of the primary metric. role: why it is shown."""

    role: str
    system: str
    value: Cell


@dataclass(frozen=True)
class TaskLine:
    """One task. level: error, warn or ok. findings: 2 warnings; no warnings."""

    name: str
    anchor: str
    level: str
    asked: str
    scope: str
    primary: str
    standings: list[Standing]
    findings: str
    sentences: list[str]


def overview(subjects: Sequence[Subject]) -> list[TaskLine]:
    """A line a task, in the order of the study; nothing for a single task, whose chapter is its own summary."""
    return [task_line(subject) for subject in subjects] if len(subjects) > 1 else []


def task_line(subject: Subject) -> TaskLine:
    task = subject.task
    return TaskLine(
        subject.name,
        subject.anchor,
        level_of(task),
        asked_briefly(task),
        scope(task),
        definition(task["primary"]).title,
        standings(task),
        findings_in_words(task),
        task["verdict"][:SENTENCES],
    )


def standings(task: TaskResult) -> list[Standing]:
    """The model and the baseline; where they are one, the best language model too. Nothing where the numbers are
    withheld: none was chosen then."""
    if task["withheld"]:
        return []
    model, reference = the_model(task), baseline(task)
    shown: list[tuple[str, SystemResult | None]] = [("the model", model), ("baseline", reference)]
    if model is not None and model is reference:
        shown = [("the model, and the baseline", model), ("best language model", best_neural(task))]
    return [
        Standing(role, "none" if system is None else system["name"], _value(system, task["primary"]))
        for role, system in shown
    ]


def _value(system: SystemResult | None, metric: str) -> Cell:
    return NOTHING if system is None else cell_of(system, metric)


def findings_in_words(task: TaskResult) -> str:
    """1 error, 2 warnings."""
    said = [_counted(len(findings(task, level)), word) for level, word in (("error", "error"), ("warn", "warning"))]
    return ", ".join(filter(None, said)) or "no warnings"


def _counted(n: int, word: str) -> str:
    return "" if not n else f"{count(n)} {word}" if n == 1 else f"{count(n)} {word}s"
