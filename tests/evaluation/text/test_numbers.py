"""Numbers, doses and units: how they are read, and when one is found again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinfit.evaluation.metrics.text.numbers import (
    UNITS,
    number_precision,
    number_recall,
    quantities,
    unsupported_numbers,
)


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
        ("½ tablet", "0.5 tablet"),
        ("1½ mg", "1.5 mg"),
        ("1 ½mg", "1.5 mg"),
        ("½-1 mg", "0.5 mg to 1 mg"),
        ("q8h", "every 8 hours"),
        ("q4-6h", "every 4 to 6 hours"),
        ("2x/day", "2 times a day"),
        ("x2", "2 times"),
        ("5×10⁹", "5 and 1000000000"),
        ("10⁻³", "0.001"),
        ("10^9/L and 10^-3", "1000000000/L and 0.001"),
        ("5e3 cells", "5000 cells"),
        ("2.5E-2", "0.025"),
        ("WBC 5k, platelets 150K/µl", "WBC 5000, platelets 150000/µl"),
        ("7.5k", "7500"),
        ("4.5x10^9/L", "4.5 x 10^9/L"),
        ("4.5*10⁹/L", "4.5 and 1000000000/L"),
        ("150 10*9/L", "150 and 1000000000/L"),
        ("150 10*9 / L", "150 and 1000000000 / L"),
        ("150 x10E9/L, 150x10E9/L and 150 10E9/L", "150 and 1000000000/L"),
        ("4.5X10^12/L", "4.5 and 1000000000000/L"),
        ("10E9 cells", "10000000000 cells"),
        ("WBC 7.5 K/uL", "WBC 7500/uL"),
        ("5 K", "5"),
        ("2*10", "2 and 10"),
        ("5-10k, 2 to 3 million", "5000 and 10000, 2 million and 3 million"),
        ("4 and 5k", "4 and 5000"),
        ("800-1k ml", "800 ml to 1000 ml"),
        ("150,000-450k", "150000 to 450000"),
        ("from 100 to 1 million", "100 and 1000000"),
        ("5 mg to 10k", "5 mg and 10000"),
        ("5kg", "5 kg"),
        ("5 LİTRE", "5 litres"),
        ("80 KİLO", "80 kg"),
        ("5 million units", "5,000,000 units"),
        ("2.5 billion cells", "2500000000 cells"),
        ("T38.5", "38.5"),
        ("5 mın", "5 min"),
        ("140/90 mm Hg", "140/90 mmHg"),
        ("5x7 cm", "5 cm by 7 cm"),
        ("1.5x2.0X3.1cm", "1.5 x 2.0 x 3.1 cm"),
        ("2x10 cm", "2 cm and 10 cm"),
        ("104.9F, 38.5C", "104.9 °F, 38.5 °C"),
        ("40U", "40 units"),
        ("67yo, 44y/o", "67 years, 44 years"),
        ("67M and 45F", "67 and 45"),
        ("x3days", "for 3 days"),
        ("10:30am", "10:30 am"),
        ("12K", "12 thousand"),
        ("98%RA", "98"),
    ],
)
def test_one_quantity_written_twice(one: str, other: str) -> None:
    assert same(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("0.9", "9.0"), ("5 mg", "5 g"), ("5 mg", "5 mcg"), ("5 mg", "5 ml"), ("5 %", "5"), ("-5", "5"),
        ("5 days", "5 weeks"), ("01/02/09", "01/03/09"), ("mg/dl 5 mg/dl", "5 mg/l"), ("1,000", "1.0"),
        ("½ tablet", "2 tablets"), ("1½ mg", "1 mg"), ("q8h", "q6h"), ("2x/day", "3x/day"), ("x2", "x3"),
        ("10⁹", "10⁶"), ("5 million", "5"), ("90 mm", "90 mm Hg"), ("104.9F", "98.6F"), ("5x7 cm", "2x3 cm"),
        ("40U", "10U"), ("5 cm x 7 mm", "5x7 mm"),
    ],
)  # fmt: skip
def test_two_quantities(one: str, other: str) -> None:
    assert not same(one, other)


@pytest.mark.parametrize(
    "text",
    [
        "vitamin B12",
        "COVID-19",
        "T12 and T4",
        "IL-6 and HbA1c",
        "no one",
        "the 1990s are not",
        "Q10",
        "17q21",
        "",
        "2D echo",
        "3D CT",
        "18F-FDG",
        "3T MRI",
        "1.5T",
        "5HIAA",
    ],
)
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


def test_an_invented_number_with_letters_at_it_does_not_pass() -> None:
    source = "Temp 98.6F, BP 120/80 mmHg, a 2x3 cm mass, insulin 10U, 67M."
    assert unsupported_numbers("Temperature 98.6 °F, 120/80 mm Hg, 2 x 3 cm, 10 units, 67-year-old", source) == 0.0
    assert unsupported_numbers("104.9F, 120/90 mmHg, 5x7 cm, 40U, 76M", source) == 6.0


DATES = [
    "04/15/2005", "15/04/2005", "4/15/05", "15.4.05", "2005-04-15", "April 15, 2005", "Apr. 15th 2005", "15 APRIL 2005",
    "the 15th of April 2005", "April fifteenth, two thousand five", "fifteenth of April in two thousand and five",
    "April fifteen of twenty oh five", "15-Apr-2005", "15Apr2005", "15-APR-05", "april 15, 2005", "15 april 2005",
    "April 15,2005", "APRIL 15TH, 2005",
]  # fmt: skip


@pytest.mark.parametrize("one", DATES)
@pytest.mark.parametrize("other", DATES)
def test_a_date_is_the_same_in_every_notation(one: str, other: str) -> None:
    assert unsupported_numbers(f"Seen on {one}.", f"It was {other}, he says.") == 0.0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("04/15/2005", "April 16, 2005"), ("04/15/2005", "May 15, 2005"), ("04/15/2005", "April 15, 2006"),
        ("04/05/2005", "05/04/2005"), ("July 29, 1993", "7/29/94"), ("July twenty ninth", "July twenty eighth"),
        ("April 15, 1905", "April 15, 2005"), ("10-20-30", "10-20-31"), ("April 15", "4/16"), ("April 15", "5/15"),
        ("15-Apr-2005", "15-May-2005"), ("05/01/2020-05/03/2020", "05/01/2020-05/04/2020"),
    ],
)  # fmt: skip
def test_two_dates(one: str, other: str) -> None:
    assert unsupported_numbers(one, other) == unsupported_numbers(other, one) == 1.0


@pytest.mark.parametrize(
    ("part", "whole"),
    [
        ("April 15", "04/15/2005"), ("4/15/05", "on April fifteenth"), ("the 15th", "April 15, 2005"),
        ("in 2005", "4/15/05"), ("4/15", "fifteenth of April"), ("5/4/2005", "April 5, 2005"),
        ("4/5/2005", "April 5, 2005"), ("April 15", "4/15"), ("April fifteenth", "april 15"),
        ("the 15th of April", "15-Apr-2005"), ("May 3", "may 3rd"), ("Oct 1 to Oct 3", "Oct 1-3"),
        ("Oct 1-3", "October 1 through 3"), ("1-3 October", "from Oct. 1st to Oct. 3rd"), ("May 5", "May 3-5"),
        ("05/01/2020 to 05/03/2020", "05/01/2020-05/03/2020"), ("May 3, 2020", "05/01/2020-05/03/2020"),
    ],
)  # fmt: skip
def test_a_part_of_a_date_is_found_in_it(part: str, whole: str) -> None:
    assert unsupported_numbers(part, whole) == 0.0


def test_a_month_before_a_year_in_words_is_no_day() -> None:
    assert same("in January two thousand and eight", "in January 2008")
    assert unsupported_numbers("In January 2008.", "It was January two thousand and eight.") == 0.0
    assert all(quantity.date is None for quantity in quantities("October nineteen ninety two, April twenty ten"))
    assert same("April twenty two thousand five", "April 20, 2005")


@pytest.mark.parametrize(
    "text",
    [
        "She may 5 mg take.", "March 45 steps", "may one ask", "April 5.5 mg", "May 5 %", "In March 20 mg lisinopril",
        "In April 12 weeks later", "TAKE 2 MAY REPEAT", "The 3 May be", "she may 5 times", "may first be seen",
    ],
)  # fmt: skip
def test_months_that_are_words_make_no_date(text: str) -> None:
    assert all(quantity.date is None for quantity in quantities(text))


def test_a_number_beside_a_date_keeps_its_sign_and_its_unit() -> None:
    assert unsupported_numbers("May 3-5", "May 3 and May 5") == 0.0
    assert unsupported_numbers("20 mg", "In March 20 mg lisinopril") == 0.0
    assert unsupported_numbers("15.2005", "December 15,2005") == 1.0
    assert unsupported_numbers("on 3 May and on 4 MAY", "3/5 and 4/5") == 0.0


def test_a_ratio_takes_no_unit_of_what_follows() -> None:
    assert unsupported_numbers("120/80 mg", "120/80 and 10 mg") == 0.0  # bare in the source
    assert {(quantity.written, quantity.unit) for quantity in quantities("120/80 and 10 mg")} == {
        (120, ""), (80, ""), (10, "g"),
    }  # fmt: skip
    assert same("5 or 10 mg", "5 mg or 10 mg")


def test_digits_of_which_none_is_read_have_no_number() -> None:
    assert unsupported_numbers("B12 and COVID-19", "5000") is None
    assert unsupported_numbers("T38.5", "T36.5") == 1.0
    assert unsupported_numbers("1. Asthma. 2. Gout.", "gout") == 0.0
    assert unsupported_numbers("no digits", "5 mg") == 0.0


@pytest.mark.parametrize(("letter", "other"), [("i", "\u0130"), ("i", "\u0131"), ("s", "\u017f"), ("k", "\u212a")])
def test_a_unit_in_letters_that_match_it_is_read(letter: str, other: str) -> None:
    """Turkish letters, the long s and the sign of kelvin match letters of a-z where case does not count."""
    for unit in UNITS:
        assert same(f"5 {unit.replace(letter, other)}", f"5 {unit}")


@pytest.mark.parametrize("digits", [309, 5000])
def test_a_long_number_is_read(digits: int) -> None:
    assert unsupported_numbers("1" * digits, "5") == 1.0


@given(st.text(alphabet="0123456789.,-/% mgdqh\u00b5x\u00bd\u00d7\u2079\u207b", max_size=40), st.text(max_size=20))
def test_a_text_holds_its_own_numbers(text: str, other: str) -> None:
    assert number_precision(text, text) in {None, 1.0}
    assert number_precision(text, text + " ; " + other) is None or unsupported_numbers(text, text) == 0.0
