"""Support in the source, copied stretches, and the form of the output."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinfit.evaluation.metrics.text import form, support

SOURCE = "The patient has asthma and uses albuterol. She smoked for ten years. The film shows nothing."
LETTERS = st.text(alphabet="abc de.\n", max_size=40)


def test_sentences_without_support() -> None:
    assert support.unsupported_sentences("Asthma, on albuterol. The kidney transplant was rejected.", SOURCE) == 0.5
    assert support.unsupported_sentences("It is.", SOURCE) is None
    assert support.unsupported_sentences("Asthma.", "") == 1.0


def test_extractiveness_by_hand() -> None:
    """Fragments of `a b c x b c` in `a b c d b c`: a b c and b c; Grusky et al. (2018)."""
    output, source = "one two three x two three", "one two three d two three"
    assert support.fragments(output, source) == (3, 2)
    assert support.coverage(output, source) == pytest.approx(5 / 6)
    assert support.density(output, source) == pytest.approx((9 + 4) / 6)
    assert support.compression("one two", "one two three four") == 2.0
    assert support.novel_bigrams(output, source) == pytest.approx(2 / 4)


def test_nothing_to_count_is_undefined() -> None:
    assert support.coverage("", SOURCE) is None and support.compression("", SOURCE) is None
    assert support.novel_bigrams("one", SOURCE) is None
    assert form.length_ratio("one", [""]) is None and form.repeated_ngrams("one two three") is None


@given(LETTERS, LETTERS)
def test_a_copy_is_all_copied(text: str, other: str) -> None:
    if support.tokens(text):
        assert support.coverage(text, text) == 1.0 and support.compression(text, text) == 1.0
        assert support.density(text, text) == len(support.tokens(text))
        assert 0 <= (support.coverage(text, other) or 0) <= 1
    assert support.unsupported_sentences(text, text) in {None, 0.0}


def test_length_is_against_the_nearest_reference() -> None:
    assert form.length_ratio("one two three four", ["one", "one two three four five"]) == pytest.approx(4 / 5)


def test_empty_and_cut_off() -> None:
    assert [form.empty(text) for text in ("", " .\n", "5")] == [1.0, 1.0, 0.0]
    assert form.cut_off("length") == 1.0 and form.cut_off("stop") == 0.0


@pytest.mark.parametrize(
    "text",
    [
        "Sure, here is the summary: asthma", "Sure! Asthma", "**Certainly!** Asthma", "Here is a short summary: x",
        "Here's the summary", "Of course, asthma", "Based on the provided text, asthma", "As an AI language model, I",
        "I'd be happy to help", "Okay, here it is", "The following is a summary",
        "Sure here is the summary", "Absolutely \u2013 asthma", "Of course here it is",
        "Great question\n\nAsthma is", "Sure\n\nSummary", "Of course\n\nThe note", "Sure thing! Here is",
        "**Sure** here is the summary", "Absolutely happy to help!",
    ],
)  # fmt: skip
def test_preambles(text: str) -> None:
    assert form.preamble(text) == 1.0


@pytest.mark.parametrize(
    "text",
    [
        "Asthma.", "Surely asthma.", "Here for asthma.", "Okay after surgery.", "The patient is sure.",
        "I have asthma.", "Based on the film, pneumonia.", "Certain drugs help.", "",
        "Absolutely no evidence of asthma.", "Certainly a tumour.", "Of course asthma.",
    ],
)  # fmt: skip
def test_answers_that_begin_alike_are_no_preambles(text: str) -> None:
    assert form.preamble(text) == 0.0


def test_repetition() -> None:
    assert form.repeated_ngrams("a1 b1 c1 d1 a1 b1 c1 d1") == pytest.approx(1 / 5)
    assert form.repeated_ngrams("fever " * 50) == pytest.approx(46 / 47)
