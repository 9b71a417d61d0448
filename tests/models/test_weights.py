"""Coefficients as they are told: the right odds ratio for the right input, and no rare value by its name."""

from pathlib import Path

import numpy as np
import pytest

from clinfit.data.records import Record
from clinfit.models.base import Workspace
from clinfit.models.classical import ClassicalModel
from clinfit.models.tabular.weights import Weight, Weights, weights_of
from clinfit.study.data import Data, InputColumn
from clinfit.study.models import Classical
from clinfit.study.tasks import Classification, Multilabel, Task
from lessons import TASK, lesson

INPUTS = {
    "age": InputColumn(column="age", type="number", unit="years"),
    "site": InputColumn(column="site", type="category"),
    "note": InputColumn(column="note"),
}


def patients(labels: tuple[str, ...] = ("well", "ill"), groups: int = 600) -> list[Record]:
    """Log-odds of the last label: 0.1 a year of age, minus 2 where age is missing, 1 for the north, 1 for `fever`.

    Every eleventh has a site of his own and a name in the note; `nurse` is in the notes of five patients.
    """
    rng = np.random.default_rng(0)
    records = []
    for at in range(600):
        age = None if at % 5 == 0 else float(rng.normal(60, 10))
        site = f"hut {at}" if at % 11 == 3 else ("north", "south")[at % 2]
        fever = rng.random() < 0.5
        odds = (-2 if age is None else 0.1 * (age - 60)) + (site == "north") + fever - 1
        label = labels[-1] if rng.random() < 1 / (1 + np.exp(-odds)) else labels[int(rng.integers(len(labels) - 1))]
        words = ["fever" if fever else "calm", "rests", "nurse" if at < 5 else "ward"]
        note = " ".join([*words, f"anna{at}"] if at % 11 == 3 else words)
        records.append(Record(f"{at}", f"{at % groups}", {"age": age, "site": site, "note": note}, label))
    return records


def told(task: Task, records: list[Record], kind: str = "lasso", folder: Path = Path()) -> Weights | None:
    spec = Classical.model_validate({"name": kind, "family": "classical", "kind": kind, "c_grid": [300.0]})
    model = ClassicalModel(spec, {TASK: task}, 5)
    model.fit(lesson(records), Workspace(folder))
    return weights_of(model, TASK, records, words=True)


def by_term(found: Weights | None) -> dict[tuple[str, str], Weight]:
    assert found is not None
    return {(row.input, row.term): row for row in found.rows}


def task_of(*labels: str, positive: str | None = None, inputs: tuple[str, ...] = ("age", "site", "note")) -> Task:
    data = Data(path="t.csv", inputs={name: INPUTS[name] for name in inputs})
    return Classification(labels=list(labels), positive=positive, data=data)


def test_odds_ratios_are_those_that_made_the_records(tmp_path: Path) -> None:
    found = told(task_of("well", "ill", inputs=("age", "site")), patients(), folder=tmp_path)
    rows = by_term(found)
    age, north, south = rows["age", ""], rows["site", "north"], rows["site", "south"]
    assert found is not None and found.penalty == "L1"
    assert age.step == pytest.approx(9, abs=0.7), "medians in the place of missing ages narrow the spread"
    assert age.odds_ratio == pytest.approx(np.exp(age.coefficient))
    assert age.coefficient / (age.step or 0) == pytest.approx(0.1, abs=0.03)
    assert rows["age", "missing"].coefficient == pytest.approx(-2, abs=0.9) and rows["age", "missing"].step is None
    assert north.coefficient - south.coefficient == pytest.approx(1, abs=0.5)
    assert {row.label for row in found.rows} == {"ill"}


def test_the_positive_label_turns_the_sign(tmp_path: Path) -> None:
    ill = by_term(told(task_of("well", "ill", inputs=("age",)), patients(), folder=tmp_path))["age", ""]
    other = task_of("well", "ill", positive="well", inputs=("age",))
    well = by_term(told(other, patients(), folder=tmp_path))["age", ""]
    assert (well.label, well.coefficient) == ("well", pytest.approx(-ill.coefficient))


@pytest.mark.parametrize("kind", ["lasso", "tfidf-logistic"])
def test_what_few_patients_have_is_not_named(kind: str, tmp_path: Path) -> None:
    found = told(task_of("well", "ill"), patients(), kind, tmp_path)
    assert found is not None and found.unnamed > 0
    words = str(found.rows)
    assert ("fever" in words or "calm" in words) and "anna" not in words and "hut" not in words and "nurse" not in words


def test_words_are_not_named_unless_the_study_asks(tmp_path: Path) -> None:
    spec = Classical.model_validate({"name": "m", "family": "classical", "kind": "tfidf-logistic", "c_grid": [300.0]})
    model = ClassicalModel(spec, {TASK: task_of("well", "ill")}, 5)
    model.fit(lesson(patients()), Workspace(tmp_path))
    found = weights_of(model, TASK, patients())
    assert found is not None and found.hidden > 0 and not [row for row in found.rows if row.odds_ratio is None]


def test_a_word_of_one_patient_in_many_records_is_not_named(tmp_path: Path) -> None:
    """Nine patients with many notes each: no word is in those of ten."""
    found = told(task_of("well", "ill"), patients(groups=9), "tfidf-logistic", tmp_path)
    assert found is not None and found.rows == [] and found.unnamed > 0


def test_several_labels(tmp_path: Path) -> None:
    three = told(task_of("a", "b", "c", inputs=("age",)), patients(("a", "b", "c")), folder=tmp_path)
    assert three is not None and sum(row.coefficient for row in three.rows if row.term == "") == pytest.approx(
        0, abs=1e-9
    )
    sets = Multilabel(
        kind="multilabel", labels=["ill", "never"], data=Data(path="t.csv", inputs={"age": INPUTS["age"]})
    )
    records = [Record(r.id, r.group, r.inputs, ("ill",) if r.target == "ill" else ()) for r in patients()]
    found = told(sets, records, folder=tmp_path)
    assert found is not None and {row.label for row in found.rows} == {"ill"}


@pytest.mark.parametrize("kind", ["random-forest", "gradient-boosting"])
def test_trees_have_none(kind: str, tmp_path: Path) -> None:
    assert told(task_of("well", "ill"), patients(), kind, tmp_path) is None
