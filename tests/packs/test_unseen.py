"""A pack gives one answer from every path, and says which values of a record training has not seen."""

import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml
from rich.console import Console

import clinfit
from clinfit.data.load import load_task
from clinfit.data.records import Record
from clinfit.errors import ClinfitError
from clinfit.packs.read import Pack
from clinfit.study.load import load_study
from copies import copies

STUDY = """
name: forms
tasks:
  outcome:
    labels: ["no", "yes"]
    data:
      path: data.csv
      id: id
      inputs:
        smoker: {column: smoker, type: category}
        stage: {column: stage, type: category}
        sex: {column: sex, type: category}
        age: {column: age, type: number, unit: years}
        note: note
      label: outcome
      clean: {normalise_whitespace: true}
models: [{name: forest, family: classical, kind: random-forest, trees: 20}]
evaluation: {bootstrap: 100}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study whose file is as pandas writes columns with gaps: whole numbers as 1.0, flags in capitals."""
    folder = tmp_path_factory.mktemp("forms")
    rng = random.Random(0)
    rows = []
    for at in range(200):
        stage, smoker = rng.choice(["1.0", "2.0", "3.0", ""]), rng.choice(["TRUE", "FALSE"])
        outcome = "yes" if (stage == "3.0") ^ (smoker == "TRUE") else "no"
        sex, age = rng.choice(["male", "female"]), rng.randint(30, 80)
        rows.append([f"{at}", smoker, stage, sex, age, f"seen  at {at}", outcome])
    table = pd.DataFrame(rows, columns=["id", "smoker", "stage", "sex", "age", "note", "outcome"])
    table.to_csv(folder / "data.csv", index=False)
    (folder / "study.yaml").write_text(STUDY)
    return folder


@pytest.fixture(scope="module")
def pack(folder: Path) -> Pack:
    result = clinfit.run(folder / "study.yaml", out=folder / "run", console=Console(quiet=True))
    return clinfit.load_pack(result.packs["forest-seed42"])


def test_every_copy_of_a_file_gets_its_answers(folder: Path, pack: Pack) -> None:
    original = pack.predict(folder / "data.csv")
    assert original["p_yes"].nunique() > 5 and (original["notes"] == "").all()
    for how, copy in copies(folder / "data.csv"):
        pd.testing.assert_frame_equal(pack.predict(copy), original, obj=how)


def test_a_table_of_whole_numbers_and_flags_gets_them_too(folder: Path, pack: Pack) -> None:
    table = pd.read_csv(folder / "data.csv").dropna(subset="stage").astype({"stage": int})
    original = pack.predict(folder / "data.csv").set_index("id")
    again = pack.predict(table).set_index("id")
    pd.testing.assert_frame_equal(again, original.loc[again.index])


def new(**changes: object) -> pd.DataFrame:
    row = {"id": "n1", "smoker": True, "stage": 3, "sex": "male", "age": 50, "note": "secret words"}
    return pd.DataFrame([row, row | {"id": "n2"} | changes])


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"sex": "männlich"}, "sex: 'männlich' was not in training"),
        ({"age": 630}, "age: 630 is outside 25 to 80"),
        ({"sex": " MALE "}, "sex: 'MALE' was not in training and is read as 'male'"),
        ({"sex": "x", "age": -1}, "sex: 'x' was not in training; age: -1 is outside 25 to 80"),
    ],
)
def test_what_training_has_not_seen_is_noted_at_its_record(
    pack: Pack, changes: dict[str, object], note: str, tmp_path: Path
) -> None:
    answers = pack.predict(new(**changes))
    assert answers["notes"].tolist() == ["", note]
    new(**changes).to_csv(tmp_path / "new.csv", index=False)
    pd.testing.assert_frame_equal(pack.predict(tmp_path / "new.csv"), answers)


def test_a_category_read_in_its_known_spelling_gets_the_known_answer(pack: Pack) -> None:
    answers = pack.predict(new(sex="MALE", smoker="true"))
    assert answers["p_yes"].nunique() == 1


def test_strict_refuses_without_values(pack: Pack) -> None:
    with pytest.raises(ClinfitError) as caught:
        pack.predict(new(sex="männlich", age=630), strict=True)
    assert caught.value.found == (
        "1 of 2 records hold values that no training record has, or fewer than 10, in sex (1 x), age (1 x): record n2"
    )
    assert "männlich" not in str(caught.value) and "630" not in str(caught.value)
    assert len(pack.predict(new(), strict=True)) == 2


def test_records_given_straight_are_read_as_a_file_is(folder: Path, pack: Pack) -> None:
    """Values as typed, text uncleaned: the answers of the file; what was read already stays as it is."""
    inputs = {"smoker": True, "stage": 3.0, "sex": " male", "age": "50", "note": " seen  at\n\nnight "}
    given = Record("n1", "n1", inputs)  # type: ignore[arg-type]
    (answer,) = pack.answer("outcome", [given])
    (same,) = pack.answer("outcome", pack.records("outcome", pd.DataFrame([{"id": "n1", **inputs}])))
    assert answer == same and answer.notes == ()
    with pytest.raises(ClinfitError, match="record n1 has no input age"):
        pack.answer("outcome", [replace(given, inputs={"smoker": "true", "stage": "3", "sex": "male", "note": "x"})])
    with pytest.raises(ClinfitError, match="1 of 1 values cannot be read"):
        pack.answer("outcome", [replace(given, inputs=inputs | {"age": "old"})])  # type: ignore[arg-type]


def test_the_command_counts_notes_and_refuses_before_it_writes(folder: Path, pack: Pack, tmp_path: Path) -> None:
    new(age=630).to_csv(tmp_path / "new.csv", index=False)
    program = [sys.executable, "-m", "clinfit", "predict", folder / "run/models/forest-seed42/pack"]
    files = ["--input", tmp_path / "new.csv", "--output", tmp_path / "out.csv"]
    done = subprocess.run([*program, *files, "--strict"], capture_output=True, text=True)
    assert done.returncode == 2 and "1 of 2 records hold values" in done.stderr and "630" not in done.stderr
    assert not (tmp_path / "out.csv").exists()
    done = subprocess.run([*program, *files], capture_output=True, text=True)
    assert done.returncode == 0
    assert "2 answers" in done.stdout and "; of 1 of them there is something to know" in done.stdout
    assert pd.read_csv(tmp_path / "out.csv")["notes"].tolist()[1] == "age: 630 is outside 25 to 80"


def test_a_test_record_is_evaluated_in_the_spelling_in_which_a_pack_reads_it(
    folder: Path, pack: Pack, tmp_path: Path
) -> None:
    table = pd.read_csv(folder / "data.csv", dtype=str)
    table["part"] = ["train"] * 140 + ["validation"] * 30 + ["test"] * 30
    table.loc[170:, "sex"] = table.loc[170:, "sex"].str.upper()
    table.to_csv(tmp_path / "data.csv", index=False)
    study = STUDY.replace("      label: outcome", "      label: outcome\n      split: {column: part}")
    (tmp_path / "study.yaml").write_text(study)
    loaded = load_study(tmp_path / "study.yaml")
    data = load_task("outcome", loaded.tasks["outcome"], tmp_path)
    assert {record.inputs["sex"] for record in data.records} == {"male", "female"}
    assert data.notes.changed["case of a category"] == 30


HEART = Path(os.environ.get("CLINFIT_DATA", "absent")) / "tabular/heart_disease_uci.csv"


@pytest.mark.skipif(not HEART.is_file(), reason="the folder of CLINFIT_DATA does not hold it")
def test_real_patients_get_the_same_answers_from_file_and_table(tmp_path: Path) -> None:
    inputs: dict[str, object] = {
        name: {"column": name, "type": "category"} for name in ("sex", "cp", "fbs", "exang", "slope", "thal", "ca")
    }
    inputs |= {name: {"column": name, "type": "number"} for name in ("age", "trestbps", "chol", "oldpeak")}
    (tmp_path / "heart.csv").write_bytes(HEART.read_bytes())
    study = tmp_path / "heart.yaml"
    label = {"column": "num", "map": {0: "healthy", 1: "ill", 2: "ill", 3: "ill", 4: "ill"}}
    data = {"path": "heart.csv", "id": "id", "inputs": inputs, "label": label}
    study.write_text(
        yaml.safe_dump(
            {
                "name": "heart",
                "tasks": {"disease": {"labels": ["healthy", "ill"], "data": data}},
                "models": [{"name": "lasso", "family": "classical", "kind": "lasso", "c_grid": [1.0]}],
                "evaluation": {"bootstrap": 100},
            }
        )
    )
    result = clinfit.run(study, out=tmp_path / "run", console=Console(quiet=True))
    pack = clinfit.load_pack(result.packs["lasso-seed42"])
    original = pack.predict(HEART)
    for how, copy in copies(tmp_path / "heart.csv"):
        pd.testing.assert_frame_equal(pack.predict(copy), original, obj=how)
    german = pack.predict(pd.read_csv(HEART).replace({"sex": {"Male": "männlich"}}))
    assert german["notes"].str.contains("sex: 'männlich' was not in training").sum() == 726
