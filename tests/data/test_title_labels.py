"""The script that measures how titles agree with labels, on fixtures."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from clinfit.data.catalog.cancer_types import title_types

SCRIPT = Path(__file__).parents[2] / "scripts" / "measure_title_labels.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("measure_title_labels", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


TITLES = [
    "MiR-1 in colorectal cancer",
    "MiR-2 in colon and pancreatic cancer",
    "MiR-3 in gastric cancer",
    "MiR-4 in cancer",
    "MiR-5 in carcinoma of the pancreas",
]
COLLECTED = ["colorectal cancer", "colorectal cancer", "colorectal cancer", "pancreatic cancer", "pancreatic cancer"]


def test_titles_are_compared_with_the_collection(script: ModuleType) -> None:
    named = title_types(TITLES)
    assert named == [
        "colorectal cancer", "colorectal cancer|pancreatic cancer", "stomach cancer", "", "pancreatic cancer",
    ]  # fmt: skip
    colorectal, pancreatic = script.agreements(named, COLLECTED)
    assert (colorectal.ruled, colorectal.collected, colorectal.both) == (2, 3, 2)
    assert colorectal.row == "| colorectal cancer | 3 | 2 | 100.0% | 66.7% |"
    assert pancreatic.row == "| pancreatic cancer | 2 | 2 | 50.0% | 50.0% |"
    counts = {"the type alone": 2, "the type and others": 1, "others alone": 1, "none": 1}
    assert script.outcomes(named, COLLECTED) == counts


def test_a_rule_that_names_nothing_has_no_precision(script: ModuleType) -> None:
    assert script.agreements([""], ["colorectal cancer"])[0].row == "| colorectal cancer | 1 | 0 | none | 0.0% |"
