"""Identifiers of people in text, found by rules: names, dates, phone numbers, record numbers, e-mail, addresses.

What is found is counted, never quoted, and `clean: {deidentify: true}` puts a placeholder in its place: `[NAME-1]`, the
same for the same text in all inputs of a record, so that a text stays readable. The rules, in their order:

- e-mail: something@host.tld.
- record: a number behind a word that says so (MRN, record no., account, SSN, NHS, policy), 123-45-6789, and seven
  digits and more in a row that no PMID, trial number, unit or count explains. Behind a word that stands as often before
  amounts (patient, visit), five digits and more without a unit.
- phone: digits grouped as telephone numbers are, with or without a country code, and any behind `phone`, `fax`, `call`;
  not a range of amounts (400-1200 mg).
- address: number, capitalised words and a word for a street; `Box 12`; `City, ST 12345`; British postcodes.
- date: with a day (3/4/2019, 2019-03-04, 4 March, March 4th, 2019) or with month and year (March 2019, 03/2019); not a
  year alone. `on 6/10` is one, a pain of 6/10 and a strength of 5/5 are not.
- name: capitalised words behind a title or a word that brings a name (Mrs, Dr, `my name is`, `seen by`, `Name:`), with
  initials and accents, in capitals too; or with a given name of the list GIVEN_NAMES among them. What was found once is
  found in the rest of the record too, as Smith and as SMITH; not as smith, since many names are words. A reference adds
  no names to those of its record's inputs.

The rules are in identifier_numbers.py and identifier_names.py; here they are looked for, until nothing more is found.

Rules miss what they have no rule for: docs/guide.md says how much on planted identifiers. This is a guard, not a proof
that a text may be shared.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass

from clinfit.data.identifier_names import NAME_RULES, TOKEN, words_of_name
from clinfit.data.identifier_numbers import BESIDE, NUMBER_RULES, REACH, Kind, Rule, Span

_RULES = (*NUMBER_RULES, *NAME_RULES)
#: A text may hold placeholders of its own. Their numbers are counted on from below _COUNTED_ON, so that what comes next
#: has no more digits than a placeholder may.
_PLACEHOLDER = re.compile(r"\[(?P<kind>[A-Z]{1,20})-(?P<number>\d{1,9})\]")
_COUNTED_ON = 10**8


@dataclass(frozen=True)
class Identifier:
    """kind, and where it stands in the text."""

    kind: Kind
    start: int
    end: int


def identifiers(text: str, names: Set[str] = frozenset()) -> list[Identifier]:
    """What the rules find in a text, from left to right, none inside another, until nothing is found in what is left.

    names: words that are known for names; Smith and SMITH are found of either.

    What stands beside an identifier may have hidden the next one (`1 A St.2 B St`). So what is left is looked at again.
    Since no rule looks further than REACH, only the surroundings of what is new can hold more, and the time grows as
    the text does; that all is found is not left to this, but seen by a last look at all of it.
    """
    rules = (*_RULES, _rule_of(names)) if names else _RULES
    taken = bytearray(len(text))
    for mark in _PLACEHOLDER.finditer(text):
        taken[mark.start() : mark.end()] = b"\1" * len(mark[0])
    found: list[Identifier] = []
    while new := [each for start, end in _left(taken) for each in _first_look(text, start, end, rules)]:
        _take(taken, new)
        while new:
            found.append(each := new.pop())
            new += _beside(text, each, taken, rules)
    return sorted(found, key=lambda identifier: identifier.start)


def _take(taken: bytearray, found: Sequence[Identifier]) -> None:
    for each in found:
        taken[each.start : each.end] = b"\1" * (each.end - each.start)


def _left(taken: bytearray) -> list[Span]:
    """The stretches of a text in which nothing was found."""
    return [match.span() for match in re.finditer(rb"\0+", taken)]


def _beside(text: str, identifier: Identifier, taken: bytearray, rules: Sequence[Rule]) -> list[Identifier]:
    """What is found directly before and behind an identifier, now that it is gone; taken by now.

    What may be found for the only reason that the part that is read ends there is left out.
    """
    at, first = identifier.start, max(0, identifier.start - REACH - BESIDE)
    before = _first_look(text, max(taken.rfind(1, first, at) + 1, first), at, rules)
    found = [each for each in before if first == 0 or each.start >= at - REACH]
    at, last = identifier.end, min(len(text), identifier.end + REACH + BESIDE)
    stop = taken.find(1, at, last)
    found += _first_look(text, at, last if stop < 0 else stop, rules, BESIDE)
    _take(taken, found)
    return found


def _first_look(
    text: str, start: int, end: int, rules: Sequence[Rule], most: int | None = None
) -> Iterator[Identifier]:
    """What the rules find in a part of a text, one rule after the other; it is read as if nothing stood beside it.

    most: how far from its start a match begins at most.
    """
    part = text[start:end]
    taken = bytearray(len(part))
    for rule in rules:
        at = 0
        while (match := rule.pattern.search(part, at)) and (most is None or match.start() <= most):
            span = rule.span(match)
            at = match.start() + 1
            if span is not None and span[0] < span[1] and taken.find(1, *span) < 0:
                taken[span[0] : span[1]] = b"\1" * (span[1] - span[0])
                at = span[1]
                yield Identifier(rule.kind, start + span[0], start + span[1])


def _rule_of(names: Set[str]) -> Rule:
    """Finds known names: in any case, if they begin with a capital or are written as they are known."""
    known = {name.casefold() for name in names}

    def span(match: re.Match[str]) -> Span | None:
        word = match[0]
        return match.span() if word.casefold() in known and (word[0].isupper() or word in names) else None

    return Rule("name", TOKEN, span)


def identifiers_of_record(texts: Sequence[str]) -> list[list[Identifier]]:
    """What stands in each text of one record; a name of one text is looked for in all of them."""
    return _found_in_all(texts, set())


def _found_in_all(texts: Sequence[str], names: set[str]) -> list[list[Identifier]]:
    """What stands in each text. names: known beforehand; those that are found are added, until there are no new ones,
    since a name that is gone may have hidden another."""
    while True:
        found = [identifiers(text, names) for text in texts]
        new = {
            word
            for text, all_of_text in zip(texts, found, strict=True)
            for each in all_of_text
            if each.kind == "name"
            for word in words_of_name(text[each.start : each.end])
        }
        if new <= names:
            return found
        names |= new


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
    cleaned = _with_placeholders(texts, (), numbers, names)
    if reference is None:
        return cleaned
    return [*cleaned, *_with_placeholders([reference], cleaned, numbers, names)]


def _with_placeholders(
    texts: Sequence[str], before: Sequence[str], numbers: dict[tuple[Kind, str], int], names: set[str]
) -> list[str]:
    """before: texts of the record that are done. numbers: of the texts that have a placeholder by now. names: known by
    now. More numbers and names are added."""
    last: Counter[str] = Counter()
    for text in (*before, *texts):
        for mark in _PLACEHOLDER.finditer(text):
            if (number := int(mark["number"])) < _COUNTED_ON:
                last[mark["kind"]] = max(last[mark["kind"]], number)
    cleaned: list[str] = []
    for text, found in zip(texts, _found_in_all(texts, names), strict=True):
        parts: list[str] = []
        end = 0
        for identifier in found:
            key = (identifier.kind, " ".join(text[identifier.start : identifier.end].casefold().split()))
            if key not in numbers:
                last[identifier.kind.upper()] += 1
                numbers[key] = last[identifier.kind.upper()]
            parts += [text[end : identifier.start], f"[{identifier.kind.upper()}-{numbers[key]}]"]
            end = identifier.end
        cleaned.append("".join([*parts, text[end:]]))
    return cleaned
