"""Faults of an experiment that a reader would see in the data: each is put into sound data, and taken out again."""

import os
import random
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clinfit.data.audit import audit
from clinfit.data.giveaways import auroc
from clinfit.data.load import TaskData, input_fingerprints, load_task
from clinfit.data.notes import DataNotes
from clinfit.data.records import Record, Split, Value
from clinfit.findings import Finding
from clinfit.study.tasks import Task, task_from

SPLITS: tuple[Split, ...] = ("train", "train", "validation", "test")
MIRROR = Path(os.environ.get("CLINFIT_DATA", "absent"))
CODES = {
    "coded-missing",
    "dominant-group",
    "id-as-input",
    "input-stands-out",
    "input-tells-label",
    "missing-tells-label",
    "positive-label",
    "record-in-prompt",
    "row-number-as-input",
    "two-units",
    "validation-test-prevalence",
    "word-tells-label",
}


def task_of(prompt: str | None = None, **inputs: str) -> Task:
    columns = {name: {"column": name, "type": kind} for name, kind in inputs.items()}
    data = {"path": "x.csv", "id": "id", "group": "patient", "inputs": columns, "label": "outcome"}
    return task_from({"labels": ["well", "ill"], "data": data, "prompt": prompt})


TASK = task_of(glucose="number", age="number", sex="category", note="text")


def patients(n: int = 600) -> list[Record]:
    """Sound data: glucose is higher in the ill, the rest says nothing."""
    rng = random.Random(0)
    made = []
    for at in range(n):
        target = rng.choice(["well", "ill"])
        words = " ".join(rng.choices([f"word{k}" for k in range(60)], k=30))
        inputs: dict[str, Value] = {
            "glucose": round(rng.gauss(110 if target == "ill" else 95, 15), 1),
            "age": float(rng.randint(30, 80)),
            "sex": rng.choice(["f", "m"]),
            "note": f"{at} {words}",
        }
        made.append(Record(f"r{at}", f"r{at}", inputs, target, SPLITS[at % 4]))
    return made


def found(records: Sequence[Record], task: Task = TASK) -> dict[str, Finding]:
    findings = audit(task, TaskData(task, list(records), "", "", DataNotes(len(records))))
    return {finding.code: finding for finding in findings if finding.code in CODES}


def with_input(records: Sequence[Record], name: str, value: Any) -> list[Record]:
    """The records with another value of one input: a function of place and record."""
    return [replace(r, inputs=r.inputs | {name: value(at, r)}) for at, r in enumerate(records)]


def test_nothing_is_found_in_sound_data() -> None:
    assert found(patients()) == {}


def test_auroc_counts_ties_half() -> None:
    assert auroc(np.array([1.0, 2.0, 2.0, 3.0]), np.array([False, False, True, True])) == 0.875


def test_an_input_that_follows_from_the_answer() -> None:
    coded = with_input(patients(), "sex", lambda at, r: "E11" if r.target == "ill" else f"Z0{at % 3}")
    assert "sex separates 'ill'" in found(coded)["input-tells-label"].title.replace("'well'", "'ill'")
    measured = with_input(patients(), "age", lambda at, r: 1.0 + at % 50 + 100 * (r.target == "ill"))
    assert found(measured)["input-tells-label"].evidence == "AUROC 1.000 of this input alone"
    rng = random.Random(1)
    nearly = with_input(patients(), "age", lambda at, r: rng.gauss(50 + 20 * (r.target == "ill"), 8))
    assert found(nearly).keys() == {"input-stands-out"}


def test_an_input_with_a_code_of_its_own_in_every_record_tells_nothing() -> None:
    assert found(with_input(patients(), "sex", lambda at, r: f"code {at}")) == {}


def test_the_answer_written_in_the_text_under_whatever_name() -> None:
    told = with_input(patients(), "note", lambda at, r: f"{r.inputs['note']} {'E11.9' if r.target == 'ill' else ''}")
    assert found(told)["word-tells-label"].level == "warn"
    assert "E11" not in str(found(told)["word-tells-label"]), "no word of a text is shown"


def test_missing_values_that_tell_the_answer() -> None:
    rng = random.Random(2)
    taken = with_input(
        patients(), "age", lambda at, r: None if rng.random() < (0.8 if r.target == "ill" else 0.1) else r.inputs["age"]
    )
    assert found(taken)["missing-tells-label"].level == "warn"
    by_chance = with_input(patients(), "age", lambda at, r: None if rng.random() < 0.4 else r.inputs["age"])
    assert found(by_chance) == {}


def test_missing_values_of_few_records_are_not_counted() -> None:
    ill = iter(range(1000))
    taken = with_input(
        patients(),
        "age",
        lambda at, r: None if (r.target == "ill" and next(ill) > 3) or (r.target != "ill" and at < 6) else 60.0,
    )
    finding = found(taken)["missing-tells-label"]
    assert not re.search(r"\d%|AUROC", finding.evidence) and "often in its records" in finding.evidence


@pytest.mark.parametrize("code", [0.0, -1.0, 999.0])
def test_a_number_that_stands_for_a_missing_one(code: float) -> None:
    coded = with_input(patients(), "glucose", lambda at, r: code if at % 9 == 0 else r.inputs["glucose"])
    assert f"have {code:g} in glucose" in found(coded)["coded-missing"].title
    counts = with_input(patients(), "glucose", lambda at, r: float(max(0, at % 40 - 20)))
    assert found(counts) == {}, "zero is a count among others"


@pytest.mark.parametrize("factor", [18.02, 88.4, 38.67, 10, 1000])
def test_two_units_in_one_column(factor: float) -> None:
    mixed = with_input(patients(), "glucose", lambda at, r: r.inputs["glucose"] / (factor if at % 3 == 0 else 1))
    finding = found(mixed)["two-units"]
    assert f"{factor:g}" in finding.title or f"{factor:,} times" in finding.title


def test_inches_and_centimetres() -> None:
    rng = random.Random(4)
    tall = with_input(patients(), "age", lambda at, r: round(rng.gauss(170, 8), 1))
    assert found(tall) == {}
    mixed = with_input(tall, "age", lambda at, r: r.inputs["age"] / (2.54 if at % 5 == 0 else 1))
    assert "inches" in found(mixed)["two-units"].title


def test_celsius_and_fahrenheit() -> None:
    rng = random.Random(3)
    celsius = with_input(patients(), "age", lambda at, r: round(rng.gauss(37, 0.7), 1))
    assert found(celsius) == {}
    mixed = with_input(celsius, "age", lambda at, r: r.inputs["age"] * (1.8 if at % 4 else 1) + (32 if at % 4 else 0))
    assert "Fahrenheit" in found(mixed)["two-units"].title


def test_scales_of_a_few_steps_are_no_units() -> None:
    assert found(with_input(patients(), "age", lambda at, r: float((1, 2, 3, 10)[at % 4]))) == {}


def test_row_numbers_and_ids_as_inputs() -> None:
    ordered = with_input(patients(), "age", lambda at, r: float(at + 1))
    assert "row-number-as-input" in found(ordered)
    task = task_of(glucose="number", age="number", id="category", note="text")
    assert "reads the id column" in found(with_input(patients(), "id", lambda at, r: r.id), task)["id-as-input"].title


def test_other_shares_of_labels_on_validation_than_on_test() -> None:
    rare = [r for at, r in enumerate(patients()) if r.split != "test" or r.target == "well" or at % 16 == 3]
    assert "ill" in found(rare)["validation-test-prevalence"].evidence


def test_one_site_that_is_the_test() -> None:
    sites = [
        replace(r, group="north" if r.split == "test" and at % 3 else f"{r.split}-{at}")
        for at, r in enumerate(patients())
    ]
    assert "all records" in found(sites)["dominant-group"].evidence
    events = [
        replace(r, group=f"{r.split}-north" if r.target == "ill" else f"{r.split}-{at % 9}")
        for at, r in enumerate(patients())
    ]
    assert "'ill'" in found(events)["dominant-group"].evidence
    even = [replace(r, group=f"{r.split}-{at % 9}") for at, r in enumerate(patients())]
    assert found(even) == {}


@pytest.mark.parametrize(
    ("labels", "asked"),
    [(["ill", "well"], True), (["present", "no finding"], True), (["malignant", "benign"], True), (["Normal", "MI"], 0),
     (["no pain", "no fall"], False), (["0", "1"], False), (["nodule", "north"], False), (["Cancer", "Non-Cancer"], 1)],
)  # fmt: skip
def test_a_positive_label_that_was_left_on_the_healthy_class(labels: list[str], asked: bool) -> None:
    records = [replace(r, target=labels[r.target == "ill"]) for r in patients()]
    block = {"labels": labels, "data": TASK.data.model_dump(), "prompt": None}
    assert ("positive-label" in found(records, task_from(block))) == asked
    if asked:
        chosen = found(records, task_from(block | {"positive": labels[1]}))["positive-label"]
        assert chosen.level == "info" and found(records, task_from(block))["positive-label"].level == "warn"
        assert "positive-label" not in found(records, task_from(block | {"positive": labels[0]}))


def test_a_test_record_as_an_example_of_the_prompt() -> None:
    records = patients()
    prompt = "An example:\n{text}\nAnswer: ill\nNow {{{{ note }}}}"
    told, own = (next(r for r in records if r.split == split) for split in ("test", "train"))
    inputs = {"glucose": "number", "age": "number", "sex": "category", "note": "text"}
    finding = found(records, task_of(prompt.format(text=told.inputs["note"]), **inputs))["record-in-prompt"]
    assert finding.level == "warn" and told.id in finding.evidence
    assert found(records, task_of(prompt.format(text=own.inputs["note"]), **inputs))["record-in-prompt"].level == "info"
    assert found(records, task_of("Is this person ill?\n{{ note }}", **inputs)) == {}


def test_a_test_split_of_repeated_records_is_smaller_than_it_looks() -> None:
    records = patients()
    tests = [r for r in records if r.split == "test"]
    twice = [*records, *(replace(r, id=f"{r.id}-again") for r in tests[:40])]
    (finding,) = (f for f in audit(TASK, TaskData(TASK, twice, "", "", DataNotes(1))) if f.code == "duplicates")
    assert finding.level == "warn" and "40 of 190 test records say nothing new" in finding.evidence


def test_labels_that_drift_with_a_date_are_told_and_a_split_by_it_is_offered(tmp_path: Path) -> None:
    rng = random.Random(5)

    def loaded(late: float, **data: Any) -> dict[str, Finding]:
        rows = [
            f"{2000 + at // 30}-01-{1 + at % 28:02},{rng.random() < (late if at > 300 else 0.2)}" for at in range(600)
        ]
        lines = [f"{row},{rng.randint(30, 80)}" for row in rows]
        (tmp_path / "t.csv").write_text("\n".join(["seen,ill,age", *lines]))
        block = {"path": "t.csv", "inputs": {"age": {"column": "age", "type": "number"}}, "label": "ill"}
        task = task_from({"labels": ["False", "True"], "data": block | data})
        return {finding.code: finding for finding in audit(task, load_task("t", task, tmp_path))}

    assert "split: {by: seen}" in loaded(0.6)["drift"].advice
    assert "drift" not in loaded(0.2)
    assert "drift" not in loaded(0.6, split={"by": "seen"})


def test_a_patients_number_as_an_input_does_not_silence_the_missing_group(tmp_path: Path) -> None:
    lines = [f"p{at // 3},{('well', 'ill')[at % 2]},inside" for at in range(60)]
    (tmp_path / "t.csv").write_text("\n".join(["patient_id,outcome,subject_name", *lines]))
    for inputs, told in (({"who": "patient_id"}, {"patient_id": 20}), ({"topic": "subject_name"}, {"patient_id": 20})):
        block = {"path": "t.csv", "inputs": inputs, "label": "outcome"}
        assert (
            load_task("t", task_from({"labels": ["well", "ill"], "data": block}), tmp_path).notes.repeated_columns
            == told
        )


# ---------------------------------------------------------------- real data


def real(
    name: str, label: dict[str, Any], labels: list[str], columns: dict[str, str], **changes: Any
) -> dict[str, Finding]:
    inputs = {key: {"column": key, "type": kind} | changes.get(key, {}) for key, kind in columns.items()}
    data = {"path": str(MIRROR / "tabular" / name), "inputs": inputs, "label": label}
    task = task_from({"labels": labels, "data": data})
    findings = audit(task, load_task("t", task, Path()))
    return {finding.code: finding for finding in findings if finding.code in CODES}


HEART = {"column": "num", "map": {0: "healthy", 1: "ill", 2: "ill", 3: "ill", 4: "ill"}}
STREP = {"column": "improved", "map": {True: "yes", False: "no"}}


@pytest.mark.skipif(not MIRROR.is_dir(), reason="CLINFIT_DATA names no folder")
def test_real_data_with_and_without_their_faults() -> None:
    """172 cholesterols of 0; a radiologic result of six months that is the outcome itself."""
    columns = {"age": "number", "chol": "number", "trestbps": "number"}
    heart = real("heart_disease_uci.csv", HEART, ["healthy", "ill"], columns)
    assert "172 records have 0 in chol" in heart["coded-missing"].title
    said = real("heart_disease_uci.csv", HEART, ["healthy", "ill"], columns, chol={"missing": [0]})
    assert "coded-missing" not in said
    before = {"arm": "category", "gender": "category", "baseline_condition": "category", "baseline_temp": "category"}
    assert real("strep_tb.csv", STREP, ["no", "yes"], before) == {}
    after = real("strep_tb.csv", STREP, ["no", "yes"], before | {"rad_num": "number"})
    assert after.keys() == {"input-tells-label"}


@pytest.mark.skipif(not MIRROR.is_dir(), reason="CLINFIT_DATA names no folder")
def test_two_studies_of_the_same_people_that_read_other_values() -> None:
    """Cholesterol as it stands in the file, and with its 172 zeros taken as missing."""

    def read(seed: int = 42, **chol: Any) -> dict[str, str]:
        inputs = {name: {"column": name, "type": "number"} for name in ("age", "chol")}
        inputs["chol"] |= chol
        path = str(MIRROR / "tabular" / "heart_disease_uci.csv")
        data = {"path": path, "id": "id", "inputs": inputs, "label": HEART, "split": {"seed": seed}}
        return input_fingerprints(
            load_task("t", task_from({"labels": ["healthy", "ill"], "data": data}), Path()).records
        )

    plain, imputed = read(), read(missing=[0])
    assert plain["age"] == imputed["age"] and plain["chol"] != imputed["chol"]
    assert read() == plain and read(seed=1)["age"] != plain["age"], "other test records"
