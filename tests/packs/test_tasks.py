"""Packs of several tasks: one answer from every path, and a withheld task that leaves only itself out."""

import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from clinfit.data.records import Record
from clinfit.errors import ClinfitError
from clinfit.models.base import Model
from clinfit.models.bases.pretrained import Bases
from clinfit.models.neural import NeuralModel
from clinfit.packs import write
from clinfit.packs.answer import Answer
from clinfit.packs.decide import decide
from clinfit.packs.read import Pack, load_pack
from clinfit.packs.write import write_packs
from small_study import CANARY
from three_tasks import TASKS, THRESHOLDS, described, records, results_of, study_of, train
from two_layer import bert_base, llama_base

MAJORITY = {"name": "majority", "family": "baseline", "kind": "majority"}
TRAIN = {"epochs": 0.5, "learning_rate": 1e-2, "batch_size": 8, "max_length": 200, "precision": "fp32"}
NEURAL: dict[str, Any] = {"lora": {"rank": 2}, "train": TRAIN}
MODELS: dict[str, Mapping[str, Any]] = {
    "majority": MAJORITY,
    "tfidf": {"name": "tfidf", "family": "classical", "kind": "tfidf-logistic", "c_grid": [1.0]},
    "causal": {"name": "causal", "family": "causal", "base": str(llama_base())} | NEURAL,
    "encoder": {"name": "encoder", "family": "encoder", "base": str(bert_base())} | NEURAL,
}
ENGINES = {"majority": "rules", "tfidf": "scikit-learn"}


def packed(model: Mapping[str, Any], folder: Path) -> tuple[Path, Model]:
    """The pack of a model that learned three tasks, moved elsewhere, and the model as it was trained."""
    study = study_of(model)
    trained, models = train(study, folder)
    packs = write_packs(trained, study, results_of(study), described(study))
    (path,) = packs.values()
    return Path(shutil.move(path, folder / "moved")), models[str(model["name"])]


def unlabelled(name: str) -> list[Record]:
    return [replace(record, target=None) for record in records(name)]


@pytest.mark.parametrize("model", MODELS)
def test_every_path_gives_the_answers_of_the_trained_model(model: str, tmp_path: Path) -> None:
    path, trained = packed(MODELS[model], tmp_path)
    pack = load_pack(path)
    assert list(pack.tasks) == [name for name, task in TASKS.items() if task.kind in pack.model.spec.kinds]
    assert pack.engine == ENGINES.get(model, "torch, one record at a time")
    assert pack.content.tolerance == (1e-6 if model in ENGINES else 1e-4)
    tested = pack.self_test()
    assert tested.same_machine and tested.passed and {parity.change for parity in tested.tasks.values()} == {0.0}
    for name in pack.tasks:
        asked, labels = unlabelled(name)[:5], TASKS[name].labels
        decided = decide(pack.tasks[name], trained.predict(name, asked).probabilities)
        together = pack.answer(name, asked)
        assert [answer.decision for answer in together] == decided.decided
        assert [list(answer.probabilities.values()) for answer in together] == decided.probabilities.tolist()
        assert [pack.answer(name, [record])[0] for record in asked] == together, "neighbours do not matter"
        rows = pd.DataFrame([{"id": record.id, **record.inputs} for record in asked])
        (table := tmp_path / f"{name}.csv").write_text(rows.to_csv(index=False))
        for items in (asked, rows.rename(columns=columns(name)), table):
            answers = pack.predict(items, name)
            assert list(answers.columns) == [
                "id",
                *(f"p_{label}" for label in labels),
                "predicted",
                "decision",
                "threshold",
                "status",
                "notes",
            ]
            assert (answers[[f"p_{label}" for label in labels]].to_numpy() == decided.probabilities).all()
            assert list(answers["decision"]) == ["|".join(p) if isinstance(p, tuple) else p for p in decided.decided]


def columns(name: str) -> dict[str, str]:
    """Input -> column of a task whose columns are called as its inputs are."""
    return {key: column.column for key, column in TASKS[name].data.columns.items()}


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    return load_pack(packed(MAJORITY, tmp_path)[0])


def test_thresholds_of_labels_are_those_of_the_evaluation(pack: Pack) -> None:
    found = {label: choice.value for label, choice in pack.tasks["organs"].thresholds.items()}
    assert found == THRESHOLDS
    (answer,) = pack.answer("organs", unlabelled("organs")[:1])
    assert answer.decision == tuple(label for label, p in answer.probabilities.items() if p >= THRESHOLDS[label])
    assert answer.kind == "multilabel" and asdict(answer)["decision"] == answer.decision


def test_one_of_several_tasks_must_be_named(pack: Pack) -> None:
    with pytest.raises(ClinfitError, match="answers 3 tasks, and none is named") as caught:
        pack.predict(unlabelled("cancer"))
    assert caught.value.fix == "name it: --task cancer"


def test_answers_say_which_task_and_kind(pack: Pack) -> None:
    answers: list[Answer] = [pack.answer(name, unlabelled(name)[:1])[0] for name in pack.tasks]
    assert [(answer.task, answer.kind) for answer in answers] == [(name, task.kind) for name, task in TASKS.items()]
    assert len({(answer.pack, answer.engine) for answer in answers}) == 1


def test_the_card_names_every_task_and_how_to_ask_it(tmp_path: Path) -> None:
    path, _ = packed(MAJORITY, tmp_path)
    card = (path / "README.md").read_text(encoding="utf-8")
    assert "- **cancer**: answers one of no, yes (positive: yes) from text, age. Decision: positive from" in card
    assert "- **organs**: answers any number of lung, skin, heart from text, age." in card
    assert "every label from its own probability on: lung 0.3, skin 0.5, heart 0.05." in card
    assert "- **next**: answers one of the options first, second, third by its letter" in card
    assert all(f"--output answers.csv --task {name}" in card for name in TASKS)


def test_no_text_of_a_record_is_in_a_pack_of_rules(tmp_path: Path) -> None:
    path, _ = packed(MAJORITY, tmp_path)
    assert [file for file in path.rglob("*") if file.is_file() and CANARY.encode() in file.read_bytes()] == []


# ---------------------------------------------------------------- withheld


def test_a_withheld_task_leaves_only_itself_out(tmp_path: Path) -> None:
    study = study_of(MAJORITY)
    trained, _ = train(study, tmp_path)
    lines: list[str] = []
    results = results_of(study, {"organs": "label 'lung' is missing on test"})
    (path,) = write_packs(trained, study, results, described(study), lines.append).values()
    reason = "its numbers are withheld: label 'lung' is missing on test"
    assert lines == [f"Task organs is left out of the packs, since {reason}"]
    pack = load_pack(path)
    assert list(pack.tasks) == ["cancer", "next"] == list(pack.self_test().tasks)
    assert len(pack.answer("next", unlabelled("next"))) == 24
    with pytest.raises(ClinfitError, match=f"does not answer task 'organs', as {reason}"):
        pack.answer("organs", unlabelled("organs"))
    assert "organs" not in (path / "probes.json").read_text(encoding="utf-8")
    assert f"- **organs** is not answered, since {reason}." in (path / "README.md").read_text(encoding="utf-8")


def test_a_model_of_which_all_tasks_are_withheld_has_no_pack(tmp_path: Path) -> None:
    rule = {"name": "keyword", "family": "baseline", "kind": "keyword", "patterns": ["tumour"]}  # cancer alone
    study = study_of(MAJORITY, rule)
    trained, _ = train(study, tmp_path)
    assert set(write_packs(trained, study, results_of(study), described(study))) == {
        "majority-seed42",
        "keyword-seed42",
    }
    lines: list[str] = []
    results = results_of(study, {"cancer": "one class only"})
    assert set(write_packs(trained, study, results, described(study), lines.append)) == {"majority-seed42"}
    assert not (tmp_path / "keyword" / "pack").exists(), "the older pack would promise what is withheld"
    assert len(lines) == 2 and lines[1] == "keyword-seed42: no pack, since all its tasks are withheld"
    every = results_of(study, dict.fromkeys(TASKS, "one class only"))
    lines.clear()
    assert write_packs(trained, study, every, described(study), lines.append) == {}
    assert lines == ["No packs, since the numbers are withheld: one class only"]
    assert not list(tmp_path.rglob("pack.json"))


def test_a_model_that_cannot_be_loaded_here_keeps_its_older_pack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = study_of(MAJORITY)
    trained, _ = train(study, tmp_path)

    def refuse(family: str, folder: Path) -> Model:
        raise ClinfitError("the base is not on this machine", fix="--online")

    lines: list[str] = []
    monkeypatch.setattr(write, "load_model", refuse)
    assert write_packs(trained, study, results_of(study), described(study), lines.append) == {}
    assert lines == ["majority-seed42: no new pack: the base is not on this machine"]


def test_an_older_pack_stays_unless_it_answers_what_is_withheld_now(tmp_path: Path) -> None:
    study = study_of(MAJORITY)
    (trained,), _ = train(study, tmp_path)
    write_packs([trained], study, results_of(study), described(study))
    shutil.rmtree(trained.model)
    lines: list[str] = []
    changed = results_of(study)
    changed["tasks"]["cancer"]["verdict"] = ["Another verdict."]
    assert write_packs([trained], study, changed, described(study), lines.append) == {}
    assert lines == ["majority-seed42: no new pack: its model is missing or was changed; run the study again"]
    assert load_pack(trained.pack).self_test().passed
    withheld = results_of(study, {"organs": "one class only"})
    assert write_packs([trained], study, withheld, described(study)) == {} and not trained.pack.exists()


def test_references_are_asked_one_at_a_time(tmp_path: Path) -> None:
    """The reference answer of a pack is one record at a time, on any device."""
    path, trained = packed(MAJORITY, tmp_path)
    probes = load_pack(path).probes
    for name, asked in probes.records.items():
        alone = np.concatenate([trained.predict(name, [record]).probabilities for record in asked])
        assert (probes.references[name] == alone).all()


# ---------------------------------------------------------------- one base in memory


def parameters(pack: Pack) -> dict[str, int]:
    """Where the weights of the base lie, by name."""
    assert isinstance(pack.model, NeuralModel) and pack.model._loaded is not None
    found = pack.model._loaded.model.named_parameters()
    own = ("lora_", "classifier", "pooler", "modules_to_save", "original_module")
    return {name: weight.data_ptr() for name, weight in found if not any(part in name for part in own)}


@pytest.mark.parametrize("family", ["causal", "encoder"])
def test_packs_of_one_base_hold_one_copy_and_answer_as_alone(family: str, tmp_path: Path) -> None:
    model = dict(MODELS[family])
    first, _ = packed(model, tmp_path / "first")
    other = model | {"name": "other", "train": {**TRAIN, "learning_rate": 3e-3}}
    second, _ = packed(other, tmp_path / "second")
    asked = unlabelled("cancer")[:5]
    alone = [load_pack(path).predict(asked, "cancer") for path in (first, second)]
    assert not alone[0].equals(alone[1])
    bases = Bases()
    together = [load_pack(path, bases) for path in (first, second)]
    places = [parameters(pack) for pack in together]
    assert places[0] and places[0] == places[1]
    for _ in range(2):  # in turns
        assert all(pack.predict(asked, "cancer").equals(table) for pack, table in zip(together, alone, strict=True))
    assert all(pack.self_test().tasks["cancer"].change == 0 for pack in together)
