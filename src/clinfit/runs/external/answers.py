"""Predictions of any tool, in a plain table, to metrics and report: `clinfit evaluate FILE...`.

What a file holds, see `external_table.py`.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pandas as pd

from clinfit.data.label_checks import healthy_positive
from clinfit.data.values import in_several_rows, may_be_text, plain_text
from clinfit.errors import ClinfitError, nearest
from clinfit.evaluation.evaluate import evaluate
from clinfit.evaluation.facts import Facts, KnownCounts
from clinfit.evaluation.results import Results
from clinfit.files import hash_file
from clinfit.findings import Finding
from clinfit.predictions import PROBABILITY, SEPARATOR
from clinfit.report.inputs import ReportInputs
from clinfit.runs.external.table import (
    CELLS,
    DIVISION,
    KEY,
    Source,
    answers_by_another_rule,
    as_predictions,
    groups_by,
    other_spellings,
    probability_columns,
    read_source,
    refuse_partly_divided,
    refuse_same_system,
)
from clinfit.runs.finish import write_outcome
from clinfit.runs.folder import RunFolder
from clinfit.runs.steps.environment import describe_environment
from clinfit.study.data import Data
from clinfit.study.evaluation import Evaluation
from clinfit.study.models import Baseline
from clinfit.study.schema import Study
from clinfit.study.tasks import Task, task_from


def evaluate_files(
    paths: Sequence[Path],
    out: Path,
    *,
    labels: Sequence[str] = (),
    positive: str | None = None,
    kind: Literal["classification", "multilabel"] = "classification",
    name: str | None = None,
    study: Study | None = None,
    task: str | None = None,
    command: str = "clinfit evaluate",
    files: bool = False,
) -> Results:
    """Metrics of the predictions in these files; writes metrics.json, report.html, summary.md and report_metrics.json.

    labels: all labels in their order; default: the study's, else those of the p_ columns, else the distinct golds.
    kind: of the task, where there is no study. study: gives kind, labels, positive label and the settings of the
    evaluation; its models are not needed. task: which of its tasks, where it has several. command: how to repeat it,
    shown in the report. files: figures and tables as files too.

    Raises ClinfitError for files that cannot be read as predictions, and for ids that stand in them twice; items that
    differ between models and undeclared answers are findings that withhold the numbers.
    """
    if RunFolder(out).study.is_file():
        raise ClinfitError(
            f"{out} is a run folder, and its own report would be lost",
            expected="another folder for the report of these files",
            fix="give another --out",
        )
    sources = [read_source(path) for path in paths]
    named = bool(labels) or study is not None
    if study is None:
        study = _made_up(sources, kind, labels, positive, name)
    study = _with_task(study, task)
    ((task_name, asked),) = study.tasks.items()
    tables = [as_predictions(source, task_name, asked) for source in sources]
    for source, answered in zip(sources, tables, strict=True):
        _refuse_repeated(source, answered)
    refuse_same_system(sources, tables)
    refuse_partly_divided(sources, tables)
    table = pd.concat(tables, ignore_index=True)
    found = [
        *other_spellings(table, asked, named=named),
        *healthy_positive(asked),
        *answers_by_another_rule(table, asked),
    ]
    facts = _facts(task_name, asked, table, found)
    facts["subgroups"] = {task_name: groups_by(sources, study.settings(task_name).subgroup_columns)}
    results = evaluate(study, table.loc[table["split"] != "train"], facts)
    hashes = {str(path): hash_file(path) for path in paths}
    described = {"source": ", ".join(hashes), "fingerprint": "; ".join(f"{k} {v}" for k, v in hashes.items())}
    inputs = ReportInputs(
        results=results,
        study=study,
        data={task_name: described},
        environment=describe_environment(neural=False),
        command=command,
    )
    write_outcome(out, inputs, files=files)
    return results


def _refuse_repeated(source: Source, table: pd.DataFrame) -> None:
    """Raise where a system answers an item twice: nobody knows which answer counts. Training rows are only counted."""
    keys = [name for name in (*KEY, *DIVISION, "id") if name in table]
    tested = table.loc[table["split"] != "train", keys]
    if repeated := list(dict.fromkeys(tested.loc[tested.duplicated(), "id"])):
        raise source.error(
            in_several_rows(repeated),
            repeated,
            expected="one row an item, of each model, seed, stage and split (of a cross-validation, of each repeat)",
            fix="take the repeated rows out; answers of several models or seeds have a column `model` or `seed`",
        )


# ---------------------------------------------------------------- study and labels


def _with_task(study: Study, name: str | None) -> Study:
    """The study with the task that the files belong to."""
    if name is None and len(study.tasks) == 1:
        return study
    if name not in study.tasks:
        near = nearest(name, list(study.tasks)) if name else None
        raise ClinfitError(
            f"the study has no task {name!r}" if name else f"the study has {len(study.tasks)} tasks",
            expected=f"the task that these predictions belong to: --task {' or '.join(study.tasks)}",
            fix=f"--task {near}" if near else "",
        )
    return study.model_copy(update={"tasks": {name: study.tasks[name]}})


def _made_up(
    sources: Sequence[Source], kind: str, labels: Sequence[str], positive: str | None, name: str | None
) -> Study:
    """A study that says no more than the files and options do; the majority answer is its only model."""
    labels = list(labels) or _labels_in(sources, kind)
    if len(labels) < 2 or len(set(labels)) < len(labels) or not all(labels):
        raise ClinfitError(f"the labels are {', '.join(labels)}", expected="two or more different labels: --labels A,B")
    if kind == "multilabel" and (odd := [label for label in labels if SEPARATOR in label]):
        raise ClinfitError(
            f"a label holds {SEPARATOR}: {', '.join(odd)}", expected="labels without it: it joins labels"
        )
    if positive is not None and kind != "classification":
        raise ClinfitError(f"--positive {positive}: a {kind} task has no positive label", fix="leave it out")
    if positive is not None and positive not in labels:
        near = nearest(positive, labels)
        raise ClinfitError(
            f"--positive {positive} is not one of the labels {', '.join(labels)}",
            fix=f"--positive {near}" if near else "name one of the labels",
        )
    probabilities = all(probability_columns(source) for source in sources)
    block = {"kind": kind, "labels": labels, "data": Data(path=sources[0].name, id="id", label="gold")}
    return Study(
        name=re.sub(r"[^A-Za-z0-9._-]+", "-", name or "").strip("._-") or "predictions",
        tasks={"predictions": task_from(block | ({} if positive is None else {"positive": positive}))},
        models=[Baseline(name="majority", family="baseline", kind="majority")],
        evaluation=Evaluation(primary="auroc" if probabilities else "accuracy"),
    )


def _labels_in(sources: Sequence[Source], kind: str) -> list[str]:
    """From the probability columns of the first file, else the distinct golds of all, sorted."""
    columns = probability_columns(sources[0])
    if len(columns) > 1:
        return [column.removeprefix(PROBABILITY) for column in columns]
    texts = (text for source in sources for text in map(plain_text, source.cells["gold"]) if text is not None)
    golds = {label for text in texts for label in CELLS[kind].labels(text)}
    if len(golds) < 2:
        raise sources[0].error(
            f"the column gold holds {len(golds)} different labels, and no columns say which others there are",
            expected="two labels or more",
            fix="name all labels: --labels A,B",
        )
    if may_be_text(golds):
        raise sources[0].error(
            f"the column gold holds {len(golds)} different values that look like text, not like labels",
            expected="labels of a few words",
            fix="name the labels: --labels A,B",
        )
    return sorted(golds)


# ---------------------------------------------------------------- what goes with the table


def _facts(name: str, task: Task, table: pd.DataFrame, findings: Sequence[Finding]) -> Facts:
    """Records of the training split, where one of the files holds them: the first model's stand for all."""
    facts = Facts(findings={name: [finding.as_dict() for finding in findings]})
    train = table.loc[table["split"] == "train"]
    if len(train):
        first = train.loc[train["run"] == train["run"].iloc[0]]
        given = [set(CELLS[task.kind].labels(text)) for text in first["gold"]]
        counts = {label: sum(label in labels for labels in given) for label in task.labels}
        facts["counts"] = {name: {"train": KnownCounts(n=len(first), labels=counts)}}
    return facts
