"""What a linear model has learned: the coefficients of logistic regression, by input, without naming rare values.

A coefficient is the change of the log-odds of a label. Of a number it is for one standard deviation of training (a
category, a missing value: that it is there), so that inputs can be compared; exp(coefficient) is then the odds ratio
(Hosmer, Lemeshow and Sturdivant, 2013, chapter 3). With more than two labels it is against the geometric mean of all
labels: softmax coefficients are centred over the labels. The weight of a word belongs to its TF-IDF value, which has no
unit, so it has no odds ratio.

Coefficients are penalised, that is biased towards 0 by design: the usual standard errors do not hold for them, and no
interval is given (Goeman, Meijer and Chaturvedi, 2022, vignette of the R package penalized).

Words are named only where the study asks for them (`words: true`): they are pieces of the texts. A category or a word
is named only where it occurs in the training records of SMALL_CELL or more groups (patients): a term of one patient
could be a name. What is not named is counted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from clinfit.data.records import Record
from clinfit.data.values import SMALL_CELL
from clinfit.models.classical import ClassicalModel
from clinfit.models.tabular.estimators import Fitted, design_matrix, task_inputs
from clinfit.models.tabular.features import frame
from clinfit.study.tasks import Task

#: Words of each direction, and other terms, that are told of a label.
MOST_WORDS, MOST_TERMS = 10, 40
#: The input of words: all texts are one document.
TEXTS = "text"


@dataclass(frozen=True)
class Weight:
    """One coefficient. label: whose log-odds it changes. term: the category or word, `missing`; empty for a number.

    step: the standard deviation that it is for, in the unit of the number; None elsewhere. odds_ratio: None for words.
    """

    label: str
    input: str
    term: str
    coefficient: float
    odds_ratio: float | None
    step: float | None


@dataclass(frozen=True)
class Weights:
    """What is told of a linear model. penalty: L1 or L2. unnamed: coefficients other than 0 of terms that too few
    training records hold to be named; more: those of others that are smaller than all that are told; zero: those that
    are 0, of numbers and categories; hidden: words, which are named only where the study asks for them."""

    penalty: str
    rows: list[Weight]
    unnamed: int
    more: int
    zero: int
    hidden: int = 0


@dataclass(frozen=True)
class _Column:
    """A column of the design matrix. scale: what its values were divided by, where a coefficient is not for `step`."""

    input: str
    term: str
    word: bool
    step: float | None
    scale: float
    named: bool


def weights_of(model: object, name: str, train: Sequence[Record], words: bool = False) -> Weights | None:
    """The weights of a linear model for a task, None for every other. train: the records that it was taught. words:
    whether these are named."""
    if not isinstance(model, ClassicalModel) or name not in model.fitted:
        return None
    fitted, task = model.fitted[name], model.tasks[name]
    if not any(isinstance(estimator, LogisticRegression) for estimator in fitted.estimators):
        return None
    columns = list(_columns(model, fitted, task, train))
    rows: list[Weight] = []
    unnamed = more = zero = hidden = 0
    for label, coefficients in _by_label(fitted):
        found = [(column, float(value) / column.scale) for column, value in zip(columns, coefficients, strict=True)]
        zero += sum(value == 0 and not column.word for column, value in found)
        if not words:
            hidden += sum(value != 0 and column.word for column, value in found)
            found = [(column, value) for column, value in found if not column.word]
        named = [(column, value) for column, value in found if value and column.named]
        unnamed += sum(value != 0 and not column.named for column, value in found)
        told = _largest(named)
        more += len(named) - len(told)
        rows += [_weight(label, column, value) for column, value in told]
    penalty = "L1" if model.spec.kind == "lasso" else "L2"
    return Weights(penalty, rows, unnamed, more, zero, hidden)


def _weight(label: str, column: _Column, value: float) -> Weight:
    return Weight(label, column.input, column.term, value, None if column.word else float(np.exp(value)), column.step)


def _largest(named: Sequence[tuple[_Column, float]]) -> list[tuple[_Column, float]]:
    """The largest in size; of words the largest of each direction. In the order of their size."""
    terms = sorted((pair for pair in named if not pair[0].word), key=lambda pair: -abs(pair[1]))[:MOST_TERMS]
    words = sorted((pair for pair in named if pair[0].word), key=lambda pair: -pair[1])
    raising = [pair for pair in words if pair[1] > 0][:MOST_WORDS]
    lowering = [pair for pair in words if pair[1] < 0][-MOST_WORDS:]
    return terms + raising + lowering


def _by_label(fitted: Fitted) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Each label with its coefficients; of two labels the positive one alone."""
    task = fitted.task
    if task.kind == "multilabel":
        for label, estimator in zip(task.labels, fitted.estimators, strict=True):
            if isinstance(estimator, LogisticRegression):
                yield label, estimator.coef_[0]
        return
    (estimator,) = fitted.estimators
    assert isinstance(estimator, LogisticRegression)
    labels = [task.labels[int(k)] for k in estimator.classes_]
    if len(labels) == 2:
        second = labels[1] == (task.positive_label or labels[1])
        yield labels[int(second)], estimator.coef_[0] * (1 if second else -1)
        return
    centred = estimator.coef_ - estimator.coef_.mean(axis=0)
    yield from zip(labels, centred, strict=True)


def _columns(model: ClassicalModel, fitted: Fitted, task: Task, train: Sequence[Record]) -> Iterator[_Column]:
    """The columns of the design matrix, in order."""
    table = frame(train, task_inputs(model.spec, task), task)
    groups = np.unique([record.group for record in train], return_inverse=True)[1]
    held = _groups(design_matrix(model.spec, fitted.features, table), groups)
    at = 0
    for block, transformer, names in fitted.features.transformers_:
        if block == "number":
            imputer, scaler = transformer[0], transformer[-1]
            gaps = [] if imputer.indicator_ is None else [names[k] for k in imputer.indicator_.features_]
            steps = [float(step) for step in scaler.scale_]
            yield from (_Column(name, "", False, step, 1.0, True) for name, step in zip(names, steps, strict=False))
            for name, step in zip(gaps, steps[len(names) :], strict=True):
                lacking = len(np.unique(groups[table[name].isna().to_numpy()]))
                yield _Column(name, "missing", False, None, step, lacking >= SMALL_CELL)
            at += len(steps)
            continue
        if block == "category":
            found = [
                (name, value) for name, every in zip(names, transformer.categories_, strict=True) for value in every
            ]
        else:
            found = [(TEXTS, term) for term in transformer.get_feature_names_out()]
        for name, term in found:
            yield _Column(name, str(term) or "missing", block == "text", None, 1.0, bool(held[at] >= SMALL_CELL))
            at += 1


def _groups(matrix: Any, groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """(columns,) how many groups have a record in which a column of the design matrix is not 0."""
    cells = matrix.tocoo()
    pairs = np.unique(np.stack([groups[cells.coords[0]], cells.coords[1]]), axis=1)
    return np.bincount(pairs[1], minlength=matrix.shape[1])
