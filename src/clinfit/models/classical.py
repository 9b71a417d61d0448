"""scikit-learn models on patient features and TF-IDF: what a language model has to beat."""

import json
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from zipfile import ZIP_DEFLATED

import numpy as np
import pandas as pd
import skops.io
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedGroupKFold
from skops.io.exceptions import UntrustedTypesFoundException
from threadpoolctl import threadpool_limits

from clinfit.data.records import Record
from clinfit.errors import ClinfitError
from clinfit.models.base import FitSummary, Outputs, Workspace
from clinfit.models.features import InputType, Numbers, design, fit_design, frame, input_types
from clinfit.study import Classical, Task
from clinfit.training.sampling import epoch_indices, label_weights

FILE = "model.json"
WEIGHTS = "model.skops"

#: Types beyond skops' own list that our files may hold. skops leaves the trees out because their node indices are
#: not checked when they predict; `_check_nodes` does that here.
TRUSTED = [
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
]

LINEAR = {"tfidf-logistic", "lasso"}

#: How each kind reads numbers, and how many terms of a text it keeps at most (None: all): gradient boosting needs a
#: dense matrix, and a forest that draws its candidates among all terms would mostly draw rare ones.
FEATURES: dict[str, tuple[Numbers, int | None]] = {
    "tfidf-logistic": ("standardised", None),
    "lasso": ("standardised", None),
    "random-forest": ("imputed", 1000),
    "gradient-boosting": ("native", 1000),
}

Estimator = LogisticRegression | RandomForestClassifier | HistGradientBoostingClassifier


@dataclass(frozen=True)
class Examples:
    """Records ready to be fitted: (n, inputs) table, (n,) label indices, (n,) groups."""

    table: pd.DataFrame
    targets: NDArray[np.int64]
    groups: NDArray[np.str_]

    def part(self, rows: NDArray[np.int64]) -> "Examples":
        return Examples(self.table.iloc[rows], self.targets[rows], self.groups[rows])


class ClassicalModel:
    """tfidf-logistic, lasso, random-forest or gradient-boosting.

    All see the features of `clinfit.models.features`, except that tfidf-logistic looks at the text inputs only.
    Linear models: L2 (tfidf-logistic) or L1 (lasso, Tibshirani 1996) logistic regression; the inverse strength C of
    the penalty is the one with the smallest log loss on validation (ties: the stronger penalty), or by 5-fold
    cross-validation on training, groups kept together, when there are no validation records.
    Label weights are sample weights everywhere, in that log loss too. Sums are taken on one thread, so that results do
    not depend on the machine's number of cores (the trees of a forest grow side by side, each by its own seed).
    """

    def __init__(self, spec: Classical, task: Task, seed: int) -> None:
        self.spec, self.task, self.seed = spec, task, seed

    # ------------------------------------------------------------ the contract

    def fit(self, train: Sequence[Record], validation: Sequence[Record], workspace: Workspace) -> FitSummary:
        """Learn from `train`. A fit takes seconds, so one that was killed starts again and ends the same."""
        start = time.perf_counter()
        self.types = self._types()
        examples = self._examples(train)
        self._check_targets(examples.targets)
        self.alarms: list[str] = []
        with threadpool_limits(limits=1):
            details = self._fit(examples, self._examples(validation) if validation else None, workspace)
        parameters = _parameter_count(self.estimator)
        return FitSummary(time.perf_counter() - start, parameters, parameters, details, self.alarms)

    def predict(self, records: Sequence[Record], *, batch_tokens: int | None = None) -> Outputs:
        start = time.perf_counter()
        probabilities = np.zeros((len(records), len(self.task.labels)))
        if records:
            matrix = self._matrix(self.features, frame(records, self.types))
            with threadpool_limits(limits=1):
                probabilities = self._probabilities(self.estimator, matrix)
        return Outputs(probabilities, np.full(len(records), (time.perf_counter() - start) / max(len(records), 1)))

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        state = {
            "spec": self.spec.model_dump(mode="json"),
            "task": self.task.model_dump(mode="json"),
            "seed": self.seed,
        }
        (folder / FILE).write_text(json.dumps(state, ensure_ascii=False, indent=1), encoding="utf-8")
        skops.io.dump([self.features, self.estimator], folder / WEIGHTS, compression=ZIP_DEFLATED)

    @classmethod
    def load(cls, folder: Path) -> Self:
        state = json.loads((folder / FILE).read_text(encoding="utf-8"))
        model = cls(Classical.model_validate(state["spec"]), Task.model_validate(state["task"]), state["seed"])
        model.types = model._types()
        try:
            model.features, model.estimator = skops.io.load(folder / WEIGHTS, trusted=TRUSTED)
        except UntrustedTypesFoundException as error:
            raise ClinfitError(
                f"{folder / WEIGHTS} holds types that a saved model never has; it was not loaded",
                expected="the file that `clinfit run` wrote",
                fix="run the study again, or ask whoever sent the file",
            ) from error
        _check_nodes(model.estimator, len(model.features.get_feature_names_out()))
        return model

    # ------------------------------------------------------------ records

    def _types(self) -> dict[str, InputType]:
        types = input_types(self.task)
        if self.spec.kind != "tfidf-logistic":
            return types
        texts: dict[str, InputType] = {name: "text" for name, kind in types.items() if kind == "text"}
        if not texts:
            raise ClinfitError(
                f"model {self.spec.name!r} of kind tfidf-logistic has no text to learn from",
                expected="at least one input of type text",
                fix="use kind: lasso for patient features, or declare a text input in data.inputs",
            )
        return texts

    def _examples(self, records: Sequence[Record]) -> Examples:
        targets = np.array([self.task.labels.index(str(record.target)) for record in records], dtype=np.int64)
        return Examples(frame(records, self.types), targets, np.array([record.group for record in records]))

    def _check_targets(self, targets: NDArray[np.int64]) -> None:
        present = np.unique(targets)
        if len(present) < 2:
            raise ClinfitError(
                f"the training split holds only the label {self.task.labels[present[0]]!r}",
                expected="training records of at least two labels",
                fix="use data.split.stratify: true, or add records of the other labels",
            )

    # ------------------------------------------------------------ learning

    def _fit(self, train: Examples, validation: Examples | None, workspace: Workspace) -> dict[str, Any]:
        rows = self._rows(train.targets)
        weights = self._weights(train.targets[rows])
        details: dict[str, Any] = {
            "records": len(rows),
            "class_weights": dict(zip(self.task.labels, weights.tolist(), strict=True)),
        }
        strength = 1.0  # the penalty of a linear model; trees have none
        if self.spec.kind in LINEAR:
            strength, path, chosen_on = self._choose_strength(train, validation, workspace)
            details |= {"C": strength, "C_path": path, "C_chosen_on": chosen_on}
        self.features = self._fit_features(train)
        self.estimator = self._fit_estimator(self._matrix(self.features, train.table), train.targets, strength)
        workspace.progress(1, 1, f"{self.spec.kind}: fitted")
        details["features"] = len(self.features.get_feature_names_out())
        if isinstance(self.estimator, LogisticRegression):
            details["nonzero_coefficients"] = int(np.count_nonzero(self.estimator.coef_))
            if self.estimator.n_iter_.max() >= self.estimator.max_iter:
                self.alarms.append(f"the solver did not converge within {self.estimator.max_iter} iterations")
        return details

    def _choose_strength(
        self, train: Examples, validation: Examples | None, workspace: Workspace
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
            matrix, unseen = self._matrix(features, learnt.table), self._matrix(features, judged.table)
            weights = self._shares(learnt.targets)[judged.targets]
            for j, c in enumerate(grid):
                estimator = self._fit_estimator(matrix, learnt.targets, c)
                losses[i, j] = self._log_loss(self._probabilities(estimator, unseen), judged.targets, weights)
                workspace.progress(i * len(grid) + j + 1, losses.size + 1, f"C={c:g}: log loss {losses[i, j]:.4f}")
        mean = np.average(losses, axis=0, weights=[len(judged.targets) for _, judged in splits])
        best = int(mean.argmin())
        if best == len(grid) - 1 > 0:
            self.alarms.append(f"C={grid[best]:g} is the largest of c_grid; a larger one might fit better")
        path = [{"C": c, "log_loss": float(loss)} for c, loss in zip(grid, mean, strict=True)]
        return grid[best], path, "validation" if validation else f"{len(splits)}-fold cross-validation"

    def _folds(self, train: Examples) -> Iterator[tuple[Examples, Examples]]:
        """Up to five folds, stratified by label, groups kept together; none when a label has a single group."""
        groups = [len(np.unique(train.groups[train.targets == k])) for k in np.unique(train.targets)]
        if min(groups) < 2:
            return
        folds = StratifiedGroupKFold(min(5, *groups), shuffle=True, random_state=self.seed)
        for learnt, judged in folds.split(train.table, train.targets, train.groups):
            yield train.part(learnt), train.part(judged)

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
        return HistGradientBoostingClassifier(max_depth=spec.max_depth, early_stopping=without, random_state=seed)

    def _rows(self, targets: NDArray[np.int64]) -> NDArray[np.int64]:
        """Indices of the records that are learnt from, repeated ones included."""
        if self.spec.oversample:
            return epoch_indices("oversample", targets, epoch=0, seed=self.seed)
        return np.arange(len(targets))

    def _weights(self, targets: NDArray[np.int64]) -> NDArray[np.float64]:
        return label_weights(self.spec.class_weights, self.task.labels, targets)

    def _shares(self, targets: NDArray[np.int64]) -> NDArray[np.float64]:
        """(K,) what a record of each label counts for in training: its weight times how often it is repeated."""
        repeated = targets[self._rows(targets)]
        counts, copies = (np.bincount(t, minlength=len(self.task.labels)) for t in (targets, repeated))
        return self._weights(repeated) * copies / np.maximum(counts, 1)

    # ------------------------------------------------------------ answering

    def _matrix(self, features: ColumnTransformer, table: pd.DataFrame) -> Any:
        """The design matrix: dense for gradient boosting, which takes nothing else, sparse for the others.

        A sparse product goes row by row, so a record's answer does not depend on its batch to the last bit.
        """
        matrix = csr_array(features.transform(table))
        return matrix.toarray() if self.spec.kind == "gradient-boosting" else matrix

    def _probabilities(self, estimator: Estimator, matrix: Any) -> NDArray[np.float64]:
        """(n, K) in label order; a label that training does not hold gets 0."""
        probabilities = np.zeros((matrix.shape[0], len(self.task.labels)))
        probabilities[:, np.asarray(estimator.classes_, dtype=np.int64)] = estimator.predict_proba(matrix)
        return probabilities

    def _log_loss(
        self, probabilities: NDArray[np.float64], targets: NDArray[np.int64], weights: NDArray[np.float64]
    ) -> float:
        labels = np.arange(len(self.task.labels))
        return float(log_loss(targets, probabilities, labels=labels, sample_weight=weights))


def _parameter_count(estimator: Estimator) -> int:
    """Coefficients and intercepts of a linear model; nodes of a tree model."""
    if isinstance(estimator, LogisticRegression):
        return int(np.size(estimator.coef_) + np.size(estimator.intercept_))
    if isinstance(estimator, RandomForestClassifier):
        return sum(tree.tree_.node_count for tree in estimator.estimators_)
    return sum(len(tree.nodes) for trees in estimator._predictors for tree in trees)


def _check_nodes(estimator: Estimator, columns: int) -> None:
    """Refuse trees whose nodes point outside the tree or the matrix: scikit-learn would read foreign memory."""
    if isinstance(estimator, RandomForestClassifier):
        trees = [tree.tree_ for tree in estimator.estimators_]
        nodes = [(t.children_left, t.children_right, t.feature, t.children_left == -1) for t in trees]
    elif isinstance(estimator, HistGradientBoostingClassifier):
        arrays = [tree.nodes for trees in estimator._predictors for tree in trees]
        features = [np.where(a["is_categorical"], -1, a["feature_idx"].astype(np.int64)) for a in arrays]  # we fit none
        nodes = [(a["left"], a["right"], f, a["is_leaf"] == 1) for a, f in zip(arrays, features, strict=True)]
    else:
        return
    for left, right, feature, leaf in nodes:
        inner = np.flatnonzero(~leaf)
        children = np.stack([left[inner], right[inner]]).astype(np.int64)
        sound = (children > inner).all() and (children < len(leaf)).all() and (feature[inner] < columns).all()
        if not sound or (feature[inner] < 0).any():
            raise ClinfitError(f"{WEIGHTS} is damaged: a tree points outside itself", fix="run the study again")
