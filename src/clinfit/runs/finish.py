"""Metrics and report from what a run has saved; no model is loaded."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from pandas.util import hash_pandas_object

from clinfit.errors import ClinfitError
from clinfit.evaluation.evaluate import evaluate
from clinfit.evaluation.facts import Facts, Importance, KnownCounts, ModelFacts
from clinfit.evaluation.results import Results
from clinfit.files import hash_file, new_file, read_json, write_json, write_text
from clinfit.predictions import SCORE, read_predictions
from clinfit.report.build import write_report
from clinfit.report.export import report_metrics, summary_markdown
from clinfit.report.files import has_files, write_files
from clinfit.report.inputs import ReportInputs
from clinfit.report.sections.systems.models import curves_in_brief
from clinfit.runs.decisions import write_decisions
from clinfit.runs.folder import ModelFolder, RunFolder, answers_in
from clinfit.runs.freeze import note_scoring
from clinfit.runs.steps.importance import read_importance
from clinfit.runs.steps.item_scores import with_scores
from clinfit.runs.steps.record import digest
from clinfit.study.schema import Study


def evaluate_run(folder: RunFolder, study: Study, command: str, *, files: bool = False) -> Results:
    """Evaluate all saved predictions of a run, note that the test split was scored, and write what `write_outcome`
    says. command: how to repeat it. files: figures and tables as files too."""
    tables = saved_predictions(folder)
    facts = facts_of(folder, study)
    if not study.folds:  # a cross-validation has no test split that could stay closed
        facts["freeze"] = note_scoring(folder, study, test_answers(tables))
    results = evaluate(study, tables, facts)
    write_decisions(folder, study, results, tables)
    write_outcome(folder.path, report_inputs(folder, study, results, command), files=files)
    return results


def write_outcome(folder: Path, inputs: ReportInputs, *, files: bool = False) -> None:
    """metrics.json, report.html, summary.md and report_metrics.json, each whole or not at all. files: also the folders
    figures and tables (report/files.py). Those of an earlier evaluation are written anew without being asked for: they
    would stand beside a report of other numbers."""
    write_json(folder / "metrics.json", inputs.results)
    write_json(folder / "report_metrics.json", report_metrics(inputs.results, inputs.models, inputs.logs))
    curves = curves_in_brief(inputs.models, inputs.logs)
    write_text(folder / "summary.md", summary_markdown(inputs.results, inputs.command, curves))
    with new_file(folder / "report.html") as path:
        write_report(inputs, path)
    if files or has_files(folder):
        write_files(inputs, folder)


def report_inputs(folder: RunFolder, study: Study, results: Results, command: str) -> ReportInputs:
    """Everything that the report shows, from the run's files."""
    return ReportInputs(
        results=results,
        study=study,
        data={task: read_json(folder.data(task)) for task in study.tasks},
        environment=environments(folder),
        models=[record for _, record in shown(folder)],
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
    """The rows of every log.jsonl of the models that are shown, by run name (without a fold) and stage."""
    logs = {}
    for model, record in shown(folder):
        for log in sorted(model.path.glob("stages/*/log.jsonl"), key=lambda path: int(path.parent.name)):
            lines = log.read_text(encoding="utf-8").split("\n")[:-1]  # a line cut short by a kill has no line end
            logs[name_of(model, record), int(log.parent.name)] = [json.loads(line) for line in lines]
    return logs


def saved_predictions(folder: RunFolder) -> pd.DataFrame:
    """All tables of the models that are done (of a cross-validation in all folds), in the study's order, as one; raises
    ClinfitError where there are none, or one was changed."""
    tables = [read_intact(model, record, name) for model, record in whole(folder) for name in answers_in(record)]
    if not tables:
        raise ClinfitError(f"{folder.path} holds no predictions", fix="run the study to its end first")
    return pd.concat(tables, ignore_index=True)


def test_answers(tables: pd.DataFrame) -> dict[str, str]:
    """Hash of the test answers of every run; how long they took, and what metrics make of them, is no part of them."""
    scores = [name for name in tables.columns if name.startswith(SCORE)]
    rows = tables.loc[tables["split"] == "test"].drop(columns=["seconds", *scores])
    hashed: Any = hash_pandas_object  # pandas gives it no type
    hashes = np.asarray(hashed(rows, index=False), dtype=np.uint64)
    places = rows.groupby("run").indices
    return {str(run): hashlib.sha256(hashes[at].tobytes()).hexdigest() for run, at in places.items()}


def name_of(model: ModelFolder, record: Mapping[str, Any]) -> str:
    """The name of a run, in a cross-validation without its fold."""
    return model.path.name if record.get("fold") is None else f"{record['model']}-seed{record['seed']}"


def shown(folder: RunFolder) -> list[tuple[ModelFolder, dict[str, Any]]]:
    """The models that a report describes one by one: all; of a cross-validation, for each model and seed the first fold
    that did not end, else the first of all."""
    found: dict[str, tuple[ModelFolder, dict[str, Any]]] = {}
    for model, record in evaluated(folder):
        name = name_of(model, record)
        if name not in found or (record["status"] != "done" and found[name][1]["status"] == "done"):
            found[name] = model, record
    return list(found.values())


def whole(folder: RunFolder) -> list[tuple[ModelFolder, dict[str, Any]]]:
    """The models that are done; of a cross-validation those of which every fold is."""
    done = [(model, record) for model, record in evaluated(folder) if record["status"] == "done"]
    folds = Counter((record["model"], record["seed"]) for _, record in done)
    return [
        (model, record)
        for model, record in done
        if record.get("fold") is None or folds[record["model"], record["seed"]] == record["fold"]["of"]
    ]


def evaluated(folder: RunFolder) -> list[tuple[ModelFolder, dict[str, Any]]]:
    """The models that are asked of records: all but those that are refitted on all of them."""
    return [(model, record) for model, record in records(folder) if not record.get("refit")]


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
    """A predictions table that is still what the run wrote, with the scores of its items where it has any."""
    path, scores = model.path / "predictions" / name, model.scores(name)
    _check_intact(path, answers_in(record)[name])
    table, scored = read_predictions(path), record["steps"].get(f"scores/{name}")
    if scored is None:
        return table
    _check_intact(scores, scored["sha256"])
    return with_scores(table, pd.read_parquet(scores))


def _check_intact(path: Path, sha256: str | None) -> None:
    """Raise ClinfitError when a file is not what the run wrote."""
    if not path.is_file() or hash_file(path) != sha256:
        raise ClinfitError(
            f"{path} is missing or was changed after the run wrote it", fix="run the study again; only this is redone"
        )


def facts_of(folder: RunFolder, study: Study) -> Facts:
    """What evaluation cannot see in predictions: cost, alarms, failures, record counts, findings of the audit,
    subgroups."""
    data = {task: read_json(folder.data(task)) for task in study.tasks}
    models = of_all_folds(evaluated(folder)) | refitted(folder)
    for model, error in damaged_records(folder):
        models[model.path.name] = ModelFacts(family="unknown", status="failed", reason="; ".join(error.lines()))
    return Facts(
        models=models,
        counts={
            task: {
                split: KnownCounts(n=part["records"], labels=part["labels"])
                for split, part in described["splits"].items()
            }
            for task, described in data.items()
        },
        findings={task: described["findings"] for task, described in data.items()},
        subgroups={task: saved_subgroups(folder, task, study) for task in study.tasks},
        leaks={task: described.get("leaks", {}) for task, described in data.items()},
        shift={task: described.get("shift", []) for task, described in data.items()},
        characteristics={
            task: described["characteristics"] for task, described in data.items() if "characteristics" in described
        },
        importance={task: saved_importance(folder, task) for task in study.tasks},
        abstention={task: saved_tables(folder, task, "abstention") for task in study.tasks},
        contrast={task: saved_tables(folder, task, "contrast") for task in study.tasks},
    )


def saved_tables(folder: RunFolder, task: str, what: str) -> dict[tuple[str, int], pd.DataFrame]:
    """What the models that are done were asked beside their answers, by run and stage (runs/steps/abstention.py,
    runs/steps/contrast.py); raises ClinfitError where that was changed."""
    found: dict[tuple[str, int], pd.DataFrame] = {}
    for model, record in records(folder):
        for written, step in record["steps"].items():
            name, _, stage = written.removeprefix(f"{what}/").removesuffix(".parquet").rpartition("-stage")
            if written.startswith(f"{what}/") and name == task and record["status"] == "done":
                _check_intact(model.path / written, step["sha256"])
                found[model.path.name, int(stage)] = pd.read_parquet(model.path / written)
    return found


def saved_importance(folder: RunFolder, task: str) -> dict[str, Importance]:
    """What the models that are done were asked of a task, by run; raises ClinfitError where that was changed."""
    found: dict[str, Importance] = {}
    for model, record in records(folder):
        for written, step in record["steps"].items():
            name, _, stage = written.removeprefix("importance/").rpartition("-stage")
            if not written.startswith("importance/") or name != task or record["status"] != "done":
                continue
            if digest(model.path / written) != step["sha256"]:
                raise ClinfitError(
                    f"{model.path / written} is missing or was changed after the run wrote it",
                    fix="run the study again; only this is redone",
                )
            found[model.path.name] = cast(Importance, {"stage": int(stage), **read_importance(model.path / written)})
    return found


def saved_subgroups(folder: RunFolder, task: str, study: Study) -> pd.DataFrame:
    """The groups of every record, as the run saved them; an empty table when the study names none."""
    path, columns = folder.subgroups(task), [item.column for item in study.settings(task).subgroup_columns]
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


def general_perplexity(stages: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Perplexity of general text after each stage, and of the base as stage 0; nothing for models without a text."""
    found: dict[str, float] = {}
    for number, stage in stages.items():
        if (probe := stage["details"].get("general_text")) is not None:
            found[number] = probe["perplexity"]
            if "base_perplexity" in probe:
                found["0"] = probe["base_perplexity"]
    return found


def refitted(folder: RunFolder) -> dict[str, ModelFacts]:
    """What a reader must know of models that were refitted: that one did not end, and alarms. Their times are no part
    of any figure."""
    found = {model.path.name: model_facts(record) for model, record in records(folder) if record.get("refit")}
    return {
        name: ModelFacts(
            family=facts.get("family", ""),
            status=facts.get("status", "running"),
            reason=facts.get("reason", ""),
            alarms=facts.get("alarms", []),
        )
        for name, facts in found.items()
    }


def of_all_folds(found: Sequence[tuple[ModelFolder, dict[str, Any]]]) -> dict[str, ModelFacts]:
    """What is known of each run; of a cross-validation of all folds of a model and seed together: the sum of the times,
    the largest peak, every alarm once, and the first reason why one did not end."""
    known: dict[str, list[ModelFacts]] = {}
    of: dict[str, int] = {}
    for model, record in found:
        name = name_of(model, record)
        known.setdefault(name, []).append(model_facts(record))
        if record.get("fold") is not None:
            of[name] = record["fold"]["of"]
    return {name: _summed(folds, of[name]) if name in of else folds[0] for name, folds in known.items()}


def _summed(folds: Sequence[ModelFacts], of: int) -> ModelFacts:
    """of: how many folds there are, some of which may not have begun."""
    open_ = [facts for facts in folds if facts.get("status") != "done"]
    summed = ModelFacts(**(open_ or folds)[0])
    times = [time for facts in folds if (time := facts.get("train_seconds")) is not None]
    peaks = [peak for facts in folds if (peak := facts.get("peak_memory_mb")) is not None]
    summed["train_seconds"], summed["peak_memory_mb"] = sum(times), max(peaks, default=None)
    summed["alarms"] = list(dict.fromkeys(alarm for facts in folds for alarm in facts.get("alarms", [])))
    summed["stage_seconds"] = _by_stage([facts.get("stage_seconds", {}) for facts in folds])
    summed["stage_tokens"] = _by_stage([facts.get("stage_tokens", {}) for facts in folds])
    if open_:
        summed["reason"] = f"{len(open_)} of {of} folds: {open_[0].get('reason', 'not finished')}"
    return summed


def _by_stage(folds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The sum over folds of what each holds by stage."""
    return {
        number: sum(each.get(number, 0) for each in folds) for number in sorted({n for each in folds for n in each})
    }


def model_facts(record: dict[str, Any]) -> ModelFacts:
    """Cost and alarms over all stages; parameters as of the last."""
    stages = [record["stages"][number] for number in sorted(record["stages"], key=int)]
    facts = ModelFacts(family=record["family"], status=record["status"])
    if record["reason"]:
        facts["reason"] = record["reason"]
    if "search" in record:
        facts["search"] = record["search"]
    if stages:
        facts["train_seconds"] = sum(stage["seconds"] for stage in stages)
        facts["stage_seconds"] = {number: stage["seconds"] for number, stage in record["stages"].items()}
        counted = {number: stage["details"].get("tokens") for number, stage in record["stages"].items()}
        facts["stage_tokens"] = {number: tokens for number, tokens in counted.items() if tokens is not None}
        facts["stage_perplexity"] = general_perplexity(record["stages"])
        facts["parameters"] = stages[-1]["parameters"]
        facts["peak_memory_mb"] = record.get("peak_memory_mb")
        facts["trainable_parameters"] = stages[-1]["trainable_parameters"]
        if record["family"] == "remote":
            facts["remote"] = stages[-1]["details"]
        facts["alarms"] = [alarm for stage in stages for alarm in stage["alarms"]]
    return facts
