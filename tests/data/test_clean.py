import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinfit.data.clean import (
    clean_inputs,
    normalise_whitespace,
    normalised,
    records_to_drop,
    strip_citations,
    strip_metadata,
    without_punctuation,
)
from clinfit.study.data import Cleaning


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("as shown [1].", "as shown."),
        ("as shown [2,3] and [4-6, 9].", "as shown and."),
        ("common (Smith et al., 2019).", "common."),
        ("common (Smith and Jones 2019; Lee, 2020a).", "common."),
        ("common (O'Brien & Müller, 2001)", "common"),
    ],
)
def test_citations_go(text: str, clean: str) -> None:
    assert strip_citations(text) == clean


@pytest.mark.parametrize(
    "text",
    [
        "95% CI [1, 3]",
        "CI [1,3]",
        "HR 1.2 [0.8, 1.6]",
        "(May 2019)",
        "(n = 2019)",
        "interval [2, 4]",
        "median 64 years [55-72]",
        "[Ca2+]",
        "(10 mg)",
    ],
)
def test_numbers_in_brackets_that_are_no_citations_stay(text: str) -> None:
    assert strip_citations(text) == text


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("<ID:123>\nTitle", "Title"),
        ("Text. PMID: 12345", "Text. "),
        ("Text. doi: 10.1000/xyz.1", "Text. "),
        ("A result. Copyright © 2019 Elsevier Ltd.", "A result."),
        ("A result. © 2019 The Authors.\nNext line", "A result.\nNext line"),
    ],
)
def test_metadata_goes(text: str, clean: str) -> None:
    assert strip_metadata(text) == clean


def test_a_copyright_in_the_middle_takes_no_abstract_with_it() -> None:
    text = "First. Copyright law was studied. " + "Long rest of the abstract. " * 20
    assert strip_metadata(text) == text


def test_whitespace_keeps_line_breaks() -> None:
    assert normalise_whitespace("  a \t b\n\n\n c\u00a0d ") == "a b\nc d"


def test_steps_count_the_records_that_they_changed() -> None:
    columns = {"title": ["a [1]", "b", None], "age": [1.0, 2.0, 3.0], "text": ["c [2]", "[3]", "d  e"]}
    cleaned, counts = clean_inputs(
        columns, ["title", "text"], Cleaning(strip_citations=True, normalise_whitespace=True)
    )
    assert cleaned == {"title": ["a", "b", None], "age": [1.0, 2.0, 3.0], "text": ["c", None, "d e"]}
    assert counts == {"strip_citations": 2, "normalise_whitespace": 1}


def test_drops_name_their_reason() -> None:
    columns = {
        "text": ["One two three, four five", None, "one two  three four FIVE.", "one two three four five", "else"]
    }
    targets = ["a", "a", "a", "b", "a"]
    dropped = records_to_drop(columns, targets, Cleaning(drop_missing=["text"], drop_duplicates=True))
    assert dropped == {1: "missing text", 2: "duplicate", 3: "duplicate with another label"}


def test_short_values_keep_their_signs() -> None:
    assert normalised("ER+") != normalised("ER-")


def test_without_punctuation_a_short_text_is_its_words() -> None:
    assert without_punctuation("What is COPD ?") == without_punctuation("what is  COPD?") == "what is copd"
    assert without_punctuation("graves' disease_") == "graves disease"
    assert without_punctuation("?!") == ""


@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalised(normalised(text)) == normalised(text)
    assert normalise_whitespace(normalise_whitespace(text)) == normalise_whitespace(text)
