"""scikit-learn models on patient features and TF-IDF: what a language model has to beat. One for each task."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from zipfile import ZIP_DEFLATED

import numpy as np
from threadpoolctl import threadpool_limits

from clinfit.data.records import Record
from clinfit.errors import ClinfitError
from clinfit.models.base import FitSummary, LabelOutputs, Lesson, Progress, Workspace, unheard, untaught
from clinfit.models.saved import Saved, read_saved, write_saved
from clinfit.models.tabular.estimators import Fitted, check_nodes, design_matrix, fit_task, parameter_count, task_inputs
from clinfit.models.tabular.features import frame
from clinfit.models.tabular.skops_files import UntrustedTypesFoundException, dump, load
from clinfit.study.models import Classical
from clinfit.study.tasks import Task

if TYPE_CHECKING:
    from clinfit.models.bases.pretrained import Bases

#: Types beyond skops' own list that our files may hold. skops leaves the trees out because their node indices are
#: not checked when they predict; `check_nodes` does that here.
TRUSTED = [
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
]


class ClassicalModel:
    """tfidf-logistic, lasso, random-forest or gradient-boosting (see `clinfit.models.tabular.estimators`)."""

    def __init__(self, spec: Classical, tasks: Mapping[str, Task], seed: int, bases: "Bases | None" = None) -> None:
        self.spec, self.tasks, self.seed = spec, tasks, seed
        self._fitted: dict[str, Fitted] = {}

    def fit(self, lesson: Lesson, workspace: Workspace) -> FitSummary:
        """Learn each task that the lesson teaches from its own records; the others stay as they are in `start`.

        The weight of a task does not matter, since tasks have nothing in common. A fit takes seconds, so one that was
        killed starts again and ends the same.
        """
        start = time.perf_counter()
        lesson = lesson.taught
        self._fitted = {} if lesson.start is None else _read_fitted(lesson.start, self.tasks)
        details: dict[str, Any] = {}
        alarms: list[str] = []
        for name in lesson.weights:
            train, validation = (
                [record for record in records if record.task == name] for records in (lesson.train, lesson.validation)
            )
            with threadpool_limits(limits=1):
                learnt = fit_task(self.spec, self.tasks[name], self.seed, train, validation, workspace.progress)
            self._fitted[name], details[name] = learnt.fitted, learnt.details
            alarms += [f"{name}: {alarm}" if len(lesson.weights) > 1 else alarm for alarm in learnt.alarms]
        parameters = sum(parameter_count(fitted) for fitted in self._fitted.values())
        return FitSummary(time.perf_counter() - start, parameters, parameters, {"tasks": details}, alarms)

    @property
    def fitted(self) -> Mapping[str, Fitted]:
        """What was learnt, by task."""
        return self._fitted

    def predict(
        self,
        task: str,
        records: Sequence[Record],
        *,
        batch_tokens: int | None = None,
        progress: Progress = unheard,
    ) -> LabelOutputs:
        start = time.perf_counter()
        if task not in self._fitted:
            raise untaught(self.spec, task)
        asked, fitted = self.tasks[task], self._fitted[task]
        probabilities = np.zeros((len(records), len(asked.labels)))
        if records:
            matrix = design_matrix(self.spec, fitted.features, frame(records, task_inputs(self.spec, asked), asked))
            with threadpool_limits(limits=1):
                probabilities = fitted.probabilities(matrix)
        return LabelOutputs(probabilities, np.full(len(records), (time.perf_counter() - start) / max(len(records), 1)))

    def save(self, folder: Path) -> None:
        write_saved(folder, Saved(self.spec, self.tasks, self.seed, list(self._fitted), None))
        for name, fitted in self._fitted.items():
            dump([fitted.features, fitted.estimators], _file(folder, name), compression=ZIP_DEFLATED)

    @classmethod
    def load(cls, folder: Path, bases: "Bases | None" = None) -> Self:
        saved = read_saved(folder, Classical)
        model = cls(saved.spec, saved.tasks, saved.seed)
        model._fitted = _read_fitted(folder, saved.tasks)
        return model


def _file(folder: Path, task: str) -> Path:
    return folder / f"{task}.skops"


def _read_fitted(folder: Path, tasks: Mapping[str, Task]) -> dict[str, Fitted]:
    """What a saved model has learnt, by task."""
    return {
        name: _read_task(_file(folder, name), task) for name, task in tasks.items() if _file(folder, name).is_file()
    }


def _read_task(path: Path, task: Task) -> Fitted:
    try:
        features, estimators = load(path, trusted=TRUSTED)
    except UntrustedTypesFoundException as error:
        raise ClinfitError(
            f"{path} holds types that a saved model never has; it was not loaded",
            expected="the file that `clinfit run` wrote",
            fix="run the study again, or ask whoever sent the file",
        ) from error
    check_nodes(path.name, estimators, len(features.get_feature_names_out()))
    return Fitted(task, features, estimators)
