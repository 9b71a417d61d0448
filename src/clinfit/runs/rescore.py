"""Read a run's saved free answers again, by any parser and without a model, and evaluate what was read.

`scored/<parser>/` of the run holds predictions.parquet (label or unparsed, with the parser's reason; no probabilities
and no text), score.json, metrics.json and report.html. The run itself is not touched.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from clinfit.errors import ClinfitError, nearest
from clinfit.evaluation.analyses.generated import SCORED, read_answers
from clinfit.evaluation.evaluate import evaluate
from clinfit.evaluation.facts import Facts
from clinfit.evaluation.results import Results
from clinfit.files import hash_file, new_folder, read_json, write_json, write_parquet
from clinfit.findings import Finding
from clinfit.predictions import COLUMNS
from clinfit.runs.finish import facts_of, report_inputs, saved_predictions, test_answers, write_outcome
from clinfit.runs.folder import RunFolder
from clinfit.runs.freeze import note_scoring
from clinfit.scoring.parse import PARSERS, Parser
from clinfit.study.evaluation import TaskEvaluation, Threshold
from clinfit.study.schema import Study
from clinfit.study.tasks import Task

#: Primary metrics that labels alone can give, by kind of task; others are replaced by the first.
LABEL_METRICS: dict[str, tuple[str, ...]] = {
    "classification": ("balanced_accuracy", "accuracy", "macro_f1", "f1", "mcc", "sensitivity", "specificity"),
    "multiple-choice": ("accuracy",),
}
#: Settings that need probabilities, as they are without any.
WITHOUT: dict[str, Any] = {"threshold": Threshold(), "calibration": "none", "refer": None}


@dataclass(frozen=True)
class Asked:
    """Whose free answers are read, to which task; None: of all that wrote any."""

    models: Sequence[str] | None = None
    task: str | None = None


@dataclass(frozen=True)
class Score:
    """folder: what was written. before, results: metrics of the run and of the answers read now."""

    folder: Path
    before: Results
    results: Results


def score_run(run: RunFolder, study: Study, parser_name: str, asked: Asked, command: str) -> Score:
    """Read the free answers that are asked for and evaluate them beside the models that wrote none.

    Raises ClinfitError for an unknown parser, model or task, and when there are no free answers to read.
    """
    if study.folds:
        raise ClinfitError(
            "free answers of a cross-validation are not read again: what is read holds no folds",
            expected="a run whose records are divided once",
            fix="split: {train: 0.6, validation: 0.2, test: 0.2}",
        )
    parser = find_parser(parser_name)
    table = with_answers(run, asked)
    before = read_json(run.metrics)
    named = set(table["task"])
    answered = {name: task for name, task in study.tasks.items() if name in named}
    whole, study = study, study.model_copy(update={"tasks": answered})
    scored = read_again(study, table, parser)
    writers = sorted(scored.loc[scored["parser_reason"].notna(), "model"].unique())
    facts = with_note(facts_of(run, study), study, parser, writers)
    facts["freeze"] = note_scoring(run, whole, {"parser": parser.title, "answers": test_answers(table)})
    results = evaluate(for_labels(study), scored, facts)
    target = run.path / "scored" / parser.name
    with new_folder(target) as folder:
        write_parquet(folder / "predictions.parquet", scored)
        write_json(
            folder / "score.json",
            {
                "parser": {"name": parser.name, "version": parser.version, "rule": parser.rule},
                "models": writers,
                "metrics of the run (SHA-256)": hash_file(run.metrics),
            },
        )
        write_outcome(folder, report_inputs(run, study, results, command))
    return Score(target, before, results)


def find_parser(name: str) -> Parser:
    """The parser of that name."""
    if name in PARSERS:
        return PARSERS[name]
    raise ClinfitError(
        f"there is no parser {name!r}",
        expected="; ".join(f"{parser.name} ({parser.rule})" for parser in PARSERS.values()),
        fix=f"did you mean {nearest(name, PARSERS)}?" if nearest(name, PARSERS) else "",
    )


def with_answers(run: RunFolder, asked: Asked) -> pd.DataFrame:
    """The run's predictions for the tasks that were answered freely: of models that wrote answers only the wanted ones,
    and all of the others."""
    table = saved_predictions(run)
    table = table.loc[table["kind"].isin([*LABEL_METRICS])]  # texts are what they are, and no labels are read from them
    wrote = table["raw"].notna().to_numpy()
    if not wrote.any():
        raise ClinfitError(
            f"the models of {run.path} wrote no free answers, so there is nothing to read",
            expected="a causal model with `generate`",
            fix="set generate: 16 for a causal model in the study and run it again; trained models are reused",
        )
    writers, tasks = (list(table.loc[wrote, column].unique()) for column in ("model", "task"))
    for name in asked.models or ():
        _known("--models", name, writers, f"{name!r} wrote no free answers in this run")
    if asked.task is not None:
        _known("--task", asked.task, tasks, f"there are no free answers to a task {asked.task!r} in this run")
        tasks = [asked.task]
    left_out = [name for name in writers if asked.models and name not in asked.models]
    return table.loc[~table["model"].isin(left_out) & table["task"].isin(tasks)].reset_index(drop=True)


def _known(option: str, name: str, known: Sequence[str], found: str) -> None:
    if name not in known:
        close = nearest(name, known)
        raise ClinfitError(
            f"{option}: {found}",
            expected=f"some of {', '.join(known)}",
            fix=f"did you mean {close}?" if close else "",
        )


def read_again(study: Study, table: pd.DataFrame, parser: Parser) -> pd.DataFrame:
    """The table with what the parser reads in place of the models' own answers.

    Rows without a free answer of a model that wrote some are unparsed; models that wrote none keep their answers.
    """
    own = [name for name in table.columns if name not in COLUMNS]  # of the kinds: probabilities in all their forms
    table = table.assign(parser_reason=None)
    wrote = table.groupby(["model", "seed", "stage", "task"])["raw"].transform(lambda texts: texts.notna().any())
    for name, task in study.tasks.items():
        rows = wrote & (table["task"] == name)
        read = read_answers(table.loc[rows, "raw"].tolist(), task.labels, parser)
        table.loc[rows, "predicted"] = [found.label for found in read]
        table.loc[rows, "status"] = ["unparsed" if found.label is None else "ok" for found in read]
        table.loc[rows, "parser_reason"] = [found.reason for found in read]
        table.loc[rows, own] = np.nan
    return table.assign(raw=None)


def for_labels(study: Study) -> Study:
    """The study with what labels alone allow: no threshold, recalibration or referral, and a primary metric of labels.

    Systems with probabilities are then judged by their most probable label, as the free answers are.
    """
    return study.model_copy(
        update={"tasks": {name: _of_labels(task, study.settings(name)) for name, task in study.tasks.items()}}
    )


def _of_labels(task: Task, settings: TaskEvaluation) -> Task:
    """The task with settings of its own that need no probabilities."""
    possible = LABEL_METRICS[task.kind]
    primary = settings.primary if settings.primary in possible else possible[0]
    known = type(settings).model_fields
    changes = {"primary": primary} | {name: value for name, value in WITHOUT.items() if name in known}
    return task.model_copy(update={"evaluation": settings.model_copy(update=changes)})


def with_note(facts: Facts, study: Study, parser: Parser, writers: Sequence[str]) -> Facts:
    """The facts with a finding for each task that says what its numbers are."""
    labels, known = for_labels(study), facts.get("findings", {})
    notes = {
        name: _note(study.settings(name).primary, labels.settings(name).primary, parser, writers)
        for name in study.tasks
    }
    return facts | Facts(findings={name: [*known.get(name, []), note.as_dict()] for name, note in notes.items()})


def _note(asked: str, primary: str, parser: Parser, writers: Sequence[str]) -> Finding:
    evidence = f"parser {parser.title}: {parser.rule}; most probable labels of the other models, no thresholds"
    if primary != asked:
        evidence += f"; {primary} stands in for {asked}, which needs probabilities"
    return Finding(
        "info",
        SCORED,
        f"These are the free answers of {', '.join(writers)}, not their label probabilities",
        evidence,
        "the run's own report.html has what is served",
    )
