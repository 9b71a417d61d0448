"""What a pack says of a text that it wrote."""

from fractions import Fraction

import pytest

from clinfit.evaluation.metrics.text.numbers import quantities
from clinfit.packs.texts import shown_number


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
