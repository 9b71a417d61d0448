"""A long text in pieces: nothing is lost, every piece fits, and cuts are at sentence ends."""

from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinfit.data.records import Record
from clinfit.models.bases.pretrained import load_tokenizer
from clinfit.prompts.encode import Renderer
from clinfit.prompts.pieces import pieces
from clinfit.study.tasks import task_from
from two_layer import train_tokenizer

SENTENCES = [f"Sentence number {k} says that {k} patients took 2.5 mg a day." for k in range(300)]


def words(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize("room", [80, 200, 1000])
@pytest.mark.parametrize("base", ["spaces apart", "clinfit/tiny"])
def test_pieces_end_with_sentences_and_are_even(tokenizer: Any, base: str, room: int) -> None:
    """The tokens of clinfit/tiny begin with the space before their word, the others behind it."""
    tokenizer = load_tokenizer(base) if base == "clinfit/tiny" else tokenizer
    found = pieces(tokenizer, " ".join(SENTENCES), room)
    sizes = [len(tokenizer(piece, add_special_tokens=False)["input_ids"]) for piece in found]
    assert words("".join(found)) == words("".join(SENTENCES)) and max(sizes) <= room + 1
    assert all(piece.endswith("day.") and piece.startswith("Sentence") for piece in found)
    assert min(sizes[:-1]) > 0.4 * max(sizes)


known = cache(train_tokenizer)


@settings(deadline=None, max_examples=50)
@given(text=st.text(alphabet="ab .!?\n\té😀", max_size=300), room=st.integers(1, 40))
def test_no_text_is_lost(text: str, room: int) -> None:
    found = pieces(known(), text, room)
    assert words("".join(found)) == words(text) and all(found)


def test_a_long_record_is_divided_so_that_all_of_it_fits(tokenizer: Any) -> None:
    """An article of 4,000 words, of which the title stands in every piece."""
    task = task_from(
        {
            "kind": "generation", "max_new_tokens": 8, "prompt": "{{ title }}: {{ article }} Shorten.",
            "data": {"path": "unused.csv", "inputs": {"title": "title", "article": "article"}},
        }
    )  # fmt: skip
    article = " ".join(SENTENCES)[:24_000]
    for max_length in (64, 256, 1024):
        renderer = Renderer(task, tokenizer, max_length=max_length)
        name, found = renderer.divided(Record("a", "a", {"title": "A trial", "article": article}))
        assert name == "article" and words("".join(str(inputs[name]) for inputs in found)) == words(article)
        parts = [Record("a", "a", dict(inputs)) for inputs in found]
        assert not any(encoded.dropped for encoded in renderer.encode_all(parts))
        assert all("A trial" in tokenizer.decode(encoded.prompt_ids) for encoded in renderer.encode_all(parts))
