"""schema/metrics.schema.json describes what the evaluation writes: real results of every kind of content satisfy it."""

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from clinfit.evaluation.evaluate import evaluate
from clinfit.evaluation.results import Results
from clinfit.evaluation.system_results import SystemSections
from predicted import MADE, predictions_of, results_of, study_of, task_of
from predicted_folds import study as study_of_folds
from predicted_folds import table as table_of_folds

from . import test_asked_again

SCHEMA = json.loads((Path(__file__).parents[2] / "schema" / "metrics.schema.json").read_text(encoding="utf-8"))
TYPES = {"string": str, "boolean": bool, "integer": int, "null": type(None), "array": list, "object": dict}


def problems(value: Any, schema: Mapping[str, Any], place: str = "$") -> Iterator[str]:
    """What is wrong with a JSON value by a JSON Schema of the words that pydantic uses."""
    if "$ref" in schema:
        yield from problems(value, SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]], place)
    elif "anyOf" in schema:
        if all(any(True for _ in problems(value, option, place)) for option in schema["anyOf"]):
            yield f"{place}: none of the options"
    elif "const" in schema or "enum" in schema:
        if value not in schema.get("enum", [schema.get("const")]):
            yield f"{place}: {value!r}"
    elif schema["type"] == "number":
        if not isinstance(value, int | float) or isinstance(value, bool):
            yield f"{place}: {value!r} is no number"
    elif type(value) is not TYPES[schema["type"]]:
        yield f"{place}: {type(value).__name__} is no {schema['type']}"
    elif schema["type"] == "array":
        for k, item in enumerate(value):
            yield from problems(item, schema["items"], f"{place}[{k}]")
    elif schema["type"] == "object":
        yield from _members(value, schema, place)


def _members(value: dict[str, Any], schema: Mapping[str, Any], place: str) -> Iterator[str]:
    known, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    yield from (f"{place}: no {name}" for name in schema.get("required", []) if name not in value)
    for name, item in value.items():
        if name in known:
            yield from problems(item, known[name], f"{place}.{name}")
        elif others is False:
            yield f"{place}: {name} is not described"
        elif isinstance(others, Mapping):
            yield from problems(item, others, f"{place}.{name}")


SETTINGS: dict[str, Any] = {
    "threshold": {"rule": "youden"},
    "calibration": "platt",
    "refer": {"rule": "confidence", "value": 0.8},
    "compare": [["tiny", "forest"]],
    "margin": 0.05,
}


def withheld(kind: str) -> Results:
    """Results without numbers: an answer has a label that is not declared."""
    task = task_of(kind)
    table = predictions_of("task", task)
    table.loc[table.index[-1], "predicted"] = "zebrafish"
    return evaluate(study_of({"task": task}), table)


CASES: dict[str, Callable[[], Results]] = {
    "every setting": lambda: results_of({"task": "classification"}, **SETTINGS),
    "every kind": lambda: results_of({kind: kind for kind in MADE}),
    "folds": lambda: evaluate(study_of_folds(refit=True, calibration="platt"), table_of_folds()),
    "asked again": test_asked_again.results,
    **{f"withheld, {kind}": lambda kind=kind: withheld(kind) for kind in MADE},
}


@pytest.fixture(scope="module")
def cases() -> dict[str, Any]:
    """As they stand in the file."""
    return {name: json.loads(json.dumps(make(), allow_nan=False)) for name, make in CASES.items()}


@pytest.mark.parametrize("name", CASES)
def test_real_results_satisfy_the_schema(cases: dict[str, Any], name: str) -> None:
    assert list(problems(cases[name], SCHEMA)) == []


def test_every_section_of_a_system_is_made_by_one_of_them(cases: dict[str, Any]) -> None:
    tasks = [task for entry in cases.values() for task in entry["tasks"].values()]
    made = {key for task in tasks for system in task["systems"] for key in system["sections"]}
    assert made == set(SystemSections.__annotations__)


@pytest.mark.parametrize(
    "break_it",
    [
        lambda task: task.pop("verdict"),
        lambda task: task.update(undescribed=1),
        lambda task: task["sections"].update(leakage=None),
        lambda task: task["systems"][0]["metrics"]["accuracy"].update(value="high"),
        lambda task: task["systems"][0]["metrics"]["accuracy"].update(status="good"),
        lambda task: task["systems"][0].update(n=1.5),
    ],
)
def test_other_results_do_not(cases: dict[str, Any], break_it: Callable[[dict[str, Any]], Any]) -> None:
    broken = copy.deepcopy(cases["every setting"])
    break_it(broken["tasks"]["task"])
    assert list(problems(broken, SCHEMA))
