"""Packs as the models of a service: names, one copy of a base, tested before anybody asks."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clinfit.errors import ClinfitError
from clinfit.packs.lean import Lean
from clinfit.packs.read import Pack, load_pack
from clinfit.packs.write import write_packs
from clinfit.serve import models
from clinfit.serve.models import Computing, Models, load_models
from three_tasks import TASKS, described, results_of, study_of, train
from two_layer import bert_base

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


def test_a_pack_that_is_named_twice_is_refused(small: Served) -> None:
    pack = load_pack(small.pack)
    with pytest.raises(ClinfitError, match="a pack of tfidf-seed42 is named twice"):
        Models([pack, pack])


@pytest.fixture(scope="module")
def encoder_pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = {"epochs": 0.2, "learning_rate": 1e-2, "batch_size": 8, "max_length": 200, "precision": "fp32"}
    spec = {"name": "encoder", "family": "encoder", "base": str(bert_base()), "lora": {"rank": 2}, "train": settings}
    study = study_of(spec, tasks={"cancer": TASKS["cancer"]})
    trained, _ = train(study, tmp_path_factory.mktemp("encoder"))
    return write_packs(trained, study, results_of(study), described(study))["encoder-seed42"]


def test_packs_of_other_families_say_that_they_stay(small: Served) -> None:
    lines: list[str] = []
    load_models([small.pack, small.majority], lines.append, Computing("auto"))
    assert (
        lines.count(
            "tfidf-seed42: engine scikit-learn: it answers, since other engines are for encoders and causal models"
        )
        == 1
    )


@pytest.mark.parametrize("chosen", [True, False])
def test_each_encoder_is_told_which_engine_is_wanted(
    encoder_pack: Path, small: Served, monkeypatch: pytest.MonkeyPatch, chosen: bool
) -> None:
    """Where torch is to answer all the same, the pack is read with it."""
    asked: list[tuple[Any, ...]] = []

    def tried(*wanted: Any) -> Lean:
        asked.append(wanted)
        return Lean(load_pack(encoder_pack) if chosen else None, ["tested"], ["engine fake: it answers"])

    monkeypatch.setattr(models, "lean_pack", tried)
    lines: list[str] = []
    found = load_models([encoder_pack, small.pack], lines.append, Computing("openvino", 0.01))
    assert asked == [(encoder_pack, "openvino", 0.01)] and len(found.all()) == 2
    assert (
        sum("engine fake" in line for line in lines) == 1 and any(line.endswith(": tested") for line in lines) is chosen
    )


def test_nothing_but_torch_is_asked_for_by_itself() -> None:
    assert Computing() == Computing("torch", None)


def of_another_study(pack: Pack) -> Pack:
    """The pack as another study would have written it, with a sha256 of its own."""
    study = replace(pack.content.study, name="other")
    return replace(pack, content=replace(pack.content, study=study, sha256="f" * 64))


def test_a_name_with_its_study_is_known_whatever_else_is_served(small: Served) -> None:
    pack = load_pack(small.pack)
    whole = f"{pack.content.study.name}/tfidf-seed42"
    alone, both = Models([pack]), Models([pack, of_another_study(pack)])
    for served in (alone, both):
        for name in (f"{whole}/cancer", whole):
            found = served.find(name)
            assert found is not None and found.pack is pack
    assert [model.name for model in both.all()] == [f"{whole}/cancer", "other/tfidf-seed42/cancer"]
    assert (
        both.find("tfidf-seed42/cancer") is None is both.find("tfidf-seed42")
        and alone.find("other/tfidf-seed42") is None
    )


def test_a_task_of_one_of_two_studies_needs_no_study(small: Served, three: Path) -> None:
    words = of_another_study(load_pack(three))
    words = replace(words, content=replace(words.content, run="tfidf-seed42"))
    served = Models([load_pack(small.pack), words])
    found = served.find("tfidf-seed42/organs")
    assert found is not None and found.name == "other/tfidf-seed42/organs"
