"""How numbers are shown: rounded for the eye, with the full value beside them for the machine."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clinfit.evaluation.system_results import MetricDict

MINUS = "\N{MINUS SIGN}"
NARROW_SPACE = "\N{NARROW NO-BREAK SPACE}"


@dataclass(frozen=True)
class Cell:
    """One shown value. full: the unrounded value as JSON writes it, '' when there is none. note: a tooltip."""

    text: str
    interval: str = ""
    full: str = ""
    note: str = ""

    @property
    def empty(self) -> bool:
        """Whether it holds words instead of a number."""
        return not self.full

    @property
    def plain(self) -> str:
        """The cell on one line of text."""
        return f"{self.text} {self.interval}".strip()


NOTHING = Cell("—")


def decimal(value: float, digits: int = 3) -> str:
    """Fixed decimals with a true minus sign; never '-0.000'."""
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", MINUS)


def signed(value: float, digits: int = 1) -> str:
    """Fixed decimals with + or a true minus sign; zero has none."""
    text = decimal(value, digits)
    return text if text.startswith(MINUS) or float(text) == 0 else f"+{text}"


def per_cent(share: float, digits: int = 1) -> str:
    return f"{decimal(share * 100, digits)}{NARROW_SPACE}%"


def count(value: float) -> str:
    """A whole number with thin spaces between thousands."""
    return f"{value:,.0f}".replace(",", NARROW_SPACE)


def p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def duration(seconds: float) -> str:
    """Seconds in the unit that a person would use."""
    if seconds < 1e-5:
        return "< 0.01 ms"
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def megabytes(value: float) -> str:
    """MB below a thousand of them, else GB."""
    return f"{value:.0f}{NARROW_SPACE}MB" if value < 1000 else f"{value / 1000:.1f}{NARROW_SPACE}GB"


def interval(low: float | None, high: float | None, *, percent: bool = False) -> str:
    """[low, high] in the unit of its value; '' where there is none."""
    if low is None or high is None:
        return ""
    scale, digits = (100, 1) if percent else (1, 3)
    return f"[{decimal(low * scale, digits)}, {decimal(high * scale, digits)}]"


def metric_cell(metric: MetricDict | None, *, percent: bool = False) -> Cell:
    """A metric record as a cell; what is undefined or withheld says why and shows no number."""
    if metric is None:
        return NOTHING
    value, reason = metric["value"], metric["reason"] or ""
    if value is None:
        if metric["status"] == "withheld":
            return Cell("withheld", reason.removeprefix("withheld: "))
        return Cell("not estimable", f"({reason})" if reason else "")
    facts = [metric["method"] and f"interval: {metric['method']}", f"n = {metric['n']}"]
    facts += [f"events = {metric['events']}"] if metric["events"] is not None else []
    mark = "*" if metric["status"] == "unreliable" else ""
    return Cell(
        (per_cent(value) if percent else decimal(value)) + mark,
        interval(metric["low"], metric["high"], percent=percent),
        repr(value),
        "; ".join(filter(None, [repr(value), *facts, reason])),
    )


def text_of(value: Any) -> str:
    """Any JSON value as short text for a table of facts."""
    if value is None or value in ("", [], {}):
        return "—"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {text_of(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(text_of(item) for item in value)
    return str(value)


def flatten(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested mappings as rows of (dotted name, text)."""
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        nested = isinstance(value, Mapping) and value
        rows += flatten(value, f"{prefix}{key}.") if nested else [(f"{prefix}{key}", text_of(value))]
    return rows
