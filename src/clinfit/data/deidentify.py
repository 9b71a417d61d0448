"""Identifiers of people in text, found by rules: names, dates, phone numbers, record numbers, e-mail, addresses.

What is found is counted, never quoted, and `clean: {deidentify: true}` puts a placeholder in its place: `[NAME-1]`, the
same for the same text in all inputs of a record, so that a text stays readable. The rules, in their order:

- e-mail: something@host.tld.
- record: a number behind a word that says so (MRN, record no., account, SSN, NHS, policy), 123-45-6789, and seven
  digits and more in a row that no PMID or trial number explains.
- phone: digits grouped as telephone numbers are, with or without a country code, and any behind `phone`, `fax`, `call`.
- address: number, capitalised words and a word for a street; `Box 12`; `City, ST 12345`; British postcodes.
- date: with a day (3/4/2019, 2019-03-04, 4 March, March 4th, 2019) or with month and year (March 2019, 03/2019); not a
  year alone.
- name: capitalised words behind a title or a word that brings a name (Mrs, Dr, `my name is`, `seen by`), or with a
  given name of the list GIVEN_NAMES among them. What was found once is found in the rest of the record too, as Smith
  and as SMITH; not as smith, since many names are words. A reference adds no names to those of its record's inputs.

Rules miss what they have no rule for: docs/guide.md says how much on planted identifiers. This is a guard, not a proof
that a text may be shared.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Literal

Kind = Literal["email", "record", "phone", "address", "date", "name"]

_MONTH = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?"
    r"|Nov(?:ember)?|Dec(?:ember)?)\.?"
)
_DAY = r"(?:3[01]|[12]\d|0?[1-9])"
_STREET = (
    r"(?:Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Place|Pl|Way|Terrace|Ter|Square|Sq|Circle|"
    r"Cir|Highway|Hwy|Parkway|Pkwy|Close|Crescent|Row|Trail|Pike|Loop|Alley)\b\.?"
)
_STATE = (
    r"(?:A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|PA|RI|S[CD]|T[NX]|UT|V[AT]|"
    r"W[AIVY])"
)
_CAPITAL = r"[A-Z][a-z]*(?:['’-][A-Z]?[a-z]+){0,3}"
_NAME_WORD = r"(?:(?:Mc|Mac|O['’]|D['’]|De|Van|von|van|de|la|al-|El)\s?)?[A-Z][a-zà-ÿ]+(?:['’-][A-Z][a-zà-ÿ]+)?"
_NAME = rf"{_NAME_WORD}(?:[ \t]+(?:[A-Z]\.?[ \t]+)?{_NAME_WORD}){{0,2}}"

GIVEN_NAMES = frozenset(
    """aaron abigail adam adrian agnes ahmed aisha alan albert alejandro alex alexander alexandra alexis ali alice
    alicia allison amanda amber amy ana andrea andrew angel angela anita ann anna anne annie anthony antonio
    arthur ashley barbara beatrice becky ben benjamin bernard beth betty beverly bob bobby bonnie bradley
    brandon brenda brian brittany bruce bryan caleb cameron carl carla carlos carmen carol caroline carolyn
    catherine cecilia charles charlotte cheryl chris christina christine christopher cindy claire clara connie
    craig crystal cynthia daisy dale dan daniel danielle david deborah debra denise dennis derek diana diane
    dmitri donald donna doris dorothy douglas dylan edith edna edward edwin eileen elaine eleanor elena
    elizabeth ella ellen emily emma eric erica erin ernest esther ethan eugene eva evan evelyn fatima felix
    fernando florence frances francis francisco frank fred gabriel gail gary george gerald giovanni gladys glenn
    gloria gordon greg gregory hannah harold harry hassan heather hector helen henry herbert howard ian ibrahim
    ingrid irene isaac isabella ivan jacob jacqueline jake james jamie jane janet janice jason javier jean
    jeffrey jennifer jeremy jerry jesse jessica jesus jill jim jimmy joan joanna joe joel johann john johnny
    jonathan jordan jorge jose joseph joshua joyce juan juanita judith judy julia julian julie justin karen karl
    katherine kathleen kathryn kathy katie keith kelly kenneth kevin kim kimberly kumar kyle larry laura lauren
    lawrence leo leon leonard leroy leslie lewis liam lillian linda lisa lloyd lois lori louis louise lucas
    lucia lucy luis lydia lynn mackenzie madison malik manuel marcus margaret maria marie marilyn mario marion
    marjorie marlene marsha marshall martha martin marvin mary mason matthew maureen megan mei melanie melissa
    melvin michael michelle miguel mike mildred mohamed mohammed monica muhammad nancy naomi natalie nathan
    nathaniel nicholas nicole nina noah nora norma norman olga oliver olivia omar oscar pamela patricia patrick
    paul paula pauline pedro peggy peter philip phillip phyllis priya rachel rafael ralph ramon raymond rebecca
    regina rene ricardo richard rita robert roberta roberto robin rodney roger roland ronald rosa rosemary roy
    ruby russell ruth ryan sally sam samantha samuel sandra sara sarah scott sean sergio shannon sharon shawn
    sheila sherry shirley sofia sophia stacy stanley stella stephanie stephen steve steven susan suzanne sylvia
    tamara tammy tara taylor teresa terry thelma theodore theresa thomas tiffany tim timothy tina todd tom tommy
    tony tracy travis tyler valerie vanessa vera vernon veronica vicki victor victoria vincent violet virginia
    vivian walter wanda warren wayne wei wendy wesley william willie yolanda yusuf yvonne zachary zoe""".split()
)
#: Capitalised words that follow a title or a word for a name, and are none.
_NO_NAMES = (
    r"(?:The|This|That|He|She|It|They|We|You|I|His|Her|And|But|Or|No|Yes|Not|In|On|At|Is|Was|Has|Had|Have|Will|Who|What|"
    r"When|Where|Any|All|Are|As|If|So|To|Of|For|With|From|By|Do|Does|Did|Can|Could|Would|My|Your|Our|There|Here|Okay|Ok|"
    r"Well|Oh|Um|Uh|Hi|Hello|Thank|Thanks|Good|Please|Sure|Right|Left|Denies|Reports|Presents|Patient|Doctor|Nurse|Guest|"
    r"History|Yeah|Just|Then|Also|How|Let|Like|Maybe|Now|After|Before|About|Some|Since|Because|White|Black|Hispanic|Asian|"
    r"African|American|Caucasian|Emergency|Medicine|General|Internal|Hospital|Clinic|Department|Name|"
    r"Date|Age|Center|Memorial|Dr|Mr|Mrs|Ms|Tell|Bye|God)"
)
_TITLE = (
    r"\b(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof|Professor|Doctor|Nurse|Sister|Rev|Sir|Madam)\b\.?[ \t]+"
    r"|\b(?:[Mm]y|[Hh]is|[Hh]er|[Tt]he patient['’]s|[Pp]atient['’]?s?) name is[ \t]+"
    r"|\b(?:[Nn]amed|[Ss]igned|[Ss]igned by|[Ss]een by|[Dd]ictated by|[Rr]eferred by|[Aa]ttending|[Aa]ttn|"
    r"[Cc]ontact|[Dd]ear|[Ii]nformant|[Ss]pouse|[Nn]ext of kin)\b:?[ \t]+"
    r"|\b(?:daughter|son|wife|husband|partner|mother|father|sister|brother|friend|aunt|uncle|cousin)[ \t]+"
    r"|\b(?:PHYSICIAN|SURGEON|Re|RE)[ \t]?:[ \t]*"
    # behind a speaker one word is no name: Patient: Nope.
    rf"|\b(?:PATIENT|Patient|Pt|Physician|Surgeon|Provider)[ \t]?:[ \t]*(?={_NAME_WORD} {_NAME_WORD}\b)"
)


@dataclass(frozen=True)
class Identifier:
    """kind, and where it stands in the text."""

    kind: Kind
    start: int
    end: int


_HOLDER = r"(?:medical|patient|hospital|health|chart|case|account|acct\.?|policy|member|insurance|medicare|medicaid)"
_RECORD_WORD = (
    r"(?:MRN|SSN|NHS|DEA|NPI|accession|specimen|encounter|visit"
    rf"|(?:{_HOLDER} |social security ){{1,4}}(?:record |card )?(?:number|no\b\.?|num\b\.?|id|\#)?"
    r"|record(?: number| no\b\.?|[ ]?\#)|(?:chart|case)[ ]?\#|acct\b\.?|licen[cs]e(?: number| no\b\.?)?)"
    r"(?: (?:number|no\b\.?|is|was))*"
)
_PHONE_WORD = (
    r"(?:phone|telephone|tel|cell|mobile|fax|pager|call(?: (?:him|her|me|us))?(?: (?:at|on))?)\b\.?"
    r"(?: (?:number|no\.?|is))*"
)
_FLAT = r"(?:,?[ \t]+(?:Apt|Apartment|Suite|Ste|Unit|Flat|\#)\.?[ \t]?\w+)?"
_TOWN = rf"(?:,[ \t]*{_CAPITAL}(?:[ \t]{_CAPITAL}){{0,2}})?(?:,?[ \t]+{_STATE}\b)?(?:[ \t]+\d{{5}}(?:-\d{{4}})?\b)?"
_PART = rf"(?:0?[1-9]|1[0-2]|{_DAY})"
_YEAR = r"(?:19|20)\d\d"
_ORDINAL = r"(?:st|nd|rd|th)?"

#: Kind and pattern in the order in which they are looked for; what is found is the group `it` where there is one. None
#: may look at the same long stretch from each of its characters: a text can be a sequence without a space.
_RULES: tuple[tuple[Kind, str], ...] = (
    ("email", r"(?<![\w.+-])[\w.+-]+[ ]?@[\w-]+(?:\.[\w-]+)*\.[A-Za-z]{2,}"),
    (
        "record",
        rf"\b(?i:{_RECORD_WORD})[ \t]*(?:[:\#]+[ \t]*)?"
        r"(?P<it>(?=(?:[A-Za-z -]{0,6}\d){4})[A-Za-z0-9][A-Za-z0-9-]*\d[A-Za-z0-9-]*(?: \d{3,4}){0,3})",
    ),
    ("record", r"(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-])"),
    (
        "phone",
        r"(?<![\w.])(?:\+\d{1,3}[ .-]?)?(?:\(\d{2,5}\)[ .-]?|\d{3}[ .-])\d{3}[ .-]\d{4}"
        r"(?:[ ,]*(?:x|ext\.?)[ ]?\d{1,5})?(?!\w)",
    ),
    ("phone", r"(?<![\w.])\+\d{1,3}[ .-]?(?:\(0\)[ ]?)?\d{1,4}(?:[ .-]?\d{2,4}){2,4}(?!\w)"),
    ("phone", r"(?<![\w.])0\d{2,4}[ -]\d{3,4}(?:[ -]?\d{3,4})?(?!\w)"),
    ("phone", r"(?<![\w.-])\d{3}-\d{4}(?![\w-])"),
    ("phone", rf"\b(?i:{_PHONE_WORD})[ \t]*(?:[:\#][ \t]*)?(?P<it>\+?\(?\d[\d ().-]{{5,}}\d)"),
    ("record", r"(?<!PMID )(?<!PMID: )(?<!PMC)(?<!NCT)(?<![\w./-])\d{7,}(?![\w/-]|\.\d)"),
    (
        "address",
        rf"(?<![\w/.-])\d{{1,5}}[A-Za-z]?[ \t]+(?:[NSEW]\.?[ \t]+)?"
        rf"(?:(?:{_CAPITAL}|\d+(?:st|nd|rd|th))[ \t]+){{1,3}}{_STREET}{_FLAT}{_TOWN}",
    ),
    ("address", r"\b(?:P\.? ?O\.? )?Box[ \t]+\d+"),
    ("address", rf"\b{_CAPITAL}(?:[ \t]{_CAPITAL}){{0,2}},[ \t]*{_STATE}[ \t]+\d{{5}}(?:-\d{{4}})?\b"),
    ("address", r"\b[A-Z]{1,2}\d[A-Z\d]?[ \t]\d[A-Z]{2}\b"),
    ("date", rf"(?<![\w./-]){_PART}([/.-]){_PART}\1(?:{_YEAR}|\d\d)(?![\w/-]|\.\d)"),
    ("date", rf"(?<![\w./-]){_YEAR}([/.-])(?:0?[1-9]|1[0-2])\1{_DAY}(?:(?=T\d\d)|(?![\w/-]))"),
    ("date", rf"(?<![\w./-])(?:0?[1-9]|1[0-2])/{_YEAR}(?![\w/-])"),
    (
        "date",
        r"\b(?i:on|since|from|until|dated|of|by|before|after)[ \t]+"
        rf"(?P<it>(?:0?[1-9]|1[0-2])/{_DAY})(?![\w/-]|\.\d)",
    ),
    ("date", rf"\b{_MONTH}[ \t]+{_DAY}{_ORDINAL}\b(?:,?[ \t]+{_YEAR}\b)?"),
    ("date", rf"\b{_DAY}{_ORDINAL}[ \t]+(?:of[ \t]+)?{_MONTH}(?!\w)(?:,?[ \t]+{_YEAR}\b)?"),
    ("date", rf"\b{_DAY}([-/. ]){_MONTH}\1(?:{_YEAR}|\d\d)\b"),
    ("date", rf"\b{_MONTH}(?:,|[ \t]+of)?[ \t]+{_YEAR}\b"),
)
_PATTERNS: list[tuple[Kind, re.Pattern[str]]] = [(kind, re.compile(pattern)) for kind, pattern in _RULES]
_TITLED = re.compile(rf"(?:{_TITLE})(?!{_NO_NAMES}\b)(?P<it>{_NAME})")
_CAPITALS = re.compile(r"\b(?:MR|MRS|MS|DR)\b\.?[ \t]+(?P<it>[A-Z][A-Z'’-]+)\b")
_LABELLED = re.compile(rf"\b(?:NAME|Name)[ \t]?:[ \t]*(?!{_NO_NAMES}\b)(?P<it>{_NAME}(?:,[ \t]+{_NAME})?)")
_REVERSED = re.compile(rf"\b{_NAME_WORD}, {_NAME_WORD}(?:[ \t][A-Z]\.)?")
_ANY_NAME = re.compile(rf"\b{_NAME}")
_PLACEHOLDER = re.compile(r"\[(?P<kind>[A-Z]+)-(?P<number>\d+)\]")
_NO_NAME = re.compile(rf"{_NO_NAMES}\b")
#: What follows a name that is a term: Graves disease, Virginia score.
_EPONYM = re.compile(
    r"(?:['’]s)?[ \t-](?:disease|syndrome|sign|test|score|scale|criteria|catheter|procedure|classification|maneuver|"
    r"manoeuvre|tube|tumou?r|lymphoma|reflex|fracture|palsy|esophagus|Hospital|Clinic|Store|University|County|Center)\b"
)


def identifiers(text: str, names: Set[str] = frozenset()) -> list[Identifier]:
    """What the rules find in a text, from left to right, none inside another.

    names: words that are known for names; Smith and SMITH are found of either.
    """
    found: list[Identifier] = []
    taken = bytearray(len(text))
    for mark in _PLACEHOLDER.finditer(text):
        taken[mark.start() : mark.end()] = b"\1" * len(mark[0])
    for kind, start, end in _candidates(text, names):
        if start < end and not any(taken[start:end]):
            found.append(Identifier(kind, start, end))
            taken[start:end] = b"\1" * (end - start)
    return sorted(found, key=lambda identifier: identifier.start)


def identifiers_of_record(texts: Sequence[str]) -> list[list[Identifier]]:
    """What stands in each text of one record; a name of one text is looked for in all of them."""
    names = _names_in(texts)
    return [identifiers(text, names) for text in texts]


def _names_in(texts: Sequence[str]) -> set[str]:
    """The words of the names that the rules find in the texts, without those that are no name in whatever case."""
    return {
        word
        for text in texts
        for identifier in identifiers(text)
        if identifier.kind == "name"
        for word in re.findall(r"[^\W\d_]{3,}", text[identifier.start : identifier.end])
        if not _NO_NAME.fullmatch(word.capitalize())
    }


def count_identifiers(texts: Sequence[str]) -> list[Counter[Kind]]:
    """How many identifiers of each kind stand in each text of one record."""
    return [Counter(identifier.kind for identifier in found) for found in identifiers_of_record(texts)]


def deidentified(texts: Sequence[str], reference: str | None = None) -> list[str]:
    """The texts of one record with placeholders: one kind and text, one number. Clean texts stay as they are.

    reference: comes last in what is returned. It is cleaned by the names of the texts and its own, and changes nothing
    in the texts, since new records have none.
    """
    numbers: dict[tuple[Kind, str], int] = {}
    names: set[str] = set()
    cleaned = _cleaned(texts, (), numbers, names)
    return cleaned if reference is None else [*cleaned, *_cleaned([reference], cleaned, numbers, names)]


def _cleaned(
    texts: Sequence[str], before: Sequence[str], numbers: dict[tuple[Kind, str], int], names: set[str]
) -> list[str]:
    cleaned = list(texts)
    # Again until nothing is found: what stood beside an identifier may have hidden the next one (`1 A St.2 B St`).
    while (again := _with_placeholders(cleaned, before, numbers, names)) != cleaned:
        cleaned = again
    return cleaned


def _with_placeholders(
    texts: Sequence[str], before: Sequence[str], numbers: dict[tuple[Kind, str], int], names: set[str]
) -> list[str]:
    """One round. before: texts of the record that are done. numbers: of the texts that have a placeholder by now.
    names: known by now. More numbers and names are added."""
    last: Counter[str] = Counter()
    for text in (*before, *texts):
        for mark in _PLACEHOLDER.finditer(text):
            last[mark["kind"]] = max(last[mark["kind"]], int(mark["number"]))
    names |= _names_in(texts)
    cleaned: list[str] = []
    for text in texts:
        parts: list[str] = []
        end = 0
        for identifier in identifiers(text, names):
            key = (identifier.kind, " ".join(text[identifier.start : identifier.end].casefold().split()))
            if key not in numbers:
                last[identifier.kind.upper()] += 1
                numbers[key] = last[identifier.kind.upper()]
            parts += [text[end : identifier.start], f"[{identifier.kind.upper()}-{numbers[key]}]"]
            end = identifier.end
        cleaned.append("".join([*parts, text[end:]]))
    return cleaned


def _candidates(text: str, names: Set[str]) -> Iterator[tuple[Kind, int, int]]:
    for kind, pattern in _PATTERNS:
        for match in pattern.finditer(text):
            start, end = match.span("it") if "it" in pattern.groupindex else match.span()
            yield kind, start, end
    for match in (*_LABELLED.finditer(text), *_TITLED.finditer(text), *_CAPITALS.finditer(text)):
        start, end = _to_last_word(text, *match.span("it"))
        yield "name", start, end
    for match in (*_REVERSED.finditer(text), *_ANY_NAME.finditer(text)):
        words = re.finditer(r"[^\W\d_]+", match[0])
        given = next((word for word in words if word[0].casefold() in GIVEN_NAMES), None)
        if given is not None and not _EPONYM.match(text, match.end()):
            begin = match.start() + (0 if "," in match[0] else given.start())
            start, end = _to_last_word(text, begin, match.end())
            yield "name", start, end
    if known := "|".join(sorted(map(re.escape, names))):
        for match in re.finditer(rf"\b(?i:{known})\b", text):
            if match[0][0].isupper() or match[0] in names:
                yield "name", match.start(), match.end()


def _to_last_word(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without what follows the first word that is no name."""
    for word in re.finditer(r"[^\W\d_]+", text[start:end]):
        if _NO_NAME.fullmatch(word[0]):
            return start, start + len(text[start : start + word.start()].rstrip(" \t,"))
    return start, end
