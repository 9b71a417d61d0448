"""Probes are made up, always the same, and notice a pack that does not answer as it did."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

import clinfit
from clinfit.errors import ClinfitError
from clinfit.files import read_json, write_json
from clinfit.models.base import TextOutputs
from clinfit.packs import write
from clinfit.packs.probes import COUNT, NUMBERS, OTHER, SENTENCES, UNITS, Probes, ask_probes, probe_records
from clinfit.packs.read import Pack
from clinfit.runs.folder import RunFolder
from clinfit.runs.packs import write_run_packs
from clinfit.study.data import Data, InputColumn
from clinfit.study.load import load_study
from clinfit.study.tasks import Classification, Generation, MultipleChoice

StudyMaker = Callable[..., Path]

INPUTS = {
    "text": InputColumn(column="text"),
    "age": InputColumn(column="age", type="number", unit="Years"),
    "score": InputColumn(column="score", type="number"),
    "sex": InputColumn(column="sex", type="category"),
}
TASK = Classification(labels=["no", "yes"], data=Data(path="unused.csv", inputs=INPUTS))


def test_values_are_those_of_this_file_and_of_common_categories() -> None:
    records = probe_records("t", TASK, {"sex": ["female", "male"]})
    assert len(records) == COUNT and len({record.id for record in records}) == COUNT
    seen = {name: {record.inputs[name] for record in records} for name in INPUTS}
    assert seen["age"] <= {None, *UNITS["years"]} and seen["score"] <= {None, *NUMBERS}
    assert seen["sex"] == {None, "female", "male", OTHER}
    sentences = "|".join(map(re.escape, SENTENCES))
    assert all(re.fullmatch(rf"(?:(?:{sentences})\s?)+", str(text)) for text in seen["text"])
    assert all(len(values) > 3 for values in seen.values()), "probes differ in every input"


def test_options_differ_within_a_record_and_are_never_missing() -> None:
    inputs: dict[str, InputColumn | str] = {name: name for name in ("question", "a", "b", "c", "d")}
    task = MultipleChoice(
        kind="multiple-choice", options=["a", "b", "c", "d"], data=Data(path="unused.csv", inputs=inputs)
    )
    for record in probe_records("t", task, {}):
        options = [record.inputs[name] for name in task.options]
        assert len(set(options)) == 4 and None not in options


@given(st.dictionaries(st.text(min_size=1), st.sampled_from(["text", "number", "category"]), min_size=1, max_size=6))
def test_probes_are_always_the_same_and_survive_json(types: dict[str, Any]) -> None:
    inputs: dict[str, Any] = {name: InputColumn(column=name, type=kind) for name, kind in types.items()}
    task = Classification(labels=["a", "b"], data=Data(path="unused.csv", inputs=inputs))
    records = probe_records("t", task, {})
    assert records == probe_records("t", task, {})
    probes = Probes({}, {"t": records}, {"t": np.full((COUNT, 2), 1 / 3)})
    content = json.loads(json.dumps(probes.as_dict()))
    assert [entry["inputs"] for entry in content["tasks"]["t"]] == [record.inputs for record in records]


# ---------------------------------------------------------------- in a pack


@pytest.fixture
def packs(make_study: StudyMaker) -> dict[str, Path]:
    models = [
        {"name": "majority", "family": "baseline", "kind": "majority"},
        {"name": "forest", "family": "classical", "kind": "random-forest", "trees": 5},
    ]
    return clinfit.run(make_study(models=models), console=Console(quiet=True)).packs


def test_a_pack_answers_its_probes_bit_for_bit(packs: dict[str, Path]) -> None:
    for path in packs.values():
        tested = clinfit.load_pack(path).self_test()
        assert tested.same_machine and tested.passed and tested.tolerance == 0
        assert tested.tasks["cancer"].probes == COUNT and tested.tasks["cancer"].change == 0
        tested.check()


def changed(pack: Pack, by: float, *, elsewhere: bool) -> Pack:
    """The pack as if it had answered otherwise where it was written."""
    probes = pack.probes
    references = {name: rows + by * np.array([1, -1]) for name, rows in probes.references.items()}
    made_on = {"processor": "another"} if elsewhere else probes.made_on
    return replace(pack, probes=replace(probes, references=references, made_on=made_on))


def test_one_bit_is_too_much_here_and_a_little_is_allowed_elsewhere(packs: dict[str, Path]) -> None:
    pack = clinfit.load_pack(packs["forest-seed42"])
    assert pack.content.tolerance == 1e-6
    here = changed(pack, 1e-9, elsewhere=False).self_test()
    assert not here.passed and here.tasks["cancer"].change == pytest.approx(1e-9, rel=1e-3)
    with pytest.raises(ClinfitError, match="does not answer here as where it was written: self-test of cancer"):
        here.check()
    there = changed(pack, 1e-9, elsewhere=True).self_test()
    assert there.passed and there.tolerance == 1e-6 and not there.same_machine
    assert not changed(pack, 1e-3, elsewhere=True).self_test().passed


def test_flipped_decisions_are_counted(packs: dict[str, Path]) -> None:
    pack = clinfit.load_pack(packs["majority-seed42"])
    tested = changed(pack, -0.9, elsewhere=True).self_test()  # everyone was decided as positive there
    assert tested.tasks["cancer"].flipped == COUNT and "decisions flipped: 8" in tested.lines()[0]


def test_no_text_of_a_record_is_in_what_a_pack_says(packs: dict[str, Path], canary: str) -> None:
    """A model's own vocabulary may hold words of its training texts; nothing else of a pack does."""
    for path in packs.values():
        for name in ("pack.json", "probes.json", "README.md"):
            assert canary not in (path / name).read_text(encoding="utf-8")
    assert not list(path.rglob("*canary*"))


def test_what_is_written_to_probes_is_kept_as_a_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model may have learned a text of its training by heart."""
    task = Generation(kind="generation", data=Data(path="x.csv", inputs={"text": "text"}), prompt="{{ text }}")
    model: Any = SimpleNamespace(tasks={"note": task})
    records = probe_records("note", task, {})

    def says(text: str) -> list[str]:
        told = TextOutputs([text], ["stop"], np.ones(1, dtype=np.int64), np.zeros(1))
        monkeypatch.setattr("clinfit.packs.probes.ask", lambda *asked: told)
        kept = ask_probes(model, "note", records)
        assert isinstance(kept, list)
        return kept

    learned = says("Zephyrina Quillfeather, born 3 March 1941.")
    content = json.dumps(Probes({}, {"note": records}, {"note": learned}).as_dict())
    assert "Quillfeather" not in content and len(set(learned)) == COUNT
    assert says("Zephyrina Quillfeather, born 3 March 1941.") == learned
    assert not set(says("Zephyrina Quillfeather, born 4 March 1941.")) & set(learned)


def test_probes_are_asked_once_for_a_model(packs: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Making a pack again, for a new card or threshold, needs no model."""

    path = packs["majority-seed42"]
    probes = read_json(path / "probes.json")
    metrics = path.parents[2] / "metrics.json"
    results = read_json(metrics)
    results["tasks"]["cancer"]["verdict"] = ["Another verdict."]
    write_json(metrics, results)

    def none(*words: object) -> None:
        raise AssertionError("no model is loaded")

    monkeypatch.setattr(write, "load_model", none)
    rewrite(path, results)
    assert "Another verdict." in (path / "README.md").read_text() and read_json(path / "probes.json") == probes


def rewrite(pack: Path, results: Any) -> None:
    """Make the packs of the run again, from these results."""

    folder = RunFolder(pack.parents[2])
    assert pack.parent.name in write_run_packs(folder, load_study(folder.study), results)
