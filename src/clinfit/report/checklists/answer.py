"""One answer to an item of a reporting checklist, and what all answers are made with."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from clinfit.evaluation.results import TaskResult
from clinfit.study.models import Neural
from clinfit.study.remote import Remote

if TYPE_CHECKING:
    from clinfit.report.inputs import ReportInputs

Status = Literal["reported", "partly", "draft", "not applicable", "missing"]


@dataclass(frozen=True)
class Answer:
    """section: where the report shows it, as the end of a heading's id (`data`, `systems`, `models`), '' for nowhere.

    text: what is reported; for `not applicable` the reason.
    """

    status: Status
    text: str = ""
    section: str = ""


MISSING = Answer("missing")
Resolver = Callable[["ReportInputs"], Answer]


def reported(text: str, section: str) -> Answer:
    return Answer("reported", text, section) if text else MISSING


def draft(text: str, section: str = "") -> Answer:
    return Answer("draft", text, section) if text else MISSING


def by_words(said: Mapping[str, str]) -> str:
    """What is said of each system; said once, without names, where it is the same of all."""
    if len(set(said.values())) <= 1:
        return next(iter(said.values()), "")
    return "; ".join(f"{name}: {words}" for name, words in said.items())


def for_tasks(run: "ReportInputs", say: Callable[[str, TaskResult], str]) -> str:
    """What there is to say of each task, the task named where there are several."""
    tasks = run.results["tasks"]
    said = {name: say(name, task) for name, task in tasks.items()}
    return "; ".join(f"{name}: {text}" if len(tasks) > 1 else text for name, text in said.items() if text)


def data_of(run: "ReportInputs", task: str) -> Mapping[str, Any]:
    return run.data.get(task, {})


def remote_models(run: "ReportInputs") -> list[Remote]:
    return [spec for spec in run.study.models if isinstance(spec, Remote)]


def language_models(run: "ReportInputs") -> list[Neural]:
    """Those that are on this machine."""
    return [spec for spec in run.study.models if isinstance(spec, Neural)]


def details(run: "ReportInputs") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Model and values of its last stage, of the models that were trained."""
    for record in run.models:
        stages = record.get("stages", {})
        if stages:
            yield record["model"], stages[max(stages, key=int)]
