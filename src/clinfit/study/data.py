"""The `data` block of a task: where its records come from and how they are read."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from pydantic import Field, field_serializer, field_validator, model_validator

from clinfit.study.section import Fraction, Section, Seed


class InputColumn(Section):
    """One input of a record: where it stands in the file and how a prompt shows it."""

    column: str = Field(description="column of the data file")
    type: Literal["text", "number", "category"] = Field(default="text", description="how models treat it")
    unit: str | None = Field(default=None, description="unit of a number, shown in prompts: mmHg, years")
    missing: list[str | int | float] = Field(
        default_factory=list, description="values that stand for a missing one, beside empty cells and NA: 0, -1, 999"
    )
    range: list[float] | None = Field(
        default=None,
        min_length=2,
        max_length=2,
        description="lowest and highest possible value of a number, in the unit of the file: what lies outside is read "
        "as missing, counted in the report, and noted when a pack answers: [30, 300]",
    )
    categories: list[str | int | float] | None = Field(
        default=None,
        min_length=2,
        description="all values of a category that has an order, from the least to the most: [none, mild, severe]; "
        "classical models read its place in that order; another value is an error, in new records noted and missing",
    )
    title: str | None = Field(default=None, description="name shown in prompts and reports; default: the input's key")


@lru_cache(maxsize=4096)
def _plain_column(name: str) -> InputColumn:
    """An input of which only the column is given; kept, since every record asks for it when it is rendered."""
    return InputColumn(column=name)


class LabelColumn(Section):
    """The column that holds the answer, and the map from its values to the task's labels."""

    column: str = Field(description="column of the data file")
    map: dict[str | int | float | bool, str] | None = Field(
        default=None,
        description="value in the file -> label; 1, '1' and 1.0 are one value, and so are true and 1 where all keys "
        "are of that kind; a boolean never matches a quoted key; an unmapped value is an error. JSON, which quotes all "
        "keys, may give a list of [value, label] pairs",
    )
    separator: str = Field(
        default="|", min_length=1, description="multilabel: what stands between the labels of one cell"
    )

    @field_validator("map", mode="before")
    @classmethod
    def _pairs(cls, value: Any) -> Any:
        pairs = isinstance(value, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in value)
        return dict(value) if pairs else value

    @field_serializer("map", when_used="json")
    def _typed_keys_survive_json(self, value: dict[Any, str] | None) -> Any:
        if value is None or all(isinstance(key, str) for key in value):
            return value
        return [[key, label] for key, label in value.items()]


class AnswerColumns(Section):
    """One column a part of the answer: of multilabel tasks a label, of extraction a field."""

    columns: dict[str, str] = Field(
        min_length=1,
        description="multilabel: label -> column that holds 0 or 1, false or true; extraction: field -> column of its "
        "values",
    )


@dataclass(frozen=True, order=True)
class Fold:
    """One division of a cross-validation; both count from 1."""

    repeat: int
    fold: int

    def __str__(self) -> str:
        return f"repeat{self.repeat}-fold{self.fold}"


#: Share of each training part that becomes validation in a cross-validation that names none.
VALIDATION_OF_FOLD = 0.2
#: What the reader of any output is told of such records.
SYNTHETIC = (
    "The records are synthetic: a program made them, and no patient is behind them. Figures on synthetic records say "
    "nothing about patients."
)


#: The keys of `split` that are shares of the records, and the splits that they are for.
SHARES = ("train", "validation", "test")


def _by_values(column: str, listed: Mapping[str, list[Any]]) -> str:
    """How a study names the values of a column that are each split."""
    shown = {split: [_in_yaml(value) for value in listed.get(split, ())] for split in ("test", "validation", "train")}
    if list(listed) == ["test"]:
        return f"split: {{column: {column}, held_out: [{', '.join(shown['test'])}]}}, all others to train"
    named = [f"{value}: {split}" for split, values in shown.items() for value in values]
    rest = [] if shown["train"] and shown["test"] else [f"...: {'test' if shown['train'] else 'train'}"]
    return f"split: {{column: {column}, map: {{{', '.join([*named, *rest])}}}}}, with every value of the column"


def _in_yaml(value: Any) -> str:
    """A value of a column as text in a study: in quotes, where it would be something else without."""
    return str(value) if re.fullmatch(r"[^\W\d_][\w ]*", str(value)) else json.dumps(str(value), ensure_ascii=False)


class SplitRule(Section):
    """How records are divided: by ratio, by time, by folds, or by a column of the file (or by one file a split:
    `data.files`)."""

    train: Fraction = Field(default=0.6, description="share of the records to learn from")
    validation: Fraction = Field(
        default=0.2, description="share for choices: best checkpoint, threshold, regularisation"
    )
    test: Fraction = Field(default=0.2, description="share for the reported figures; nothing is chosen on it")
    stratify: bool = Field(default=True, description="keep label shares equal in every split, where there are labels")
    seed: Seed = Field(default=42, description="seed of the division, the same for all models and training seeds")
    by: str | None = Field(
        default=None,
        description="column of dates (2026-01-31) or numbers: the earliest records are for training, the latest for "
        "test, in the shares above",
    )
    column: str | None = Field(default=None, description="column whose values name the split; no shares are then given")
    map: dict[str, Literal["train", "validation", "test"]] | None = Field(
        default=None, description="value in `column` -> split; default: train / validation / test by those names"
    )
    held_out: list[str] | None = Field(
        default=None,
        min_length=1,
        description="values of `column` that are the test split, such as one hospital; all others are for training",
    )
    validation_of_train: Fraction = Field(
        default=0.0,
        lt=1,
        description="with `column` or `data.files`, where these give no validation, and with `folds`: the share of the "
        f"training records that becomes it, by label and group; with `folds` {VALIDATION_OF_FOLD:g} by default",
    )
    folds: int | None = Field(
        default=None,
        ge=2,
        description="k-fold cross-validation: the records are divided into so many parts, by label and group, and each "
        "is the test split once, of a model that has learned from the others; no shares are then given",
    )
    repeats: int = Field(
        default=1, ge=1, description="with `folds`: the whole cross-validation so many times, divided anew each time"
    )

    @model_validator(mode="before")
    @classmethod
    def _values_are_no_shares(cls, values: Any) -> Any:
        """`test: [North]` is meant well, and `column` takes it."""
        given = values if isinstance(values, dict) else {}
        listed = {split: names for split in SHARES if isinstance(names := given.get(split), list)}
        if listed:
            column = given.get("by") or given.get("column") or "COLUMN"
            raise ValueError(
                f"{' and '.join(listed)} cannot be a list, since shares are numbers; the values of a column that make "
                f"up a split are named as {_by_values(str(column), listed)}"
            )
        return values

    @model_validator(mode="before")
    @classmethod
    def _validation_of_folds(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("folds") is not None:
            return {"validation_of_train": VALIDATION_OF_FOLD, **values}
        return values

    @model_validator(mode="after")
    def _agrees(self) -> "SplitRule":
        total = self.train + self.validation + self.test
        if self.folds is not None and (self._ratios_given or self.column is not None or self.by is not None):
            raise ValueError(
                "`folds` tests every record once, so that shares, `column` and `by` say nothing; the share of each "
                "training part that becomes validation is `validation_of_train`"
            )
        if self.folds is None and self.repeats > 1:
            raise ValueError("`repeats` goes with `folds`: folds: 5")
        if self.column is not None and (self.shares_given or self.by is not None):
            raise ValueError(
                "`column` names the split of every record, so that shares, `stratify` and `by` say nothing"
            )
        if self.column is None and abs(total - 1) > 1e-6:
            raise ValueError(f"train + validation + test is {total:g}; the three ratios must sum to 1")
        if self.column is None and (self.map is not None or self.held_out is not None):
            raise ValueError("`map` and `held_out` are about the values of `column`, and no column is given")
        if self.map is not None and self.held_out is not None:
            raise ValueError("`map` and `held_out` both name the split of a value; give one of them")
        return self

    @property
    def shares_given(self) -> bool:
        """Whether a share or `stratify` is other than by default."""
        return self._ratios_given or self.stratify != type(self).model_fields["stratify"].default

    @property
    def _ratios_given(self) -> bool:
        return any(getattr(self, name) != type(self).model_fields[name].default for name in SHARES)

    @property
    def divisions(self) -> list[Fold]:
        """Every fold of every repeat, in order; none where the records are divided once."""
        return [Fold(r + 1, k + 1) for r in range(self.repeats) for k in range(self.folds or 0)]


class Cleaning(Section):
    """Cleaning steps for text inputs; each is off unless named, and each reports how many records it changed."""

    strip_citations: bool = Field(default=False, description="remove [1], [2,3], (Smith et al., 2019)")
    strip_metadata: bool = Field(default=False, description="remove redundant lines: <ID:n>, PMID:, DOI:, Copyright")
    normalise_whitespace: bool = Field(default=False, description="squeeze runs of spaces and line breaks")
    mask_lexicon: bool = Field(
        default=False,
        description="put [TYPE] for every name of the task's `lexicon`, and for places that stand alone: what does a "
        "model know without the word?",
    )
    deidentify: bool = Field(
        default=False,
        description="put [NAME-1], [DATE-1] ... for names, dates, phone and record numbers, e-mail and addresses that "
        "rules find; the same text has the same number within a record",
    )
    drop_missing: list[str] = Field(
        default_factory=list, description="drop records in which any of these inputs is empty (missing abstracts)"
    )
    drop_duplicates: bool = Field(
        default=False, description="keep the first of records with the same normalised inputs"
    )


class Data(Section):
    """Where the records come from and how they are read."""

    path: str | None = Field(
        default=None,
        description="csv, tsv, xlsx, parquet, jsonl, json, a folder (or .tar.gz) with one sub-folder of text files a "
        "class, or catalog:NAME; relative to the study file",
    )
    files: dict[Literal["train", "validation", "test"], str] | None = Field(
        default=None, description="one file a split, instead of `path` and ratios"
    )
    encoding: str = Field(default="utf-8", description="text encoding of csv, tsv, jsonl and text files")
    decimal: Literal[".", ","] = Field(
        default=".", description="decimal sign of numbers that a file holds as text: 5.5 or 5,5"
    )
    sheet: str | None = Field(default=None, description="sheet of an xlsx file; default: the first")
    id: str | None = Field(default=None, description="column with a unique id; default: the row number")
    group: str | None = Field(default=None, description="column that must not straddle splits: patient, document")
    inputs: dict[str, InputColumn | str] = Field(
        default_factory=dict, description="input name -> column name, or a block with type and unit"
    )
    label: LabelColumn | AnswerColumns | str = Field(
        default="label",
        description="label column, or a block with column and map; multilabel: labels joined by a separator, or a "
        "block of one column a label; extraction: a column of JSON objects, or a block of one column a field",
    )
    split: SplitRule = Field(default_factory=SplitRule, description="how records are divided")
    parse_abstracts: bool = Field(
        default=False, description="text files hold <ID:n>, `Title: ...`, `Abstract: ...`: read id, title and abstract"
    )
    clean: Cleaning = Field(default_factory=Cleaning, description="cleaning steps, each reported with its count")
    synthetic: bool = Field(
        default=False,
        description="a program made the records, and no patient is behind them: every output says that figures on them "
        "say nothing about patients",
    )
    limit: int | None = Field(
        default=None,
        ge=2,
        description="use only the first N records (for trying things out); with `split.column`, of each of its values "
        "the first, by its share",
    )
    quick: int | None = Field(
        default=None,
        ge=10,
        description="set by `clinfit run --quick`: use about N records, all of them training records of the study, "
        "divided anew; every output says so",
    )

    @model_validator(mode="after")
    def _one_source(self) -> "Data":
        if (self.path is None) == (self.files is None):
            raise ValueError("give either `path` or `files` (one file a split), not both and not neither")
        if self.files is not None and not {"train", "test"} <= set(self.files):
            raise ValueError("`files` needs at least train and test")
        if self.files is not None and (
            self.split.shares_given or self.split.column or self.split.by or self.split.folds
        ):
            raise ValueError("`files` names the split of every record: take what `split` says of it out")
        if self.files is not None and "validation" in self.files and self.split.validation_of_train:
            raise ValueError("`files` gives a validation file, so that nothing is taken from train")
        alone = self.files is None and self.split.column is None and self.split.folds is None
        if self.split.validation_of_train and alone:
            raise ValueError(
                "`validation_of_train` goes with `files`, `split.column` or `split.folds`; by ratio, write `validation`"
            )
        return self

    @property
    def columns(self) -> dict[str, InputColumn]:
        """The inputs with their defaults filled in."""
        return {name: _plain_column(value) if isinstance(value, str) else value for name, value in self.inputs.items()}

    @property
    def label_column(self) -> LabelColumn:
        """The one column that holds the answer; raises ValueError where there is one for each label."""
        if isinstance(self.label, AnswerColumns):
            raise ValueError("the labels stand in a column each")
        return LabelColumn(column=self.label) if isinstance(self.label, str) else self.label

    @property
    def label_columns(self) -> list[str]:
        """Every column that holds an answer."""
        if isinstance(self.label, AnswerColumns):
            return list(self.label.columns.values())
        return [self.label_column.column]
