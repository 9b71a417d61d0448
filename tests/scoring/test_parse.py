"""The strict parser: what other parsers misread, and what it must always or never read."""

import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from clinfit.scoring.parse import PARSERS, Parser, parse_answer

YES_NO = ["yes", "no"]
THREE = ["yes", "no", "maybe"]
CANCER = ["Non-Cancer", "Cancer"]
LETTERS = ["A", "B", "C", "D"]

READ = [
    # reasoning is removed before anything is searched
    ("<think>answer is no</think> Yes", YES_NO, "yes"),
    ("<think>maybe the answer is no</think> Yes", THREE, "yes"),
    ("<THINK>no\nno</THINK>\n\nYes", YES_NO, "yes"),
    ("the answer is no </think> Yes.", YES_NO, "yes"),
    ("<think>a</think><think>Answer: no</think>Answer: yes", YES_NO, "yes"),
    # alone
    ("Non-Cancer", CANCER, "Non-Cancer"),
    ("non cancer", CANCER, "Non-Cancer"),
    ("NON–CANCER.", CANCER, "Non-Cancer"),
    ("non‑cancer", CANCER, "Non-Cancer"),
    ("**Cancer**\n", CANCER, "Cancer"),
    ("Yes. There was no difference.", YES_NO, "yes"),
    ("Answer:\nYes", YES_NO, "yes"),
    ("a", LETTERS, "A"),
    ("(B)", LETTERS, "B"),
    ("1", ["0", "1"], "1"),
    ("-1", ["-1", "0", "1"], "-1"),
    ("3+", ["1+", "2+", "3+"], "3+"),
    ("Unknown", ["known", "unknown"], "unknown"),
    # stated
    ("Answer: A", LETTERS, "A"),
    ("The answer is Non-Cancer.", CANCER, "Non-Cancer"),
    ("**Answer:** Cancer", CANCER, "Cancer"),
    ('{"label": "Cancer", "confidence": 0.9}', CANCER, "Cancer"),
    ("The answer is yes because it is not rare.", YES_NO, "yes"),
    ("At first: answer: no. Final answer: yes", YES_NO, "yes"),
    # leading
    ("No, the trial did not show a benefit.", YES_NO, "no"),
    ("B) Beta blockers", LETTERS, "B"),
    ("Cancer because it studies tumours.", CANCER, "Cancer"),
]
UNPARSED = [
    ("", YES_NO, "empty"),
    (" \n\t", YES_NO, "empty"),
    ("<think>yes</think>", YES_NO, "empty"),
    ("<think>the answer is yes", YES_NO, "unfinished reasoning"),
    ("Yes <think> but then", YES_NO, "unfinished reasoning"),
    ("Unknown", YES_NO, "no label"),
    ("not sure", YES_NO, "no label"),
    ("I am not sure", YES_NO, "no label"),
    ("Cannot determine", YES_NO, "no label"),
    ("prognosis", YES_NO, "no label"),
    ("Needs a larger trial", THREE, "no label"),
    ("Needs a larger trial", LETTERS, "no label"),
    ("A larger trial is needed", LETTERS, "no clear answer"),
    ("Answer: A larger trial", LETTERS, "no clear answer"),
    ("Answer: A", YES_NO, "no label"),
    ("There is no doubt.", YES_NO, "no clear answer"),
    ("precancer", CANCER, "no label"),
    ("pre-cancer", CANCER, "no label"),
    ("non-cancer", ["Cancer", "Control"], "no label"),
    ("non cancer", ["Cancer", "Control"], "no clear answer"),
    ("not cancer", CANCER, "no clear answer"),
    ("No evidence of cancer", CANCER, "no clear answer"),
    ("No evidence", YES_NO, "no clear answer"),
    ("Cancer, the second cause of death, is common", CANCER, "no clear answer"),
    ("The answer is not yes", YES_NO, "no clear answer"),
    ("The answer is no longer clear", YES_NO, "no clear answer"),
    ("I don't think the answer is yes.", YES_NO, "no clear answer"),
    ("Answer: yes, but I am unsure", YES_NO, "no clear answer"),
    ("Yes?", YES_NO, "no clear answer"),
    ("Is the answer yes?", YES_NO, "no clear answer"),
    ("yes and no", YES_NO, "several labels"),
    ("Yes, or maybe no", YES_NO, "several labels"),
    ("Answer: yes or no", YES_NO, "several labels"),
    ("Yes\nNo", YES_NO, "several labels"),
    ("Answer: Yes\n\nQuestion: next\nAnswer: No", YES_NO, "several labels"),
    ("yes/no", YES_NO, "no label"),
    ("0.95", ["0", "1"], "no label"),
    ("-1", ["0", "1"], "no label"),
    ("1 %", ["0", "1"], "no label"),
    ("yes", ["Yes", "YES"], "labels differ only in case or punctuation"),
]


@pytest.mark.parametrize(("text", "labels", "label"), READ)
def test_clear_answer_is_read(text: str, labels: list[str], label: str) -> None:
    assert parse_answer(text, labels).label == label


@pytest.mark.parametrize(("text", "labels", "reason"), UNPARSED)
def test_doubt_is_unparsed_with_its_reason(text: str, labels: list[str], reason: str) -> None:
    parsed = parse_answer(text, labels)
    assert (parsed.label, parsed.reason) == (None, reason)


def test_no_doubt_yes_is_never_no() -> None:
    assert parse_answer("There is no doubt: yes", YES_NO).label in {"yes", None}


label_sets = st.sampled_from([YES_NO, THREE, CANCER, LETTERS, ["no finding", "tumör ≥ 2"], ["0", "1"], ["1+", "2+"]])
noise = st.text(alphabet=" \t\n.,;:!*_`'\"()[]{}", max_size=6)


@given(label_sets, st.data(), noise, noise)
def test_bare_label_is_read_whatever_stands_around_it(
    labels: list[str], data: st.DataObject, before: str, after: str
) -> None:
    label = data.draw(st.sampled_from(labels))
    spelt = "".join(data.draw(st.sampled_from([c.lower(), c.upper()])) for c in label)
    assert parse_answer(before + spelt + after, labels).label == label


@given(label_sets, st.text(max_size=200))
def test_text_without_a_label_is_unparsed(labels: list[str], text: str) -> None:
    folded = unicodedata.normalize("NFKC", text).casefold()
    # Separators inside a label may vary, so its first word stands for it.
    assume(not any(label.casefold().replace("-", " ").split()[0] in folded for label in labels))
    assert parse_answer(text, labels).label is None


@given(label_sets, st.data(), st.characters(categories=["L", "N"]), st.booleans())
def test_label_inside_a_longer_word_is_unparsed(
    labels: list[str], data: st.DataObject, letter: str, in_front: bool
) -> None:
    label = data.draw(st.sampled_from(labels))
    text = letter + label if in_front else label + letter
    plain = unicodedata.normalize("NFKC", letter)
    assume(plain[0].isalnum() and plain[-1].isalnum())
    assert parse_answer(text, labels).label is None


@given(st.text(max_size=200), st.lists(st.text(min_size=1, max_size=8).filter(str.strip), min_size=2, max_size=4))
def test_any_text_with_any_labels_gives_a_declared_label_or_none(text: str, labels: list[str]) -> None:
    parsed = parse_answer(text, labels)
    assert parsed.label is None or parsed.label in labels
    assert parsed.reason


@given(label_sets, st.text(max_size=100))
def test_reasoning_never_changes_the_answer(labels: list[str], reasoning: str) -> None:
    assume("<" not in reasoning)
    assert parse_answer(f"<think>{reasoning}</think>{labels[1]}", labels).label == labels[1]


# ---------------------------------------------------------------- named parsers

FIRST_WORD = [
    ("Yes it is, no doubt", YES_NO, "yes"),
    ("**No** evidence", YES_NO, "no"),
    ("non-cancer, not cancer", CANCER, "Non-Cancer"),
    ("<think>no</think> Yes", YES_NO, "yes"),
    ("Not cancer", CANCER, None),
    ("The answer is yes", YES_NO, None),
    ("Nobody knows", YES_NO, None),
    ("precancer", CANCER, None),
    ("", YES_NO, None),
    ("yes", ["Yes", "YES"], None),
]
JSON = [
    ('{"label": "Cancer", "why": "no Non-Cancer words"}', CANCER, "Cancer"),
    ('Here it is:\n```json\n{"answer": "YES"}\n``` no', YES_NO, "yes"),
    ('{"a": "yes"} and {"b": "yes"}', YES_NO, "yes"),
    ('{"a": "yes"} and {"b": "no"}', YES_NO, None),
    ('{"label": "yes or no"}', YES_NO, None),
    ('{"yes": true}', YES_NO, None),
    ('{"label": ["yes"]}', YES_NO, None),
    ('{"label": "yes"', YES_NO, None),
    ("{" * 2000, YES_NO, None),
    ("yes", YES_NO, None),
]


@pytest.mark.parametrize(("text", "labels", "label"), FIRST_WORD)
def test_first_word(text: str, labels: list[str], label: str | None) -> None:
    assert PARSERS["first-word"].read(text, labels).label == label


@pytest.mark.parametrize(("text", "labels", "label"), JSON)
def test_json(text: str, labels: list[str], label: str | None) -> None:
    assert PARSERS["json"].read(text, labels).label == label


@pytest.mark.parametrize("parser", PARSERS.values(), ids=lambda parser: parser.name)
@given(st.text(max_size=80), st.lists(st.text(min_size=1, max_size=8).filter(str.strip), min_size=2, max_size=4))
def test_every_parser_gives_a_declared_label_or_a_reason(parser: Parser, text: str, labels: list[str]) -> None:
    parsed = parser.read(text, labels)
    assert parsed.label is None or parsed.label in labels
    assert parsed.reason


@pytest.mark.parametrize("parser", PARSERS.values(), ids=lambda parser: parser.name)
def test_no_parser_reads_a_label_where_there_is_none(parser: Parser) -> None:
    for text in ("", "Unknown", "not sure", "Cannot determine", "prognosis", "Needs a larger trial"):
        assert parser.read(text, YES_NO).label is None


def test_the_strict_parser_is_version_1() -> None:
    """Raise the version when the same text may be read differently: published figures name it."""
    assert PARSERS["strict"].title == "strict, version 1" and PARSERS["strict"].read is parse_answer
