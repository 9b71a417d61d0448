"""One task learnt by scikit-learn.

All kinds of model see the features of features.py, except that tfidf-logistic looks at the text inputs
only. A classification task is one problem; of a multilabel task each label is a problem of its own on the same
features, in which records weigh alike.

Linear models: L2 (tfidf-logistic) or L1 (lasso, Tibshirani 1996) logistic regression; the inverse strength C of the
penalty is the one with the smallest log loss on validation (ties: the stronger penalty), or by 5-fold cross-validation
on training, groups kept together, when there are no validation records. Of a multilabel task it is the mean log loss
over the labels, and one C for all: a rare label alone has too few records to choose by.

Label weights are sample weights everywhere, in that log loss too. Sums are taken on one thread, so that results do not
depend on the machine's number of cores (the trees of a forest grow side by side, each by its own seed).
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

from clinfit.data.records import Record
from clinfit.errors import ClinfitError
from clinfit.models.base import Progress
from clinfit.models.tabular.features import InputType, Numbers, design, fit_design, frame, input_types
from clinfit.models.targets import Targets, targets_of
from clinfit.study.models import Classical
from clinfit.study.tasks import Task
from clinfit.training.imbalance import epoch_indices, label_weights

LINEAR = {"tfidf-logistic", "lasso"}
#: From this C on a penalty does next to nothing, so that a larger one would not fit better.
HARDLY_PENALISED = 1000

#: How each kind reads numbers, and how many terms of a text it keeps at most (None: all): gradient boosting needs a
#: dense matrix, and a forest that draws its candidates among all terms would mostly draw rare ones.
FEATURES: dict[str, tuple[Numbers, int | None]] = {
    "tfidf-logistic": ("standardised", None),
    "lasso": ("standardised", None),
    "random-forest": ("imputed", 1000),
    "gradient-boosting": ("native", 1000),
}

#: The dummy answers for a label that all training records have or none: there is nothing to learn.
Estimator = LogisticRegression | RandomForestClassifier | HistGradientBoostingClassifier | DummyClassifier


@dataclass(frozen=True)
class Fitted:
    """What was learnt of a task: an estimator, or for a multilabel task one for each label."""

    task: Task
    features: ColumnTransformer
    estimators: list[Estimator]

    def probabilities(self, matrix: Any) -> NDArray[np.float64]:
        """(n, K) in label order; a label that training does not hold gets 0."""
        if self.task.kind == "multilabel":
            return np.stack([_probabilities(estimator, matrix, 2)[:, 1] for estimator in self.estimators], axis=1)
        return _probabilities(self.estimators[0], matrix, len(self.task.labels))


@dataclass(frozen=True)
class Learnt:
    """A fitted task, and what to tell of it."""

    fitted: Fitted
    details: dict[str, Any]
    alarms: list[str]


def fit_task(
    spec: Classical, task: Task, seed: int, train: Sequence[Record], validation: Sequence[Record], progress: Progress
) -> Learnt:
    """Learn a task from its training records; validation serves for the choice of C only.

    Raises ClinfitError when training holds one label only, or text without a term.
    """
    fit = _TaskFit(spec, task, seed, progress)
    return fit.fit(fit.examples(train), fit.examples(validation) if validation else None)


def task_inputs(spec: Classical, task: Task) -> dict[str, InputType]:
    """The inputs that the model looks at."""
    types = input_types(task)
    if spec.kind != "tfidf-logistic":
        return types
    texts: dict[str, InputType] = {name: "text" for name, kind in types.items() if kind == "text"}
    if not texts:
        raise ClinfitError(
            f"model {spec.name!r} of kind tfidf-logistic has no text to learn from",
            expected="at least one input of type text",
            fix="use kind: lasso for patient features, or declare a text input in data.inputs",
        )
    return texts


def design_matrix(spec: Classical, features: ColumnTransformer, table: pd.DataFrame) -> Any:
    """Dense for gradient boosting, which takes nothing else, sparse for the others.

    A sparse product goes row by row, so a record's answer does not depend on its batch to the last bit.
    """
    matrix = csr_array(features.transform(table))
    return matrix.toarray() if spec.kind == "gradient-boosting" else matrix


@dataclass(frozen=True)
class Examples:
    """Records ready to be fitted: (n, inputs) table, targets (see models/targets.py), (n,) groups."""

    table: pd.DataFrame
    targets: Targets
    groups: NDArray[np.str_]

    def part(self, rows: NDArray[np.int64]) -> "Examples":
        return Examples(self.table.iloc[rows], self.targets[rows], self.groups[rows])

    @property
    def problems(self) -> list[NDArray[np.int64]]:
        """(n,) label indices; of a multilabel task for each label whether it holds."""
        return [self.targets] if self.targets.ndim == 1 else list(self.targets.T.astype(np.int64))


@dataclass
class _TaskFit:
    """One fit. alarms: what came up so far."""

    spec: Classical
    task: Task
    seed: int
    progress: Progress
    alarms: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.types = task_inputs(self.spec, self.task)
        self.multilabel = self.task.kind == "multilabel"
        self.labels = ["no", "yes"] if self.multilabel else self.task.labels

    def examples(self, records: Sequence[Record]) -> Examples:
        groups = np.array([record.group for record in records])
        return Examples(frame(records, self.types, self.task), targets_of(self.task, records), groups)

    def fit(self, train: Examples, validation: Examples | None) -> Learnt:
        self._check_targets(train)
        details = self._what_is_learnt_from(train)
        strength = 1.0  # the penalty of a linear model; trees have none
        if self.spec.kind in LINEAR:
            strength, path, chosen_on = self._choose_strength(train, validation)
            details |= {"C": strength, "C_path": path, "C_chosen_on": chosen_on}
        features = self._fit_features(train)
        matrix = design_matrix(self.spec, features, train.table)
        estimators = [self._fit_estimator(matrix, targets, strength) for targets in train.problems]
        self.progress(1, 1, f"{self.spec.kind}: fitted")
        details["features"] = len(features.get_feature_names_out())
        linear = [estimator for estimator in estimators if isinstance(estimator, LogisticRegression)]
        if linear:
            details["nonzero_coefficients"] = sum(int(np.count_nonzero(estimator.coef_)) for estimator in linear)
        if late := [e.max_iter for e in linear if e.n_iter_.max() >= e.max_iter]:
            self.alarms.append(f"the solver did not converge within {late[0]} iterations")
        return Learnt(Fitted(self.task, features, estimators), details, self.alarms)

    def _check_targets(self, train: Examples) -> None:
        if self.multilabel:
            constant = [
                label
                for label, targets in zip(self.task.labels, train.problems, strict=True)
                if len(np.unique(targets)) < 2
            ]
            if constant:
                self.alarms.append(f"all training records or none have {', '.join(constant)}: nothing to learn there")
            return
        present = np.unique(train.targets)
        if len(present) < 2:
            raise ClinfitError(
                f"the training split holds only the label {self.task.labels[present[0]]!r}",
                expected="training records of at least two labels",
                fix="use data.split.stratify: true, or add records of the other labels",
            )

    def _what_is_learnt_from(self, train: Examples) -> dict[str, Any]:
        if self.multilabel:
            return {"records": len(train.targets)}
        rows = self._rows(train.targets)
        weights = self._weights(train.targets[rows])
        return {"records": len(rows), "class_weights": dict(zip(self.labels, weights.tolist(), strict=True))}

    # ------------------------------------------------------------ the penalty

    def _choose_strength(
        self, train: Examples, validation: Examples | None
    ) -> tuple[float, list[dict[str, float]], str]:
        """The C with the smallest log loss, the whole path, and what it was judged on."""
        grid = sorted(self.spec.c_grid)
        splits = [(train, validation)] if validation else list(self._folds(train))
        if not splits:
            self.alarms.append("too few training records of a label to choose C by cross-validation: took C nearest 1")
            return min(grid, key=lambda c: abs(np.log(c))), [], "nothing"
        losses = np.zeros((len(splits), len(grid)))
        for i, (learnt, judged) in enumerate(splits):
            features = self._fit_features(learnt)
            matrix, unseen = (design_matrix(self.spec, features, part.table) for part in (learnt, judged))
            for j, c in enumerate(grid):
                losses[i, j] = self._mean_loss(matrix, learnt, unseen, judged, c)
                self.progress(i * len(grid) + j + 1, losses.size + 1, f"C={c:g}: log loss {losses[i, j]:.4f}")
        mean = np.average(losses, axis=0, weights=[len(judged.targets) for _, judged in splits])
        best = int(mean.argmin())
        if best == len(grid) - 1 > 0 and grid[best] < HARDLY_PENALISED:
            self.alarms.append(f"C={grid[best]:g} is the largest of c_grid; a larger one might fit better")
        path = [{"C": c, "log_loss": float(loss)} for c, loss in zip(grid, mean, strict=True)]
        return grid[best], path, "validation" if validation else f"{len(splits)}-fold cross-validation"

    def _mean_loss(self, matrix: Any, learnt: Examples, unseen: Any, judged: Examples, strength: float) -> float:
        """Mean log loss of the problems that can be learnt; those that cannot lose the same with every C."""
        losses = []
        for targets, gold in zip(learnt.problems, judged.problems, strict=True):
            estimator = self._fit_estimator(matrix, targets, strength)
            if not isinstance(estimator, DummyClassifier):
                probabilities = _probabilities(estimator, unseen, len(self.labels))
                weights = self._shares(targets)[gold]
                losses.append(log_loss(gold, probabilities, labels=np.arange(len(self.labels)), sample_weight=weights))
        return float(np.mean(losses)) if losses else 0.0

    def _folds(self, train: Examples) -> Iterator[tuple[Examples, Examples]]:
        """Up to five folds, groups kept together, stratified by label where a record has one; none when a label has a
        single group."""
        if self.multilabel:
            groups = len(np.unique(train.groups))
            folds: Any = GroupKFold(min(5, groups), shuffle=True, random_state=self.seed) if groups > 1 else None
        else:
            groups = min(len(np.unique(train.groups[train.targets == k])) for k in np.unique(train.targets))
            folds = StratifiedGroupKFold(min(5, groups), shuffle=True, random_state=self.seed) if groups > 1 else None
        if folds is not None:
            for learnt, judged in folds.split(train.table, train.targets, train.groups):
                yield train.part(learnt), train.part(judged)

    # ------------------------------------------------------------ features and estimators

    def _fit_features(self, train: Examples) -> ColumnTransformer:
        numbers, terms = FEATURES[self.spec.kind]
        features = design(self.types, numbers=numbers, max_terms=terms, n=len(train.targets))
        return fit_design(features, train.table)

    def _fit_estimator(self, matrix: Any, targets: NDArray[np.int64], strength: float) -> Estimator:
        rows = self._rows(targets)
        repeated = targets[rows]
        estimator = self._estimator(strength, len(np.unique(targets)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # told by an alarm instead
            estimator.fit(matrix[rows], repeated, self._weights(repeated)[repeated])
        if isinstance(estimator, RandomForestClassifier):
            estimator.n_jobs = 1  # threads would add the trees' votes in a varying order
        return estimator

    def _estimator(self, strength: float, classes: int) -> Estimator:
        """The estimator before it is fitted.

        L1: liblinear for two classes (coordinate descent reaches the optimum where saga stops short of it;
        `intercept_scaling` makes its penalty on the intercept negligible), saga for more.
        """
        spec, seed = self.spec, self.seed
        if classes == 1:
            return DummyClassifier(strategy="most_frequent")
        if spec.kind == "tfidf-logistic":
            return LogisticRegression(C=strength, max_iter=1000, random_state=seed)
        if spec.kind == "lasso" and classes == 2:
            solver = {"solver": "liblinear", "intercept_scaling": 10.0, "max_iter": 1000}
            return LogisticRegression(C=strength, l1_ratio=1, random_state=seed, **solver)
        if spec.kind == "lasso":
            return LogisticRegression(C=strength, l1_ratio=1, random_state=seed, solver="saga", max_iter=2000)
        if spec.kind == "random-forest":
            return RandomForestClassifier(spec.trees, max_depth=spec.max_depth, n_jobs=-1, random_state=seed)
        without: Any = False  # the stub knows only the string 'auto'
        boosted = {"max_iter": spec.rounds, "learning_rate": spec.learning_rate, "max_depth": spec.max_depth}
        return HistGradientBoostingClassifier(**boosted, early_stopping=without, random_state=seed)

    # ------------------------------------------------------------ unequal classes

    def _rows(self, targets: NDArray[np.int64]) -> NDArray[np.int64]:
        """Indices of the records that are learnt from, repeated ones included."""
        if self.spec.oversample and not self.multilabel:
            return epoch_indices("oversample", targets, epoch=0, seed=self.seed)
        return np.arange(len(targets))

    def _weights(self, targets: NDArray[np.int64]) -> NDArray[np.float64]:
        setting = self.spec.class_weights
        if isinstance(setting, dict):  # names may be labels of the model's other tasks
            setting = {label: weight for label, weight in setting.items() if label in self.labels}
        return label_weights("none" if self.multilabel else setting, self.labels, targets)

    def _shares(self, targets: NDArray[np.int64]) -> NDArray[np.float64]:
        """(K,) what a record of each label counts for in training: its weight times how often it is repeated."""
        repeated = targets[self._rows(targets)]
        counts, copies = (np.bincount(t, minlength=len(self.labels)) for t in (targets, repeated))
        return self._weights(repeated) * copies / np.maximum(counts, 1)


def _probabilities(estimator: Estimator, matrix: Any, classes: int) -> NDArray[np.float64]:
    """(n, classes); a class that training does not hold gets 0."""
    probabilities = np.zeros((matrix.shape[0], classes))
    probabilities[:, np.asarray(estimator.classes_, dtype=np.int64)] = estimator.predict_proba(matrix)
    return probabilities


def parameter_count(fitted: Fitted) -> int:
    """Coefficients and intercepts of linear models; nodes of tree models."""
    return sum(_parameters(estimator) for estimator in fitted.estimators)


def _parameters(estimator: Estimator) -> int:
    if isinstance(estimator, DummyClassifier):
        return 0
    if isinstance(estimator, LogisticRegression):
        return int(np.size(estimator.coef_) + np.size(estimator.intercept_))
    if isinstance(estimator, RandomForestClassifier):
        return sum(tree.tree_.node_count for tree in estimator.estimators_)
    return sum(len(tree.nodes) for trees in estimator._predictors for tree in trees)


def check_nodes(name: str, estimators: Sequence[Estimator], columns: int) -> None:
    """Refuse trees whose nodes point outside the tree or the matrix: scikit-learn would read foreign memory.

    name: of the file, for the message.
    """
    for estimator in estimators:
        for left, right, feature, leaf in _nodes(estimator):
            inner = np.flatnonzero(~leaf)
            children = np.stack([left[inner], right[inner]]).astype(np.int64)
            sound = (children > inner).all() and (children < len(leaf)).all() and (feature[inner] < columns).all()
            if not sound or (feature[inner] < 0).any():
                raise ClinfitError(f"{name} is damaged: a tree points outside itself", fix="run the study again")


def _nodes(estimator: Estimator) -> Iterator[tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[np.bool_]]]:
    """Left and right child, feature, and whether it is a leaf, of each node of each tree."""
    if isinstance(estimator, RandomForestClassifier):
        for tree in (tree.tree_ for tree in estimator.estimators_):
            yield tree.children_left, tree.children_right, tree.feature, tree.children_left == -1
    elif isinstance(estimator, HistGradientBoostingClassifier):
        for nodes in (tree.nodes for trees in estimator._predictors for tree in trees):
            features = np.where(nodes["is_categorical"], -1, nodes["feature_idx"].astype(np.int64))  # we fit none
            yield nodes["left"], nodes["right"], features, nodes["is_leaf"] == 1
