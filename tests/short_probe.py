"""Fits that ask a base and its adapter for two passages of general text: for all, on random weights, they would spend
most of their time there (the whole probe: tests/scoring/test_general_text.py)."""

from collections.abc import Iterator

import pytest

from clinfit.scoring import general_text


@pytest.fixture(scope="module", autouse=True)
def short_probe() -> Iterator[None]:
    two = general_text.passages()[:2]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(general_text, "passages", lambda: two)
        yield
