"""Read a run's saved free answers again, by any parser and without a model, and evaluate what was read.

`scored/<parser>/` of the run holds predictions.parquet (label or unparsed, with the parser's reason; no probabilities
and no text), score.json, metrics.json and report.html. The run itself is not touched.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from clinfit.errors import ClinfitError, nearest
from clinfit.evaluation.evaluate import evaluate
from clinfit.evaluation.generated import SCORED, read_answers
from clinfit.evaluation.results import Facts, Results
from clinfit.findings import Finding
from clinfit.predictions import PROBABILITY
from clinfit.runs.folder import (
    RunFolder,
    hash_file,
    new_folder,
    read_json,
    write_json,
    write_parquet,
)
from clinfit.runs.freeze import note_scoring
from clinfit.runs.outcome import facts_of, report_inputs, saved_predictions, test_answers, write_outcome
from clinfit.scoring.parse import PARSERS, Parser
from clinfit.study import Study
from clinfit.study_evaluation import Threshold

#: Primary metrics that labels alone can give; the others are replaced by STAND_IN.
LABEL_METRICS = {"accuracy", "balanced_accuracy", "macro_f1", "f1", "mcc", "sensitivity", "specificity"}
STAND_IN = "balanced_accuracy"


@dataclass(frozen=True)
class Score:
    """folder: what was written. before, results: metrics of the run and of the answers read now."""

    folder: Path
    before: Results
    results: Results


def score_run(run: RunFolder, study: Study, parser_name: str, models: Sequence[str] | None, command: str) -> Score:
    """Read the free answers of `models` (default: all that wrote any) and evaluate them beside the other models.

    Raises ClinfitError for an unknown parser or model, and when there are no free answers to read.
    """
    parser = find_parser(parser_name)
    table = with_answers(run, study, models)
    before = read_json(run.metrics)
    scored = read_again(study, table, parser)
    writers = sorted(scored.loc[scored["parser_reason"].notna(), "model"].unique())
    facts = with_note(facts_of(run, study), study, parser, writers)
    facts["freeze"] = note_scoring(run, study, {"parser": parser.title, "answers": test_answers(run)})
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


def with_answers(run: RunFolder, study: Study, models: Sequence[str] | None) -> pd.DataFrame:
    """The run's predictions: of models that wrote free answers only the wanted ones, and all of the others."""
    table = saved_predictions(run)
    writers = [] if table.empty else list(table.loc[table["raw"].notna(), "model"].unique())
    if not writers:
        raise ClinfitError(
            f"the models of {run.path} wrote no free answers, so there is nothing to read",
            expected="a causal model with `generate`",
            fix="set generate: 16 for a causal model in the study and run it again; trained models are reused",
        )
    for name in models or ():
        if name not in writers:
            close = nearest(name, writers)
            raise ClinfitError(
                f"--models: {name!r} wrote no free answers in this run",
                expected=f"some of {', '.join(writers)}",
                fix=f"did you mean {close}?" if close else "",
            )
    left_out = [name for name in writers if models and name not in models]
    return table.loc[~table["model"].isin(left_out)].reset_index(drop=True)


def read_again(study: Study, table: pd.DataFrame, parser: Parser) -> pd.DataFrame:
    """The table with what the parser reads in place of the models' own answers.

    Rows without a free answer of a model that wrote some are unparsed; models that wrote none keep their answers.
    """
    table = table.assign(parser_reason=None)
    wrote = table.groupby(["model", "seed", "stage", "task"])["raw"].transform(lambda texts: texts.notna().any())
    for name, task in study.tasks.items():
        rows = wrote & (table["task"] == name)
        read = read_answers(table.loc[rows, "raw"].tolist(), task.labels, parser)
        table.loc[rows, "predicted"] = [found.label for found in read]
        table.loc[rows, "status"] = ["unparsed" if found.label is None else "ok" for found in read]
        table.loc[rows, "parser_reason"] = [found.reason for found in read]
        table.loc[rows, [PROBABILITY + label for label in task.labels]] = np.nan
    table.loc[wrote, "label_mass"] = np.nan
    return table.assign(raw=None)


def for_labels(study: Study) -> Study:
    """The study with what labels alone allow: no threshold, recalibration or referral, and a primary metric of labels.

    Systems with probabilities are then judged by their most probable label, as the free answers are.
    """
    evaluation = study.evaluation
    primary = evaluation.primary if evaluation.primary in LABEL_METRICS else STAND_IN
    changes = {"primary": primary, "threshold": Threshold(), "calibration": "none", "refer": None}
    return study.model_copy(update={"evaluation": evaluation.model_copy(update=changes)})


def with_note(facts: Facts, study: Study, parser: Parser, writers: Sequence[str]) -> Facts:
    """The facts with a finding that says what these numbers are."""
    primary = for_labels(study).evaluation.primary
    evidence = f"parser {parser.title}: {parser.rule}; most probable labels of the other models, no thresholds"
    if primary != study.evaluation.primary:
        evidence += f"; {primary} stands in for {study.evaluation.primary}, which needs probabilities"
    note = Finding(
        "info",
        SCORED,
        f"These are the free answers of {', '.join(writers)}, not their label probabilities",
        evidence,
        "the run's own report.html has what is served",
    )
    known = facts.get("findings", {})
    return facts | Facts(findings={task: [*known.get(task, []), note.as_dict()] for task in study.tasks})
