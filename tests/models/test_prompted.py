"""Few-shot prompting: examples are of training, balanced, the same with the same seed, and never dropped."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from clinfit.data.records import Record, label_counts
from clinfit.errors import ClinfitError
from clinfit.models.base import Workspace
from clinfit.models.examples import FILE, drawn_examples
from clinfit.models.families import create_model, load_model
from clinfit.prompts.encode import Renderer
from clinfit.study.models import Causal, Train
from kinds import THREE, TWO, dataset
from lessons import TASK, lesson
from two_layer import llama_base

DATA = dataset("text", TASK)
TRAIN = DATA.part("train")


def spec(**more: Any) -> Causal:
    train = Train(max_length=500, precision="fp32")
    return Causal(
        **{"name": "m", "family": "causal", "base": str(llama_base()), "method": "prompt", "train": train, **more}
    )


def ids(records: list[Record]) -> list[str]:
    return [record.id for record in records]


# ---------------------------------------------------------------- examples


@pytest.mark.parametrize("shots", range(6))
def test_labels_differ_by_one_example_at_most(shots: int) -> None:
    case = dataset("three", TASK)
    found = drawn_examples(case.part("train"), THREE, shots, TASK, 1)
    counts = label_counts(THREE, found).values()
    assert len(found) == len(set(ids(found))) == shots and max(counts) - min(counts) <= 1


def test_the_seed_decides_which_and_in_which_order() -> None:
    draws = [ids(drawn_examples(TRAIN, TWO, 4, TASK, seed)) for seed in (1, 1, 2, 3)]
    assert draws[0] == draws[1] and len({tuple(draw) for draw in draws}) == 3


def test_the_order_of_labels_is_drawn_too() -> None:
    first = {str(drawn_examples(TRAIN, TWO, 4, TASK, seed)[0].target) for seed in range(12)}
    assert first == set(TWO)


def test_no_record_of_validation_or_test_can_be_an_example() -> None:
    for split in ("validation", "test"):
        with pytest.raises(ClinfitError, match="are not of training"):
            drawn_examples([*TRAIN, DATA.part(split)[0]], TWO, 2, TASK, 1)


def test_patients_give_one_example_each_where_there_are_others() -> None:
    grouped = [replace(record, group="p" if at % 2 else record.group) for at, record in enumerate(TRAIN)]
    for seed in range(8):
        found = drawn_examples(grouped, TWO, 4, TASK, seed)
        assert sum(record.group == "p" for record in found) <= 1


def test_more_shots_than_records_are_an_error_with_advice() -> None:
    with pytest.raises(ClinfitError) as raised:
        drawn_examples(TRAIN[:3], TWO, 4, TASK, 1)
    assert raised.value.fix == "shots: 2, 1 of each label"


def test_few_shots_are_advised_however_many_records_there_are() -> None:
    """All of the training split would be no examples, and fit into no prompt."""
    for labels, fix in ((TWO, "shots: 8, 4 of each label"), ([], "shots: 8")):
        with pytest.raises(ClinfitError, match=f"shots: 500, and task a has {len(TRAIN)}") as raised:
            drawn_examples(TRAIN, labels, 500, "a", 1)
        assert raised.value.fix == fix


# ---------------------------------------------------------------- the prompt


def test_examples_stand_before_the_question_with_their_answers(tokenizer: Any) -> None:
    bare = Renderer(DATA.task, tokenizer, max_length=900)
    shown = Renderer(DATA.task, tokenizer, max_length=900, examples=TRAIN[:2])
    record = DATA.part("test")[0]
    prompt = tokenizer.decode(shown.encode(record).prompt_ids)
    turns = [tokenizer.decode(bare.encode(one).ids).removeprefix("<|begin|>") for one in TRAIN[:2]]
    assert prompt.startswith("<|begin|>" + "\n".join(turns))
    assert prompt.endswith(tokenizer.decode(bare.encode(record).prompt_ids).removeprefix("<|begin|>"))
    assert shown.encode(record).branches == bare.encode(record).branches
    assert shown.fingerprint != bare.fingerprint


def test_a_system_text_stands_once_before_all(tokenizer: Any) -> None:
    task = DATA.task.model_copy(update={"system": "You are a physician."})
    prompt = Renderer(task, tokenizer, max_length=900, examples=TRAIN[:2]).prompt_text(TRAIN[3].inputs)
    assert prompt.startswith("<|begin|><|system|>\nYou are a physician.") and prompt.count("physician") == 1
    without = tokenizer.__class__.from_pretrained(str(llama_base()))
    without.chat_template = without.chat_template.replace("{% for m", "{% for m", 1).replace(
        "in messages %}", "in messages if m['role'] != 'system' %}"
    )
    prompt = Renderer(task, without, max_length=900, examples=TRAIN[:2]).prompt_text(TRAIN[3].inputs)
    assert prompt.startswith("<|begin|><|user|>\nYou are a physician.") and prompt.count("physician") == 1


def test_text_is_shortened_and_no_example_dropped(tokenizer: Any) -> None:
    """Each example keeps to its share of max_length, so that the record has its own share at least."""
    long = [
        replace(record, inputs={**record.inputs, "abstract": f"<|end|> {record.id} " * 300}) for record in TRAIN[:3]
    ]
    renderer = Renderer(DATA.task, tokenizer, max_length=800, examples=long)
    alone = Renderer(DATA.task, tokenizer, max_length=200)
    encoded = renderer.encode(long[0])
    prompt = tokenizer.decode(encoded.prompt_ids)
    assert prompt.count("<|assistant|>") == 4 and len(encoded.prompt_ids) <= 800
    assert encoded.dropped > 0
    own = len(encoded.prompt_ids) - len(tokenizer(renderer.markup[0], add_special_tokens=False)["input_ids"])
    assert own >= len(alone.encode(long[0]).prompt_ids) - 5


def test_examples_that_cannot_fit_are_an_error_with_advice(tokenizer: Any) -> None:
    with pytest.raises(ClinfitError, match=r"share of max_length: 50 of 250") as raised:
        Renderer(DATA.task, tokenizer, max_length=250, examples=TRAIN[:4])
    assert "fewer shots" in raised.value.fix


def test_options_are_answered_as_the_task_says(tokenizer: Any) -> None:
    case = dataset("options", TASK)
    example = case.part("train")[0]
    for answer in ("letters", "texts"):
        task = case.task.model_copy(update={"answer": answer})
        prompt = Renderer(task, tokenizer, max_length=900, examples=[example]).prompt_text(example.inputs)
        said = prompt.split("<|assistant|>\n")[1].split("<|end|>")[0]
        text = str(example.inputs[task.options[task.labels.index(str(example.target))]])
        assert said == (example.target if answer == "letters" else text)


# ---------------------------------------------------------------- the model


def test_examples_change_answers_and_none_are_zero_shot(tmp_path: Path) -> None:
    records = DATA.part("test")[:4]
    found = {}
    for shots in (0, 3):
        model = create_model(spec(shots=shots), {TASK: DATA.task}, 5)
        summary = model.fit(lesson(TRAIN), Workspace(tmp_path))
        assert summary.trainable_parameters == 0 and summary.details["tasks"][TASK]["records"] == shots
        model.save(tmp_path / str(shots))
        assert (tmp_path / str(shots) / FILE).exists() == (shots > 0)
        loaded = load_model("causal", tmp_path / str(shots))
        found[shots] = loaded.predict(TASK, records).probabilities
        np.testing.assert_array_equal(found[shots], model.predict(TASK, records).probabilities)
    plain = create_model(spec(method="lora"), {TASK: DATA.task}, 5)
    np.testing.assert_array_equal(plain.predict(TASK, records).probabilities, found[0])
    assert not np.array_equal(found[0], found[3])


def test_a_label_without_example_is_told(tmp_path: Path) -> None:
    model = create_model(spec(shots=1), {TASK: DATA.task}, 5)
    (alarm,) = model.fit(lesson(TRAIN), Workspace(tmp_path)).alarms
    assert alarm.startswith(f"no example of {TASK} has the label")


def test_what_trains_goes_without_prompting() -> None:
    for wrong in ({"method": "lora", "shots": 2}, {"sampling": "balanced"}, {"class_weights": "balanced"}):
        with pytest.raises(ValidationError):
            spec(**wrong)
    assert spec(shots=2).obstacle(dataset("several").task) and not spec().obstacle(dataset("several").task)
    assert spec(shots=2).repeats and not spec().repeats


# ---------------------------------------------------------------- read once


def test_examples_are_read_once_and_the_answers_are_those_of_whole_prompts(tmp_path: Path) -> None:
    model: Any = create_model(spec(shots=2), {TASK: DATA.task}, 7)
    model.fit(lesson(TRAIN), Workspace(tmp_path / "work"))
    asked, loaded = DATA.part("test")[:4], model.opened()
    kept = model.predict(TASK, asked).probabilities
    assert model.engine.endswith("with a prefix cache")
    read: list[int] = []
    counting = loaded.model.get_input_embeddings().register_forward_hook(lambda _, ids, __: read.append(ids[0].numel()))
    assert (model.predict(TASK, asked).probabilities == kept).all()
    counting.remove()
    longest = max(len(item.prompt_ids) for item in loaded.renderers[TASK].encode_all(asked))
    assert max(read) < 0.6 * longest
    loaded.keep(None)
    np.testing.assert_allclose(model.predict(TASK, asked).probabilities, kept, atol=1e-5)
    model.save(tmp_path / "saved")
    again: Any = load_model("causal", tmp_path / "saved")
    assert (again.predict(TASK, asked).probabilities == kept).all() and again.engine.endswith("with a prefix cache")
