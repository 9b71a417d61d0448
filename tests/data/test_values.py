import datetime
import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinfit.data.values import (
    NUMBER,
    as_category,
    as_comma_number,
    as_number,
    as_paragraphs,
    as_text,
    cells_of,
    is_missing,
    plain_text,
    shown_ids,
)


@pytest.mark.parametrize(
    "cell", [None, "", "  ", "NA", "n/a", "NaN", " nan ", "?", "null", math.nan, np.nan, pd.NA, pd.NaT]
)
def test_missing_markers(cell: object) -> None:
    assert is_missing(cell)
    assert as_text(cell) is None
    assert as_number(cell) is None


@pytest.mark.parametrize("cell", ["none", "0", 0, False, "-", ".", [], {}, "Nancy"])
def test_what_is_not_missing(cell: object) -> None:
    assert not is_missing(cell)


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (1, "1"),
        (1.0, "1"),
        (np.int64(1), "1"),
        (np.float32(1), "1"),
        (" a b ", "a b"),
        (0.5, "0.5"),
        (True, "true"),
        (np.True_, "true"),
        ("TRUE", "true"),
        ("False", "false"),
        ("1.0", "1"),
        ("+1", "1"),
        ("-0", "0"),
        (-0.0, "0"),
        ("12345678901234567.0", "12345678901234567"),
        ("2.50", "2.5"),
        ("2.5e+0", "2.5"),
        ("1e+16", "10000000000000000"),
        (1e16, "10000000000000000"),
        (".5", "0.5"),
        (np.float32(0.1), "0.1"),
        (0.1 + 0.2, "0.3"),
        (Decimal("1.50"), "1.5"),
        ("1E30", "1E30"),
        ("1.2.3", "1.2.3"),
        ("0389", "0389"),
        ("2026-01-05 00:00:00", "2026-01-05"),
        (pd.Timestamp("2026-01-05"), "2026-01-05"),
        (datetime.date(2026, 1, 5), "2026-01-05"),
        (pd.Timestamp("2026-01-05 10:30"), "2026-01-05 10:30:00"),
        ("a\r\nb", "a\nb"),
        ("ma\u0308nnlich", "m\xe4nnlich"),
        (12345678901234567890, "12345678901234567890"),
        (math.inf, "inf"),
        ("007", "007"),
    ],
)
def test_text(cell: object, text: str) -> None:
    assert as_text(cell) == text


@pytest.mark.parametrize("cell", [["a"], {"a": 1}, np.array([1, 2]), b"bytes"])
def test_nested_cells_have_no_text(cell: object) -> None:
    with pytest.raises(TypeError):
        as_text(cell)


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        ("5", 5),
        (" 5.5 ", 5.5),
        (True, 1),
        ("FALSE", 0),
        (np.int32(3), 3),
        (Decimal("1.5"), 1.5),
        (np.float32(0.1), 0.1),
        (0.1 + 0.2, 0.3),
    ],
)
def test_numbers(cell: object, number: float) -> None:
    assert as_number(cell) == number


@pytest.mark.parametrize("cell", ["<5", "5,3", "inf", math.inf, "5 mg", "12_5", 10**400, Decimal("1e400")])
def test_what_is_no_number(cell: object) -> None:
    with pytest.raises(ValueError):
        as_number(cell)


def test_a_decimal_comma() -> None:
    assert [as_comma_number(cell) for cell in ("5,5", " -0,25", "7", "5.5", 2.5, "")] == [5.5, -0.25, 7, 5.5, 2.5, None]
    for cell in ("1.234", "1,2,3", "1.234,5"):  # a thousand, or one
        with pytest.raises(ValueError):
            as_comma_number(cell)


WIDTHS = ["float16", "float32", "Float32", "halffloat[pyarrow]", "float32[pyarrow]", "float64", "object"]


@pytest.mark.parametrize("dtype", WIDTHS)
def test_a_column_of_fewer_bits_means_its_shortest_decimals(dtype: str) -> None:
    cells = cells_of(pd.Series([0.1, None, 2.5], dtype=dtype))
    assert [as_text(cell) for cell in cells] == ["0.1", None, "2.5"]


def test_paragraphs_are_one_text() -> None:
    assert as_paragraphs(["one ", "", "two"]) == "one\ntwo" and as_paragraphs(np.array(["a"], dtype=object)) == "a"
    assert as_paragraphs([]) is None and as_paragraphs("a") == "a"
    for cell in ([1, 2], {"a": "b"}):
        with pytest.raises(TypeError):
            as_paragraphs(cell)


@pytest.mark.parametrize("form", [as_text, as_category, as_paragraphs])
def test_half_characters_are_replaced_where_texts_are_read(form: Callable[[Any], str | None]) -> None:
    assert form("cut \ud83d") == "cut \ufffd" and form("\ud83d\ude00 whole") == "\U0001f600 whole"
    assert as_paragraphs(["a \ude00", "b"]) == "a \ufffd\nb"


@pytest.mark.parametrize("cell", ["  typical \t angina ", "typical\u00a0angina", "typical\nangina"])
def test_spaces_in_a_category_are_one(cell: str) -> None:
    assert as_category(cell) == "typical angina"


@given(
    st.one_of(st.text(max_size=12), st.from_regex(NUMBER, fullmatch=True), st.floats(), st.integers(), st.booleans())
)
def test_a_value_in_its_form_stays_as_it_is(cell: object) -> None:
    for form in (as_text, as_category, plain_text):
        once = form(cell)
        assert form(once) == once


def test_shown_ids_are_few() -> None:
    assert shown_ids(["a"]) == "record a"
    assert shown_ids(list("abcdefg")) == "records a, b, c, d, e and 2 more"
