"""The normaliser keeps what changes a meaning, and takes out only what does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinfit.evaluation.metrics.text.normalise import normalise, sentences, tokens, without_speaker


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("0.9", "9.0"),
        ("0.5 mg", "5 mg"),
        ("5 mg", "5 g"),
        ("5 mg", "5 mcg"),
        ("vitamin A", "vitamin"),
        ("vitamin A", "vitamin K"),
        ("hepatitis a", "hepatitis"),
        ("group A", "group"),
        ("α-blocker", "β-blocker"),
        ("ER+", "ER-"),
        ("< 5", "> 5"),
        ("-5", "5"),
        ("5 %", "5"),
        ("no fever", "fever"),
        ("does not smoke", "does smoke"),
        ("left knee", "right knee"),
        ("1,000", "1.000,5"),
        ("B12", "B6"),
        ("HER2 (+)", "HER2 (-)"),
        ("HER2 (-)", "HER2"),
        ("HER2 (−)", "HER2 (+)"),
        ("troponin +", "troponin -"),
        ("troponin -, CK +", "troponin +, CK -"),
        ("troponin -\nCK 5", "troponin\nCK 5"),
        ("(+) fever", "(-) fever"),
        ("+", "-"),
        ("+", ""),
        ("+/- oedema", "+ oedema"),
        ("↑ creatinine", "↓ creatinine"),
        ("K ▲", "K ▼"),
        ("≥18", "> 18"),
        ("<= 5", "< 5"),
    ],
)
def test_what_changes_a_meaning_stays(one: str, other: str) -> None:
    assert normalise(one) != normalise(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The knee.", "knee"),
        ("A patient", "patient"),
        ("an ulcer", "Ulcer!"),
        ("doesn't", "does not"),
        ("doesn’t", "does not"),
        ("can't", "cannot"),
        ("won't", "will not"),
        ("Crohn's disease", "Crohn disease"),
        ("0.50", "0.5"),
        ("9.0", "9"),
        ("1,000", "1000"),
        ("0,5", "0.5"),
        ("500mg", "500 mg"),
        ("µg", "μg"),
        ("−5", "-5"),
        ("≥5", ">=5"),
        ("low-back pain", "low back pain"),
        ("≤ 5", "<= 5"),
        ("HER2 (−)", "HER2 (-)"),
        ("+/- oedema", "± oedema"),
        ("knee - pain", "knee pain"),
        ("knee – pain — worse", "knee pain worse"),
        ("- knee\n- hip", "knee hip"),
        ("3-5 days", "3 - 5 days"),
        ("3–5 days", "3-5 days"),
        ("café", "cafe\u0301"),
    ],
)
def test_what_does_not_change_a_meaning_goes(one: str, other: str) -> None:
    assert normalise(one) == normalise(other)


@given(st.text())
def test_case_space_and_punctuation_at_the_ends_do_not_matter(text: str) -> None:
    assert tokens(f"  {text}\n") == tokens(text)
    assert all(token and not token.isspace() for token in tokens(text))


def test_sentences_end_where_sentences_end() -> None:
    text = "Dr. Grey saw her. 0.5 mg helped! Any pain? No.\nSeen, e.g. by Mr. Lee."
    assert sentences(text) == (
        "Dr. Grey saw her.",
        "0.5 mg helped!",
        "Any pain?",
        "No.",
        "Seen, e.g. by Mr. Lee.",
    )
    assert sentences(" \n . ") == ()


@given(st.text())
def test_sentences_lose_no_word(text: str) -> None:
    parts = sentences(text)
    assert [letter for part in parts for letter in part if letter.isalnum()] == [x for x in text if x.isalnum()]


def test_who_speaks_is_left_out() -> None:
    assert without_speaker("Doctor: Any pain?") == "Any pain?"
    assert without_speaker("No pain at 10:30") == "No pain at 10:30"
