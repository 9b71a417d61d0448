"""Every architecture that Transformers builds small: right, or refused before any weight is read."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import transformers

from architectures import Trial, trials

SCRIPT = Path(__file__).parents[2] / "scripts" / "make_architectures.py"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found() -> list[Trial]:
    return trials()


@pytest.fixture(scope="module")
def make_architectures() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_architectures", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_is_right_or_refused_with_a_reason(found: list[Trial]) -> None:
    wrong = [trial for trial in found if trial.outcome == "wrong"]
    assert not wrong, "\n".join(map(str, wrong))
    assert all(trial.said for trial in found if trial.outcome == "refused")


def test_most_are_tried(found: list[Trial]) -> None:
    """So that a change of Transformers does not empty the test without a word."""
    tried = [trial for trial in found if trial.outcome != "untried"]
    assert len(tried) > 0.75 * len(found)


def test_the_page_says_what_was_found(found: list[Trial], make_architectures: ModuleType) -> None:
    written = make_architectures.PAGE.read_text(encoding="utf-8")
    if f"Transformers {transformers.__version__}." not in written:
        pytest.skip("the page was made with another Transformers")
    assert written == make_architectures.page(found), "type: make architectures"
