"""Metrics and report from what a run has saved; no model is loaded."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from clinfit.errors import ClinfitError
from clinfit.evaluation.evaluate import evaluate
from clinfit.evaluation.results import Facts, ModelFacts, Results
from clinfit.predictions import read_predictions
from clinfit.report.build import ReportInputs, write_report
from clinfit.report.export import report_metrics, summary_markdown
from clinfit.runs.folder import ModelFolder, RunFolder, hash_file, new_file, read_json, write_json, write_text
from clinfit.runs.freeze import note_scoring
from clinfit.study import Study


def evaluate_run(folder: RunFolder, study: Study, command: str) -> Results:
    """Evaluate all saved predictions of a run, note that the test split was scored, and write what `write_outcome`
    says. command: how to repeat it."""
    tables = saved_predictions(folder)
    if tables.empty:
        raise ClinfitError(f"{folder.path} holds no predictions", fix="run the study to its end first")
    facts = facts_of(folder, study)
    facts["freeze"] = note_scoring(folder, study, test_answers(folder))
    results = evaluate(study, tables, facts)
    write_outcome(folder.path, report_inputs(folder, study, results, command))
    return results


def write_outcome(folder: Path, inputs: ReportInputs) -> None:
    """metrics.json, report.html, summary.md and report_metrics.json, each whole or not at all."""
    write_json(folder / "metrics.json", inputs.results)
    write_json(folder / "report_metrics.json", report_metrics(inputs.results, inputs.models, inputs.logs))
    write_text(folder / "summary.md", summary_markdown(inputs.results, inputs.command))
    with new_file(folder / "report.html") as path:
        write_report(inputs, path)


def report_inputs(folder: RunFolder, study: Study, results: Results, command: str) -> ReportInputs:
    """Everything that the report shows, from the run's files."""
    return ReportInputs(
        results=results,
        study=study,
        data={task: read_json(folder.data(task)) for task in study.tasks},
        environment=environments(folder),
        models=[record for _, record in records(folder)],
        logs=training_logs(folder),
        command=command,
    )


def environments(folder: RunFolder) -> dict[str, Any]:
    """environment.json, and below `trained elsewhere` what was different where a model was trained."""
    here = read_json(folder.environment)
    elsewhere = {
        model.path.name: {key: value for key, value in record["environment"].items() if value != here.get(key)}
        for model, record in records(folder)
        if record.get("environment", here) != here
    }
    return here | ({"trained elsewhere": elsewhere} if elsewhere else {})


def training_logs(folder: RunFolder) -> dict[tuple[str, int], list[dict[str, Any]]]:
    """The rows of every log.jsonl, by run name and stage."""
    logs = {}
    for model in folder.models():
        for log in sorted(model.path.glob("stages/*/log.jsonl"), key=lambda path: int(path.parent.name)):
            lines = log.read_text(encoding="utf-8").split("\n")[:-1]  # a line cut short by a kill has no line end
            logs[model.path.name, int(log.parent.name)] = [json.loads(line) for line in lines]
    return logs


def saved_predictions(folder: RunFolder) -> pd.DataFrame:
    """All tables of the models that are done, in the study's order, as one; a changed table is refused."""
    tables = [
        read_intact(model, record, name)
        for model, record in records(folder)
        if record["status"] == "done"
        for name in record["predictions"]
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def test_answers(folder: RunFolder) -> dict[str, dict[str, str]]:
    """Hash of every table of test predictions of the models that are done, by model."""
    return {
        model.path.name: {name: digest for name, digest in record["predictions"].items() if "-test-" in name}
        for model, record in records(folder)
        if record["status"] == "done"
    }


def records(folder: RunFolder) -> Iterator[tuple[ModelFolder, dict[str, Any]]]:
    """The models whose record can be read."""
    for model in folder.models():
        try:
            yield model, model.read_record()
        except ClinfitError:
            continue  # `facts_of` reports it


def damaged_records(folder: RunFolder) -> Iterator[tuple[ModelFolder, ClinfitError]]:
    for model in folder.models():
        try:
            model.read_record()
        except ClinfitError as error:
            yield model, error


def read_intact(model: ModelFolder, record: dict[str, Any], name: str) -> pd.DataFrame:
    """A predictions table that is still what the run wrote."""
    path = model.path / "predictions" / name
    if not path.is_file() or hash_file(path) != record["predictions"][name]:
        raise ClinfitError(
            f"{path} is missing or was changed after the run wrote it", fix="run the study again; only this is redone"
        )
    return read_predictions(path)


def facts_of(folder: RunFolder, study: Study) -> Facts:
    """What evaluation cannot see in predictions: cost, alarms, failures, record counts, findings of the audit,
    subgroups."""
    data = {task: read_json(folder.data(task)) for task in study.tasks}
    models = {model.path.name: model_facts(record) for model, record in records(folder)}
    for model, error in damaged_records(folder):
        models[model.path.name] = ModelFacts(family="unknown", status="failed", reason="; ".join(error.lines()))
    return Facts(
        models=models,
        counts={
            task: {split: part["labels"] for split, part in described["splits"].items()}
            for task, described in data.items()
        },
        findings={task: described["findings"] for task, described in data.items()},
        subgroups={task: saved_subgroups(folder, task, study) for task in study.tasks},
        leaks={task: described.get("leaks", {}) for task, described in data.items()},
        shift={task: described.get("shift", []) for task, described in data.items()},
    )


def saved_subgroups(folder: RunFolder, task: str, study: Study) -> pd.DataFrame:
    """The groups of every record, as the run saved them; an empty table when the study names none."""
    path, columns = folder.subgroups(task), [item.column for item in study.evaluation.subgroup_columns]
    if not columns:
        return pd.DataFrame()
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError):
        table = pd.DataFrame()
    if not {"id", *columns} <= set(table.columns):
        raise ClinfitError(
            f"{path} is missing or damaged", expected="the subgroups of each record", fix="run the study again"
        )
    return table


def model_facts(record: dict[str, Any]) -> ModelFacts:
    """Cost and alarms over all stages; parameters as of the last."""
    stages = [record["stages"][number] for number in sorted(record["stages"], key=int)]
    facts = ModelFacts(family=record["family"], status=record["status"])
    if record["reason"]:
        facts["reason"] = record["reason"]
    if stages:
        facts["train_seconds"] = sum(stage["seconds"] for stage in stages)
        facts["parameters"] = stages[-1]["parameters"]
        facts["peak_memory_mb"] = record.get("peak_memory_mb")
        facts["trainable_parameters"] = stages[-1]["trainable_parameters"]
        facts["alarms"] = [alarm for stage in stages for alarm in stage["alarms"]]
    return facts
