"""Numbers, doses and units: how they are read, and when one is found again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinfit.evaluation.metrics.text.numbers import number_precision, number_recall, quantities, unsupported_numbers


def same(one: str, other: str) -> bool:
    return {(q.value, q.unit) for q in quantities(one)} == {(q.value, q.unit) for q in quantities(other)}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("500 mg", "0.5 g"),
        ("500mg", "500 milligrams"),
        ("1000 mcg", "1 mg"),
        ("100 µg", "100 ug"),
        ("24 hours", "1 day"),
        ("2 weeks", "14 days"),
        ("a 2-year-old", "24 months"),
        ("5 mg/dL", "50 mg/L"),
        ("9 mg/100 ml", "9 mg/dl"),
        ("3 cc", "3 ml"),
        ("1,000", "1000"),
        ("0,5 mg", "0.5 mg"),
        ("1.000,5", "1000.5"),
        (".5 mg", "0.5 mg"),
        ("5-10 mg", "5 mg to 10 mg"),
        ("3 x 4 cm", "3 cm and 4 cm"),
        ("7 percent", "7 %"),
        ("7 per cent", "7 %"),
        ("7 percentage points", "7 %"),
        ("twenty-six years", "26 years"),
        ("one hundred and fifty two", "152"),
        ("two thousand three hundred", "2300"),
        ("one week", "7 days"),
        ("100 mg/day", "100 mg daily"),
        ("01/02/09", "1/2/09"),
        ("1. Asthma. 2. Gout.", "Asthma and gout."),
    ],
)
def test_one_quantity_written_twice(one: str, other: str) -> None:
    assert same(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("0.9", "9.0"), ("5 mg", "5 g"), ("5 mg", "5 mcg"), ("5 mg", "5 ml"), ("5 %", "5"), ("-5", "5"),
        ("5 days", "5 weeks"), ("01/02/09", "01/03/09"), ("mg/dl 5 mg/dl", "5 mg/l"), ("1,000", "1.0"),
    ],
)  # fmt: skip
def test_two_quantities(one: str, other: str) -> None:
    assert not same(one, other)


@pytest.mark.parametrize("text", ["vitamin B12", "COVID-19", "IL-6 and HbA1c", "no one", "the 1990s are not", ""])
def test_names_are_no_numbers(text: str) -> None:
    assert quantities(text) == frozenset()


def test_precision_and_recall() -> None:
    source = "Metoprolol 50 mg for 3 days, pulse 90."
    assert number_precision("metoprolol 50 mg, pulse 90", source) == 1.0
    assert number_precision("metoprolol 0.05 g", source) == 1.0
    assert number_precision("metoprolol 50 g", source) == 0.0
    assert number_precision("90 beats, 5 days", source) == 0.5
    assert number_precision("50", source) == 1.0  # written without its unit
    assert number_precision("90 mg", source) == 1.0  # the source gives 90 without a unit
    assert number_precision("no numbers", source) is None
    assert unsupported_numbers("90 and 91 and 92", source) == 2.0
    assert number_recall("50 mg", ["50 mg for 3 days", "none"]) == 0.5
    assert number_recall("50 mg", ["none"]) is None


@given(st.text(alphabet="0123456789.,-/% mgd\u00b5x", max_size=40), st.text(max_size=20))
def test_a_text_holds_its_own_numbers(text: str, other: str) -> None:
    assert number_precision(text, text) in {None, 1.0}
    assert number_precision(text, text + " ; " + other) is None or unsupported_numbers(text, text) == 0.0
