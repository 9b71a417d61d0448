"""What a run can say to the items of a reporting checklist about the study and its data; each function answers one.

Answers of A items are facts of the run. Answers of S items are drafts made of what the study file says, and of nothing
else. Items that only a person can answer have no function.
"""

from typing import TYPE_CHECKING

from clinfit.evaluation.results import TaskResult
from clinfit.report.checklist_answer import MISSING, Answer, data_of, draft, for_tasks, reported
from clinfit.report.format import count
from clinfit.report.glossary import definition

if TYPE_CHECKING:
    from clinfit.report.build import ReportInputs


# ---------------------------------------------------------------- what the study says (drafts)


def title(run: "ReportInputs") -> Answer:
    def one(name: str, task: TaskResult) -> str:
        return f"development and evaluation of models that answer {name} ({', '.join(task['labels'])})"

    return draft(for_tasks(run, one), "verdict")


def abstract(run: "ReportInputs") -> Answer:
    return draft(for_tasks(run, lambda _, task: " ".join(task["verdict"][:1])), "verdict")


def objectives(run: "ReportInputs") -> Answer:
    return draft(run.study.description)


def data_sources(run: "ReportInputs") -> Answer:
    return draft(for_tasks(run, lambda name, _: str(data_of(run, name).get("source", ""))), "data")


def dates(run: "ReportInputs") -> Answer:
    """No study key names a column of dates, so there is nothing to draft from."""
    return MISSING


def outcome(run: "ReportInputs") -> Answer:
    def one(_: str, task: TaskResult) -> str:
        positive = "" if task["positive"] is None else f"; the event is {task['positive']}"
        return f"labels {', '.join(task['labels'])}{positive}; how they were established is not in the study"

    return draft(for_tasks(run, one), "data")


def predictor_definitions(run: "ReportInputs") -> Answer:
    def one(name: str, _: TaskResult) -> str:
        columns = run.study.tasks[name].data.columns.items()
        return ", ".join(
            f"{key} ({column.title or column.column}, {column.unit or column.type})" for key, column in columns
        )

    return draft(for_tasks(run, one), "data")


def fairness(run: "ReportInputs") -> Answer:
    columns = [group.title or group.column for group in run.study.evaluation.subgroup_columns]
    return draft(f"performance by {', '.join(columns)}" if columns else "", "subgroups")


def data_availability(run: "ReportInputs") -> Answer:
    public = [task.data.path for task in run.study.tasks.values() if (task.data.path or "").startswith("catalog:")]
    return draft(f"public set {', '.join(filter(None, public))}" if public else "", "data")


def interpretation(run: "ReportInputs") -> Answer:
    return draft(for_tasks(run, lambda _, task: " ".join(task["verdict"])), "verdict")


def limitations(run: "ReportInputs") -> Answer:
    def one(_: str, task: TaskResult) -> str:
        return "; ".join(dict.fromkeys(f["title"] for f in task["findings"] if f["level"] != "info"))

    found = for_tasks(run, one)
    return draft(f"found by the checks: {found}" if found else "", "verdict")


# ---------------------------------------------------------------- data


def preparation(run: "ReportInputs") -> Answer:
    def one(name: str, _: TaskResult) -> str:
        described = data_of(run, name)
        if "rows" not in described:
            return ""
        steps = [f"{n} dropped ({why})" for why, n in described.get("dropped", {}).items()]
        steps += [f"{n} changed ({step})" for step, n in described.get("cleaned", {}).items()]
        return f"{described['rows']} rows read; {', '.join(steps) or 'none dropped or changed'}"

    return reported(for_tasks(run, one), "data")


def predictors(run: "ReportInputs") -> Answer:
    def one(name: str, task: TaskResult) -> str:
        columns = run.study.tasks[name].data.columns
        answer = f"the answer is one of {', '.join(task['labels'])}"
        return f"{', '.join(f'{key} ({c.type})' for key, c in columns.items())}; {answer}" if columns else ""

    return reported(for_tasks(run, one), "data")


def sample_size(run: "ReportInputs") -> Answer:
    text = events(run).text
    return Answer("partly", f"{text}; why this size is for the author to say", "data") if text else MISSING


def missing_data(run: "ReportInputs") -> Answer:
    def one(name: str, _: TaskResult) -> str:
        inputs = data_of(run, name).get("inputs", {})
        missing = {key: sum(part["missing"] for part in entry["splits"].values()) for key, entry in inputs.items()}
        some = ", ".join(f"{key} {n}" for key, n in missing.items() if n)
        return f"missing values: {some or 'none'}" if inputs else ""

    return reported(for_tasks(run, one), "data")


def partition(run: "ReportInputs") -> Answer:
    def one(name: str, task: TaskResult) -> str:
        if "splits" not in data_of(run, name):
            return ""
        data = run.study.tasks[name].data
        sizes = ", ".join(f"{split} {count(entry['n'])}" for split, entry in task["counts"].items())
        if data.files is not None:
            how = "one file a split"
        elif data.split.column is not None:
            how = f"by the column {data.split.column}"
        else:
            how = f"at random, seed {data.split.seed}{', label shares kept equal' if data.split.stratify else ''}"
        grouped = f"; records of one {data.group} stay together" if data.group and data.split.column is None else ""
        return f"{sizes}; {how}{grouped if data.files is None else ''}"

    return reported(for_tasks(run, one), "data")


def held_out(run: "ReportInputs") -> Answer:
    """How often the test split was scored is said where the run folder knows: a second look can be a choice."""
    parts = partition(run)
    if parts.status != "reported":
        return parts
    names = for_tasks(run, lambda _, task: definition(task["primary"]).title)
    chosen = all("validation" in task["counts"] for task in run.results["tasks"].values())
    text = f"primary metric {names} on the test split"
    text += "; what was chosen by scores was chosen on validation" if chosen else ""
    freezes = [task["freeze"] for task in run.results["tasks"].values() if task["freeze"] is not None]
    if not freezes:
        return Answer("partly", f"{text}; how often the test split was looked at is for the author to say", "systems")
    times = max(freeze["scored"] for freeze in freezes)
    once = times <= 1
    said = "once" if once else f"{times} times with different answers or settings"
    where = "by the runs of this study in this folder"
    return Answer("reported" if once else "partly", f"{text}; it was scored {said} {where}", "freeze")


def shift(run: "ReportInputs") -> Answer:
    tasks = run.results["tasks"].values()
    if any(task["shift"] for task in tasks):
        return Answer("reported", "standardised differences between training and test", "data")
    if all("train" in task["counts"] for task in tasks):
        return Answer("partly", "labels and inputs by split; place and time are for the author to compare", "data")
    return MISSING


def flow(run: "ReportInputs") -> Answer:
    known = all("rows" in data_of(run, name) for name in run.results["tasks"])
    return (
        Answer("reported", "rows read, dropped and kept; records of each split by label", "data") if known else MISSING
    )


def characteristics(run: "ReportInputs") -> Answer:
    known = all(data_of(run, name).get("inputs") for name in run.results["tasks"])
    return Answer("partly", "inputs by split; other traits are for the author to add", "data") if known else MISSING


def events(run: "ReportInputs") -> Answer:
    def one(_: str, task: TaskResult) -> str:
        shown = task["labels"] if task["positive"] is None else [task["positive"]]
        parts = []
        for split, entry in task["counts"].items():
            labels = ", ".join(f"{label} {count(entry['labels'].get(label, 0))}" for label in shown)
            parts.append(f"{split} {count(entry['n'])} ({labels})")
        return ", ".join(parts)

    return reported(for_tasks(run, one), "data")
