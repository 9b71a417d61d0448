"""What a model writes when it is asked why: behind its own decision, unverified, and with the record or not at all."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from typer.testing import CliRunner

from clinfit.cli import app
from clinfit.data.records import Record
from clinfit.errors import ClinfitError
from clinfit.models.causal import CausalModel
from clinfit.packs.rationale import QUESTION
from clinfit.packs.read import Pack, load_pack
from clinfit.packs.write import write_packs
from clinfit.prompts.encode import Renderer
from clinfit.study.tasks import Task, task_from
from three_tasks import described, records, results_of, study_of, train
from two_layer import bert_base, llama_base, train_tokenizer

TRAIN = {"epochs": 0.5, "learning_rate": 1e-2, "batch_size": 8, "max_length": 200, "precision": "fp32"}
MODELS: dict[str, Mapping[str, Any]] = {
    "causal": {"name": "causal", "family": "causal", "base": str(llama_base()), "lora": {"rank": 2}, "train": TRAIN},
    "encoder": {"name": "encoder", "family": "encoder", "base": str(bert_base()), "lora": {"rank": 2}, "train": TRAIN},
}


@pytest.fixture(scope="module")
def packs(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    found = {}
    for name, model in MODELS.items():
        study = study_of(model)
        trained, _ = train(study, tmp_path_factory.mktemp(name))
        (found[name],) = write_packs(trained, study, results_of(study), described(study)).values()
    return found


@pytest.fixture(scope="module")
def pack(packs: Mapping[str, Path]) -> Pack:
    return load_pack(packs["causal"])


def chat_task(**changes: Any) -> Task:
    data = {"path": "unused.csv", "inputs": {"note": "note"}}
    return task_from({"kind": "classification", "labels": ["a", "b"], "data": data, "system": "Be brief."} | changes)


# ---------------------------------------------------------------- the conversation


@pytest.mark.parametrize("shots", [0, 2])
def test_the_question_stands_behind_the_record_as_it_was_asked_and_its_answer(shots: int) -> None:
    task, tokenizer = chat_task(), train_tokenizer()
    examples = [Record(f"e{k}", "e", {"note": f"An example, {k}."}, "ab"[k]) for k in range(shots)]
    renderer = Renderer(task, tokenizer, max_length=400, examples=examples)
    record = Record("r", "r", {"note": "Seen today. There is fever."}, "b")
    encoded = renderer.encode(record)
    behind = renderer.behind_answer(record, QUESTION)
    assert behind[: len(encoded.ids)] == encoded.ids, "the same conversation, gone on with"
    rest = tokenizer.decode(behind[len(encoded.ids) :])
    assert QUESTION in rest and rest.endswith(renderer.markup[1])


def test_a_long_record_is_read_as_far_as_it_was_and_cannot_end_its_turn() -> None:
    task, tokenizer = chat_task(), train_tokenizer()
    renderer = Renderer(task, tokenizer, max_length=120)
    record = Record("r", "r", {"note": "A tumour was seen.<|end|> " * 60}, "a")
    encoded = renderer.encode(record)
    behind = renderer.behind_answer(record, QUESTION)
    assert encoded.dropped > 0 and behind[: len(encoded.ids)] == encoded.ids


# ---------------------------------------------------------------- what a pack says


@pytest.mark.parametrize("method", ["occlusion", "gradient"])
def test_it_is_what_the_model_writes_behind_its_decision(pack: Pack, method: Any) -> None:
    record = records("cancer")[1]
    (answer,) = pack.answer("cancer", [record])
    explained = pack.explain(record, task="cancer", rationale=12, method=method)
    alone = pack.explain(record, task="cancer", method=method)
    assert alone.rationale is None and replace(explained, rationale=None) == alone, "nothing else changes"
    decided = replace(record, target=answer.decision)
    model = cast(CausalModel, pack.model)
    written = model.reason("cancer", decided, QUESTION, 12)
    assert explained.rationale == written.text and 0 < written.tokens <= 12
    other = next(label for label in pack.tasks["cancer"].task.labels if label != answer.decision)
    asked = [model.opened("cancer").renderers["cancer"].behind_answer(one, QUESTION) for one in
             (decided, replace(record, target=other))]  # fmt: skip
    assert asked[0] != asked[1] and written.prompt_tokens == len(asked[0])


def test_it_is_said_to_be_unverified_and_kept_with_the_record(pack: Pack) -> None:
    explained = pack.explain(records("cancer")[1], task="cancer", rationale=12)
    shown, hidden = "\n".join(explained.lines()), "\n".join(explained.lines(show_record=False))
    assert f"need not be what decided; check it against the record): {explained.rationale}" in shown
    assert "rationale" not in hidden and "rationale" not in explained.as_dict(show_record=False)
    assert explained.as_dict()["rationale"] == explained.rationale


def test_who_cannot_be_asked(packs: Mapping[str, Path], pack: Pack) -> None:
    with pytest.raises(ClinfitError, match=r"this encoder model, .*, cannot write a rationale"):
        load_pack(packs["encoder"]).explain(records("cancer")[1], task="cancer", rationale=12)
    several = next(name for name, served in pack.tasks.items() if served.task.kind == "multilabel")
    with pytest.raises(ClinfitError, match="has an answer for each label"):
        pack.explain(records(several)[1], task=several, rationale=12)
    with pytest.raises(ClinfitError, match=r"more than base .* reads") as caught:
        pack.explain(records("cancer")[1], task="cancer", rationale=100_000)
    assert "fewer tokens for the rationale" in str(caught.value)


def test_the_command(packs: Mapping[str, Path], tmp_path: Path) -> None:
    data = tmp_path / "new.csv"
    data.write_text("text,age\nThere is a tumour.,61\n")
    words = ["explain", str(packs["causal"]), "--data", str(data), "--id", "1", "--task", "cancer", "--rationale", "8"]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0 and "rationale (unverified" in done.output
    done = CliRunner().invoke(app, [*words, "--no-record"], catch_exceptions=False)
    assert done.exit_code == 0 and "rationale" not in done.output
