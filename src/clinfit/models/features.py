"""Records to a design matrix: one specification, from the task's declared inputs, for every classical model.

number    as it is for trees that handle missing values; otherwise the training median for missing values, plus a
          missing indicator where training has missing values, standardised for linear models
category  one-hot; missing is a category of its own; a category that training does not hold is all zeros
text      TF-IDF of words and word pairs, sublinear term frequency, each text input with its own vocabulary

Everything is fitted on the training records only.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from clinfit.data.records import Record, Value
from clinfit.errors import ClinfitError
from clinfit.study import Task

InputType = Literal["text", "number", "category"]
Numbers = Literal["native", "imputed", "standardised"]

#: From this many training records on, a term must occur in two of them to count.
MANY_RECORDS = 100


def input_types(task: Task, records: Sequence[Record]) -> dict[str, InputType]:
    """Input name -> type, as the task declares; inputs that a reader made itself are text or number by their values."""
    if task.data.columns:
        return {name: column.type for name, column in task.data.columns.items()}
    names = dict.fromkeys(name for record in records for name in record.inputs)
    return {
        name: "text" if any(isinstance(record.inputs.get(name), str) for record in records) else "number"
        for name in names
    }


def frame(records: Sequence[Record], types: dict[str, InputType]) -> pd.DataFrame:
    """One row a record, one column an input: float64 with NaN for missing, or str with "" for missing."""
    columns: dict[str, pd.Series] = {}
    for name, kind in types.items():
        if kind == "number":
            columns[name] = pd.Series([_number(record, name) for record in records], dtype=np.float64)
        else:
            columns[name] = pd.Series([_string(record.inputs.get(name)) for record in records], dtype=object)
    return pd.DataFrame(columns)


def _number(record: Record, name: str) -> float:
    value = record.inputs.get(name)
    try:
        return np.nan if value is None else float(value)
    except ValueError:
        raise ClinfitError(
            f"input {name!r} of record {record.id!r} is not a number",
            expected="a number or nothing, since the study declares `type: number`",
        ) from None


def _string(value: Value) -> str:
    """A category or a text as one spelling: 1, 1.0 and "1" are the same category."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None else str(value)


def design(types: dict[str, InputType], *, numbers: Numbers, max_terms: int | None, n: int) -> ColumnTransformer:
    """The unfitted map from `frame` to a matrix, for n training records.

    numbers: how number inputs are treated. max_terms: keep only the most frequent terms of each text.
    """
    steps = []
    for name, kind in types.items():
        if kind == "number":
            steps.append((name, _numbers(numbers), [name]))
        elif kind == "category":
            steps.append((name, OneHotEncoder(handle_unknown="ignore", dtype=np.float64), [name]))
        else:
            steps.append((name, _terms(max_terms, n), name))
    return ColumnTransformer(steps, sparse_threshold=1.0)


def _numbers(numbers: Numbers) -> Pipeline | SimpleImputer | str:
    if numbers == "native":
        return "passthrough"
    imputer = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    return make_pipeline(imputer, StandardScaler()) if numbers == "standardised" else imputer


def _terms(max_terms: int | None, n: int) -> TfidfVectorizer:
    """Lower-cased words of two or more characters and their pairs, no stop words removed ("no" matters here)."""
    return TfidfVectorizer(
        ngram_range=(1, 2), sublinear_tf=True, min_df=2 if n >= MANY_RECORDS else 1, max_features=max_terms
    )


def check_texts(table: pd.DataFrame, types: dict[str, InputType]) -> None:
    """Stop when a text input of the training records holds no word at all, since it has no vocabulary."""
    for name, kind in types.items():
        if kind == "text" and not table[name].str.contains(r"\w\w", regex=True).any():
            raise ClinfitError(
                f"text input {name!r} is empty in every training record",
                expected="at least one record with words",
                fix=f"remove {name} from data.inputs, or check the column that it names",
            )
