"""The reference page and the JSON Schema say what the code says."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def make_reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_reference", ROOT / "scripts" / "make_reference.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_page_is_up_to_date(make_reference: ModuleType) -> None:
    written = make_reference.REFERENCE.read_text(encoding="utf-8")
    assert written == make_reference.reference(), "type: python scripts/make_reference.py"


def test_the_schema_is_up_to_date(make_reference: ModuleType) -> None:
    assert make_reference.SCHEMA.read_text(encoding="utf-8") == make_reference.schema(), "run scripts/make_reference.py"


def test_the_schema_of_packs_is_up_to_date(make_reference: ModuleType) -> None:
    written = make_reference.PACK_SCHEMA.read_text(encoding="utf-8")
    assert written == make_reference.pack_schema(), "run scripts/make_reference.py"


def test_the_schema_of_the_results_is_up_to_date(make_reference: ModuleType) -> None:
    written = make_reference.RESULTS_SCHEMA.read_text(encoding="utf-8")
    assert written == make_reference.results_schema(), "type: python scripts/make_reference.py"


def test_every_key_has_a_meaning(make_reference: ModuleType) -> None:
    for kind in make_reference._sections():
        assert [name for name, field in make_reference._keys(kind) if not field.description] == []
