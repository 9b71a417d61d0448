"""Numbers as people read them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinfit.evaluation.system_results import MetricDict
from clinfit.report.format import MINUS, decimal, duration, flatten, interval, metric_cell, p_value, signed, text_of

finite = st.floats(-1e6, 1e6, allow_nan=False)


def metric(value: float | None, **changes: object) -> MetricDict:
    known = {"low": None, "high": None, "method": None, "n": 9, "events": None, "status": "ok", "reason": None}
    return {"value": value, **known, **changes}  # type: ignore[return-value,typeddict-item]


@given(finite, st.integers(0, 6))
def test_decimal_is_the_rounded_number(value: float, digits: int) -> None:
    text = decimal(value, digits)
    assert math.isclose(float(text.replace(MINUS, "-")), round(value, digits), abs_tol=1e-9)
    assert not (text.startswith(MINUS) and float(text[1:]) == 0)


@given(finite)
def test_signed_says_the_direction_that_is_shown(value: float) -> None:
    text = signed(value)
    shown = float(text.replace(MINUS, "-"))
    assert text.startswith("+") == (shown > 0)
    assert text.startswith(MINUS) == (shown < 0)


@pytest.mark.parametrize(("p", "text"), [(1.0, "1.000"), (0.0312, "0.031"), (0.00099, "< 0.001"), (0.0, "< 0.001")])
def test_p_value(p: float, text: str) -> None:
    assert p_value(p) == text


def test_interval_takes_the_unit_of_its_value() -> None:
    assert interval(0.4491, 0.6941) == "[0.449, 0.694]"
    assert interval(-0.0491, 0.6941, percent=True) == f"[{MINUS}4.9, 69.4]"
    assert interval(None, 0.6) == ""


def test_metric_cell_keeps_the_full_value() -> None:
    cell = metric_cell(metric(0.123456789, low=0.1, high=0.2, method="Wilson", events=3), percent=True)
    assert cell.full == "0.123456789"
    assert cell.plain == "12.3\N{NARROW NO-BREAK SPACE}% [10.0, 20.0]"
    assert "Wilson" in cell.note and "n = 9" in cell.note and "events = 3" in cell.note


def test_metric_cell_without_a_number_says_why() -> None:
    assert metric_cell(metric(None, status="undefined", reason="no negatives")).plain == "not estimable (no negatives)"
    assert metric_cell(metric(None, status="withheld", reason="withheld: leak")).plain == "withheld leak"
    assert metric_cell(metric(0.5, status="unreliable", reason="few")).text == "0.500*"
    assert metric_cell(None).empty


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "< 0.01 ms"), (0.0123, "12.3 ms"), (61.2, "61.2 s"), (600, "10.0 min"), (9000, "2.5 h")]
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_flatten_and_text() -> None:
    rows = flatten({"a": {"b": 1, "c": {"d": True}}, "e": [], "f": [0.1, "x"], "g": None})
    assert rows == [("a.b", "1"), ("a.c.d", "yes"), ("e", "—"), ("f", "0.1, x"), ("g", "—")]
    assert text_of({"x": 1, "y": False}) == "x: 1, y: no"
