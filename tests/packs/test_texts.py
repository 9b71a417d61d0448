"""What a pack says of a text that it wrote."""

from fractions import Fraction

import numpy as np
import pytest

from clinfit.evaluation.metrics.text.numbers import quantities
from clinfit.models.base import TextOutputs
from clinfit.packs.texts import notes_on_pieces, shown_number


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("0.5 mg", "0.5"),
        ("1\u00bd tablets", "1.5"),
        ("-3", "-3"),
        ("01/02/09", "1/2/9"),
        ("1234567890123456789", "1234567890123456789"),
        ("1" * 309, "1" * 30 + "... (309 digits)"),
        ("7" * 5000, "7" * 30 + "... (5000 digits)"),
        ("0." + "0" * 400 + "1", "0"),
    ],
)
def test_a_number_is_shown_however_long_it_is(text: str, shown: str) -> None:
    (quantity,) = quantities(text)
    assert isinstance(quantity.written, Fraction)
    assert shown_number(quantity) == shown


def test_a_record_that_was_read_in_pieces_says_how_many_were_cut_off() -> None:
    one = np.ones(3, dtype=np.int64)
    written = TextOutputs(["a"] * 3, ["stop"] * 3, one, one / 10, pieces=3 * one, rounds=one)
    assert notes_on_pieces(written, 0) == ["record: longer than the model reads, and read in 3 pieces, 1 round"]
    written = TextOutputs(["a"] * 3, ["stop"] * 3, one, one / 10, pieces=3 * one, rounds=2 * one, cut_pieces=one - 1)
    assert notes_on_pieces(written, 0) == ["record: longer than the model reads, and read in 3 pieces, 2 rounds"]
    written = TextOutputs(["a"] * 3, ["stop"] * 3, one, one / 10, pieces=3 * one, rounds=2 * one, cut_pieces=2 * one)
    assert notes_on_pieces(written, 0)[0].endswith("2 rounds; the texts to 2 of them were cut off")
