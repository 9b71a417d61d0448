"""Predictions files of any tool, read as tables of `clinfit.predictions`.

A file holds one row an item and model:

    id, gold                     which item, and its true label
    predicted                    the answer; empty: it held no label. May be left out where probabilities are given
    decision                     where it is there, the answer in place of `predicted`: the label under a threshold
    p_<label>                    probability of each label; of two labels one is enough. May be left out
    model, seed, stage           who answered; default: the name of the file, 0, 1. Stage 0 is "before"
    repeat, fold                 of a cross-validation: which division gave the answer, in whole numbers. Without
                                 repeat it is one; one fold only, or no column fold: no cross-validation
    split                        test (the default), validation (thresholds are chosen there) or train (counted only)
    group, status, raw, label_mass, prompt_tokens, output_tokens, seconds: as in `clinfit.predictions`, may be left out

With several labels an item (a multilabel task) `gold` and `predicted` hold labels joined by `|`, an empty cell is none
of them, a status says which answers could not be read, and p_<label> are each by themselves: from 0.5 on a label is
predicted where the file does not say what was.

Other columns are not read, but for those that the study's evaluation names as subgroups or site.
"""

import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from clinfit.data.read import read_rows
from clinfit.data.records import SPLITS
from clinfit.data.subgroups import MISSING, read_subgroups
from clinfit.data.values import EXAMPLES, as_number, as_text, plain_text
from clinfit.errors import ClinfitError, nearest
from clinfit.findings import Finding
from clinfit.predictions import COLUMNS, PROBABILITY, SEPARATOR, predicted_texts
from clinfit.study.data import Data
from clinfit.study.evaluation import Subgroup
from clinfit.study.tasks import Task

SUFFIXES = (".csv", ".tsv", ".parquet", ".jsonl")
STATUSES = ("ok", "unparsed", "error")
KEY = ["model", "seed", "stage", "split"]
#: Columns of answers, the one that counts first.
ANSWERS = ("decision", "predicted")
#: Names that join tables, and so have one form in all of them; labels are compared as they are typed.
NAMES = ("id", "group")
#: Which division of a cross-validation a row is of.
DIVISION = ("repeat", "fold")
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


def read_source(path: Path) -> Source:
    """The table of one file, with the columns that no evaluation can do without."""
    expected = f"a table of predictions that ends in {', '.join(SUFFIXES)}"
    if not path.is_file():
        raise ClinfitError(f"{path} does not exist", expected=expected)
    if path.suffix.lower() not in SUFFIXES:
        raise ClinfitError(f"{path.name} ends in {path.suffix!r}", expected=expected)
    source = Source(path, read_rows(path.name, path.parent, Data(path=path.name)))
    columns = list(map(str, source.cells.columns))
    missing = [column for column in ("id", "gold") if column not in columns]
    if not {*ANSWERS} & {*columns} and not probability_columns(source):
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


def as_predictions(source: Source, name: str, task: Task) -> pd.DataFrame:
    """The table of `clinfit.predictions` with the columns of the file; what the file does not say is null."""
    if task.kind not in CELLS:
        found = f"task {name}: answers of kind {task.kind} are not read from a file"
        raise ClinfitError(found, expected=f"a task of kind {', '.join(CELLS)}")
    cells, n, labels, kind = source.cells, len(source.cells), task.labels, CELLS[task.kind]
    ids = _texts(source, "id", required=True)
    gold = kind.joined(_texts(source, "gold", required=kind.empty is None))
    probabilities = _probabilities(source, kind, labels, ids)
    given = next((column for column in ANSWERS if column in cells.columns), None)
    if given is not None:
        predicted = kind.joined(_texts(source, given))
    else:
        known = np.isfinite(probabilities[:, 0])
        answers = predicted_texts(task, np.nan_to_num(probabilities))
        predicted = [answer if there else None for answer, there in zip(answers, known.tolist(), strict=True)]
    status = _status(source, predicted, ids)
    predicted = [None if said == "unparsed" else answer for answer, said in zip(predicted, status, strict=True)]
    model = _texts(source, "model") if "model" in cells.columns else [None] * n
    columns: dict[str, Any] = {
        "model": [name or source.path.stem for name in model],
        "seed": _whole(source, "seed", 0, ids),
        "stage": _whole(source, "stage", 1, ids),
        **_folds(source, ids),
        "task": name,
        "kind": task.kind,
        "split": _splits(source, ids),
        "id": ids,
        "group": _texts(source, "group") if "group" in cells.columns else [None] * n,
        "gold": gold,
        "predicted": predicted,
        "status": status,
        "raw": _texts(source, "raw") if "raw" in cells.columns else [None] * n,
        "finish_reason": None,
        "dropped_tokens": None,
    }
    columns |= {name: _numbers(source, name, ids) for name in NUMBERS}
    columns["run"] = [f"{m}-seed{s}" for m, s in zip(columns["model"], columns["seed"], strict=True)]
    folds = [name for name in DIVISION if name in columns]
    table = pd.DataFrame({name: columns[name] for name in [*COLUMNS, *folds, "label_mass"]})
    for k, label in enumerate(labels):
        table[PROBABILITY + label] = probabilities[:, k]
    return table


def probability_columns(source: Source) -> list[str]:
    return [str(column) for column in source.cells.columns if str(column).startswith(PROBABILITY)]


def _texts(source: Source, column: str, *, required: bool = False) -> list[str | None]:
    """(n,) cells as text, None where missing; a required column has none of these."""
    try:
        texts = [(as_text if column in NAMES else plain_text)(cell) for cell in source.cells[column]]
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


def _folds(source: Source, ids: Sequence[Any]) -> dict[str, np.ndarray]:
    """The columns repeat and fold of a cross-validation; none where records were divided once."""
    if "fold" not in source.cells.columns:
        return {}
    for column in DIVISION:
        values = _numbers(source, column, ids)
        empty = [ids[row] for row in np.flatnonzero(np.isnan(values)).tolist()]
        if empty and column in source.cells.columns:
            raise source.error(
                f"column {column}: {len(empty)} cells are empty",
                empty,
                expected="the fold (and the repeat) of every row, in whole numbers",
                fix="fill them in, or take the columns repeat and fold out of the file",
            )
    folds = {column: _whole(source, column, 1, ids) for column in DIVISION}
    return folds if len(np.unique(np.column_stack(list(folds.values())), axis=0)) > 1 else {}


def refuse_partly_divided(sources: Sequence[Source], tables: Sequence[pd.DataFrame]) -> None:
    """Either all files are of a cross-validation, or none is."""
    divided = [source.name for source, table in zip(sources, tables, strict=True) if "fold" in table]
    once = [source.name for source, table in zip(sources, tables, strict=True) if "fold" not in table]
    if divided and once:
        raise ClinfitError(
            f"{divided[0]} says of each row which fold it is of, and {once[0]} does not",
            expected="a column fold (and repeat) in every file, or in none",
            fix=f"add it to {once[0]}, or evaluate the files by themselves",
        )


def _probabilities(source: Source, kind: "Cells", labels: Sequence[str], ids: Sequence[Any]) -> np.ndarray:
    """(n, K) probabilities, a row of nan where the file gives none."""
    columns = probability_columns(source)
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
    if len(labels) == 2 and len(columns) == 1 and kind.one_column:
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
    return kind.summed(source, values, ids)


def _summing_to_one(source: Source, values: np.ndarray, ids: Sequence[Any]) -> np.ndarray:
    """Rounded probabilities are made to sum to 1; others that do not are refused."""
    sums = values.sum(axis=1)
    off = [ids[row] for row in np.flatnonzero(np.abs(sums - 1) > ROUNDING).tolist()]
    if off:
        raise source.error(
            f"the probabilities of {len(off)} rows do not sum to 1",
            off,
            expected=f"a sum of 1 within {ROUNDING:g}",
            fix="give the probabilities of all labels, after the softmax; several labels an item: --kind multilabel",
        )
    exact = np.abs(sums - 1) <= 1e-9
    return np.where(exact[:, None], values, values / np.where(np.isnan(sums), 1, sums)[:, None])


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


def refuse_same_system(sources: Sequence[Source], tables: Sequence[pd.DataFrame]) -> None:
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


# ---------------------------------------------------------------- subgroups


def groups_by(sources: Sequence[Source], subgroups: Sequence[Subgroup]) -> pd.DataFrame:
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


# ---------------------------------------------------------------- by kind


@dataclass(frozen=True)
class Cells:
    """How the cells of a kind of task are read.

    empty: what an empty gold or answer says; None where it says nothing. labels: of one cell. one_column: whether of
    two labels one probability says both. summed: probabilities (n, K), checked against each other.
    """

    empty: str | None
    labels: Callable[[str], Sequence[str]]
    one_column: bool
    summed: Callable[[Source, np.ndarray, Sequence[Any]], np.ndarray]

    def joined(self, texts: Sequence[str | None]) -> list[str | None]:
        """(n,) cells as the table of predictions has them."""
        return [self.empty if text is None else SEPARATOR.join(self.labels(text)) for text in texts]


def _as_they_are(source: Source, values: np.ndarray, ids: Sequence[Any]) -> np.ndarray:
    return values


def _set_of(text: str) -> list[str]:
    """The labels of a joined cell, without the spaces around them."""
    return [label for part in text.split(SEPARATOR) if (label := part.strip())]


ONE_LABEL = Cells(None, lambda text: [text], True, _summing_to_one)
ANY_LABELS = Cells("", _set_of, False, _as_they_are)
CELLS: dict[str, Cells] = {"classification": ONE_LABEL, "multilabel": ANY_LABELS, "multiple-choice": ONE_LABEL}


def answers_by_another_rule(table: pd.DataFrame, task: Task) -> list[Finding]:
    """A note where a tool's own answers are not those of its probabilities: another threshold was at work.

    Answers that tie with the most probable one are no others.
    """
    values = table[[PROBABILITY + label for label in task.labels]].to_numpy(dtype=np.float64)
    known = np.isfinite(values).all(axis=1) & (table["status"] == "ok").to_numpy()
    usual = np.array(predicted_texts(task, np.nan_to_num(values)), dtype=object)
    odd = known & (table["predicted"].to_numpy() != usual) & ~_ties(table, task, values)
    notes = []
    for model, part in table.loc[odd].groupby("model", sort=False):
        answers = int((known & (table["model"] == model).to_numpy()).sum())
        notes.append(
            Finding(
                "info",
                "answers-not-most-probable",
                f"{model}: some answers are not those of the probabilities",
                f"{len(part)} of {answers} answers with probabilities",
                "they are counted as the file gives them; say how the tool decided",
                str(model),
            )
        )
    return notes


def _ties(table: pd.DataFrame, task: Task, values: np.ndarray) -> np.ndarray:
    """(n,) whether the answer is one label that is as probable as any, or none that is declared."""
    codes = pd.Index(task.labels).get_indexer(pd.Index(table["predicted"]))
    chosen = values[np.arange(len(values)), np.maximum(codes, 0)]
    return (codes >= 0) & (chosen >= values.max(axis=1, initial=0))


def other_spellings(table: pd.DataFrame, task: Task, *, named: bool) -> list[Finding]:
    """Labels of the files that differ from a declared one in case or spaces alone: in two of them one class falls
    apart, and an undeclared one is no label. named: whether the user named the labels, and so meant them."""
    texts = [text for column in ("gold", "predicted") for text in table[column] if isinstance(text, str)]
    counts = Counter(label for text in texts for label in CELLS[task.kind].labels(text))
    alike: dict[str, list[str]] = {}
    for label in task.labels:
        alike.setdefault(_folded(label), []).append(label)
    undeclared = [value for value in counts if value not in task.labels and _folded(value) in alike]
    for value in undeclared:
        alike[_folded(value)].append(value)
    several = [
        labels for labels in alike.values() if len(labels) > 1 and not (named and set(labels) <= set(task.labels))
    ]
    if not several:
        return []
    shown = "; ".join(" and ".join(f"{label!r} ({counts[label]} cells)" for label in labels) for labels in several)
    return [
        Finding(
            "error",
            "label-spellings",
            f"{len(several)} labels stand in the files in spellings that differ in case or spaces alone",
            shown,
            "if they are one label, write them alike in the files"
            + ("" if undeclared else f"; if not, name them: --labels {shlex.quote(','.join(task.labels))}"),
        )
    ]


def _folded(label: str) -> str:
    return " ".join(label.split()).casefold()
