"""Packs as the models of a service: names, one copy of a base, tested before anybody asks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clinfit.errors import ClinfitError
from clinfit.packs.read import load_pack
from clinfit.serve import models
from clinfit.serve.models import Computing, Models, load_models

from .conftest import Served


def test_all_packs_get_the_same_bases_where_one_of_them_has_a_base(
    small: Served, three: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []
    real: Callable[..., Any] = load_pack

    def seen(folder: Path, bases: Any = None) -> Any:
        given.append(bases)
        return real(folder, bases)

    monkeypatch.setattr(models, "load_pack", seen)
    lines: list[str] = []
    found = load_models([small.pack, three], lines.append)
    assert [model.name for model in found.all()] == [
        "tfidf-seed42/cancer", "words-seed42/cancer", "words-seed42/organs", "words-seed42/next",
    ]  # fmt: skip
    assert given[0] is given[1] is not None and len(lines) == 4
    given.clear()
    load_models([small.pack, small.majority], lines.append)
    assert given == [None, None], "torch is not loaded for nothing"


def test_a_model_is_found_by_what_only_it_has(models: Models) -> None:
    assert [model.name for model in models.all() if models.find(model.name) is not model] == []
    organs = models.by_name["words-seed42/organs"]
    assert models.find("organs") is organs and models.find(f"organs@{organs.sha256[:8]}") is organs
    for unclear in ("cancer", "words-seed42", None, "", "organs@ffffffff", "Organs"):
        assert models.find(unclear) is None


def test_one_model_needs_no_name(small: Served) -> None:
    alone = Models([load_pack(small.pack)])
    assert alone.find(None) is not None and alone.find("cancer") is not None and alone.find("other") is None


def test_two_packs_of_one_name_are_refused(small: Served) -> None:
    pack = load_pack(small.pack)
    with pytest.raises(ClinfitError, match="two packs are called small/tfidf-seed42"):
        Models([pack, pack])


@pytest.mark.parametrize("computing", [Computing(), Computing("auto"), Computing("openvino", 0.01)])
def test_each_pack_is_told_which_engine_is_wanted(
    small: Served, monkeypatch: pytest.MonkeyPatch, computing: Computing
) -> None:
    asked: list[tuple[Any, ...]] = []

    def seen(pack: Any, *wanted: Any) -> list[str]:
        asked.append((pack.content.run, *wanted))
        return ["engine fake: it answers"]

    monkeypatch.setattr(models, "use_engine", seen)
    lines: list[str] = []
    load_models([small.pack, small.majority], lines.append, computing)
    wanted = (computing.engine, computing.change)
    assert asked == [("tfidf-seed42", *wanted), ("majority-seed42", *wanted)]
    assert lines.count("tfidf-seed42: engine fake: it answers") == 1


def test_nothing_but_torch_is_asked_for_by_itself() -> None:
    assert Computing() == Computing("torch", None)
