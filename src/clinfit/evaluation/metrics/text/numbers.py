"""Numbers, doses and units: those of the output against the source, and those of the reference against the output.

A quantity is a value with a unit, brought to one unit of its kind: 500 mg = 0.5 g, 24 hours = 1 day, 5 mg/dL = 50 mg/L.
Read are digits with thousands and with a decimal point or comma, both ends of a range (`5-10 mg`, `5-10k`), all sides
of `2x3x4 cm`, dates (dates.py), per cent, fractions of one sign (`1½`), powers of ten (`10⁹`, `10^9`, `10*9/L`, `5e3`,
and `10E9/L` as laboratories write 10⁹; in `5x10^9` the 5 and the power), `5 million`, `150k`, `7.5 K/µL`, temperatures
(`T38.5`, `38.5C`), how often (`q8h`, `2x/day`, `x2`), number words (`twenty-six`; `one` only before a unit). Letters
behind a number that are no unit (`67M`, `101F`) tell none. Not read are digits inside a name (B12, COVID-19, 17q21),
units in other scripts, and the numbers of a list (`1. Asthma. 2. Gout.`); spaces that break divide numbers (`1 000 mg`,
since `2 500 mg tablets` are two). A text with digits of which none is read has no number of unsupported ones.

A quantity is found again where the same value has the same unit, or where one of the two is written without a unit; a
date where it is the same day or its day and month are bare numbers (`4/15`), and a number where it is the day, the
month or the year of a date.
Only whether it is there is asked, not what it is said of, so these are proxies: a right number for the wrong drug
counts as found. A time that a dose is for (`mg/day`, `mg daily`) is not read.
"""

import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from clinfit.evaluation.metrics.text.dates import Date, same_date, taken_out
from clinfit.evaluation.metrics.text.normalise import NUMBER, value
from clinfit.evaluation.metrics.text.spelt import THOUSANDS, spelt

#: Unit -> what one of it is in the unit of its kind.
_KINDS: dict[str, dict[str, Fraction]] = {
    "g": {
        "kg kilogram kilograms kilo kilos kgs": Fraction(1000),
        "g gram grams gm gms": Fraction(1),
        "mg milligram milligrams mgs": Fraction(1, 10**3),
        "mcg µg μg ug microgram micrograms": Fraction(1, 10**6),
        "ng nanogram nanograms": Fraction(1, 10**9),
        "pg picogram picograms": Fraction(1, 10**12),
    },
    "l": {
        "l liter liters litre litres": Fraction(1),
        "dl deciliter decilitre": Fraction(1, 10),
        "ml milliliter milliliters millilitre millilitres cc ccs": Fraction(1, 1000),
        "µl μl ul microliter microlitre": Fraction(1, 10**6),
    },
    "mol": {
        "mol": Fraction(1),
        "mmol millimol millimole millimoles": Fraction(1, 10**3),
        "µmol μmol umol micromol": Fraction(1, 10**6),
        "nmol": Fraction(1, 10**9),
    },
    "mm": {
        "mm millimeter millimeters millimetre millimetres": Fraction(1),
        "cm centimeter centimeters centimetre centimetres": Fraction(10),
    },
    "inch": {"inch inches": Fraction(1), "foot feet ft": Fraction(12)},
    "pound": {"lb lbs pound pounds": Fraction(1)},
    "s": {
        "second seconds sec secs": Fraction(1),
        "minute minutes min mins": Fraction(60),
        "hour hours h hr hrs": Fraction(3600),
        "day days": Fraction(86400),
        "week weeks wk wks": Fraction(7 * 86400),
    },
    "month": {"month months mo": Fraction(1), "year years yr yrs y yo y/o": Fraction(12)},
    "%": {"% percent percentage": Fraction(1)},
    "mmhg": {"mmhg": Fraction(1)},
    "unit": {"unit units iu u": Fraction(1)},
    "meq": {"meq": Fraction(1)},
    "kcal": {"kcal calories": Fraction(1)},
    "degree": {"degree degrees": Fraction(1)},
    "beat": {"bpm": Fraction(1)},
}
UNITS = {
    name: (unit, factor) for unit, names in _KINDS.items() for group, factor in names.items() for name in group.split()
}
#: What a concentration or a dose by weight is divided by; `100 ml` is a decilitre.
_DIVISORS = sorted((name for name, (kind, _) in UNITS.items() if kind in {"g", "l"}), key=len, reverse=True)

#: Those with a space first: `mm Hg` begins as `mm` does.
_UNIT = r"per\scent|mm\shg|" + "|".join(sorted(map(re.escape, UNITS), key=len, reverse=True))
_AFTER = rf"\s?-?(?P<unit>{_UNIT})(?![^\W\d_])(?:\s?(?:/|per)\s?(?P<hundred>100\s?)?(?P<per>{'|'.join(_DIVISORS)})\b)?"
_LISTED = re.compile(r"(?:^|(?<=[.:;?!])\s+)\d{1,2}[.)]\s+(?=[A-Z])", re.MULTILINE)
#: Letters that match those of a unit without regard to case, and that case folding leaves or makes two of.
_FOLDED = str.maketrans("\u0130\u0131\u017f", "Iis")
#: The x of 2x3 cm, but not of 5x10^9.
_BY = re.compile(r"(?<=\d)[xX](?=\d)(?!10(?:[\^*\u2070-\u207b\u00b2\u00b3\u00b9]|[eE]\d))")
#: What stands at a number and belongs to no name: the x of 5x10^9, q8h, 2x/day, x2, x3days, T38.5.
_AT_NUMBERS = re.compile(
    r"(?:(?<=\d)|(?<![^\W_]))[xX*](?=10(?:[\^*\u2070-\u207b\u00b2\u00b3\u00b9]|[eE]\d))|"
    r"(?<![^\W_])[qQ]\.?(?=\d{1,2}(?:-\d{1,2})?\s?(?:h|hrs?|hours?|min|days?|wk|weeks?)\b)"
    r"|(?<![^\W_])x(?=\d{1,2}(?:h|hrs?|hours?|d|days?|wks?|weeks?|mo|months?)?(?![^\W_]))|(?<=\d)x(?![^\W_])|(?<![^\W_])T(?=\d{2,3}\.\d)"
)
_PARTS = "\u00bc-\u00be\u2150-\u215e"
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "k": 10**3}
_SCALE = r"(?:\s(?P<scale>thousand|million|billion)\b|(?:\s(?=k/[u\u00b5\u03bcm]l\b))?(?P<k>k)(?![^\W_]))"
_EXPONENT = r"[-+\u2212]?\d{1,2}(?![^\W_])"
_POWER = (
    rf"(?:(?<=10)(?<![\d.,]10)(?:(?P<power>\u207b?[\u2070\u00b9\u00b2\u00b3\u2074-\u2079]{{1,2}})|(?:\^|[*e](?=\d+\s?/))(?P<caret>{_EXPONENT}))"
    rf"|e(?P<e>{_EXPONENT}))"
)
#: 2D echo, 3T, 18F-FDG, 5HIAA.
_NAME = r"(?-i:[DT](?![^\W_])|[A-Z]{1,2}-[A-Z]|[A-Z]{4,}(?![^\W_]))"
#: No letter, digit or `COVID-` before it. Letters behind it that are no unit (104.9F, 67M) tell none; 1990s and 17q21
#: are names.
_DIGITS = re.compile(
    rf"(?<![^\W_])(?<![^\W\d_{_PARTS}]-)(?<!\d[.,])(?P<sign>(?<![\w)\]%.])[-\u2212])?"
    rf"(?>(?P<number>{NUMBER}|\.\d+)(?:{_POWER}|\s?(?P<and>[{_PARTS}])|{_SCALE})?|(?P<part>[{_PARTS}]))"
    rf"(?:st|nd|rd|th)?(?:{_AFTER}|(?!s(?![^\W_])|{_NAME})[^\W\d_]*(?![^\W_]))",
    re.IGNORECASE,
)
_SPELT = re.compile(rf"(?<![^\W_])(?>(?P<words>{THOUSANDS}))(?:{_AFTER}|(?![^\W_]))", re.IGNORECASE)
_SPAN = re.compile(r"\s?(?:-|\u2013|\u2014|to)\s?", re.IGNORECASE)
_RANGE = re.compile(r"\s?(?:-|\u2013|\u2014|/|x|\u00d7|to|by|and|or)\s?", re.IGNORECASE)


@dataclass(frozen=True)
class Quantity:
    """value: in the unit of its kind. unit: "" for a bare number. written: the number as it stands in the text.

    date: of a date, whose value is 0 and whose unit names it, so that two of them are two.
    """

    value: Fraction
    unit: str
    written: Fraction
    date: Date | None = None


@lru_cache(maxsize=256)
def quantities(text: str) -> frozenset[Quantity]:
    """The quantities that a text holds."""
    rest, dates = taken_out(text.translate(_FOLDED))
    found = {Quantity(Fraction(0), f"date {date.shown}", Fraction(0), date) for date in dates}
    rest = _BY.sub(" x ", _LISTED.sub("\n", rest))
    return frozenset(found | _read(_AT_NUMBERS.sub(" ", rest)))


def unsupported(wanted: Collection[Quantity], known: Collection[Quantity]) -> list[Quantity]:
    """Those that are not found among the known ones."""
    same = {(quantity.value, quantity.unit) for quantity in known}
    dates = [quantity.date for quantity in known if quantity.date is not None]
    of_dates = {Fraction(number) for date in dates for number in date.numbers()}
    bare = {quantity.written for quantity in known if quantity.unit == ""}
    numbers = of_dates | {quantity.written for quantity in known if quantity.date is None}

    def is_found(quantity: Quantity) -> bool:
        if (date := quantity.date) is not None:
            return any(same_date(date, other) for other in dates) or any(
                {Fraction(month), Fraction(day)} <= bare for _, month, day in date.readings
            )
        if (quantity.value, quantity.unit) in same:
            return True
        return quantity.written in (numbers if quantity.unit == "" else bare)

    return [quantity for quantity in wanted if not is_found(quantity)]


def number_precision(output: str, source: str) -> float | None:
    """Share of the output's quantities that the source holds; None where the output has none."""
    return _share_found(quantities(output), quantities(source))


def number_recall(output: str, references: Sequence[str]) -> float | None:
    """Share of the reference's quantities that the output holds, the best reference; None where none has any."""
    shares = [_share_found(quantities(reference), quantities(output)) for reference in references]
    return max((share for share in shares if share is not None), default=None)


def unsupported_numbers(output: str, source: str) -> float | None:
    """How many quantities of the output the source does not hold; None where it has digits of which none is read."""
    if not (wanted := quantities(output)) and re.search(r"\d", _LISTED.sub("\n", output)):
        return None
    return float(len(unsupported(wanted, quantities(source))))


def _share_found(wanted: Collection[Quantity], known: Collection[Quantity]) -> float | None:
    return 1 - len(unsupported(wanted, known)) / len(wanted) if wanted else None


def _read(text: str) -> set[Quantity]:
    """Quantities in digits and in words; those of a range, or of `2 x 3 x 4 cm`, have the unit of the last, and the
    first end of a range has the scale of the second."""
    found: set[Quantity] = set()
    matches = sorted([*_DIGITS.finditer(text), *_SPELT.finditer(text)], key=lambda match: match.start())
    following, last = None, None
    for match in reversed(matches):
        number, unit, scale = _number(match), _unit(match), _scale(match)
        if following:
            between = text[match.end() : following.start()]
            unit = unit or (last if _have_one_unit(text, match, between) else None)
            if scale is None and _unit(match) is None and _SPAN.fullmatch(between) and _is_less(number, following):
                scale = _scale(following)
        if number is not None and not (unit is None and match[0].casefold() == "one"):
            kind, factor = unit or ("", Fraction(1))
            number *= scale or 1
            found.add(Quantity(number * factor, kind, number))
        following, last = match, unit
    return found


def _have_one_unit(text: str, match: re.Match[str], between: str) -> bool:
    """`5-10 mg`, `5 or 10 mg`; in `120/80 and 10 mg` the mg are those of the 10."""
    is_side_of_a_ratio = text[match.start() - 1 : match.start()] == "/" and between.strip().casefold() in {"and", "or"}
    return _RANGE.fullmatch(between) is not None and not is_side_of_a_ratio


def _is_less(number: Fraction | None, following: re.Match[str]) -> bool:
    """`5-10k` are thousands, `800-1k` and `150,000-450k` are not."""
    second = _number(following)
    return number is not None and second is not None and number < second


def _number(match: re.Match[str]) -> Fraction | None:
    """Without its scale."""
    parts = match.groupdict()
    if (words := parts.get("words")) is not None:
        return Fraction(spelt(words))
    sign = -1 if parts["sign"] else 1
    if parts["part"]:
        return sign * _part(parts["part"])
    number = value(parts["number"] if parts["number"][0] != "." else "0" + parts["number"])
    if number is None:
        return None
    if ten_to := parts["power"] or parts["caret"]:
        return sign * _ten_to(ten_to)
    return sign * _ten_to(parts["e"] or "0") * (Fraction(number) + (_part(parts["and"]) if parts["and"] else 0))


def _scale(match: re.Match[str]) -> int | None:
    """Thousand, million or billion."""
    parts = match.groupdict()
    named = parts.get("scale") or parts.get("k")
    return _SCALES[named.casefold()] if named else None


def _ten_to(exponent: str) -> Fraction:
    """Of digits on the line or above it."""
    return Fraction(10) ** int(unicodedata.normalize("NFKC", exponent).replace("\u2212", "-"))


def _part(sign: str) -> Fraction:
    """The value of a fraction of one sign."""
    return Fraction(unicodedata.numeric(sign)).limit_denominator(10)


def _unit(match: re.Match[str]) -> tuple[str, Fraction] | None:
    """The unit of its kind and what one of the written unit is in it."""
    name = match["unit"]
    if name is None:
        return None
    kind, factor = UNITS["".join(name.casefold().split())]
    if (per := match["per"]) is None:
        return kind, factor
    below, divisor = UNITS[per.casefold()]
    return f"{kind}/{below}", factor / (divisor * (100 if match["hundred"] else 1))
