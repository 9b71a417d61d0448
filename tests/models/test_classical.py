"""scikit-learn models: features fitted on training only, choices on validation only, files without pickle."""

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import skops.io
from sklearn.datasets import load_breast_cancer

from clinfit.data.records import Record
from clinfit.errors import ClinfitError
from clinfit.models.base import FitSummary, Workspace
from clinfit.models.classical import ClassicalModel
from clinfit.models.tabular.estimators import FEATURES, _TaskFit
from clinfit.models.tabular.features import design, fit_design, frame, input_types
from clinfit.study.data import Data, InputColumn
from clinfit.study.models import Classical
from clinfit.study.search import USED_BY
from clinfit.study.tasks import Classification, Task, task_from
from lessons import TASK, lesson

LABELS = ["benign", "malignant"]
KINDS = list(FEATURES)
NUMBERS = {
    "size": InputColumn(column="s", type="number"),
    "grade": InputColumn(column="g", type="number"),
    "site": InputColumn(column="l", type="category"),
}


def task_of(inputs: dict[str, InputColumn], labels: Sequence[str] = LABELS) -> Task:
    return Classification(labels=list(labels), data=Data(path="unused.csv", inputs=inputs))


def spec(kind: str, **settings: object) -> Classical:
    """settings: those of other kinds are left out."""
    own = {name: value for name, value in settings.items() if kind in USED_BY.get(name, {kind})}
    return Classical.model_validate({"name": kind, "family": "classical", "kind": kind, **own})


def patients(n: int, seed: int = 0, share: float = 0.5) -> list[Record]:
    """n patients whose size tells the label; grade is noise with gaps; `share` of them malignant."""
    rng = np.random.default_rng(seed)
    records = []
    for i in range(n):
        malignant = i < n * share
        inputs = {
            "size": float(rng.normal(2.0 * malignant)),
            "grade": None if i % 5 == 0 else float(rng.integers(1, 4)),
            "site": ["left", "right"][i % 2],
        }
        records.append(Record(f"{seed}-{i}", f"{seed}-{i}", inputs, LABELS[int(malignant)]))
    return records


def fit(
    settings: Classical, task: Task, train: Sequence[Record], validation: Sequence[Record], folder: Path
) -> tuple[ClassicalModel, FitSummary]:
    """The model, and a summary whose details are those of the one task."""
    model = ClassicalModel(settings, {TASK: task}, 5)
    summary = model.fit(lesson(train, validation), Workspace(folder))
    return model, replace(summary, details=summary.details["tasks"][TASK])


# ---------------------------------------------------------------- real data


@pytest.fixture(scope="module")
def breast_cancer() -> tuple[Task, list[Record]]:
    data = load_breast_cancer()
    names = [str(name).replace(" ", "_") for name in data.feature_names]
    order = np.random.default_rng(42).permutation(len(data.target))
    records = [
        Record(str(i), str(i), dict(zip(names, map(float, data.data[i]), strict=True)), LABELS[1 - data.target[i]])
        for i in order
    ]
    return task_of({name: InputColumn(column=name, type="number") for name in names}), records


@pytest.mark.parametrize("kind", ["lasso", "random-forest", "gradient-boosting"])
def test_breast_cancer_is_told_apart(kind: str, breast_cancer: tuple[Task, list[Record]], tmp_path: Path) -> None:
    task, records = breast_cancer
    model, summary = fit(spec(kind, trees=100), task, records[:341], records[341:455], tmp_path)
    probabilities = model.predict(TASK, records[455:]).probabilities
    correct = [
        LABELS[k] == record.target for k, record in zip(probabilities.argmax(axis=1), records[455:], strict=True)
    ]
    assert np.mean(correct) >= 0.93
    assert summary.details["features"] == 30
    if kind == "lasso":
        assert 2 <= summary.details["nonzero_coefficients"] < 30


# ---------------------------------------------------------------- features


def matrix(train: Sequence[Record], new: Sequence[Record], task: Task, numbers: str = "imputed") -> np.ndarray:
    types = input_types(task)
    features = fit_design(design(types, numbers=numbers, max_terms=None, n=len(train)), frame(train, types, task))
    found = features.transform(frame(new, types, task))
    return found.toarray() if hasattr(found, "toarray") else found


def row(size: float | None, grade: float | None, site: str | float | None) -> Record:
    return Record("r", "r", {"size": size, "grade": grade, "site": site}, "benign")


def test_median_indicator_and_categories_come_from_training_only() -> None:
    train = [row(1.0, 5.0, "left"), row(2.0, None, None), row(30.0, 7.0, "left")]
    new = [row(None, None, "right"), row(4.0, 1.0, None)]
    found = matrix(train, new, task_of(NUMBERS))
    # size, grade, whether grade is missing (training has no missing size), site missing, site left
    np.testing.assert_array_equal(found, [[2.0, 6.0, 1.0, 0.0, 0.0], [4.0, 1.0, 0.0, 1.0, 0.0]])


def test_native_numbers_keep_their_gaps() -> None:
    found = matrix([row(1.0, None, "left")], [row(None, 3.0, "left")], task_of(NUMBERS), numbers="native")
    np.testing.assert_array_equal(found, [[np.nan, 3.0, 1.0]])


def test_categories_given_as_numbers_are_one_category() -> None:
    found = matrix([row(0.0, 0.0, "1"), row(0.0, 0.0, "2")], [row(0.0, 0.0, 1.0)], task_of(NUMBERS))
    np.testing.assert_array_equal(found[:, -2:], [[1.0, 0.0]])


def test_a_category_with_an_order_is_its_place_in_it() -> None:
    """A number to every kind of model; what is none of the declared values is missing."""
    order = InputColumn(column="l", type="category", categories=["none", "mild", "severe"])
    task = task_of(NUMBERS | {"site": order})
    train = [row(0.0, 0.0, "severe"), row(0.0, 0.0, "none"), row(0.0, 0.0, "severe"), row(0.0, 0.0, None)]
    new = [row(0.0, 0.0, "mild"), row(0.0, 0.0, "unheard of")]
    np.testing.assert_array_equal(matrix(train, new, task)[:, 2:], [[1.0, 0.0], [2.0, 1.0]])  # median; is missing
    np.testing.assert_array_equal(matrix(train, new, task, numbers="native")[:, 2], [1.0, np.nan])
    numbered = task_of(NUMBERS | {"site": order.model_copy(update={"categories": [1, 2, 4]})})
    assert frame([row(0.0, 0.0, "4")], input_types(numbered), numbered)["site"][0] == 2.0


def test_number_that_is_none_is_refused_by_record_and_input_but_without_its_value() -> None:
    with pytest.raises(ClinfitError, match="'grade' of record 'r'") as refused:
        frame([row(1.0, "secret", "left")], input_types(task_of(NUMBERS)), task_of(NUMBERS))  # type: ignore[arg-type]
    assert "secret" not in str(refused.value)


def test_texts_without_a_word_are_refused(tmp_path: Path) -> None:
    train = [Record(str(i), str(i), {"note": "."}, LABELS[i % 2]) for i in range(6)]
    with pytest.raises(ClinfitError, match="no terms"):
        fit(spec("tfidf-logistic"), task_of({"note": InputColumn(column="n")}), train, train, tmp_path)


# ---------------------------------------------------------------- learning


@pytest.mark.parametrize("kind", ["lasso", "random-forest", "gradient-boosting"])
def test_validation_is_not_learnt_from(kind: str, tmp_path: Path) -> None:
    train, validation, new = patients(60), patients(20, seed=1), patients(10, seed=2)
    flipped = [replace(r, target=LABELS[1 - LABELS.index(str(r.target))]) for r in validation]
    settings = spec(kind, c_grid=[1.0], trees=10)
    found = [
        fit(settings, task_of(NUMBERS), train, part, tmp_path)[0].predict(TASK, new).probabilities
        for part in (validation, flipped, patients(40, seed=3))
    ]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_c_is_the_one_with_the_smallest_validation_loss_and_the_path_is_kept(tmp_path: Path) -> None:
    _, summary = fit(spec("lasso"), task_of(NUMBERS), patients(80), patients(40, seed=1), tmp_path)
    path = summary.details["C_path"]
    assert [point["C"] for point in path] == sorted(spec("lasso").c_grid)
    assert summary.details["C"] == min(path, key=lambda point: point["log_loss"])["C"]
    assert path[0]["log_loss"] == pytest.approx(np.log(2), abs=0.02)  # C=0.01 leaves hardly more than the intercept
    assert summary.details["C_chosen_on"] == "validation"


def test_c_at_the_end_of_the_grid_raises_an_alarm(tmp_path: Path) -> None:
    _, summary = fit(
        spec("lasso", c_grid=[0.001, 0.01, 0.1]), task_of(NUMBERS), patients(80), patients(40, seed=1), tmp_path
    )
    assert any("largest of c_grid" in alarm for alarm in summary.alarms)


def test_the_weakest_penalty_of_the_default_grid_is_no_alarm(tmp_path: Path) -> None:
    """Separable records: the last C of the grid wins, and a larger one would do next to nothing."""
    apart = [replace(r, inputs=r.inputs | {"size": float(r.target == "malignant")}) for r in patients(80)]
    _, summary = fit(spec("lasso"), task_of(NUMBERS), apart, apart, tmp_path)
    assert (summary.details["C"], summary.alarms) == (3000, [])


def test_without_validation_c_is_cross_validated_with_groups_kept_together(tmp_path: Path) -> None:
    train = [replace(r, id=f"{r.id}-{copy}") for r in patients(30) for copy in range(2)]  # each patient twice
    settings = spec("lasso", c_grid=[0.1, 1.0])
    _, summary = fit(settings, task_of(NUMBERS), train, [], tmp_path)
    one = _TaskFit(settings, task_of(NUMBERS), 5, lambda *_: None)
    for learnt, judged in one._folds(one.examples(train)):
        assert not set(learnt.groups) & set(judged.groups)
    assert summary.details["C_chosen_on"] == "5-fold cross-validation"
    _, few = fit(spec("lasso"), task_of(NUMBERS), [*patients(8, share=0), patients(1, seed=9)[0]], [], tmp_path)
    assert few.details["C"] == 1.0
    assert any("too few" in alarm for alarm in few.alarms)


@pytest.mark.parametrize("kind", KINDS)
def test_class_weights_and_oversampling_raise_the_minority(kind: str, tmp_path: Path) -> None:
    note = {"note": InputColumn(column="n")}
    inputs = NUMBERS | note
    words = ["stable small", "growing large"]
    rng = np.random.default_rng(0)
    train = [
        replace(r, inputs=r.inputs | {"note": words[int(rng.random() < 0.3 + 0.4 * (r.target == LABELS[1]))]})
        for r in patients(120, share=0.15)
    ]
    settings = {"c_grid": [1.0], "max_depth": 2, "trees": 40}

    def mean_minority(**more: object) -> float:
        model, _ = fit(spec(kind, **settings, **more), task_of(inputs), train, train, tmp_path)
        return model.predict(TASK, train).probabilities[:, 1].mean()

    plain = mean_minority()
    assert mean_minority(class_weights="balanced") > plain + 0.05
    assert mean_minority(class_weights={"malignant": 6.0}) > plain + 0.05
    assert mean_minority(oversample=True) > plain + 0.05


def test_oversampling_counts_only_training_records(tmp_path: Path) -> None:
    _, summary = fit(
        spec("random-forest", oversample=True, class_weights="balanced", trees=2),
        task_of(NUMBERS), patients(40, share=0.25), patients(10, seed=1), tmp_path,
    )  # fmt: skip
    assert summary.details["records"] == 60
    assert summary.details["class_weights"] == {"benign": 1.0, "malignant": 1.0}  # equal already, not weighted twice


def test_label_without_training_records_gets_probability_zero(tmp_path: Path) -> None:
    task = task_of(NUMBERS, ["benign", "never seen", "malignant"])
    model, _ = fit(spec("random-forest", trees=5), task, patients(30), [], tmp_path)
    found = model.predict(TASK, patients(6, seed=1)).probabilities
    np.testing.assert_array_equal(found[:, 1], 0)
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_training_with_one_label_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ClinfitError, match="only the label 'benign'"):
        fit(spec("lasso"), task_of(NUMBERS), patients(10, share=0), [], tmp_path)


# ---------------------------------------------------------------- several labels


SEVERAL = ["malignant", "left", "never", "always"]


def several_task(inputs: dict[str, InputColumn] = NUMBERS) -> Task:
    return task_from({"kind": "multilabel", "labels": SEVERAL, "data": Data(path="unused.csv", inputs=inputs)})


def with_several(records: Sequence[Record]) -> list[Record]:
    """What is malignant, what is on the left, and a label that all records have."""
    targets = [
        ((SEVERAL[0],) if r.target == LABELS[1] else ())
        + ((SEVERAL[1],) if r.inputs["site"] == "left" else ())
        + ("always",)
        for r in records
    ]
    return [replace(record, target=target) for record, target in zip(records, targets, strict=True)]


@pytest.mark.parametrize("kind", ["lasso", "random-forest", "gradient-boosting"])
def test_each_label_is_a_model_of_its_own(kind: str, tmp_path: Path) -> None:
    train, new = with_several(patients(80)), with_several(patients(30, seed=2))
    settings = spec(kind, c_grid=[1.0], trees=40)
    model, summary = fit(settings, several_task(), train, train, tmp_path)
    found = model.predict(TASK, new).probabilities
    np.testing.assert_array_equal(found[:, 2:], [[0, 1]] * 30)
    assert any("never, always" in alarm for alarm in summary.alarms)
    alone, _ = fit(settings, task_of(NUMBERS), patients(80), patients(80), tmp_path)
    np.testing.assert_array_equal(found[:, 0], alone.predict(TASK, new).probabilities[:, 1])
    side = np.array(["left" in r.target for r in new])  # type: ignore[operator]
    assert found[side, 1].min() > found[~side, 1].max()


def test_one_c_serves_all_labels_and_constant_ones_do_not_choose_it(tmp_path: Path) -> None:
    train, validation = with_several(patients(80)), with_several(patients(40, seed=1))
    settings = spec("lasso", c_grid=[0.01, 0.1, 1.0])
    _, summary = fit(settings, several_task(), train, validation, tmp_path)
    path = summary.details["C_path"]
    assert summary.details["C"] == min(path, key=lambda point: point["log_loss"])["C"]
    losses = []
    for label in SEVERAL[:2]:
        single = [
            [replace(r, target=LABELS[int(label in r.target)]) for r in part]  # type: ignore[operator]
            for part in (train, validation)
        ]
        _, alone = fit(settings, task_of(NUMBERS), *single, tmp_path)
        losses.append([point["log_loss"] for point in alone.details["C_path"]])
    np.testing.assert_allclose([point["log_loss"] for point in path], np.mean(losses, axis=0))


def test_without_validation_groups_stay_together_for_several_labels_too(tmp_path: Path) -> None:
    train = [replace(r, id=f"{r.id}-{copy}") for r in with_several(patients(30)) for copy in range(2)]
    settings = spec("lasso", c_grid=[0.1, 1.0])
    _, summary = fit(settings, several_task(), train, [], tmp_path)
    assert summary.details["C_chosen_on"] == "5-fold cross-validation"
    one = _TaskFit(settings, several_task(), 5, lambda *_: None)
    for learnt, judged in one._folds(one.examples(train)):
        assert not set(learnt.groups) & set(judged.groups)


def test_records_with_several_labels_weigh_alike(tmp_path: Path) -> None:
    train = with_several(patients(60, share=0.2))
    answers = [
        fit(spec("random-forest", trees=10, **more), several_task(), train, [], tmp_path)[0].predict(TASK, train)
        for more in ({}, {"class_weights": "balanced", "oversample": True})
    ]
    np.testing.assert_array_equal(answers[0].probabilities, answers[1].probabilities)


# ---------------------------------------------------------------- files


@pytest.fixture(scope="module")
def forest(tmp_path_factory: pytest.TempPathFactory) -> tuple[ClassicalModel, Path]:
    folder = tmp_path_factory.mktemp("forest")
    model, _ = fit(spec("random-forest", trees=3), task_of(NUMBERS), patients(40), [], folder)
    model.save(folder / "saved")
    return model, folder / "saved"


def test_file_with_a_foreign_type_is_not_loaded(forest: tuple[ClassicalModel, Path], tmp_path: Path) -> None:
    _, saved = forest
    (tmp_path / "model.json").write_bytes((saved / "model.json").read_bytes())
    skops.io.dump([Namespace(features=1), 1], tmp_path / f"{TASK}.skops")
    with pytest.raises(ClinfitError, match="never has"):
        ClassicalModel.load(tmp_path)


@pytest.mark.parametrize("kind", ["random-forest", "gradient-boosting"])
def test_tree_that_points_outside_itself_is_refused(kind: str, tmp_path: Path) -> None:
    model, _ = fit(spec(kind, trees=2), task_of(NUMBERS), patients(60), [], tmp_path / "work")
    if kind == "random-forest":
        model._fitted[TASK].estimators[0].estimators_[0].tree_.children_left[0] = 10**6
    else:
        model._fitted[TASK].estimators[0]._predictors[0][0].nodes["feature_idx"][0] = 10**6
    model.save(tmp_path)
    with pytest.raises(ClinfitError, match="damaged"):
        ClassicalModel.load(tmp_path)


def test_vocabulary_is_one_file_not_one_a_term(tmp_path: Path) -> None:
    train = [Record(str(i), str(i), {"note": f"word{i} common"}, LABELS[i % 2]) for i in range(120)]
    model, _ = fit(spec("gradient-boosting"), task_of({"note": InputColumn(column="n")}), train, train, tmp_path)
    model.save(tmp_path)
    assert len(ZipFile(tmp_path / f"{TASK}.skops").namelist()) < 1100
