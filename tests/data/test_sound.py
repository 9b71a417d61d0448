"""Sound experiments: the studies that come with the package, and public tables. The audit finds no error in them, and
asks none of the questions that it asks where a fault was put in (tests/data/test_giveaways.py)."""

import os
from pathlib import Path
from typing import Any

import pytest

from clinfit.data.audit import audit
from clinfit.data.load import load_task
from clinfit.study.load import load_study
from clinfit.study.tasks import Task, task_from

STUDIES = Path(__file__).parents[2] / "studies"
MIRROR = Path(os.environ.get("CLINFIT_DATA", "absent"))
#: What asks whether an experiment is sound, and not what the data are like.
QUESTIONS = {
    "coded-missing", "conflicting-labels", "dominant-group", "drift", "group-not-declared", "id-as-input",
    "input-stands-out", "input-tells-label", "missing-tells-label", "positive-label", "record-in-prompt",
    "row-number-as-input", "two-units", "validation-test-prevalence", "word-tells-label",
}  # fmt: skip
NEEDS_MIRROR = pytest.mark.skipif(not MIRROR.is_dir(), reason="CLINFIT_DATA names no folder")


def questions(task: Task, folder: Path) -> set[str]:
    """Errors, and the questions above."""
    found = audit(task, load_task("t", task, folder))
    return {one.code for one in found if one.level == "error" or one.code in QUESTIONS}


@pytest.mark.parametrize(
    "name",
    [
        "quickstart",
        *(
            pytest.param(name, marks=[NEEDS_MIRROR, *([pytest.mark.slow] if name == "ohsumed" else [])])
            for name in ("cancer-abstracts", "medmcqa", "ohsumed")
        ),
    ],
)
def test_the_studies_that_come_with_the_package(name: str) -> None:
    study = load_study(STUDIES / f"{name}.yaml")
    assert {code for task in study.tasks.values() for code in questions(task, study.folder)} == set()


def numbers(*names: str, **settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        name.casefold().replace(".", "_"): {"column": name, "type": "number"} | settings.get(name, {}) for name in names
    }


ZEROS = {"missing": [0]}
#: File -> labels, label column, inputs.
TABLES: dict[str, tuple[list[str], dict[str, Any], dict[str, dict[str, Any]]]] = {
    "diabetes.csv": (
        ["no", "yes"],
        {"column": "Outcome", "map": {0: "no", 1: "yes"}},
        numbers("Pregnancies", "Glucose", "BloodPressure", "BMI", "Age", Glucose=ZEROS, BloodPressure=ZEROS, BMI=ZEROS),
    ),
    "biopsy.csv": (
        ["benign", "malignant"],
        {"column": "class"},
        numbers(*(f"V{at}" for at in range(1, 10))),
    ),
    "pbc.csv": (
        ["alive", "dead"],
        {"column": "status", "map": {0: "alive", 1: "alive", 2: "dead"}},
        numbers("age", "bili", "albumin", "protime", "platelet", "ast", "alk.phos"),
    ),
    "indo_rct.csv": (
        ["no", "yes"],
        {"column": "outcome", "map": {"0_no": "no", "1_yes": "yes"}},
        numbers("age", "risk") | {"rx": {"column": "rx", "type": "category"}},
    ),
}


@NEEDS_MIRROR
@pytest.mark.parametrize("name", TABLES)
def test_public_tables(name: str) -> None:
    labels, label, inputs = TABLES[name]
    data = {"path": str(MIRROR / "tabular" / name), "inputs": inputs, "label": label}
    assert questions(task_from({"labels": labels, "data": data}), Path()) <= {"conflicting-labels"}
