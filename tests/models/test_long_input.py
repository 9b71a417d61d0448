"""Records that are longer than a model reads, in rounds: all of a record is read, and nothing else changes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clinfit.data.records import Record
from clinfit.models.base import WrittenText
from clinfit.models.causal import CausalModel
from clinfit.models.texts.long_input import MOST_ROUNDS, readings
from clinfit.study.models import Causal, Lora, Train
from clinfit.study.tasks import Sampling, task_from

TASK = "note"
LONG = " ".join(f"Sentence {k} tells of a tumour of {k} cm." for k in range(60))
RECORDS = [
    Record(f"r{k}", f"r{k}", {"text": text}) for k, text in enumerate(["No tumour.", LONG, "Fever.", LONG[:1500]])
]


def writer(base: Path, max_length: int = 96, **task: Any) -> CausalModel:
    asked = task_from(
        {"kind": "generation", "max_new_tokens": 6, "long_input": "map-reduce", "prompt": "Shorten: {{ text }}"}
        | {"data": {"path": "unused.csv", "inputs": {"text": "text"}}}
        | task
    )
    settings = Train(max_length=max_length, precision="fp32", epochs=1)
    return CausalModel(
        Causal(name="m", family="causal", base=str(base), lora=Lora(rank=2), train=settings), {TASK: asked}, 7
    )


@pytest.fixture(scope="module")
def made(tiny_base: Path) -> CausalModel:
    return writer(tiny_base)


def test_all_of_a_long_record_is_read(made: CausalModel) -> None:
    found = made.generate(TASK, RECORDS, 6)
    assert found.pieces is not None and found.rounds is not None and found.dropped_tokens is not None
    assert found.pieces[[0, 2]].tolist() == found.rounds[[0, 2]].tolist() == [0, 0]
    assert (found.pieces[[1, 3]] > 5).all() and (found.rounds[[1, 3]] >= 1).all()
    assert not found.dropped_tokens.any() and found.prompt_tokens is not None
    assert found.cut_pieces is not None and not found.cut_pieces[[0, 2]].any()
    assert (found.cut_pieces <= found.pieces).all() and found.cut_pieces[1] > 0, "six tokens are few"
    words = len(LONG.split())
    assert found.prompt_tokens[1] > words, "the prompts of all pieces count"


def test_the_last_prompt_holds_what_was_written_to_the_pieces(made: CausalModel) -> None:
    """By hand: the texts to the pieces, joined, are asked as a record of their own."""
    renderer = made.opened(TASK).renderers[TASK]
    record = RECORDS[3]
    for _ in range(MOST_ROUNDS):
        if not renderer.encode(record).dropped:
            break
        name, found = renderer.divided(record)
        parts = [Record(f"p{k}", "p", dict(inputs)) for k, inputs in enumerate(found)]
        written = [text.strip() for text in made.generate(TASK, parts, 6).texts]
        record = replace(record, inputs={name: "\n".join(text for text in written if text)})
    assert made.generate(TASK, RECORDS, 6).texts[3] == made.generate(TASK, [record], 6).texts[0]


def test_a_second_long_text_is_read_in_pieces_too(tiny_base: Path) -> None:
    data = {"path": "unused.csv", "inputs": {"text": "text", "history": "history"}}
    made = writer(tiny_base, max_length=128, prompt="Shorten: {{ text }} {{ history }}", data=data)
    record = Record("r", "r", {"text": LONG, "history": LONG[:2000].replace("tumour", "fever")})
    name, found = made.opened(TASK).renderers[TASK].divided(record)
    assert name == "text" and " ".join(str(inputs["text"]) for inputs in found).split() == LONG.split()
    assert 20 < len(found) < 80, "half of the room is its own"
    assert {str(inputs["history"])[:8] for inputs in found} == {"Sentence"}
    told = made.generate(TASK, [record], 6)
    assert told.rounds is not None and told.dropped_tokens is not None
    assert told.rounds[0] >= 2 and told.dropped_tokens[0] == 0


def test_where_nothing_is_written_to_the_pieces_the_record_is_shortened(tiny_base: Path) -> None:
    made = writer(tiny_base)
    renderer = made.opened(TASK).renderers[TASK]
    ((one,),) = [group for group in readings(made.tasks[TASK], [RECORDS[1]], [renderer.encode(RECORDS[1])]) if group]
    for k, (_, read) in enumerate(one.prompts(renderer)):
        assert one.take(k, " ", "stop", 1, 0.0, read) is None
    one.put_together(renderer)
    ((key, read),) = one.prompts(renderer)
    assert key == "r1" and read == renderer.encode(RECORDS[1]) and read.dropped > 0


def test_a_record_is_written_alike_whatever_stands_beside_it(made: CausalModel) -> None:
    together = made.generate(TASK, RECORDS, 6).texts
    assert [made.generate(TASK, [record], 6).texts[0] for record in RECORDS] == together


def test_a_record_is_drawn_alike_whatever_stands_beside_it(made: CausalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    greedy = made.generate(TASK, RECORDS, 6).texts
    drawing = made.tasks[TASK].model_copy(update={"sampling": Sampling(temperature=1.5)})
    monkeypatch.setattr(made, "tasks", {TASK: drawing})
    drawn = made.generate(TASK, RECORDS, 6).texts
    assert drawn != greedy and drawn[::-1] == made.generate(TASK, RECORDS[::-1], 6).texts


def test_each_record_is_told_as_soon_as_it_is_written(made: CausalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long records go some at a time, so that a kill loses the pieces of these alone."""
    monkeypatch.setattr("clinfit.models.texts.long_input.TOGETHER", 1)
    told: list[tuple[int, WrittenText]] = []
    made.generate(TASK, RECORDS, 6, done=lambda index, text: told.append((index, text)))
    assert sorted(index for index, _ in told[:2]) == [0, 2] and [index for index, _ in told[2:]] == [1, 3]


def test_texts_are_heard_while_they_are_written(made: CausalModel) -> None:
    """Of a record in pieces nothing is told before its last round, but asked whether it is still wanted."""
    heard: dict[int, list[str]] = {0: [], 1: [], 2: [], 3: []}
    texts = made.generate(TASK, RECORDS, 40, heard=lambda index, text: heard[index].append(text) is None).texts
    assert texts == made.generate(TASK, RECORDS, 40).texts
    for index, text in enumerate(texts):
        assert all(text.startswith(beginning) for beginning in heard[index])
        assert len({*heard[index]}) > 3
    assert heard[1].count("") > 40


def test_what_is_not_wanted_ends_and_leaves_its_neighbours(made: CausalModel) -> None:
    whole = made.generate(TASK, RECORDS, 40)
    found = made.generate(TASK, RECORDS, 40, heard=lambda index, text: index not in (1, 2))
    assert found.texts[0] == whole.texts[0] and found.texts[3] == whole.texts[3]
    assert found.tokens[1] == found.tokens[2] == 1


def test_what_rounds_cannot_shorten_is_shortened_and_counted(tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clinfit.models.texts.long_input.MOST_ROUNDS", 1)
    made = writer(tiny_base, max_length=64, max_new_tokens=24)
    found = made.generate(TASK, [RECORDS[1]], 24)
    assert found.rounds is not None and found.dropped_tokens is not None and found.rounds[0] == 1
    assert len(found.texts) == 1


def test_without_it_a_long_record_is_shortened_as_ever(tiny_base: Path) -> None:
    found = writer(tiny_base, long_input="shorten").generate(TASK, RECORDS, 6)
    assert found.pieces is None and found.rounds is None
    assert found.dropped_tokens is not None and found.dropped_tokens[1] > 0


def test_likelihood_and_training_shorten_all_the_same(made: CausalModel) -> None:
    renderer = made.opened(TASK).renderers[TASK]
    encoded = renderer.encode(replace(RECORDS[1], target="A tumour of 3 cm, with a reference as long as it likes."))
    assert encoded.dropped > 0 and renderer.tokenizer.decode(encoded.answer_ids).startswith("A tumour of 3 cm")
    assert len(encoded.prompt_ids) <= 96
