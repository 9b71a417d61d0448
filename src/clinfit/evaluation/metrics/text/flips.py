"""What is said of the entities that two texts share: whether it is denied, on which side, of whom.

A flip is an entity that one text only affirms and the other only denies, or that is only the patient's in one and only
a relative's in the other, or a part of the body or a problem that is only on the left in one and only on the right in
the other. An entity with both in one of the texts is no flip. The output is compared with the source, and with all
references taken together; each gives a number of flips an item, None where the texts share nothing that could flip.

Rules, in the manner of NegEx (Chapman et al., 2001) and ConText (Harkema et al., 2009):

- Denied: a word such as no, not, without, denies, negative before the name in one sentence, with no `but`, `except`,
  `however`, `has`, `reports`, ... between; or `is ruled out`, `not present`, `absent` right behind it; or `(-)` before
  it (`(-) fever (+) cough`) or behind it (`fever (-), cough (+)`): a sign between two words stands as the first sign
  of the sentence that has a word on one side alone. Not: no change, no increase, not only, not sure, `No, I have`; and
  what has a `(+)` in that place is affirmed whatever stands before it.
- In a dialogue, a question about something is denied where the next sentence begins with no, nope, nothing, I don't.
- A relative's: mother, brother, family, ... before the name in one sentence with no `patient`, `he`, `she` between, or
  `in his brother`, `side of the family` behind it; and in the answer to a question about the family. Not somebody who
  came along (`with her mother`).
- Side: left or right at most 3 tokens before a part of the body in one sentence, or right before a problem
  (`left-sided pneumothorax`); both and bilateral are both sides.

These are proxies: rules on wording, which miss what wording does not show.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

from clinfit.evaluation.metrics.text.entities import mentions
from clinfit.evaluation.metrics.text.normalise import sentences, tokens, without_speaker

_NEGATIONS = frozenset(
    """no not without denies denied deny denying negative never neither nor none nope absence absent lacks lack
    free""".split()
)
_STOPS = frozenset(
    """but except however although though which because yes has reports reported complains complained presents
    presented shows showed reveals revealed""".split()
)
#: Words that make a negation before them say something else.
_NO_NEGATION = frozenset(
    "change increase decrease improvement significant only longer sure certain rule further".split()
)
#: Behind the `no` that begins a sentence: an answer goes on (`No, I have asthma`).
_ANSWERS, _GOES_ON = (
    frozenset("no nope nah uh um well oh ah okay".split()),
    frozenset("i he she we they it there".split()),
)
_BEHIND = (("ruled", "out"), ("not", "present"), ("absent",), ("was", "negative"), ("is", "negative"), ("unlikely",))
_NO_ANSWER = re.compile(
    r"(?:(?:uh|um|h+m+|well|oh|ah|okay|thankfully|luckily|actually|fortunately)\W+)*"
    r"(?:no|nope|nah|never|not|none|nothing|nobody|neither|negative|i (?:do|did|have|am|was)(?: not|n['\u2019]t))\b"
    r"(?! (?:idea|doubt|problem|sure|know))",
    re.IGNORECASE,
)
_SIGN = re.compile(r"[(\[]([-+\u2212\u2013])[)\]]")
_RELATIVES = frozenset(
    """mother father mom mum dad brother brothers sister sisters aunt uncle grandmother grandfather
    grandparents grandma grandpa parents parent sibling siblings son daughter mgm mgf pgm pgf cousin cousins
    maternal paternal relative relatives""".split()
)
_PATIENT = frozenset(["patient", "he", "she", "i"])
_COMPANY = frozenset(["with", "by", "to"])
_OF_FAMILY = re.compile(
    r"(?:in|of|on|with)(?: (?:his|her|the|my|your|their|both|paternal|maternal|sides?|of))* "
    rf"(?:family|{'|'.join(sorted(_RELATIVES))})"
)
_PARTS = frozenset(
    """knee shoulder hip ankle wrist elbow hand finger thumb foot toe heel leg arm thigh calf eye ear breast
    lung kidney ovary testicle testis groin flank side temple cheek jaw lobe hemisphere atrium ventricle
    carotid femur tibia fibula humerus radius ulna clavicle scapula rib lower upper extremity quadrant
    parietal frontal temporal occipital""".split()
)
_SIDES = {"left": {"left"}, "right": {"right"}, "both": {"left", "right"}, "bilateral": {"left", "right"}}
_REACH_OF_SIDE = 3

#: What is said of each entity: its name -> the values that occur.
Said = Mapping[object, frozenset[str]]


def negation_flips(output: str, others: Sequence[str]) -> float | None:
    """Entities that the output affirms and the others only deny, or the reverse."""
    return _flips(_polarity(output), _together(_polarity(other) for other in others))


def subject_flips(output: str, others: Sequence[str]) -> float | None:
    """Entities that are the patient's in the output and only a relative's in the others, or the reverse."""
    return _flips(_subjects(output), _together(_subjects(other) for other in others))


def laterality_flips(output: str, others: Sequence[str]) -> float | None:
    """Parts of the body and problems that are on the left in the output and only on the right in the others, or the
    reverse."""
    return _flips(_sides(output), _together(_sides(other) for other in others))


def _flips(one: Said, other: Said) -> float | None:
    shared = one.keys() & other.keys()
    return float(sum(not one[name] & other[name] for name in shared)) if shared else None


def _together(texts: Iterable[Said]) -> Said:
    found: defaultdict[object, frozenset[str]] = defaultdict(frozenset)
    for said in texts:
        for name, values in said.items():
            found[name] |= values
    return found


@lru_cache(maxsize=256)
def _polarity(text: str) -> Said:
    return _said(pair for sentence, denied in _with_answers(text) for pair in _polarity_in(sentence, denied))


def _polarity_in(sentence: str, denied: bool) -> Iterator[tuple[object, str]]:
    """denied: whether all of it is."""
    words, found = tokens(sentence), mentions(sentence)
    before, behind = _signs(sentence)
    for mention in found:
        sign = before.get(mention.start - 1) or behind.get(mention.end)
        is_denied = denied or (sign != "+" if sign else _is_denied(words, mention.start, mention.end))
        yield mention.entity, "denied" if is_denied else "affirmed"


def _signs(sentence: str) -> tuple[dict[int, str], dict[int, str]]:
    """The signs that stand before what they are said of, and those behind it: place among the tokens -> sign.

    One with no word before it stands before, one with no word behind it stands behind; the others stand as the first
    of these does.
    """
    found = list(_SIGN.finditer(sentence))
    clear = [_stands_behind(sentence, sign) for sign in found]
    usual = next((stands for stands in clear if stands is not None), False)
    before: dict[int, str] = {}
    behind: dict[int, str] = {}
    for sign, stands in zip(found, clear, strict=True):
        side = behind if (usual if stands is None else stands) else before
        side[len(tokens(sentence[: sign.end()])) - 1] = sign[1]
    return before, behind


def _stands_behind(sentence: str, sign: re.Match[str]) -> bool | None:
    """None where a word stands on both sides of it."""
    if re.match(r"\s*(?:[,;.]|$)", sentence[sign.end() :]):
        return True
    return None if re.search(r"[^\W_]\s*$", sentence[: sign.start()]) else False


@lru_cache(maxsize=256)
def _subjects(text: str) -> Said:
    return _said(
        (mention.entity, "relative" if asked or _is_of_relative(words, mention.start, mention.end) else "patient")
        for sentence, asked in _with_family_asked(text)
        for words in [tokens(sentence)]
        for mention in mentions(sentence)
    )


@lru_cache(maxsize=256)
def _sides(text: str) -> Said:
    return _said(pair for sentence in sentences(text) for pair in _sides_in(sentence))


def _sides_in(sentence: str) -> Iterator[tuple[object, str]]:
    words = tokens(sentence)
    for at, word in enumerate(words):
        if (part := word.removesuffix("s")) in _PARTS:
            yield from ((part, side) for side in _side_before(words, at, _REACH_OF_SIDE))
    for mention in mentions(sentence):
        reach = 2 if words[mention.start - 1 : mention.start] == ("sided",) else 1
        yield from ((mention.entity, side) for side in _side_before(words, mention.start, reach))


def _said(pairs: Iterable[tuple[object, str]]) -> Said:
    return _together({name: frozenset({value})} for name, value in pairs)


def _with_answers(text: str) -> Iterator[tuple[str, bool]]:
    """Each sentence, and whether it is a question that the next sentence denies."""
    parts = [without_speaker(sentence) for sentence in sentences(text)]
    for at, sentence in enumerate(parts):
        answer = parts[at + 1] if at + 1 < len(parts) else ""
        yield sentence, sentence.endswith("?") and _NO_ANSWER.match(answer) is not None


def _with_family_asked(text: str) -> Iterator[tuple[str, bool]]:
    """Each sentence, and whether it answers a question about the family."""
    asked = False
    for sentence in map(without_speaker, sentences(text)):
        if sentence.endswith("?"):
            asked = not {"family", *_RELATIVES}.isdisjoint(tokens(sentence))
            yield sentence, False
        else:
            yield sentence, asked


def _is_denied(words: Sequence[str], start: int, end: int) -> bool:
    for at in range(start - 1, -1, -1):
        if words[at] in _STOPS:
            break
        if words[at] in _NEGATIONS and not _says_something_else(words, at):
            return True
    behind = tuple(words[end : end + 4])
    return any(behind[at : at + len(phrase)] == phrase for phrase in _BEHIND for at in range(3))


def _says_something_else(words: Sequence[str], at: int) -> bool:
    """Whether the negation at this place denies nothing."""
    if words[at + 1] in _NO_NEGATION:
        return True
    begins = _ANSWERS.issuperset(words[: at + 1])
    return begins and words[at + 1] in _GOES_ON


def _is_of_relative(words: Sequence[str], start: int, end: int) -> bool:
    for at in range(start - 1, -1, -1):
        if words[at] in _PATIENT:
            break
        if (words[at] in _RELATIVES or words[at] == "family") and _COMPANY.isdisjoint(words[max(at - 2, 0) : at]):
            return True
    return _OF_FAMILY.search(" ".join(words[end : end + 8])) is not None


def _side_before(words: Sequence[str], at: int, reach: int) -> frozenset[str]:
    for word in reversed(words[max(at - reach, 0) : at]):
        if word in _SIDES:
            return frozenset(_SIDES[word])
    return frozenset()
