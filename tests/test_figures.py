"""The README's figures on held-out records: the table is that of docs/figures.json, and the records choose nothing."""

import importlib.util
import json
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_figures", ROOT / "scripts/make_figures.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_figures"] = module
    spec.loader.exec_module(module)
    return module


def test_the_readme_shows_what_was_measured(script: ModuleType) -> None:
    content = json.loads((ROOT / "docs/figures.json").read_text())
    assert script.table_of(content) in (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(content["scored"]) == 1, "a second look would make them development figures"


@pytest.mark.skipif("CLINFIT_DATA" not in os.environ, reason="needs the public sets that CLINFIT_DATA names")
def test_the_records_are_drawn_before_anything_is_scored(script: ModuleType) -> None:
    records = script.held_out()
    assert records["gold"].value_counts().to_dict() == {"Cancer": 300, "Non-Cancer": 300}
    content = json.loads((ROOT / "docs/figures.json").read_text())
    assert script.hash_json(records["id"].tolist()) == content["records"]["ids"]


def test_a_table_replaces_the_one_before(script: ModuleType) -> None:
    readme = f"a\n{script.BEGIN}\nold\n{script.END}\nb\n"
    once = script.with_table(readme, "new")
    assert once == f"a\n{script.BEGIN}\nnew\n{script.END}\nb\n" and script.with_table(once, "new") == once
