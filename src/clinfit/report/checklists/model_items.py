"""What a run can say to the items of a reporting checklist about models and performance; each function answers one."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import clinfit
from clinfit.evaluation.analyses.generated import SCORED
from clinfit.evaluation.checks.remote import ON_SERVER, WORDS
from clinfit.evaluation.claims.wording import recalibration_words, threshold_words
from clinfit.evaluation.results import TaskResult
from clinfit.evaluation.system_results import SystemResult
from clinfit.report.checklists.answer import (
    MISSING,
    Answer,
    by_words,
    details,
    for_tasks,
    language_models,
    remote_models,
    reported,
)
from clinfit.report.checklists.data_items import missing_data
from clinfit.report.format import duration
from clinfit.report.glossary import definition
from clinfit.report.kinds import asked
from clinfit.report.section import section
from clinfit.report.tables import cell_of, the_model
from clinfit.study.models import Classical, Encoder, LanguageModel, Neural
from clinfit.study.remote import Remote
from clinfit.study.schema import study_hash

if TYPE_CHECKING:
    from clinfit.report.inputs import ReportInputs


# ---------------------------------------------------------------- models


def handling(run: "ReportInputs") -> Answer:
    if not run.models:
        return MISSING
    parts = []
    if any(isinstance(spec, Classical) for spec in run.study.models):
        parts.append("classical models: TF-IDF of texts or a design matrix of features")
    parts += [f"{spec.name}: at most {spec.train.max_length} tokens" for spec in language_models(run)]
    parts += [f"{spec.name}: whole records, sent to a server" for spec in remote_models(run)]
    return Answer("reported", "; ".join(parts) or "rules on the inputs as they are", "models")


def model_building(run: "ReportInputs") -> Answer:
    done = {record["model"]: record["family"] for record in run.models if record.get("status") == "done"}
    return reported(", ".join(f"{name} ({family})" for name, family in done.items()), "models")


def imbalance(run: "ReportInputs") -> Answer:
    if not run.models:
        return MISSING
    steps = []
    for spec in run.study.models:
        if isinstance(spec, Classical | Neural) and spec.class_weights != "none":
            steps.append(f"{spec.name}: class weights")
        if isinstance(spec, Classical) and spec.oversample:
            steps.append(f"{spec.name}: minority records repeated")
        if isinstance(spec, Neural) and spec.sampling != "none":
            steps.append(f"{spec.name}: sampling {spec.sampling}")
    said = "; ".join(steps) or "nothing was weighted or resampled"
    return Answer("reported", f"{said}; recalibration: {for_tasks(run, recalibrations)}", "models")


def recalibrations(_: str, task: TaskResult) -> str:
    """What was done to the probabilities of each system, not what was asked for."""
    done = {system["name"]: recalibration_words(section(system, "recalibration")) for system in task["systems"]}
    return by_words(done) or "none"


def missing_and_imbalanced(run: "ReportInputs") -> Answer:
    missing, weights = missing_data(run), imbalance(run)
    if missing.status == "missing":
        return missing
    return Answer("reported", "; ".join(filter(None, [missing.text, weights.text])), "data")


def output(run: "ReportInputs") -> Answer:
    def one(_: str, task: TaskResult) -> str:
        if task["withheld"]:
            return ""
        if not task["labels"]:
            return f"{asked(task)}; decision: none, it is given as it is written"
        return f"{_form(task)}; decision: {by_words({s['name']: _decision(s) for s in task['systems']})}"

    return reported(for_tasks(run, one), "confusion")


def _form(task: TaskResult) -> str:
    """What a system gives for a record of a task with labels."""
    graded = ("selective", "label_thresholds")
    sure = any(section(system, name) is not None for system in task["systems"] for name in graded)
    return "a probability for each label" if sure else "one label"


def _decision(system: SystemResult) -> str:
    """How a system's probabilities become its answer."""
    thresholds = section(system, "label_thresholds")
    if thresholds is not None:
        rules = "; ".join(dict.fromkeys(choice["words"] for choice in thresholds.values()))
        return f"each label from its own probability on ({rules})"
    return "the most probable answer" if section(system, "threshold") is None else threshold_words(system)


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
    if any(isinstance(spec, LanguageModel) for spec in run.study.models) and not of_free_answers(run):
        parts.append("language models: likelihood of each label given the prompt")
    return Answer("reported", "; ".join(parts), "provenance")


def clusters(run: "ReportInputs") -> Answer:
    sites = dict.fromkeys(filter(None, (run.study.settings(name).site for name in run.results["tasks"])))
    if not sites:
        return Answer("not applicable", "the study names no column of sites")
    shown = any(
        result["site"] for task in run.results["tasks"].values() for result in (section(task, "subgroups") or [])
    )
    return Answer("reported", f"by {', '.join(sites)}", "subgroups") if shown else MISSING


def measures(run: "ReportInputs") -> Answer:
    names = for_tasks(run, lambda _, task: definition(task["primary"]).title)
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
        system = the_model(task)
        if task["withheld"] or system is None:
            return ""
        return f"{definition(task['primary']).title} of {system['name']} {cell_of(system, task['primary']).plain}"

    return reported(for_tasks(run, one), "systems")


def prespecified(run: "ReportInputs") -> Answer:
    found = performance(run)
    if found.status == "missing":
        return found
    frozen = [section(task, "freeze") for task in run.results["tasks"].values() if section(task, "freeze") is not None]
    if frozen and all(freeze["state"] == "frozen" for freeze in frozen):
        return Answer("reported", f"{found.text}; metrics frozen before the test split was scored", "freeze")
    return Answer("partly", f"{found.text}; nothing shows that the metrics were fixed beforehand", "freeze")


def comparison(run: "ReportInputs") -> Answer:
    pairs = [c for task in run.results["tasks"].values() for c in task["comparisons"]]
    return reported(f"{len(pairs)} paired comparisons on the same records" if pairs else "", "pairs")


# ---------------------------------------------------------------- language models


def _no_language_model(run: "ReportInputs") -> Answer | None:
    """Why there is nothing to say of a language model; None where there is."""
    if not run.models:
        return MISSING
    return None if language_models(run) or remote_models(run) else Answer("not applicable", "no language model")


def llm_name(run: "ReportInputs") -> Answer:
    if obstacle := _no_language_model(run):
        return obstacle
    names = [f"{m.name}: {m.base}{f' ({m.revision})' if m.revision else ''}" for m in language_models(run)]
    names += [f"{m.name}: {m.model}, served at {m.url}" for m in remote_models(run)]
    return Answer("partly", "; ".join(names) + "; end of the base's training data is for the author to add", "models")


def llm_settings(run: "ReportInputs") -> Answer:
    if obstacle := _no_language_model(run):
        return obstacle
    parts = []
    for m in language_models(run):
        trained = f"{m.train.duration}, learning rate {m.train.learning_rate:g}"
        parts.append(f"{m.name}: {trained}, at most {m.train.max_length} tokens")
    parts += [f"{m.name}: asked with {m.shots} examples at temperature 0" for m in remote_models(run)]
    return Answer("reported", "; ".join(parts), "models")


def llm_tuning(run: "ReportInputs") -> Answer:
    if obstacle := _no_language_model(run):
        return obstacle
    parts = []
    for m in language_models(run):
        whole = isinstance(m, Encoder) and m.method == "full"
        how = "all weights trained" if whole else f"low-rank adapter of rank {m.lora.rank}"
        parts.append(f"{m.name}: " + ("nothing trained" if m.prompting else how))
    parts += [f"{m.name}: nothing trained" for m in remote_models(run)]
    return Answer("reported", "; ".join(parts) + "; supervised by the labels, no alignment", "models")


def llm_output(run: "ReportInputs") -> Answer:
    if obstacle := _no_language_model(run):
        return obstacle
    if of_free_answers(run):
        return Answer("reported", "free answers, read by the parser that the findings name", "confusion")
    if (wrote := wrote_labels(run)) and not language_models(run) and len(wrote) == len(remote_models(run)):
        return Answer("reported", "free answers without probabilities, read by the strict parser", "confusion")
    systems = [system for task in run.results["tasks"].values() for system in task["systems"]]
    parsers = dict.fromkeys(section(s, "generated")["parser"] for s in systems if section(s, "generated") is not None)
    written = f"; free answers beside it, read by {', '.join(parsers)}" if parsers else ""
    written += f"; of {', '.join(wrote)} free answers without probabilities, read by the strict parser" if wrote else ""
    return Answer("reported", f"a probability for each label, turned into an answer{written}", "confusion")


def generated(run: "ReportInputs") -> Answer:
    if not run.models:
        return MISSING
    if of_free_answers(run) or wrote_labels(run):
        return Answer("reported", "free answers against the labels", "confusion")
    shown = [
        s for task in run.results["tasks"].values() for s in task["systems"] if section(s, "generated") is not None
    ]
    if shown:
        return Answer("reported", "free answers against the labels and against the likelihoods", "language")
    return Answer("not applicable", "labels are scored by likelihood; no text is written")


def of_free_answers(run: "ReportInputs") -> bool:
    """Whether this is a report of saved free answers, read again without the models' probabilities."""
    return any(finding["code"] == SCORED for task in run.results["tasks"].values() for finding in task["findings"])


def wrote_labels(run: "ReportInputs") -> list[str]:
    """Models on a server whose labels were read in written answers, by what the predictions say."""
    found = [finding for task in run.results["tasks"].values() for finding in task["findings"]]
    wrote = [one for one in found if one["code"] == ON_SERVER and one["title"].endswith(WORDS["generation"])]
    names = {name for one in wrote if (name := one["system"]) is not None}
    return [spec.name for spec in remote_models(run) if spec.name in names]


def prompt(run: "ReportInputs") -> Answer:
    if not run.models:
        return MISSING
    if not any(isinstance(spec, LanguageModel | Remote) for spec in run.study.models):
        return Answer("not applicable", "no model that reads a prompt")
    own = all(task.prompt for task in run.study.tasks.values())
    which = "the study's own prompt" if own else "the default prompt of clinfit"
    return Answer("partly", f"{which}, in the resolved study; how it was chosen is for the author to say", "provenance")


def no_summaries(run: "ReportInputs") -> Answer:
    return Answer("not applicable", "labels are answered, no summaries")


def no_alignment(run: "ReportInputs") -> Answer:
    return Answer("not applicable", "no instruction tuning or alignment by clinfit") if run.models else MISSING


def compute(run: "ReportInputs") -> Answer:
    parts = [f"{model} {duration(stage['seconds'])}" for model, stage in details(run)]
    processor = run.environment.get("processor", {})
    machine = processor.get("name") if isinstance(processor, Mapping) else None
    if not parts:
        return MISSING
    return Answer("reported", f"time to fit: {', '.join(parts)}{f'; {machine}' if machine else ''}", "cost")
