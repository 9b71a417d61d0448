"""What a run can say to the items of a reporting checklist. Each function answers one item, from the results alone.

Answers of A items are facts of the run. Answers of S items are drafts made of what the study file says, and of nothing
else. Items that only a person can answer have no function here.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import clinfit
from clinfit.evaluation.results import TaskResult
from clinfit.report.format import count, duration
from clinfit.report.glossary import definition
from clinfit.report.tables import best, cell_of
from clinfit.study import Causal, Classical, Encoder, study_hash

if TYPE_CHECKING:
    from clinfit.report.build import ReportInputs

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


def _reported(text: str, section: str) -> Answer:
    return Answer("reported", text, section) if text else MISSING


def _draft(text: str, section: str = "") -> Answer:
    return Answer("draft", text, section) if text else MISSING


def _for_tasks(run: "ReportInputs", say: Callable[[str, TaskResult], str]) -> str:
    """What there is to say of each task, the task named where there are several."""
    tasks = run.results["tasks"]
    said = {name: say(name, task) for name, task in tasks.items()}
    return "; ".join(f"{name}: {text}" if len(tasks) > 1 else text for name, text in said.items() if text)


def _described(run: "ReportInputs", task: str) -> Mapping[str, Any]:
    return run.data.get(task, {})


def _language_models(run: "ReportInputs") -> list[Causal | Encoder]:
    return [spec for spec in run.study.models if isinstance(spec, Causal | Encoder)]


def _details(run: "ReportInputs", family: str | None = None) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Model and values of its last stage, of the models that were trained."""
    for record in run.models:
        stages = record.get("stages", {})
        if stages and family in (None, record.get("family")):
            yield record["model"], stages[max(stages, key=int)]


# ---------------------------------------------------------------- what the study says (drafts)


def title(run: "ReportInputs") -> Answer:
    def one(name: str, task: TaskResult) -> str:
        return f"development and evaluation of models that answer {name} ({', '.join(task['labels'])})"

    return _draft(_for_tasks(run, one), "verdict")


def abstract(run: "ReportInputs") -> Answer:
    return _draft(_for_tasks(run, lambda _, task: " ".join(task["verdict"][:1])), "verdict")


def objectives(run: "ReportInputs") -> Answer:
    return _draft(run.study.description)


def data_sources(run: "ReportInputs") -> Answer:
    return _draft(_for_tasks(run, lambda name, _: str(_described(run, name).get("source", ""))), "data")


def dates(run: "ReportInputs") -> Answer:
    """No study key names a column of dates, so there is nothing to draft from."""
    return MISSING


def outcome(run: "ReportInputs") -> Answer:
    def one(_: str, task: TaskResult) -> str:
        positive = "" if task["positive"] is None else f"; the event is {task['positive']}"
        return f"labels {', '.join(task['labels'])}{positive}; how they were established is not in the study"

    return _draft(_for_tasks(run, one), "data")


def predictor_definitions(run: "ReportInputs") -> Answer:
    def one(name: str, _: TaskResult) -> str:
        columns = run.study.tasks[name].data.columns.items()
        return ", ".join(
            f"{key} ({column.title or column.column}, {column.unit or column.type})" for key, column in columns
        )

    return _draft(_for_tasks(run, one), "data")


def fairness(run: "ReportInputs") -> Answer:
    columns = [group.title or group.column for group in run.study.evaluation.subgroup_columns]
    return _draft(f"performance by {', '.join(columns)}" if columns else "", "subgroups")


def data_availability(run: "ReportInputs") -> Answer:
    public = [task.data.path for task in run.study.tasks.values() if (task.data.path or "").startswith("catalog:")]
    return _draft(f"public set {', '.join(filter(None, public))}" if public else "", "data")


def interpretation(run: "ReportInputs") -> Answer:
    return _draft(_for_tasks(run, lambda _, task: " ".join(task["verdict"])), "verdict")


def limitations(run: "ReportInputs") -> Answer:
    def one(_: str, task: TaskResult) -> str:
        return "; ".join(dict.fromkeys(f["title"] for f in task["findings"] if f["level"] != "info"))

    found = _for_tasks(run, one)
    return _draft(f"found by the checks: {found}" if found else "", "verdict")


# ---------------------------------------------------------------- data


def preparation(run: "ReportInputs") -> Answer:
    def one(name: str, _: TaskResult) -> str:
        described = _described(run, name)
        if "rows" not in described:
            return ""
        steps = [f"{n} dropped ({why})" for why, n in described.get("dropped", {}).items()]
        steps += [f"{n} changed ({step})" for step, n in described.get("cleaned", {}).items()]
        return f"{described['rows']} rows read; {', '.join(steps) or 'none dropped or changed'}"

    return _reported(_for_tasks(run, one), "data")


def predictors(run: "ReportInputs") -> Answer:
    def one(name: str, task: TaskResult) -> str:
        columns = run.study.tasks[name].data.columns
        answer = f"the answer is one of {', '.join(task['labels'])}"
        return f"{', '.join(f'{key} ({c.type})' for key, c in columns.items())}; {answer}" if columns else ""

    return _reported(_for_tasks(run, one), "data")


def sample_size(run: "ReportInputs") -> Answer:
    text = events(run).text
    return Answer("partly", f"{text}; why this size is for the author to say", "data") if text else MISSING


def missing_data(run: "ReportInputs") -> Answer:
    def one(name: str, _: TaskResult) -> str:
        inputs = _described(run, name).get("inputs", {})
        missing = {key: sum(part["missing"] for part in entry["splits"].values()) for key, entry in inputs.items()}
        some = ", ".join(f"{key} {n}" for key, n in missing.items() if n)
        return f"missing values: {some or 'none'}" if inputs else ""

    return _reported(_for_tasks(run, one), "data")


def missing_and_imbalanced(run: "ReportInputs") -> Answer:
    missing, weights = missing_data(run), imbalance(run)
    if missing.status == "missing":
        return missing
    return Answer("reported", "; ".join(filter(None, [missing.text, weights.text])), "data")


def partition(run: "ReportInputs") -> Answer:
    def one(name: str, task: TaskResult) -> str:
        if "splits" not in _described(run, name):
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

    return _reported(_for_tasks(run, one), "data")


def held_out(run: "ReportInputs") -> Answer:
    parts = partition(run)
    names = _for_tasks(run, lambda _, task: definition(task["primary"]).title)
    text = f"test split, used for no choice; primary metric {names}"
    return Answer("reported", text, "systems") if parts.status == "reported" else parts


def shift(run: "ReportInputs") -> Answer:
    tasks = run.results["tasks"].values()
    if any(task["shift"] for task in tasks):
        return Answer("reported", "standardised differences between training and test", "data")
    if all("train" in task["counts"] for task in tasks):
        return Answer("partly", "labels and inputs by split; place and time are for the author to compare", "data")
    return MISSING


def flow(run: "ReportInputs") -> Answer:
    known = all("rows" in _described(run, name) for name in run.results["tasks"])
    return (
        Answer("reported", "rows read, dropped and kept; records of each split by label", "data") if known else MISSING
    )


def characteristics(run: "ReportInputs") -> Answer:
    known = all(_described(run, name).get("inputs") for name in run.results["tasks"])
    return Answer("partly", "inputs by split; other traits are for the author to add", "data") if known else MISSING


def events(run: "ReportInputs") -> Answer:
    def one(_: str, task: TaskResult) -> str:
        shown = task["labels"] if task["positive"] is None else [task["positive"]]
        parts = []
        for split, entry in task["counts"].items():
            labels = ", ".join(f"{label} {count(entry['labels'].get(label, 0))}" for label in shown)
            parts.append(f"{split} {count(entry['n'])} ({labels})")
        return ", ".join(parts)

    return _reported(_for_tasks(run, one), "data")


# ---------------------------------------------------------------- models


def handling(run: "ReportInputs") -> Answer:
    if not run.models:
        return MISSING
    parts = []
    if any(isinstance(spec, Classical) for spec in run.study.models):
        parts.append("classical models: TF-IDF of texts or a design matrix of features")
    parts += [f"{spec.name}: at most {spec.train.max_length} tokens" for spec in _language_models(run)]
    return Answer("reported", "; ".join(parts) or "rules on the inputs as they are", "models")


def model_building(run: "ReportInputs") -> Answer:
    done = {record["model"]: record["family"] for record in run.models if record.get("status") == "done"}
    return _reported(", ".join(f"{name} ({family})" for name, family in done.items()), "models")


def imbalance(run: "ReportInputs") -> Answer:
    if not run.models:
        return MISSING
    steps = []
    for spec in run.study.models:
        if isinstance(spec, Classical | Causal | Encoder) and spec.class_weights != "none":
            steps.append(f"{spec.name}: class weights")
        if isinstance(spec, Classical) and spec.oversample:
            steps.append(f"{spec.name}: minority records repeated")
        if isinstance(spec, Causal | Encoder) and spec.sampling != "none":
            steps.append(f"{spec.name}: sampling {spec.sampling}")
    said = "; ".join(steps) or "nothing was weighted or resampled"
    kind = run.study.evaluation.calibration
    return Answer("reported", f"{said}; recalibration: {kind}", "models")


def output(run: "ReportInputs") -> Answer:
    def one(_: str, task: TaskResult) -> str:
        if task["withheld"]:
            return ""
        rules = {system["threshold"]["rule"]: system["threshold"] for system in task["systems"]}
        return "; ".join(
            "the most probable label"
            if choice["value"] is None
            else f"threshold by {rule}, chosen on {choice['split'] or 'no data'}"
            for rule, choice in rules.items()
        )

    said = _for_tasks(run, one)
    return _reported(f"a probability for each label; decision: {said}" if said else "", "confusion")


def updating(run: "ReportInputs") -> Answer:
    pairs = [c for task in run.results["tasks"].values() for c in task["comparisons"] if c["kind"] == "before-after"]
    if pairs:
        return Answer("reported", f"{len(pairs)} comparisons of a base model before and after fine-tuning", "change")
    if not run.models:
        return MISSING
    return Answer("not applicable", "no existing model was updated")


def calculation(run: "ReportInputs") -> Answer:
    if not run.models:
        return MISSING
    parts = ["by the command in the section, with this version of clinfit"]
    if any(isinstance(spec, Causal) for spec in run.study.models):
        parts.append("causal models: likelihood of each label given the prompt")
    return Answer("reported", "; ".join(parts), "provenance")


def clusters(run: "ReportInputs") -> Answer:
    if run.study.evaluation.site is None:
        return Answer("not applicable", "the study names no column of sites")
    shown = any(result["site"] for task in run.results["tasks"].values() for result in task["subgroups"])
    return Answer("reported", f"by {run.study.evaluation.site}", "subgroups") if shown else MISSING


def measures(run: "ReportInputs") -> Answer:
    names = _for_tasks(run, lambda _, task: definition(task["primary"]).title)
    return Answer("reported", f"primary metric {names}; every other with its formula in the glossary", "glossary")


def full_model(run: "ReportInputs") -> Answer:
    if not any(record.get("status") == "done" for record in run.models):
        return MISSING
    return Answer("partly", "settings and hashes; the weights are in the packs of the run", "models")


def code(run: "ReportInputs") -> Answer:
    commit = run.environment.get("commit")
    version = f"clinfit {run.environment.get('clinfit', clinfit.__version__)}{f', commit {commit}' if commit else ''}"
    return Answer("reported", f"{version}; study {study_hash(run.study)[:12]}", "provenance")


# ---------------------------------------------------------------- performance


def performance(run: "ReportInputs") -> Answer:
    def one(_: str, task: TaskResult) -> str:
        system = best(task, simple=False) or best(task, simple=True)
        if task["withheld"] or system is None:
            return ""
        return f"{definition(task['primary']).title} of {system['name']} {cell_of(system, task['primary']).plain}"

    return _reported(_for_tasks(run, one), "systems")


def prespecified(run: "ReportInputs") -> Answer:
    found = performance(run)
    if found.status == "missing":
        return found
    frozen = [task["freeze"] for task in run.results["tasks"].values() if task["freeze"] is not None]
    if frozen and all(freeze["state"] == "frozen" for freeze in frozen):
        return Answer("reported", f"{found.text}; metrics frozen before the test split was scored", "systems")
    return Answer("partly", f"{found.text}; nothing shows that the metrics were fixed beforehand", "systems")


def comparison(run: "ReportInputs") -> Answer:
    pairs = [c for task in run.results["tasks"].values() for c in task["comparisons"]]
    return _reported(f"{len(pairs)} paired comparisons on the same records" if pairs else "", "pairs")


# ---------------------------------------------------------------- language models


def _no_language_model(run: "ReportInputs") -> Answer | None:
    """Why there is nothing to say of a language model; None where there is."""
    if not run.models:
        return MISSING
    return None if _language_models(run) else Answer("not applicable", "no language model")


def llm_name(run: "ReportInputs") -> Answer:
    if obstacle := _no_language_model(run):
        return obstacle
    names = [f"{m.name}: {m.base}{f' ({m.revision})' if m.revision else ''}" for m in _language_models(run)]
    return Answer("partly", "; ".join(names) + "; end of the base's training data is for the author to add", "models")


def llm_settings(run: "ReportInputs") -> Answer:
    if obstacle := _no_language_model(run):
        return obstacle
    parts = []
    for m in _language_models(run):
        settings = f"{m.train.epochs:g} epochs, learning rate {m.train.learning_rate:g}"
        parts.append(f"{m.name}: {settings}, at most {m.train.max_length} tokens")
    return Answer("reported", "; ".join(parts), "models")


def llm_tuning(run: "ReportInputs") -> Answer:
    if obstacle := _no_language_model(run):
        return obstacle
    parts = []
    for m in _language_models(run):
        whole = isinstance(m, Encoder) and m.method == "full"
        parts.append(f"{m.name}: " + ("all weights trained" if whole else f"low-rank adapter of rank {m.lora.rank}"))
    return Answer("reported", "; ".join(parts) + "; supervised by the labels, no alignment", "models")


def llm_output(run: "ReportInputs") -> Answer:
    if obstacle := _no_language_model(run):
        return obstacle
    free = [m.name for m in run.study.models if isinstance(m, Causal) and m.generate]
    written = f"; {', '.join(free)} also wrote a free answer, read by the strict parser" if free else ""
    return Answer("reported", f"a probability for each label, turned into one label{written}", "confusion")


def generated(run: "ReportInputs") -> Answer:
    shown = [s for task in run.results["tasks"].values() for s in task["systems"] if s["generated"] is not None]
    if shown:
        return Answer("reported", "free answers against the labels and against the likelihoods", "language")
    return Answer("not applicable", "labels are scored by likelihood; no text is written")


def prompt(run: "ReportInputs") -> Answer:
    if not run.models:
        return MISSING
    if not any(isinstance(spec, Causal) for spec in run.study.models):
        return Answer("not applicable", "no model that reads a prompt")
    own = all(task.prompt for task in run.study.tasks.values())
    which = "the study's own prompt" if own else "the default prompt of clinfit"
    return Answer("partly", f"{which}, in the resolved study; how it was chosen is for the author to say", "provenance")


def no_summaries(run: "ReportInputs") -> Answer:
    return Answer("not applicable", "classification, no summaries")


def no_alignment(run: "ReportInputs") -> Answer:
    return Answer("not applicable", "no instruction tuning or alignment by clinfit") if run.models else MISSING


def compute(run: "ReportInputs") -> Answer:
    parts = [f"{model} {duration(stage['seconds'])}" for model, stage in _details(run)]
    processor = run.environment.get("processor", {})
    machine = processor.get("name") if isinstance(processor, Mapping) else None
    if not parts:
        return MISSING
    return Answer("reported", f"time to fit: {', '.join(parts)}{f'; {machine}' if machine else ''}", "cost")


ANSWERS: dict[str, Resolver] = {
    resolver.__name__: resolver
    for resolver in (
        title, abstract, objectives, data_sources, dates, outcome, predictor_definitions, fairness, data_availability,
        interpretation, limitations, preparation, predictors, sample_size, missing_data, missing_and_imbalanced,
        partition, held_out, shift, flow, characteristics, events, handling, model_building, imbalance, output,
        updating, calculation, clusters, measures, full_model, code, performance, prespecified, comparison, llm_name,
        llm_settings, llm_tuning, llm_output, generated, prompt, no_summaries, no_alignment, compute,
    )
}  # fmt: skip
