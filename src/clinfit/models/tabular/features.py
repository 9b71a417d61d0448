"""Records to a design matrix: one specification, from the task's declared inputs, for every classical model.

numbers     as they are for trees that handle missing values; otherwise the training median for missing values, plus a
            missing indicator where training has missing values, standardised for linear models
            so are categories with a declared order, each by its place in it, counted from 0
categories  one-hot; missing is a category of its own; a category that training does not hold is all zeros
texts       all text inputs as one document: TF-IDF of words and word pairs with sublinear term frequency (on the
            cancer abstracts one document for title and abstract did better than one vocabulary each)

Everything is fitted on the training records only.
"""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from clinfit.data.declared import declared_categories
from clinfit.data.records import Record, Value
from clinfit.errors import ClinfitError
from clinfit.study.tasks import Task

InputType = Literal["text", "number", "category"]
Numbers = Literal["native", "imputed", "standardised"]

#: The column of `frame` that holds all text inputs of a record.
DOCUMENT = "(text)"
#: From this many training records on, a term must occur in two of them to count.
MANY_RECORDS = 100


def input_types(task: Task) -> dict[str, InputType]:
    """Input name -> how it is treated: as the task declares, but a category with an order as a number."""
    return {name: "number" if column.categories else column.type for name, column in task.data.columns.items()}


def document(record: Record, names: Sequence[str]) -> str:
    """The named text inputs, one a line, missing ones left out."""
    return "\n".join(str(record.inputs[name]) for name in names if record.inputs.get(name) is not None)


def frame(records: Sequence[Record], types: dict[str, InputType], task: Task) -> pd.DataFrame:
    """One row a record: numbers and places of categories in their order as float64 (missing: NaN), other categories as
    str (missing: ""), all text in one column."""
    columns: dict[str, pd.Series] = {}
    for name in _named(types, "number"):
        ranks = {value: float(at) for at, value in enumerate(declared_categories(task.data.columns[name]))}
        numbers = (
            [ranks.get(_category(record.inputs.get(name)), math.nan) for record in records]
            if ranks
            else [_number(record, name) for record in records]
        )
        columns[name] = pd.Series(numbers, dtype=np.float64)
    for name in _named(types, "category"):
        columns[name] = pd.Series([_category(record.inputs.get(name)) for record in records], dtype=object)
    if texts := _named(types, "text"):
        columns[DOCUMENT] = pd.Series([document(record, texts) for record in records], dtype=object)
    return pd.DataFrame(columns)


def _named(types: dict[str, InputType], kind: InputType) -> list[str]:
    return [name for name, its_kind in types.items() if its_kind == kind]


def _number(record: Record, name: str) -> float:
    value = record.inputs.get(name)
    try:
        number = np.nan if value is None else float(value)
    except ValueError:
        number = math.inf
    if math.isinf(number):
        raise ClinfitError(
            f"input {name!r} of record {record.id!r} is not a finite number",
            expected="a number or nothing, since the study declares `type: number`",
            fix=f"correct the value, or declare {name} as `type: category`",
        )
    return number


def _category(value: Value) -> str:
    """One spelling a category: 1, 1.0 and "1" are the same."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None else str(value)


def design(types: dict[str, InputType], *, numbers: Numbers, max_terms: int | None, n: int) -> ColumnTransformer:
    """The map from `frame` to a matrix, not yet fitted, for n training records.

    numbers: how number inputs are treated. max_terms: keep only the most frequent terms of the text.
    """
    blocks = []
    if columns := _named(types, "number"):
        blocks.append(("number", _numbers(numbers), columns))
    if columns := _named(types, "category"):
        blocks.append(("category", OneHotEncoder(handle_unknown="ignore", dtype=np.float64), columns))
    if _named(types, "text"):
        blocks.append(("text", _terms(max_terms, n), DOCUMENT))
    return ColumnTransformer(blocks, sparse_threshold=1.0)


def _numbers(numbers: Numbers) -> Pipeline | SimpleImputer | str:
    if numbers == "native":
        return "passthrough"
    imputer = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    return make_pipeline(imputer, StandardScaler()) if numbers == "standardised" else imputer


def _terms(max_terms: int | None, n: int) -> TfidfVectorizer:
    """Lower-cased words of two or more characters and their pairs, no stop words removed ("no" matters here)."""
    min_df = 2 if n >= MANY_RECORDS else 1
    return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=min_df, max_features=max_terms)


def fit_design(features: ColumnTransformer, table: pd.DataFrame) -> ColumnTransformer:
    """Fit on the training records; raises ClinfitError when their text holds no term to learn from."""
    try:
        features.fit(table)
    except ValueError as error:
        if DOCUMENT not in table:
            raise
        raise ClinfitError(
            f"the text inputs of the training records give no terms: {error}",
            expected="words of two or more letters that occur in more than one record",
            fix="check the columns of the text inputs, or remove them from data.inputs",
        ) from error
    if DOCUMENT in table:
        terms = features.named_transformers_["text"]  # NumPy integers would each be saved as a file of their own
        terms.vocabulary_ = {term: int(column) for term, column in terms.vocabulary_.items()}
    return features
