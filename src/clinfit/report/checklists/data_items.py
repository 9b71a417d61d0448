"""What a run can say to the items of a reporting checklist about the study and its data; each function answers one.

Answers of A items are facts of the run. Answers of S items are drafts made of what the study file says, and of nothing
else. Items that only a person can answer have no function.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from clinfit.evaluation.results import SplitCounts, TaskResult
from clinfit.report.checklists.answer import MISSING, Answer, data_of, draft, for_tasks, reported
from clinfit.report.format import count
from clinfit.report.glossary import definition
from clinfit.report.kinds import TOLD, asked
from clinfit.report.section import section

if TYPE_CHECKING:
    from clinfit.report.inputs import ReportInputs


# ---------------------------------------------------------------- what the study says (drafts)


def title(run: "ReportInputs") -> Answer:
    def one(name: str, task: TaskResult) -> str:
        return f"development and evaluation of models that answer {name} ({asked(task)})"

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
        return f"{asked(task)}{positive}; how they were established is not in the study"

    return draft(for_tasks(run, one), "data")


def predictor_definitions(run: "ReportInputs") -> Answer:
    def one(name: str, _: TaskResult) -> str:
        columns = run.study.tasks[name].data.columns.items()
        return ", ".join(
            f"{key} ({column.title or column.column}, {column.unit or column.type})" for key, column in columns
        )

    return draft(for_tasks(run, one), "data")


def fairness(run: "ReportInputs") -> Answer:
    def one(name: str, _: TaskResult) -> str:
        columns = [group.title or group.column for group in run.study.settings(name).subgroup_columns]
        return f"performance by {', '.join(columns)}" if columns else ""

    return draft(for_tasks(run, one), "subgroups")


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
        answer = f"the answer is {asked(task)}"
        return f"{', '.join(f'{key} ({c.type})' for key, c in columns.items())}; {answer}" if columns else ""

    return reported(for_tasks(run, one), "data")


def sample_size(run: "ReportInputs") -> Answer:
    text = events(run).text
    return Answer("partly", f"{text}; why this size is for the author to say", "data") if text else MISSING


def missing_data(run: "ReportInputs") -> Answer:
    def one(_: str, task: TaskResult) -> str:
        table = section(task, "characteristics")
        missing = {row["input"]: row["missing"][0] for row in table["rows"]} if table else {}
        told = {name: "(not told how many)" if n is None else count(n) for name, n in missing.items() if n != 0}
        some = ", ".join(f"{name} {words}" for name, words in told.items())
        return f"missing values: {some or 'none'}" if table else ""

    return reported(for_tasks(run, one), "data")


def partition(run: "ReportInputs") -> Answer:
    def one(name: str, task: TaskResult) -> str:
        if "splits" not in data_of(run, name):
            return ""
        data = run.study.tasks[name].data
        sizes = ", ".join(f"{split} {count(entry['n'])}" for split, entry in task["counts"].items() if entry["n"])
        divided = section(task, "cross_validation")
        if divided is not None:
            how = f"{divided['words']}, seed {data.split.seed}{', label shares kept equal' * data.split.stratify}"
        elif data.files is not None:
            how = "one file a split"
        elif data.split.column is not None:
            how = f"by the column {data.split.column}"
        elif data.split.by is not None:
            how = f"by the column {data.split.by}, the latest for the test"
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
    divided = any(section(task, "cross_validation") for task in run.results["tasks"].values())
    text = f"primary metric {names} {'out of fold' if divided else 'on the test split'}"
    text += "; what was chosen by scores was chosen on validation" if chosen else ""
    freezes = [section(task, "freeze") for task in run.results["tasks"].values() if section(task, "freeze") is not None]
    if not freezes:
        return Answer("partly", f"{text}; how often the test split was looked at is for the author to say", "systems")
    times = max(freeze["scored"] for freeze in freezes)
    once = times <= 1
    said = "once" if once else f"{times} times with different answers or settings"
    where = "by the runs of this study in this folder"
    return Answer("reported" if once else "partly", f"{text}; it was scored {said} {where}", "freeze")


def shift(run: "ReportInputs") -> Answer:
    tasks = run.results["tasks"].values()
    if any((section(task, "shift") or []) for task in tasks):
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
    known = all(section(task, "characteristics") for task in run.results["tasks"].values())
    told = "inputs by outcome and by split; other traits are for the author to add"
    return Answer("partly", told, "characteristics") if known else MISSING


def events(run: "ReportInputs") -> Answer:
    def one(_: str, task: TaskResult) -> str:
        shown = task["labels"] if task["positive"] is None else [task["positive"]]
        return ", ".join(
            f"{split} {count(entry['n'])}{f' ({_by_label(entry, shown)})' if shown else ''}"
            for split, entry in task["counts"].items()
        )

    return reported(for_tasks(run, one), "data")


def _by_label(entry: SplitCounts, labels: Sequence[str]) -> str:
    """Records of each label; of many labels the range."""
    found = [entry["labels"].get(label, 0) for label in labels]
    if len(labels) > TOLD:
        return f"{len(labels)} labels, each of {count(min(found))} to {count(max(found))} records"
    return ", ".join(f"{label} {count(n)}" for label, n in zip(labels, found, strict=True))
