"""Dates in texts: `04/15/2005`, `2005-04-15`, `15.4.05`, `15-Apr-2005`, `April 15, 2005`, `the fifteenth of April, two
thousand five`, and both ends of `Oct 1-3`.

A day and month in figures alone (`4/15`) may be a ratio and is read as two numbers, in which such a date is found. May
and March are words as well: in small letters they are months beside an ordinal or a year only. A figure before a unit
(`in March 20 mg`) is no day.

Two dates are the same where day, month and year are; one of them may lack its year, and years of two digits stand for
those of any century. Which part of `04/05/2005` is the month nobody knows: against another such date the parts are
compared as they stand, against any other date either way.
"""

import re
from dataclasses import dataclass
from itertools import product

from clinfit.evaluation.metrics.text.spelt import ONES, SMALL, TEENS, TENS, spelt

_MONTHS = ("january february march april may june july august september october november december").split()
_SHORT = {name[:3]: number for number, name in enumerate(_MONTHS, start=1)} | {"sept": 9}
_MONTH_NUMBERS = {name: number for number, name in enumerate(_MONTHS, start=1)} | _SHORT
#: Without the months that are words, these are in any letters.
_MONTH_WORDS = {"may", "mar", "march"}
_LONGEST_FIRST = sorted(_MONTH_NUMBERS, key=len, reverse=True)
_MONTH = rf"(?:(?i:{'|'.join(_LONGEST_FIRST)}))(?![^\W_])\.?"
_ORDINALS = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth "
    "sixteenth seventeenth eighteenth nineteenth twentieth"
).split()
_DAY_WORDS = {name: number for number, name in enumerate(_ORDINALS, start=1)} | {"thirtieth": 30}
_OH = rf"(?:o|oh|zero)\s(?:{'|'.join(ONES)})"
#: The beginning of `two thousand five` and of `nineteen ninety two` is a year's.
_CARDINAL = rf"(?!(?:nineteen|twenty)\s(?:{'|'.join([*TENS, *TEENS])}|{_OH})\b){SMALL}(?![\s-](?:hundred|thousand)\b)"
_DAY = (
    rf"(?:(?i:(?:twenty|thirty)[\s-](?:{'|'.join(_ORDINALS[:9])})|thirtieth|{'|'.join(reversed(_ORDINALS))}|{_CARDINAL})"
    r"|\d{1,2}(?i:st|nd|rd|th)?)(?![^\W_]|[.:/]\d|,\d(?!\d{3}(?!\d))|\s?%)"
    # `in March 20 mg`, `in April 12 weeks later`: no day
    r"(?![\s-](?i:mg|mcg|ml|g|kg|mmhg|units?|tablets?|percent|hours?|days?|weeks?|months?|years?)\b)"
)
_YEAR = (
    rf"(?:(?:19|20)\d\d(?![^\W_]|[.,]\d)|(?i:two\sthousand(?:\s(?:and\s)?{SMALL})?"
    rf"|(?:nineteen|twenty)\s(?:{SMALL}|{_OH}))(?![^\W_]))"
)
_BEFORE_YEAR = r"(?:\s?,\s?|\s)(?:(?i:of|in)\s)?"
#: Both ends of 05/01/2020-05/03/2020.
_FIGURES = re.compile(
    r"(?:(?<![\w/.-])|(?<=[/.]\d\d-)|(?<=[/.]\d{4}-))(\d{1,4})([/.-])(\d{1,2})\2(\d{1,4})(?![\w/]|-(?!\d{1,4}[/.]\d))",
    re.ASCII,
)
_SHORT_NAMED = re.compile(
    rf"(?<![\w/.-])(?P<day>\d{{1,2}})(?P<between>[-/]?)(?P<month>(?i:{'|'.join(_LONGEST_FIRST)}))"
    r"(?P=between)(?P<year>\d{4}|\d\d)(?![\w-])",
    re.ASCII,
)
_TO = r"\s?(?:[-\u2013]|to|through)\s?"
_NAMED = re.compile(
    rf"(?<![^\W_])(?:(?P<month>{_MONTH})\s(?:(?i:the|on\sthe)\s)?(?P<day>{_DAY})(?:{_TO}(?P<last>{_DAY}))?"
    rf"|(?<![\d.,/-])(?:(?P<first>\d{{1,2}}){_TO})?(?P<day_first>{_DAY})\s(?:(?i:of)\s)?(?P<month_behind>{_MONTH}))"
    rf"(?:{_BEFORE_YEAR}(?P<year>{_YEAR}))?"
)
_IS_AT_A_DATE = re.compile(r"\b(?:on|since|until|till|from|by|before|after|of)\s$", re.IGNORECASE)

#: Year, if it is told, month and day.
Reading = tuple[int | None, int, int]


@dataclass(frozen=True)
class Date:
    """A date. shown: as a reader knows it. readings: what it may mean; two, with the month first and second, where the
    notation leaves it open, and none for three figures that are no date.
    """

    shown: str
    readings: tuple[Reading, ...]

    def numbers(self) -> set[int]:
        """Days, months and years that a text with this date tells."""
        years = {reading[0] for reading in self.readings if reading[0] is not None}
        long = {century + year for year in years if year < 100 for century in (1900, 2000)}
        return years | long | {part for reading in self.readings for part in reading[1:]}


def same_date(one: Date, other: Date) -> bool:
    """Whether two dates may be the same day, as the module says."""
    if not one.readings or not other.readings:
        return one.shown == other.shown
    if len(one.readings) == len(other.readings) == 2:
        return _same(one.readings[0], other.readings[0])
    return any(_same(*pair) for pair in product(one.readings, other.readings))


def taken_out(text: str) -> tuple[str, list[Date]]:
    """A text without its dates, and these."""
    found: list[Date] = []

    def figures(match: re.Match[str]) -> str:
        found.append(_in_figures(int(match[1]), int(match[3]), int(match[4]), short=len(match[1]) < 3))
        return " " * len(match[0])

    def named(match: re.Match[str]) -> str:
        dates = _named(match)
        found.extend(dates)
        return " " * (len(match[0]) - 1) + ")" if dates else match[0]  # ): the hyphen of `May 3-` is no sign

    return _NAMED.sub(named, _SHORT_NAMED.sub(named, _FIGURES.sub(figures, text))), found


def _in_figures(first: int, second: int, third: int, *, short: bool) -> Date:
    """short: the first is no year."""
    read = ((third, first, second), (third, second, first)) if short else ((first, second, third),)
    valid = tuple(dict.fromkeys(reading for reading in read if reading[1] <= 12 and reading[2] <= 31))
    return Date(f"{first}/{second}/{third}" if short else f"{first}-{second}-{third}", valid)


def _named(match: re.Match[str]) -> list[Date]:
    """One, or both ends; none where a day is none or the month is a word."""
    parts = match.groupdict()
    written = parts["month"] or parts["month_behind"]
    if _is_word(match, written.rstrip(".")):
        return []
    month = _MONTH_NUMBERS[written.rstrip(".").casefold()]
    year = None if parts["year"] is None else _year(parts["year"])
    days = [_day(day) for name in ("first", "day", "day_first", "last") if (day := parts.get(name)) is not None]
    if not all(1 <= day <= 31 for day in days):
        return []
    return [Date(f"{month}/{day}" if year is None else f"{year}-{month}-{day}", ((year, month, day),)) for day in days]


def _is_word(match: re.Match[str], month: str) -> bool:
    """`may 5 mg`, `take 2 MAY repeat`."""
    if month.casefold() not in _MONTH_WORDS or match["year"] is not None:
        return False
    parts = match.groupdict()
    day = parts["day"] or parts["day_first"]
    if not day[0].isdigit() or not day.isdigit():
        return month.islower() and not day[0].isdigit()
    if month.islower():
        return True
    return (
        parts["day"] is None and _IS_AT_A_DATE.search(match.string[max(0, match.start() - 7) : match.start()]) is None
    )


def _day(written: str) -> int:
    if written[0].isdigit():
        return int(re.sub(r"\D", "", written))
    *tens, last = re.split(r"[\s-]", written.casefold())
    return spelt(" ".join(tens)) + _DAY_WORDS[last] if last in _DAY_WORDS else spelt(written)


def _year(written: str) -> int:
    if written[0].isdigit():
        return int(written)
    words = re.sub(r"\b(?:o|oh|zero)\s", "", written.casefold())
    century, _, rest = words.partition(" ")
    return spelt(words) if century == "two" else {"nineteen": 1900, "twenty": 2000}[century] + spelt(rest)


def _same(one: Reading, other: Reading) -> bool:
    return one[1:] == other[1:] and _same_year(one[0], other[0])


def _same_year(one: int | None, other: int | None) -> bool:
    if one is None or other is None or one == other:
        return True
    return min(one, other) < 100 and one % 100 == other % 100
