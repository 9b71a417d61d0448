"""Predictions of any tool, in a plain table, to metrics and report: `clinfit evaluate FILE...`.

A file holds one row an item and model:

    id, gold                     which item, and its true label
    predicted                    the answer; empty: it held no label. May be left out where probabilities are given
    p_<label>                    probability of each label; of two labels one is enough. May be left out
    model, seed, stage           who answered; default: the name of the file, 0, 1. Stage 0 is "before"
    split                        test (the default), validation (thresholds are chosen there) or train (counted only)
    group, status, raw, label_mass, prompt_tokens, output_tokens, seconds: as in `clinfit.predictions`, may be left out

Other columns are not read, but for those that the study's evaluation names as subgroups or site.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from clinfit.data.read import read_rows
from clinfit.data.records import SPLITS
from clinfit.data.subgroups import MISSING, read_subgroups
from clinfit.data.values import EXAMPLES, as_number, as_text, may_be_text
from clinfit.errors import ClinfitError, nearest
from clinfit.evaluation.evaluate import evaluate
from clinfit.evaluation.results import Facts, Results
from clinfit.findings import Finding
from clinfit.predictions import COLUMNS, PROBABILITY
from clinfit.report.build import ReportInputs
from clinfit.runs.environment import describe_environment
from clinfit.runs.folder import RunFolder, hash_file
from clinfit.runs.outcome import write_outcome
from clinfit.study import Baseline, Data, Study, Task
from clinfit.study_evaluation import Evaluation, Subgroup

SUFFIXES = (".csv", ".tsv", ".parquet", ".jsonl")
STATUSES = ("ok", "unparsed", "error")
KEY = ["model", "seed", "stage", "split"]
NUMBERS = ("label_mass", "prompt_tokens", "output_tokens", "seconds")

#: Rounded probabilities may miss 1 by this much; they are divided by their sum.
ROUNDING = 0.01


@dataclass(frozen=True)
class Source:
    """One file as it was read: the cells of its columns, untouched."""

    path: Path
    cells: pd.DataFrame

    @property
    def name(self) -> str:
        return self.path.name

    def error(self, found: str, ids: Sequence[Any] = (), **parts: str) -> ClinfitError:
        """An error about this file; the first of the ids stand in it."""
        listed = f" (id {', '.join(map(str, ids[:EXAMPLES]))}{', ...' if len(ids) > EXAMPLES else ''})" if ids else ""
        return ClinfitError(f"{self.name}: {found}{listed}", **parts)


def evaluate_files(
    paths: Sequence[Path],
    out: Path,
    *,
    labels: Sequence[str] = (),
    positive: str | None = None,
    name: str | None = None,
    study: Study | None = None,
    command: str = "clinfit evaluate",
) -> Results:
    """Metrics of the predictions in these files; writes metrics.json, report.html, summary.md and report_metrics.json.

    labels: all labels in their order; default: the study's, else those of the p_ columns, else the distinct golds.
    study: gives labels, positive label and the settings of the evaluation; its models are not needed. command: how to
    repeat it, shown in the report. Raises ClinfitError for files that cannot be read as predictions; items that differ
    between models, repeated ids and undeclared answers are findings that withhold the numbers.
    """
    if RunFolder(out).study.is_file():
        raise ClinfitError(
            f"{out} is a run folder, and its own report would be lost",
            expected="another folder for the report of these files",
            fix="give another --out",
        )
    sources = [_read(path) for path in paths]
    if study is None:
        study = _made_up(sources, labels, positive, name)
    task_name, task = _only_task(study)
    tables = [_as_predictions(source, task_name, task.labels) for source in sources]
    _no_system_twice(sources, tables)
    table = pd.concat(tables, ignore_index=True)
    findings = _most_probable(table, task.labels)
    facts = _facts(task_name, task, table, findings)
    facts["subgroups"] = {task_name: _subgroups(sources, study.evaluation.subgroup_columns)}
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
    write_outcome(out, inputs)
    return results


# ---------------------------------------------------------------- study and labels


def _only_task(study: Study) -> tuple[str, Task]:
    if len(study.tasks) != 1:
        raise ClinfitError(
            f"the study has {len(study.tasks)} tasks: {', '.join(study.tasks)}",
            expected="a study with one task: bare predictions belong to one",
            fix="take the other tasks out of the study file, and evaluate one task at a time",
        )
    return next(iter(study.tasks.items()))


def _made_up(sources: Sequence[Source], labels: Sequence[str], positive: str | None, name: str | None) -> Study:
    """A study that says no more than the files and options do; the majority answer is its only model."""
    labels = list(labels) or _labels_in(sources)
    if len(labels) < 2 or len(set(labels)) < len(labels) or not all(labels):
        raise ClinfitError(f"the labels are {', '.join(labels)}", expected="two or more different labels: --labels A,B")
    if positive is not None and positive not in labels:
        near = nearest(positive, labels)
        raise ClinfitError(
            f"--positive {positive} is not one of the labels {', '.join(labels)}",
            fix=f"--positive {near}" if near else "name one of the labels",
        )
    probabilities = all(_probability_columns(source) for source in sources)
    return Study(
        name=re.sub(r"[^A-Za-z0-9._-]+", "-", name or "").strip("._-") or "predictions",
        tasks={
            "predictions": Task(
                labels=labels,
                positive=positive,
                data=Data(path=sources[0].name, id="id", label="gold"),
            )
        },
        models=[Baseline(name="majority", family="baseline", kind="majority")],
        evaluation=Evaluation(primary="auroc" if probabilities else "accuracy"),
    )


def _labels_in(sources: Sequence[Source]) -> list[str]:
    """From the probability columns of the first file, else the distinct golds of all, sorted."""
    columns = _probability_columns(sources[0])
    if len(columns) > 1:
        return [column.removeprefix(PROBABILITY) for column in columns]
    golds = {text for source in sources for text in map(as_text, source.cells["gold"]) if text is not None}
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


def _probability_columns(source: Source) -> list[str]:
    return [str(column) for column in source.cells.columns if str(column).startswith(PROBABILITY)]


# ---------------------------------------------------------------- files


def _read(path: Path) -> Source:
    """The table of one file, with the columns that no evaluation can do without."""
    expected = f"a table of predictions that ends in {', '.join(SUFFIXES)}"
    if not path.is_file():
        raise ClinfitError(f"{path} does not exist", expected=expected)
    if path.suffix.lower() not in SUFFIXES:
        raise ClinfitError(f"{path.name} ends in {path.suffix!r}", expected=expected)
    source = Source(path, read_rows(path.name, path.parent, Data(path=path.name)))
    columns = list(map(str, source.cells.columns))
    missing = [column for column in ("id", "gold") if column not in columns]
    if "predicted" not in columns and not _probability_columns(source):
        missing.append("predicted or p_<label>")
    if missing:
        near = {wanted: nearest(wanted, columns) for wanted in (name.split()[0] for name in missing)}
        hints = [f"rename {found} to {wanted}" for wanted, found in near.items() if found]
        raise source.error(
            f"there is no column {', '.join(missing)}; the columns are {', '.join(columns[:20])}",
            expected="id, gold, and predicted or p_<label> for each label (or all of these)",
            fix="; ".join(hints) or "rename the columns of the file",
        )
    return source


def _as_predictions(source: Source, task: str, labels: Sequence[str]) -> pd.DataFrame:
    """The table of `clinfit.predictions` with the columns of the file; what the file does not say is null."""
    cells, n = source.cells, len(source.cells)
    ids, gold = (_texts(source, column, required=True) for column in ("id", "gold"))
    probabilities = _probabilities(source, labels, ids)
    if "predicted" in cells.columns:
        predicted = _texts(source, "predicted")
    else:
        known = np.isfinite(probabilities[:, 0])
        best = np.where(known, np.nan_to_num(probabilities).argmax(axis=1), -1)
        predicted = [None if k < 0 else str(labels[k]) for k in best.tolist()]
    status = _status(source, predicted, ids)
    model = _texts(source, "model") if "model" in cells.columns else [None] * n
    columns: dict[str, Any] = {
        "model": [name or source.path.stem for name in model],
        "seed": _whole(source, "seed", 0, ids),
        "stage": _whole(source, "stage", 1, ids),
        "task": task,
        "split": _splits(source, ids),
        "id": ids,
        "group": _texts(source, "group") if "group" in cells.columns else [None] * n,
        "gold": gold,
        "predicted": predicted,
        "status": status,
        "raw": _texts(source, "raw") if "raw" in cells.columns else [None] * n,
    }
    columns |= {name: _numbers(source, name, ids) for name in NUMBERS}
    columns["run"] = [f"{m}-seed{s}" for m, s in zip(columns["model"], columns["seed"], strict=True)]
    table = pd.DataFrame({name: columns[name] for name in COLUMNS})
    for k, label in enumerate(labels):
        table[PROBABILITY + label] = probabilities[:, k]
    return table


def _texts(source: Source, column: str, *, required: bool = False) -> list[str | None]:
    """(n,) cells as text, None where missing; a required column has none of these."""
    try:
        texts = [as_text(cell) for cell in source.cells[column]]
    except TypeError as error:
        raise source.error(f"column {column}: {error}", expected="one value a cell") from error
    empty = [row for row, text in enumerate(texts, start=1) if text is None]
    if required and empty:
        raise source.error(
            f"{len(empty)} rows have no {column}, the first is row {empty[0]}",
            expected="an id and a gold label in every row",
            fix="leave out the rows whose truth is not known",
        )
    return texts


def _numbers(source: Source, column: str, ids: Sequence[Any]) -> np.ndarray:
    """(n,) numbers of a column, nan where missing and throughout where there is no such column."""
    if column not in source.cells.columns:
        return np.full(len(ids), np.nan)
    values, wrong = np.full(len(ids), np.nan), []
    for row, cell in enumerate(source.cells[column]):
        try:
            number = as_number(cell)
        except (TypeError, ValueError):
            wrong.append(ids[row])
        else:
            values[row] = np.nan if number is None else number
    if wrong:
        raise source.error(f"column {column}: {len(wrong)} cells are not numbers", wrong, expected="plain numbers")
    return values


def _whole(source: Source, column: str, default: int, ids: Sequence[Any]) -> np.ndarray:
    """(n,) whole numbers, the default where missing."""
    values = _numbers(source, column, ids)
    values = np.where(np.isnan(values), default, values)
    odd = [ids[row] for row in np.flatnonzero((values < 0) | (values != np.floor(values))).tolist()]
    if odd:
        raise source.error(f"column {column}: {len(odd)} cells are no whole numbers", odd, expected="0, 1, 2, ...")
    return values.astype(np.int64)


def _probabilities(source: Source, labels: Sequence[str], ids: Sequence[Any]) -> np.ndarray:
    """(n, K) probabilities, a row of nan where the file gives none; rounded ones are made to sum to 1."""
    columns = _probability_columns(source)
    unknown = [column for column in columns if column.removeprefix(PROBABILITY) not in labels]
    if unknown:
        near = nearest(unknown[0].removeprefix(PROBABILITY), labels)
        raise source.error(
            f"the columns {', '.join(unknown)} belong to no declared label",
            expected=f"{', '.join(PROBABILITY + label for label in labels)}",
            fix=f"rename {unknown[0]} to {PROBABILITY}{near}" if near else "correct the columns, or --labels",
        )
    if not columns:
        return np.full((len(ids), len(labels)), np.nan)
    values = np.column_stack([_numbers(source, PROBABILITY + label, ids) for label in labels])
    if len(labels) == 2 and len(columns) == 1:
        known = list(labels).index(columns[0].removeprefix(PROBABILITY))
        values[:, 1 - known] = 1 - values[:, known]
    elif len(columns) < len(labels):
        absent = [PROBABILITY + label for label in labels if PROBABILITY + label not in columns]
        raise source.error(f"there is no column {', '.join(absent)}", expected="a probability for every label")
    missing = np.isnan(values)
    partly = [ids[row] for row in np.flatnonzero(missing.any(axis=1) & ~missing.all(axis=1)).tolist()]
    if partly:
        raise source.error(f"{len(partly)} rows have some probabilities only", partly, expected="all of a row, or none")
    outside = [ids[row] for row in np.flatnonzero(((values < 0) | (values > 1)).any(axis=1)).tolist()]
    if outside:
        raise source.error(
            f"{len(outside)} rows hold a probability below 0 or above 1",
            outside,
            expected="probabilities, not logits and not per cent",
        )
    sums = values.sum(axis=1)
    off = [ids[row] for row in np.flatnonzero(np.abs(sums - 1) > ROUNDING).tolist()]
    if off:
        raise source.error(
            f"the probabilities of {len(off)} rows do not sum to 1",
            off,
            expected=f"a sum of 1 within {ROUNDING:g}",
            fix="give the probabilities of all labels, after the softmax",
        )
    exact = np.abs(sums - 1) <= 1e-9
    return np.where(exact[:, None], values, values / np.where(missing.any(axis=1), 1, sums)[:, None])


def _status(source: Source, predicted: Sequence[str | None], ids: Sequence[Any]) -> list[str]:
    """ok, unparsed or error; an empty answer is unparsed whatever the file calls it."""
    given = _texts(source, "status") if "status" in source.cells.columns else [None] * len(ids)
    wrong = [ids[row] for row, status in enumerate(given) if status is not None and status not in STATUSES]
    if wrong:
        raise source.error(f"column status: {len(wrong)} unknown values", wrong, expected=", ".join(STATUSES))
    return [
        "unparsed" if answer is None and status != "error" else status or "ok"
        for answer, status in zip(predicted, given, strict=True)
    ]


def _splits(source: Source, ids: Sequence[Any]) -> list[str]:
    if "split" not in source.cells.columns:
        return ["test"] * len(ids)
    splits = [split or "test" for split in _texts(source, "split")]
    wrong = [ids[row] for row, split in enumerate(splits) if split not in SPLITS]
    if wrong:
        raise source.error(f"column split: {len(wrong)} cells name no split", wrong, expected=", ".join(SPLITS))
    return splits


def _no_system_twice(sources: Sequence[Source], tables: Sequence[pd.DataFrame]) -> None:
    """Two files may complete each other (validation and test), but not both speak for the same model and split."""
    seen: dict[tuple[Any, ...], str] = {}
    for source, table in zip(sources, tables, strict=True):
        for key in table[KEY].drop_duplicates().itertuples(index=False, name=None):
            if key in seen:
                raise source.error(
                    f"model {key[0]} has {key[3]} rows in {seen[key]} already",
                    expected="each model in one file, or different names in a column `model`",
                )
            seen[key] = source.name


# ---------------------------------------------------------------- what goes with the table


def _facts(name: str, task: Task, table: pd.DataFrame, findings: Sequence[Finding]) -> Facts:
    """Records of the training split, where one of the files holds them: the first model's stand for all."""
    facts = Facts(findings={name: [finding.as_dict() for finding in findings]})
    train = table.loc[table["split"] == "train"]
    if len(train):
        first = train.loc[train["run"] == train["run"].iloc[0]]
        counts: Mapping[str, int] = first["gold"].value_counts().to_dict()
        facts["counts"] = {name: {"train": {label: int(counts.get(label, 0)) for label in task.labels}}}
    return facts


def _subgroups(sources: Sequence[Source], subgroups: Sequence[Subgroup]) -> pd.DataFrame:
    """`id` and the group of each test item by each subgroup column, from all files that hold the column."""
    tables = [_groups(source, subgroups) for source in sources]
    found = pd.DataFrame({"id": pd.Series(dtype=str)})
    for name in (subgroup.column for subgroup in subgroups):
        # An empty cell says nothing: another row or file may name the group.
        held = [table.loc[table[name] != MISSING, ["id", name]] for table in tables if name in table.columns]
        if not held:
            near = nearest(name, [str(column) for source in sources for column in source.cells.columns])
            raise ClinfitError(
                f"no file holds the column {name!r}, by which the study wants its results",
                expected="the subgroups and the site of the study's evaluation as columns of the predictions",
                fix=f"did you mean {near}?" if near else f"take {name} out of evaluation, or add it to a file",
            )
        found = found.merge(_one_group_each(pd.concat(held, ignore_index=True), name), on="id", how="outer")
    return found


def _groups(source: Source, subgroups: Sequence[Subgroup]) -> pd.DataFrame:
    """The file's test rows: `id` and one column of group names for each subgroup column that the file holds."""
    ids = [text or "" for text in _texts(source, "id", required=True)]
    tested = [row for row, split in enumerate(_splits(source, ids)) if split == "test"]
    held = [subgroup for subgroup in subgroups if subgroup.column in source.cells.columns]
    return read_subgroups(source.cells, held, ids, tested, "id")


def _one_group_each(groups: pd.DataFrame, column: str) -> pd.DataFrame:
    groups = groups.drop_duplicates()
    if twice := list(groups.loc[groups["id"].duplicated(), "id"]):
        some = ", ".join(twice[:EXAMPLES])
        raise ClinfitError(
            f"column {column!r}: {len(twice)} test items stand in two groups (id {some})",
            expected="the same group in every row of an item",
        )
    return groups


def _most_probable(table: pd.DataFrame, labels: Sequence[str]) -> list[Finding]:
    """A note where a tool's own answers are not its most probable labels: another threshold than 0.5 was at work."""
    values = table[[PROBABILITY + label for label in labels]].to_numpy(dtype=np.float64)
    known = np.isfinite(values).all(axis=1) & (table["status"] == "ok").to_numpy()
    codes = pd.Index(labels).get_indexer(pd.Index(table["predicted"]))
    chosen = values[np.arange(len(values)), np.maximum(codes, 0)]
    odd = known & (codes >= 0) & (chosen < values.max(axis=1, initial=0))
    notes = []
    for model, part in table.loc[odd].groupby("model", sort=False):
        answers = int((known & (table["model"] == model).to_numpy()).sum())
        notes.append(
            Finding(
                "info",
                "answers-not-most-probable",
                f"{model}: some answers are not the most probable label",
                f"{len(part)} of {answers} answers with probabilities",
                "they are counted as the file gives them; say how the tool decided",
                str(model),
            )
        )
    return notes
