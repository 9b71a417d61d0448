"""A generated answer to a label, or `unparsed` with the reason. In doubt it is unparsed, never the nearest label.

`PARSERS` names the ways in which saved answers can be read. The strict one is the default and the one of every report
that does not name another. Reasoning (prompts/reasoning.py) is removed first. Then it accepts three forms of an answer:

    stated     "Final answer: Cancer.", "The label is Non-Cancer", {"label": "Cancer"}
    alone      a sentence or a line that holds nothing but the label: "Cancer", "**Yes**", "Yes. There was ..."
    leading    "No, the trial ...", "B) ...", "Cancer because ...", where no other label is named

Labels are found as whole words or phrases, whatever their case: "prognosis" holds no "no", "Non-Cancer" no "Cancer".
A label of one letter is found in running text only in its own case, since "a" is an English word.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from clinfit.prompts.reasoning import without_reasoning

DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"), "-")
WORD = r"[^\W_]"
#: Between two word characters these make one word of them: non-cancer, yes/no, non_cancer, 0.5, no's.
JOINT = r"[-/_.,'’]"
#: Each label found in a text is replaced by one private-use character, so that the rules need not know the labels.
FIRST = 0xE000
MARK = "[\ue000-\uf8ff]"

SENTENCE_END = re.compile(r"(?<=[.!?;\n])")
STATEMENT = re.compile(
    r"\b(?P<final>final[\s_]+)?(?:answer|label|classification|class|category|prediction|conclusion|verdict)"
    rf"[\s\"'*_`]*(?:is|:|=|would\s+be|should\s+be)[\s\"'*_`:(\[]*(?P<mark>{MARK})"
    r"(?P<rest>[\s\"'*_`)\]}]*(?:$|[.,;:!]|because\b|since\b).*)",
    re.IGNORECASE | re.DOTALL,
)
LEADING = re.compile(
    rf"[\s\"'*_`(\[]*(?P<mark>{MARK})[\s\"'*_`\])]*(?P<rest>because\b|since\b|(?<=\))|[,:-])", re.IGNORECASE
)
#: Labels that English puts before a comma to answer a question; "Cancer, the second cause of death, ..." is no answer.
INTERJECTIONS = {"yes", "no", "maybe", "true", "false"}

NEGATION = re.compile(r"\b(?:not|never|cannot|whether|if)\b|n['’]t\b", re.IGNORECASE)
TURN = re.compile(r"\b(?:but|however|although|or|if|unless|maybe|perhaps|possibly|might)\b", re.IGNORECASE)
UNSURE = re.compile(
    r"\b(?:unsure|uncertain|unclear|unknown|undetermined|inconclusive|cannot|unable|insufficient)\b"
    r"|\bnot\s+(?:sure|certain|clear|know)\b|\b(?:can|could|do)n['’]t\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Parsed:
    """label: one of the labels, or None for unparsed. reason: the form that was found, or why none was."""

    label: str | None
    reason: str


@dataclass(frozen=True)
class Parser:
    """A named way of reading answers. version: raised whenever the same text may be read differently."""

    name: str
    version: int
    rule: str
    read: Callable[[str, Sequence[str]], Parsed]

    @property
    def title(self) -> str:
        """strict, version 1."""
        return f"{self.name}, version {self.version}"


def parse_answer(text: str, labels: Sequence[str]) -> Parsed:
    """The label that `text` answers with, by the strict rules (see the module's docstring)."""
    answer = _answer(text, labels)
    if isinstance(answer, Parsed):
        return answer
    keys = [_key(label) for label in labels]
    if "?" not in answer and _key(answer) in keys:
        return Parsed(labels[keys.index(_key(answer))], "alone")
    return _parse_masked(_mask(answer, labels), labels)


def parse_first_word(text: str, labels: Sequence[str]) -> Parsed:
    """The label with which the answer begins, whatever stands behind it.

    More answers are read than by the strict rules, and some wrongly: "No evidence against it" is read as "No".
    """
    answer = _answer(text, labels)
    if isinstance(answer, Parsed):
        return answer
    match = re.match(rf"[\W_]*?(?P<mark>{MARK})", _mask(answer, labels))
    return Parsed(labels[ord(match["mark"]) - FIRST], "first word") if match else Parsed(None, "no label at the start")


def parse_json(text: str, labels: Sequence[str]) -> Parsed:
    """The one label that is a value of a JSON object in the answer: {"label": "Cancer"}; text around it is not read.

    A value must be the whole label; keys, lists and nested objects are not looked at.
    """
    answer = _answer(text, labels)
    if isinstance(answer, Parsed):
        return answer
    objects = list(_objects(answer))
    if not objects:
        return Parsed(None, "no JSON object")
    keys = [_key(label) for label in labels]
    values = [_key(value) for found in objects for value in found.values() if isinstance(value, str)]
    named = {keys.index(value) for value in values if value in keys}
    if len(named) == 1:
        return Parsed(labels[named.pop()], "JSON")
    return Parsed(None, "several labels" if named else "no label")


PARSERS = {
    parser.name: parser
    for parser in (
        Parser("strict", 1, "a label that stands alone, is stated, or leads the answer; in doubt none", parse_answer),
        Parser("first-word", 1, "the label with which the answer begins, whatever follows", parse_first_word),
        Parser("json", 1, "the one label that is a value of a JSON object in the answer", parse_json),
    )
}


def _answer(text: str, labels: Sequence[str]) -> str | Parsed:
    """The text to read a label from, or why none can be read from it by any parser."""
    keys = [_key(label) for label in labels]
    if not all(_plain(label).strip() for label in labels):
        return Parsed(None, "a label holds no readable character")
    if len(set(keys)) < len(keys):
        return Parsed(None, "labels differ only in case or punctuation")
    answer = without_reasoning(_plain(text))
    if answer is None:
        return Parsed(None, "unfinished reasoning")
    return answer if answer.strip() else Parsed(None, "empty")


def _objects(text: str) -> Iterator[dict[str, object]]:
    """The JSON objects in a text, one behind the other."""
    decoder, at = json.JSONDecoder(), text.find("{")
    while at >= 0:
        try:
            found, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            found, end = None, at + 1
        if isinstance(found, dict):
            yield found
        at = text.find("{", end)


def _parse_masked(masked: str, labels: Sequence[str]) -> Parsed:
    found = set(re.findall(MARK, masked))
    if not found:
        return Parsed(None, "no label")
    sentences = [sentence for sentence in SENTENCE_END.split(masked) if sentence.strip()]
    final, stated = _statements(sentences)
    marks = final or stated | _alone(sentences)
    if len(marks) == 1:
        return Parsed(labels[ord(min(marks)) - FIRST], "stated" if final or stated else "alone")
    if len(found) > 1:
        return Parsed(None, "several labels")
    label = labels[ord(min(found)) - FIRST]
    return Parsed(label, "leading") if _leads(masked, sentences[0], label) else Parsed(None, "no clear answer")


def _plain(text: str) -> str:
    """NFKC, one kind of hyphen, no private-use characters."""
    return re.sub(MARK, " ", unicodedata.normalize("NFKC", text).translate(DASHES))


def _key(text: str) -> str:
    """What two spellings of a label share: case, outer punctuation and the kind of inner separator do not count."""
    folded = _plain(text).casefold().strip()
    inner = re.sub(r"^(?:(?!-\d)[^\w+%]|_)+|(?:[^\w+%]|_)+$", "", folded)
    return re.sub(r"(?<=\w)(?:[\s-]|_)+(?=\w)", " ", inner) or folded


def _mask(text: str, labels: Sequence[str]) -> str:
    """Each label in the text replaced by its private-use character; of two that start together the longer wins."""
    order = sorted(range(len(labels)), key=lambda k: -len(labels[k]))
    pattern = "|".join(f"(?P<k{k}>{_label_pattern(labels[k])})" for k in order)
    return re.sub(pattern, lambda match: chr(FIRST + int(str(match.lastgroup)[1:])), text, flags=re.IGNORECASE)


def _label_pattern(label: str) -> str:
    label = _plain(label).strip()
    parts = re.split(r"(?<=[^\W_])(?:[\s-]|_)+(?=[^\W_])", label)
    spelling = r"[\s_-]+".join(map(re.escape, parts))
    if len(label) == 1:
        spelling = f"(?-i:{spelling})"
    sign = "(?<![+-])" if label[0].isdigit() else ""
    return rf"(?<!{WORD})(?<!{WORD}{JOINT}){sign}{spelling}(?!{WORD})(?!{JOINT}{WORD})(?!\s?%)"


def _statements(sentences: Sequence[str]) -> tuple[set[str], set[str]]:
    """Marks in statements that say "final", and in all others."""
    final: set[str] = set()
    stated: set[str] = set()
    for sentence in sentences:
        match = STATEMENT.search(sentence)
        if match is None or sentence.rstrip().endswith("?") or len(set(re.findall(MARK, sentence))) > 1:
            continue
        if NEGATION.search(sentence, 0, match.start()) or TURN.search(match["rest"]) or UNSURE.search(match["rest"]):
            continue
        (final if match["final"] else stated).add(match["mark"])
    return final, stated


def _alone(sentences: Sequence[str]) -> set[str]:
    """Marks of the sentences that hold one label and no other word."""
    bare = [re.sub(rf"(?!{MARK})[\W_]", "", sentence) for sentence in sentences if not sentence.rstrip().endswith("?")]
    return {mark for mark in bare if len(mark) == 1 and re.fullmatch(MARK, mark)}


def _leads(masked: str, first: str, label: str) -> bool:
    match = LEADING.match(first)
    if match is None or first.rstrip().endswith("?") or TURN.search(first) or UNSURE.search(masked):
        return False
    return match["rest"].isalpha() or len(label) == 1 or label.casefold() in INTERJECTIONS
