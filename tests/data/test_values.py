import math
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from clinfit.data.values import as_number, as_text, is_missing, shown_ids


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
        (True, "True"),
        (np.True_, "True"),
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
    ("cell", "number"), [("5", 5), (" 5.5 ", 5.5), (True, 1), (np.int32(3), 3), (Decimal("1.5"), 1.5)]
)
def test_numbers(cell: object, number: float) -> None:
    assert as_number(cell) == number


@pytest.mark.parametrize("cell", ["<5", "5,3", "inf", math.inf, "5 mg", "12_5", 10**400, Decimal("1e400")])
def test_what_is_no_number(cell: object) -> None:
    with pytest.raises(ValueError):
        as_number(cell)


def test_shown_ids_are_few() -> None:
    assert shown_ids(["a"]) == "record a"
    assert shown_ids(list("abcdefg")) == "records a, b, c, d, e and 2 more"
