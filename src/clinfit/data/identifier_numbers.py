"""Rules for identifiers that are numbers or hold some: e-mail, record and phone numbers, addresses, dates.

Much of a clinical text is numbers that identify nobody. So a rule is a pattern and, where a number alone does not say
what it is, a look at what stands beside it: a unit behind it, or `count`, `pain`, `strength` before it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["email", "record", "phone", "address", "date", "name"]
Span = tuple[int, int]

#: Characters: no match is longer, and nothing further away than BESIDE from a match is looked at.
REACH, BESIDE = 420, 100


def span_of(match: re.Match[str]) -> Span:
    """Where the identifier stands: the group `it` where there is one, otherwise all of the match."""
    return match.span("it" if "it" in match.re.groupindex else 0)


def before(match: re.Match[str]) -> str:
    """What stands before a match, as far as any rule looks back."""
    return match.string[max(0, match.start() - 64) : match.start()]


@dataclass(frozen=True)
class Rule:
    """A pattern, and where in a match the identifier stands; None if the match is none after all.

    No part of a pattern repeats without an end: a text can be one long stretch of letters, digits or spaces, and what
    is found must depend on what stands near it alone.
    """

    kind: Kind
    pattern: re.Pattern[str]
    span: Callable[[re.Match[str]], Span | None] = span_of


_MONTH = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?"
    r"|Nov(?:ember)?|Dec(?:ember)?)\.?"
)
_DAY = r"(?:3[01]|[12]\d|0?[1-9])"
_MONTH_NUMBER = r"(?:1[0-2]|0?[1-9])"
_YEAR = r"(?:19|20)\d\d"
_ORDINAL = r"(?:st|nd|rd|th)?"
_STREET = (
    r"(?:Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Place|Pl|Way|Terrace|Ter|Square|Sq|Circle|"
    r"Cir|Highway|Hwy|Parkway|Pkwy|Close|Crescent|Row|Trail|Pike|Loop|Alley)\b\.?"
)
_STATE = (
    r"(?:A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|PA|RI|S[CD]|T[NX]|UT|V[AT]|"
    r"W[AIVY])"
)
_GAP = r"[ \t]{1,4}"
_CAPITAL = r"[A-Z][a-z]{0,19}(?:['’-][A-Z]?[a-z]{1,14}){0,2}"
_FLAT = rf"(?:,?{_GAP}(?:Apt|Apartment|Suite|Ste|Unit|Flat|\#)\.?[ \t]?\w{{1,8}})?"
_TOWN = (
    rf"(?:,[ \t]{{0,4}}{_CAPITAL}(?:[ \t]{_CAPITAL}){{0,2}})?(?:,?{_GAP}{_STATE}\b)?(?:{_GAP}\d{{5}}(?:-\d{{4}})?\b)?"
)

#: How the words below begin: most words of a text need no longer look.
_RECORD_LETTERS = r"(?=[ACDEHILMNPRSVacdehilmnprsv][A-Za-z]{2})"
_PHONE_LETTERS = r"(?=[CFMPTcfmpt][A-Za-z]{2})"
_SEPARATOR = r"[ \t]{0,20}(?:[:\#]{1,3}[ \t]{0,20})?"
_HOLDER = (
    r"(?:medical|patient|hospital|health|chart|case|account|acct\.?|policy|member|insurance|medicare|medicaid"
    r"|social security)"
)
_WHOLE = r"(?![A-Za-z])"
_NUMBER_WORD = rf"(?:number|no\b\.?|num\b\.?|id|\#){_WHOLE}"
#: What says by itself that a record number follows.
_RECORD_WORD = (
    rf"(?:(?:MRN|SSN|NHS|DEA|NPI|acct){_WHOLE}\.?"
    rf"|(?:{_HOLDER} ){{0,3}}(?:{_HOLDER}|record|card|licen[cs]e|accession|specimen|encounter|visit) ?{_NUMBER_WORD})"
    r"(?: (?:number|no\b\.?|is|was)){0,3}"
)
#: What stands as often before other numbers: `the patient 1000 mg`, `visit 2019`.
_RECORD_HINT = (
    rf"(?:{_HOLDER}(?: {_HOLDER}){{0,3}}(?: record| card)?|accession|specimen|encounter|visit|licen[cs]e){_WHOLE}"
    r"(?: (?:is|was))?"
)
_PHONE_WORD = (
    r"(?:phone|telephone|tel|cell|mobile|fax|pager|call(?: (?:him|her|me|us))?(?: (?:at|on))?)\b\.?"
    r"(?: (?:number|no\.?|is)){0,3}"
)

#: Behind a number: it is an amount, or a count of something.
_UNIT = re.compile(
    r"[ \t]{0,2}(?:%|[x×*][ \t]?10|/[ \t]?(?:[uµμ]?[lL]|mm|cu|d[lL]|day|min|hpf|HPF|kg)"
    r"|(?i:mg|mcg|[uµμ]g|ng|pg|g|gm|grams?|kg|lbs?|oz|[muµμ]l|ml|cc|dl|l|lit(?:er|re)s?|units?|iu|meq|[mnpµμ]mol|kcal|cal"
    r"|calories|cm|mm|mmhg|bpm|ft|feet|meters|metres|steps|copies|cells|platelets|leu[ck]ocytes|tab(?:let)?s?|capsules?"
    r"|drops|puffs|doses|times|seconds|min(?:ute)?s?|hours?|hrs?|days?|weeks?|months?|years?|dollars|patients|cases|women"
    r"|men|children|participants|subjects|people|persons)\b)"
)
#: Behind 3/2000: three of so many.
_COUNTED = re.compile(
    r"[ \t]{1,2}(?i:mg|mcg|ml|units|patients|cases|women|men|children|participants|subjects|people|persons|cells)\b"
)
#: Before a number, up to three short words away.
_AMOUNT_WORD = re.compile(
    r"\b(?i:m?RNA|DNA|load|counts?|platelets?|plt|leu[ck]ocytes?|lymphocytes?|neutrophils?|WBC|RBC|ANC|CFU|titers?|titres?"
    r"|levels?|range|ranging|ranges|reference|normal|between|doses?|dosage|intake|ferritin|population|cells?)"
    r"(?:[ \t:=(~<>]{1,2}(?:of|is|was|were|are|from|at|about|approximately|the|this|today)){0,3}[ \t:=(~<>]{0,3}\Z"
)
_PHONE_HINT = re.compile(r"\b(?i:phone|number|reach|reached|call|called|tel|dial)\b[^\n.;]{0,24}\Z")
_BLOOD = re.compile(r"(?:\bCD\d{1,3}\+?|\b(?i:T|B|NK|blood|white|red|stem|mast|plasma|sickle))[ \t-]{1,2}\Z")
_SCORE_WORD = (
    r"(?i:pains?|strength|power|motor|reflex(?:es)?|DTRs?|puls(?:e|es)|scor(?:e|es|ed|ing)|scale|rat(?:e|es|ed|ing)|grad"
    r"(?:e|es|ed|ing)|severity|intensity|GCS|Glasgow|Apgar|NRS|VAS|murmur|discomfort|headaches?|ache|baseline|maximum"
    r"|minimum|vision|acuity|MMSE|MoCA|muscles?|extremit(?:y|ies)|flexion|extension|grip)"
)
_SCORE_BEFORE = re.compile(rf"\b{_SCORE_WORD}\b[^.;\n]{{0,48}}\Z")
_SCORE_AT = re.compile(rf"\b{_SCORE_WORD}[ \t]{{1,4}}\Z")
_SCORE_BEHIND = re.compile(
    rf"[ \t]{{1,4}}(?:(?:in|on|at)[ \t]{{1,4}})?(?:the[ \t]{{1,4}})?(?:{_SCORE_WORD}|(?i:throughout|bilaterally"
    r"|systolic|diastolic|proximally|distally))\b"
)
#: What is `of` a day.
_OF_DAY = re.compile(
    r"\b(?i:as|weeks?|weekend|months?|nights?|mornings?|evenings?|afternoons?|end|beginning|start|dates?|days?|visits?|notes?"
    r"|labs?|reports?|scans?|results?|letters?|dictations?|films?|x-?rays?|MRI|CT|appointments?|admission"
    r"|accident|injury|fall|surgery|operation|procedure|colonoscopy|biopsy|discharge|birth|death)[ \t]{1,4}\Z"
)
#: The highest value of the scales that are written as a ratio; `12/10` and `3/14` are on none of them.
_TOPS = frozenset({4, 5, 6, 10, 15, 20, 30})
_SAME_SCALE = re.compile(r"[ \t]{1,4}to[ \t]{1,4}\d{1,2}/(\d{1,2})(?![\d/])")


def _unless_unit(match: re.Match[str]) -> Span | None:
    start, end = span_of(match)
    return None if _UNIT.match(match.string, end) else (start, end)


def _unless_short_and_unit(match: re.Match[str]) -> Span | None:
    """What ends with a year of four digits is a date whatever stands behind it: `03/04/2019 CC: chest pain`."""
    return match.span() if match[0][-4:].isdigit() else _unless_unit(match)


def _unless_counted(match: re.Match[str]) -> Span | None:
    return None if _COUNTED.match(match.string, match.end()) else match.span()


def _unless_amount(match: re.Match[str]) -> Span | None:
    """Seven digits and more, unless they are a round number, or said to be a count."""
    return None if match[0].endswith("0000") or _AMOUNT_WORD.search(before(match)) else _unless_unit(match)


def _unless_range(match: re.Match[str]) -> Span | None:
    """ddd-dddd, unless it says from which value to which."""
    said = before(match)
    if _PHONE_HINT.search(said):
        return match.span()
    low, high = match[0].split("-")
    is_round = low.endswith("0") and high.endswith(("00", "50"))
    return None if is_round or _AMOUNT_WORD.search(said) else _unless_unit(match)


def _unless_cells(match: re.Match[str]) -> Span | None:
    """What is called by phone, unless the cell is one of the blood, or the number an amount."""
    if sum(map(str.isdigit, match["it"])) < 7 or _BLOOD.search(before(match)):
        return None
    return _unless_unit(match)


def _unless_ratio(match: re.Match[str]) -> Span | None:
    """3/4 behind `on`, `of`, `since`, unless it is three of four on a scale."""
    text, (start, end) = match.string, match.span("it")
    word, said = match["word"].casefold(), before(match)
    number, top = map(int, match["it"].split("/"))
    if top not in _TOPS or number > top or word in {"since", "until", "dated", "before", "after"}:
        return start, end
    if _SCORE_BEHIND.match(text, end) or _UNIT.match(text, end):
        return None
    if word == "of":
        return (start, end) if _OF_DAY.search(said) else None
    same = _SAME_SCALE.match(text, end) if word == "from" else None
    if same:  # from 3/4 to 4/4, and from 3/5 to 3/9
        return None if int(same[1]) == top else (start, end)
    # a pain may have begun on 6/10, so that only a score directly before `on` makes it a ratio
    if (_SCORE_AT if word == "on" else _SCORE_BEFORE).search(said):
        return None
    return start, end


_RULES: tuple[tuple[Kind, str, Callable[[re.Match[str]], Span | None]], ...] = (
    ("email", r"(?<![\w.+-])[\w.+-]{1,64}[ ]?@[\w-]{1,40}(?:\.[\w-]{1,40}){0,4}\.[A-Za-z]{2,12}", span_of),
    (
        "record",
        rf"\b{_RECORD_LETTERS}(?i:{_RECORD_WORD}){_SEPARATOR}"
        r"(?P<it>(?=(?:[A-Za-z -]{0,6}\d){4})[A-Za-z0-9](?:[A-Za-z-]{0,8}\d){1,24}[A-Za-z-]{0,8}(?![A-Za-z0-9])"
        r"(?: \d{3,4}){0,3})",
        span_of,
    ),
    (
        "record",
        rf"\b{_RECORD_LETTERS}(?i:{_RECORD_HINT}){_SEPARATOR}(?!\d{{1,2}}-\d{{1,2}}-\d|\d{{4}}-\d\d-\d)"
        r"(?P<it>(?=[A-Za-z]{1,4}-?\d{4}|(?:[A-Za-z-]{0,4}\d){5})[A-Za-z0-9](?:[A-Za-z-]{0,8}\d){1,24}[A-Za-z-]{0,8})(?![\w-])",
        _unless_unit,
    ),
    ("record", r"(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-])", span_of),
    (
        "phone",
        r"(?<![\w.])(?:\+\d{1,3}[ .-]?)?(?:\(\d{2,5}\)[ .-]?|\d{3}[ .-])\d{3}[ .-]\d{4}"
        r"(?:[ ,]{0,3}(?:x|ext\.?)[ ]?\d{1,5})?(?!\w)",
        span_of,
    ),
    ("phone", r"(?<![\w.])\+\d{1,3}[ .-]?(?:\(0\)[ ]?)?\d{1,4}(?:[ .-]?\d{2,4}){2,4}(?!\w)", _unless_unit),
    ("phone", r"(?<![\w.])0\d{2,4}[ -]\d{3,4}(?:[ -]?\d{3,4})?(?!\w)", _unless_unit),
    ("phone", r"(?<![\w.-])\d{3}-\d{4}(?![\w-])", _unless_range),
    ("phone", rf"\b{_PHONE_LETTERS}(?i:{_PHONE_WORD}){_SEPARATOR}(?P<it>\+?\(?\d[\d ().-]{{5,24}}\d)", _unless_cells),
    (
        "record",
        r"(?<!PMID )(?<!PMID: )(?<!PMC)(?<!NCT)(?<![\w./-])\d{7,40}(?![\w/-]|\.\d)",
        _unless_amount,
    ),
    (
        "address",
        rf"(?<![\w/.-])\d{{1,5}}[A-Za-z]?{_GAP}(?:[NSEW]\.?{_GAP})?"
        rf"(?:(?:{_CAPITAL}|\d{{1,4}}(?:st|nd|rd|th)){_GAP}){{1,3}}{_STREET}{_FLAT}{_TOWN}",
        span_of,
    ),
    ("address", rf"\b(?:P\.? ?O\.? )?Box{_GAP}\d{{1,9}}", span_of),
    (
        "address",
        rf"\b{_CAPITAL}(?:[ \t]{_CAPITAL}){{0,2}},[ \t]{{0,4}}{_STATE}{_GAP}\d{{5}}(?:-\d{{4}})?\b",
        span_of,
    ),
    # the last two letters are never one of CIKMOV, so that B12 1MG is none
    ("address", r"\b[A-Z]{1,2}\d[A-Z\d]?[ \t]\d[ABD-HJLNP-UW-Z]{2}\b", span_of),
    (
        "date",
        rf"(?<![\w./-])(?:{_MONTH_NUMBER}([/.-]){_DAY}\1|{_DAY}([/.-]){_MONTH_NUMBER}\2)"
        rf"(?:{_YEAR}|\d\d)(?![\w/-]|\.\d)",
        _unless_short_and_unit,
    ),
    ("date", rf"(?<![\w./-]){_YEAR}([/.-]){_MONTH_NUMBER}\1{_DAY}(?:(?=T\d\d)|(?![\w/-]))", span_of),
    ("date", rf"(?<![\w./-]){_MONTH_NUMBER}/{_YEAR}(?![\w/-])", _unless_counted),
    (
        "date",
        rf"\b(?P<word>(?i:on|since|from|until|dated|of|by|before|after)){_GAP}"
        rf"(?P<it>{_MONTH_NUMBER}/{_DAY})(?![\w/-]|\.\d)",
        _unless_ratio,
    ),
    ("date", rf"\b{_MONTH}{_GAP}{_DAY}{_ORDINAL}\b(?:,?{_GAP}{_YEAR}\b)?", span_of),
    ("date", rf"\b{_DAY}{_ORDINAL}{_GAP}(?:of{_GAP})?{_MONTH}(?!\w)(?:,?{_GAP}{_YEAR}\b)?", span_of),
    ("date", rf"\b{_DAY}([-/. ]){_MONTH}\1(?:{_YEAR}|\d\d)\b", span_of),
    ("date", rf"\b{_MONTH}(?:,|{_GAP}of)?{_GAP}{_YEAR}\b", span_of),
)
#: In the order in which they are looked for.
NUMBER_RULES: tuple[Rule, ...] = tuple(Rule(kind, re.compile(pattern), span) for kind, pattern, span in _RULES)
