"""The first box of a task: what came out, of which model, and how sure that is; and all findings, with what to do."""

from dataclasses import dataclass

from clinfit.evaluation.metrics.definitions import LOWER_IS_BETTER
from clinfit.evaluation.results import TaskResult
from clinfit.findings import FindingDict
from clinfit.report.format import Cell, count, decimal, per_cent
from clinfit.report.glossary import definition
from clinfit.report.kinds import TOLD, kind_of
from clinfit.report.section import section
from clinfit.report.sections.answers.per_hundred import per_hundred
from clinfit.report.sections.subject import Subject
from clinfit.report.tables import baseline, best_neural, cell_of, the_model

#: Beside the primary metric, of the model.
CALIBRATION = ("calibration_intercept", "calibration_slope")


@dataclass(frozen=True)
class VerdictView:
    """level: error, warn or ok, the colour of the box. plain: what the model does to 100 records; '' where that is not
    known."""

    level: str
    withheld: bool
    headline: list[tuple[str, Cell]]
    plain: str
    sentences: list[str]


def verdict_view(subject: Subject) -> VerdictView:
    task = subject.task
    return VerdictView(level_of(task), task["withheld"], headline(task), in_plain_words(task), task["verdict"])


@dataclass(frozen=True)
class FindingsView:
    errors: list[FindingDict]
    warnings: list[FindingDict]
    advice: list[str]


def findings_view(subject: Subject) -> FindingsView | None:
    """None where nothing was found and nothing is advised."""
    view = FindingsView(findings(subject.task, "error"), findings(subject.task, "warn"), subject.task["advice"])
    return view if view.errors or view.warnings or view.advice else None


def findings(task: TaskResult, level: str) -> list[FindingDict]:
    return [finding for finding in task["findings"] if finding["level"] == level]


def level_of(task: TaskResult) -> str:
    """The worst level of the findings."""
    return next((level for level in ("error", "warn") if findings(task, level)), "ok")


def scope(task: TaskResult) -> str:
    """n and events of the test split in words."""
    test = task["counts"].get("test")
    if test is None:
        return "no test records"
    positive = task["positive"]
    events = "" if positive is None else f", {count(test['labels'].get(positive, 0))} of them {positive}"
    divided = section(task, "cross_validation")
    return f"{count(test['n'])} records{events}" + (f"; {divided['words']}" if divided else "")


def where(task: TaskResult) -> str:
    """Where figures come from."""
    return "out of fold" if section(task, "cross_validation") else "on the test split"


def why_model(task: TaskResult) -> str:
    """How the model came to be the model; '' where there is none."""
    chosen = task["chosen"]
    if chosen is None:
        return ""
    if chosen["among"] == 1:
        return f"The only model beside {kind_of(task).yardsticks}."
    known = definition(task["primary"])
    value = per_cent(chosen["value"]) if known.percent else decimal(chosen["value"])
    most = "lowest" if task["primary"] in LOWER_IS_BETTER else "highest"
    reason = f"the {most} {known.title} of {chosen['among']} models there, {value}"
    if chosen["split"] == "validation":
        return f"Chosen on validation: {reason}."
    return f"Picked on the test split for want of validation answers: {reason}."


def in_plain_words(task: TaskResult) -> str:
    """What the model does to records like these, in natural frequencies, or how often it is right."""
    model = the_model(task)
    if model is None:
        return ""
    if (found := per_hundred(task).get(model["name"])) is not None:
        return found.sentence
    if (texts := section(task, "doubtful_texts")) is not None:
        return (
            f"In {count(texts['doubtful'])} of {count(texts['n'])} texts of {texts['system']} rules found something to "
            "fear, such as a number that the source does not hold. No person has judged whether the texts are right."
        )
    errors = section(task, "errors") or section(task, "set_errors")
    if errors is None or not errors["n"]:
        return ""
    right = errors["n"] - errors["wrong"]
    return f"{errors['system']} is {kind_of(task).right} on {count(right)} of {count(errors['n'])} {tested(task)}."


def tested(task: TaskResult) -> str:
    """What answers are counted by, in words: in a repeated cross-validation a record has several."""
    repeats = _repeats(task)
    return "test records" if repeats == 1 else f"answers, {repeats} a record"


def counted(task: TaskResult) -> str:
    return "items" if _repeats(task) == 1 else "answers"


def _repeats(task: TaskResult) -> int:
    divided = section(task, "cross_validation")
    return 1 if divided is None else divided["repeats"]


def headline(task: TaskResult) -> list[tuple[str, Cell]]:
    """The few numbers of the box: how many records, the model with its calibration, and what it has to beat."""
    n = task["counts"]["test"]["n"] if "test" in task["counts"] else 0
    records = "Test records" if section(task, "cross_validation") is None else "Records, out of fold"
    items = [(records, Cell(count(n), "", repr(n))), *([_asked(task, n)] if task["labels"] else [])]
    model, reference, title = the_model(task), baseline(task), definition(task["primary"]).title
    if model is not None:
        items += [("The model", Cell(model["name"])), (title, cell_of(model, task["primary"]))]
        items += [(definition(key).title, cell_of(model, key)) for key in CALIBRATION if key in model["metrics"]]
    if reference is not None and reference is not model:
        items.append((f"{title}, baseline: {reference['name']}", cell_of(reference, task["primary"])))
    neural = best_neural(task)
    if reference is model and neural is not None:
        items.append((f"{title}, {neural['name']}", cell_of(neural, task["primary"])))
    return items


def _asked(task: TaskResult, n: int) -> tuple[str, Cell]:
    """The events of a binary task, else the labels: their names where there are few."""
    if task["positive"] is None:
        k, names = len(task["labels"]), ", ".join(task["labels"]) if len(task["labels"]) <= TOLD else ""
        return kind_of(task).choices, Cell(str(k), names, repr(k))
    events = task["counts"]["test"]["labels"].get(task["positive"], 0) if n else 0
    return f"Events ({task['positive']})", Cell(count(events), per_cent(events / n) if n else "", repr(events))
