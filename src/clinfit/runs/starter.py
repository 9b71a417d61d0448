"""`clinfit init STUDY [--data FILE]`: a commented study that loads, with guesses marked as such.

Guesses look at the names of the columns and at how many different values each holds. What is written holds column
names and the values of the label column; no other value of the data.
"""

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from clinfit.data.label_checks import HEALTHY_NAME
from clinfit.data.notes import SUBJECT_COLUMN
from clinfit.data.read import CATALOG_PREFIX, ENCODINGS, other_sheets, read_rows
from clinfit.data.values import BOOLEANS, as_comma_number, as_number, as_text, is_missing
from clinfit.errors import ClinfitError, nearest
from clinfit.files import new_file, write_text
from clinfit.study.checks import PROMPT_NAMES
from clinfit.study.data import Data
from clinfit.study.load import flow_yaml
from clinfit.study.schema import json_schema

#: The starter without a data file: a set that comes with a dependency, so that the study runs as it is.
EXAMPLE = f"{CATALOG_PREFIX}breast-cancer-wisconsin"
LABEL_NAME = re.compile(r"^(label|labels|target|class|outcome|diagnosis|category|gold|answer|y)$|_label$|^label_", re.I)
#: Numbers of rows, as R and pandas write them into a file.
ROW_NAME = re.compile(r"^(rownames?|row_?names?|row(_?(no|nr|num|number|id))?|unnamed: \d+|)$", re.I)
#: A number that can hardly be a thousand: 1,234 can.
DECIMAL_COMMA = re.compile(r"\s*[+-]?[0-9]+,(?:[0-9]{1,2}|[0-9]{4,})\s*")
#: A file beside the study, so that editors need no network and no path into the installation.
SCHEMA = "clinfit.schema.json"
#: What an annotator or another model said of the answer.
ANNOTATION = re.compile(r"confidence|certainty|annotat|(^|_)rater|agreement|votes|(^|_)(predict|prob)", re.I)
ID_NAME = re.compile(r"^(id|uid|uuid|pmid|key|index)$|_id$|^id_|^record", re.I)
POSITIVE_NAME = re.compile(r"^(yes|true|positive|pos|case|present|malignant|cancer|disease|sick|dead|died|1)\b", re.I)
MOST_LABELS = 20
MOST_CATEGORIES = 20
#: Names of the models that a starter may have beside its language models.
OWN_NAMES = {"majority", "tfidf", "lasso", "random-forest", "gradient-boosting"}
#: The language model of a starter.
TINY = (
    "  - name: tiny  # the language model that comes with clinfit; a larger base usually answers better",
    "    family: causal",
    "    base: clinfit/tiny  # or a local folder, or a hub id",
    "    lora: {rank: 16, alpha: 32}",
    "    train: {epochs: 4, learning_rate: 3e-3, batch_size: 16, max_length: 512}",
)
TEMPLATE_WORDS = {"null", "not", "in", "is", "and", "or", "if", "else", "for", "true", "false", "none", "loop", "self"}


def write_starter(path: Path, data: Path | None = None, models: Sequence[str] | None = None) -> None:
    """Write a study to `path`, and beside it its prompt (the same name, .md) and the schema by which editors check and
    complete it. models: lines of the language models; None: of clinfit/tiny.

    Raises ClinfitError when either file exists, when the data cannot be read, or when no column can be the label.
    """
    prompt = path.with_suffix(".md")
    _refuse(path, prompt)
    if data is not None and not data.exists():
        near = nearest(data.name, [file.name for file in data.parent.iterdir()]) if data.parent.is_dir() else None
        raise ClinfitError(
            f"{data} does not exist",
            expected="a data file, relative to the folder that you are in",
            fix=f"clinfit init {path} --data {data.with_name(near)}" if near else "correct the name after --data",
        )
    source = EXAMPLE if data is None else os.path.relpath(data.resolve(), path.parent.resolve())
    columns, settings = _columns(source, path.parent)
    guess = _guess(columns, source)
    with new_file(prompt) as prompt_draft, new_file(path) as study_draft:
        prompt_draft.write_text(_prompt(guess), encoding="utf-8")
        study = _study(path, prompt, source, settings, guess, models or TINY)
        study_draft.write_text(f"# yaml-language-server: $schema={SCHEMA}\n{study}", encoding="utf-8")
    write_text(path.with_name(SCHEMA), json.dumps(json_schema(), indent=1) + "\n")


def _refuse(path: Path, prompt: Path) -> None:
    if path.suffix not in {".yaml", ".yml"}:
        raise ClinfitError(f"{path} is not named as a study", fix=f"clinfit init {path.with_suffix('.yaml')}")
    if not path.parent.is_dir():
        raise ClinfitError(f"there is no folder {path.parent}", fix=f"mkdir -p {path.parent}")
    for file in (path, prompt):
        if file.exists():
            raise ClinfitError(f"{file} exists already", expected="a new name", fix=f"mv {file} {file}.old")


def _columns(source: str, folder: Path) -> tuple[list["Column"], list[str]]:
    """The columns of the file, and what the data block has to say for it to be read so.

    Of several sheets the first one that has a column like a label.
    """
    rows, encoding = _rows(source, folder)
    settings = [] if encoding == ENCODINGS[0] else [f"encoding: {encoding}  # guess"]
    columns, sheets = _profiles(rows), other_sheets(rows)
    if sheets and not _possible_labels(columns):
        for name in sheets:
            found = _profiles(read_rows(source, folder, Data(path=source, sheet=name)))
            if _possible_labels(found):
                columns, rest = found, [repr(other) for other in sheets if other != name]
                also = "".join(f"; also there: {other}" for other in rest[:1]) + "".join(f", {o}" for o in rest[1:])
                settings.append(f"sheet: {flow_yaml(name)}  # guess: the first sheet with a column like a label{also}")
                break
    elif sheets:
        settings.append(f"# sheet: {flow_yaml(sheets[0])}  # the first is read; also there: {', '.join(sheets)}")
    if any(column.comma for column in columns):
        settings.append("decimal: ','  # guess: 5,5 is five and a half")
    return columns, settings


def _rows(source: str, folder: Path) -> tuple[pd.DataFrame, str]:
    """The table and the first encoding that reads it."""
    errors = []
    for encoding in ENCODINGS:
        try:
            return read_rows(source, folder, Data(path=source, encoding=encoding)), encoding
        except ClinfitError as error:
            errors.append(error)
    raise errors[0]


# ---------------------------------------------------------------- columns


@dataclass(frozen=True)
class Column:
    """What one column looks like. values: its different values as text, None when it holds lists or objects. comma:
    whether it holds numbers with a decimal comma."""

    name: str
    values: list[str] | None
    rows: int
    missing: int
    numeric: bool
    boolean: bool
    comma: bool

    @property
    def distinct(self) -> int:
        return len(self.values or ())

    @property
    def is_code(self) -> bool:
        """Whether values are single words that hold digits, and no numbers."""
        values = self.values or []
        return not self.numeric and all(len(v.split()) == 1 and any(map(str.isdigit, v)) for v in values)

    @property
    def kind(self) -> Literal["text", "number", "category"]:
        """Numbers are numbers unless they are flags; few short different values are a category; the rest is text."""
        if self.numeric and self.distinct > 2:
            return "number"
        words = max((len(value.split()) for value in self.values or ()), default=0)
        return "category" if self.distinct <= MOST_CATEGORIES and words <= 5 else "text"


def _profile(name: str, cells: Sequence[Any]) -> Column:
    present = [cell for cell in cells if not is_missing(cell)]
    try:
        values = sorted({text for cell in present if (text := as_text(cell)) is not None})
    except TypeError:
        values = None
    boolean = bool(values) and set(values) <= BOOLEANS.keys()
    comma = any(DECIMAL_COMMA.fullmatch(str(cell)) for cell in present) and _numeric(present, as_comma_number)
    numeric = comma or (_numeric(present, as_number) and not boolean)
    return Column(name, values, len(cells), len(cells) - len(present), numeric, boolean, comma)


def _profiles(rows: pd.DataFrame) -> list[Column]:
    return [_profile(str(name), rows[name].tolist()) for name in rows.columns]


def _numeric(cells: Sequence[Any], number: Callable[[Any], float | None]) -> bool:
    try:
        return bool(cells) and all(number(cell) is not None for cell in cells)
    except (TypeError, ValueError):
        return False


@dataclass(frozen=True)
class Guess:
    """Which column is what. map: value in the file -> label, where labels need other names than the values.

    left_out: columns that are no inputs -> why.
    """

    label: Column
    labels: list[str]
    map: dict[str | int | bool, str] | None
    positive: str | None
    id: Column | None
    group: Column | None
    inputs: dict[str, Column]
    left_out: dict[str, str]


def _guess(columns: Sequence[Column], source: str) -> Guess:
    label = _label_column(columns, source)
    rest = [column for column in columns if column is not label]
    identifier = next((c for c in rest if ID_NAME.search(c.name) and c.distinct == c.rows), None)
    group = next((c for c in rest if SUBJECT_COLUMN.search(c.name) and 1 < c.distinct < c.rows and not c.missing), None)
    others = [column for column in rest if column is not identifier and column is not group]
    left_out = {column.name: why for column in others if (why := _no_input(column))}
    inputs = [column for column in others if column.name not in left_out]
    if not inputs:
        raise ClinfitError(
            f"{source} has no column that could be an input beside the label {label.name!r}",
            expected="at least one column with different values",
        )
    labels, mapped = _labels(label)
    positive = _positive(labels) if len(labels) == 2 else None
    names = _input_names([column.name for column in inputs])
    return Guess(label, labels, mapped, positive, identifier, group, dict(zip(names, inputs, strict=True)), left_out)


def _positive(labels: Sequence[str]) -> str:
    """The one named like a finding, else the last that is not named like the healthy class."""
    named = [name for name in labels if POSITIVE_NAME.search(name)]
    return next(iter(named), next((name for name in reversed(labels) if not HEALTHY_NAME.match(name)), labels[-1]))


def _no_input(column: Column) -> str:
    """Why a column should not be an input; empty where it may be one."""
    if column.distinct <= 1:
        return "it holds no different values"
    if ROW_NAME.search(column.name) and column.distinct == column.rows:
        return "it numbers the rows"
    if ID_NAME.search(column.name):
        return "it looks like an id; write it as `group` if rows of one value belong together"
    if ANNOTATION.search(column.name):
        return "it may be what somebody said of the answer"
    if column.distinct == column.rows and column.rows > MOST_CATEGORIES and column.is_code:
        return "it holds another code in every row"
    return ""


def _label_column(columns: Sequence[Column], source: str) -> Column:
    """A column named like a label, else the last one with few different values."""
    possible = _possible_labels(columns)
    if not possible:
        raise ClinfitError(
            f"no column of {source} looks like a label",
            expected=f"a column with 2 to {MOST_LABELS} different values",
            fix="add one; or type `clinfit init` without --data and edit the example",
        )
    named = [column for column in possible if LABEL_NAME.search(column.name)]
    return named[0] if named else possible[-1]


def _possible_labels(columns: Sequence[Column]) -> list[Column]:
    return [column for column in columns if 2 <= column.distinct <= MOST_LABELS and column.distinct < column.rows]


def _labels(column: Column) -> tuple[list[str], dict[str | int | bool, str] | None]:
    """Labels for the values of a column, and a map where the values would make poor labels."""
    values = column.values or []
    if column.boolean:
        return ["no", "yes"], {False: "no", True: "yes"}
    if values == ["0", "1"]:
        return ["no", "yes"], {0: "no", 1: "yes"}
    flags = [value for value in values if value in BOOLEANS]  # true is a number beside 2, and no good name of a class
    if column.numeric and not flags and len(set(map(float, values))) == len(values):  # 0 and 00 are one number
        ordered = sorted(values, key=float)
        names = {int(value) if float(value).is_integer() else value: f"class {value}" for value in ordered}
        return list(names.values()), names
    return values, None


def _input_names(columns: Sequence[str]) -> list[str]:
    """Names that a prompt can use: `Mean BP (mmHg)` -> mean_bp_mmhg."""
    names: list[str] = []
    for column in columns:
        name = re.sub(r"[^0-9a-z]+", "_", column.casefold()).strip("_") or "input"
        if name[0].isdigit() or name in TEMPLATE_WORDS or name in PROMPT_NAMES["classification"]:
            name = f"x_{name}"
        number = 2
        unique = name
        while unique in names:
            unique = f"{name}_{number}"
            number += 1
        names.append(unique)
    return names


# ---------------------------------------------------------------- text


def _prompt(guess: Guess) -> str:
    """Several inputs as `{{ record }}`, so that one is taken out in one place: in the study."""
    (first, *more) = guess.inputs
    shown = "{{ record }}" if more else f"{first.replace('_', ' ').capitalize()}: {{{{ {first} }}}}"
    return f"Read the record and answer with exactly one of: {{{{ labels }}}}.\n\n{shown}\n"


def _study(path: Path, prompt: Path, source: str, settings: Sequence[str], guess: Guess, models: Sequence[str]) -> str:
    return "\n".join(
        [
            f"# A clinfit study. `clinfit check {path.name}` says what is wrong with it and shows what a run would do;",
            f"# `clinfit run {path.name}` trains, compares and writes a report. All keys: docs/reference.md.",
            "# Lines marked `guess` were guessed from the data: correct them.",
            f"name: {flow_yaml(as_name(path.stem))}",
            'description: ""  # what the study asks, in a sentence; shown in the report',
            "tasks:",
            f"  {flow_yaml(as_name(guess.label.name))}:",
            *_task_lines(prompt, source, settings, guess),
            *_model_lines(guess),
            *models,
            "seeds: [42]  # one training for each seed; three or more show how much results vary",
            "evaluation:",
            f"  primary: {'auroc' if guess.positive is not None else 'macro_f1'}",
            f"  threshold: {{rule: {'youden' if guess.positive is not None else 'argmax'}}}  # chosen on validation",
            "",
        ]
    )


def as_name(text: str) -> str:
    """Text as a name of a study or task."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._") or "study"


def _task_lines(prompt: Path, source: str, settings: Sequence[str], guess: Guess) -> Iterator[str]:
    values = f"the values of {guess.label.name}" if guess.map is None else "what the values in the map mean"
    yield f"    labels: {flow_yaml(guess.labels)}  # guess: {values}"
    if guess.positive is not None:
        yield f"    positive: {flow_yaml(guess.positive)}  # guess: the label that sensitivity is about"
    yield "    data:"
    yield f"      path: {flow_yaml(source)}  # csv, tsv, xlsx, parquet, jsonl, a folder of text files, or catalog:NAME"
    yield from (f"      {line}" for line in settings)
    if guess.id is not None:
        yield f"      id: {flow_yaml(guess.id.name)}  # guess: another value in every row"
    if guess.group is not None:
        yield f"      group: {flow_yaml(guess.group.name)}  # guess: rows with the same value stay in one split"
    else:
        yield "      # group: patient  # the column that names the patient or document, when one has several rows"
    yield "      inputs:  # guess: all other columns; take out what would not be known when the model is used"
    for name, column in guess.inputs.items():
        block = {"column": column.name, "type": column.kind}
        yield f"        {name}: {flow_yaml(block if column.kind != 'text' else column.name)}"
    for name, why in guess.left_out.items():
        yield f"        # left out, since {why}: {' '.join(name.split())}"
    label = guess.label.name if guess.map is None else {"column": guess.label.name, "map": guess.map}
    yield f"      label: {flow_yaml(label)}  # guess"
    yield "      split: {train: 0.6, validation: 0.2, test: 0.2, stratify: true, seed: 42}"
    yield f"    prompt: {flow_yaml(prompt.name)}"


def _model_lines(guess: Guess) -> Iterator[str]:
    """Models that fit the inputs: rules and simple models."""
    yield "models:"
    yield "  - {name: majority, family: baseline, kind: majority}"
    kinds = {column.kind for column in guess.inputs.values()}
    if "text" in kinds:
        if guess.positive is not None:
            yield "  # - {name: keyword, family: baseline, kind: keyword, patterns: [word, other word]}"
        yield "  - {name: tfidf, family: classical, kind: tfidf-logistic}"
    if kinds != {"text"}:
        yield "  - {name: lasso, family: classical, kind: lasso}"
        yield "  - {name: random-forest, family: classical, kind: random-forest}"
        yield "  - {name: gradient-boosting, family: classical, kind: gradient-boosting}"
