"""Overlap with the reference: the values of the packages, their blind spots, and the empty cases."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinfit.evaluation.metrics.text import overlap

WORDS = st.text(alphabet="ab c.\n5", max_size=30)


def test_rouge_does_not_see_a_number_turned_round() -> None:
    """Why these are called proxies: rouge-score reads "0.9" as "0" and "9", in any order."""
    assert overlap.rouge("0.9", ["9.0"])["rouge1"] == 1.0
    assert overlap.token_f1("0.9", "9.0") == 0.0
    assert overlap.exact_match("0.9", "9.0") == 0.0


def test_exact_match_as_written_and_normalised() -> None:
    assert overlap.exact_match_raw(" 5 mg\n", "5 mg") == 1.0
    assert overlap.exact_match_raw("5mg.", "5 mg") == 0.0
    assert overlap.exact_match("5mg.", "5 mg") == 1.0


@pytest.mark.parametrize(
    ("output", "reference", "f1"), [("", "", 1), ("", "a b", 0), (".", "fever", 0), ("fever", "", 0)]
)
def test_both_empty_is_one_and_one_empty_is_nothing(output: str, reference: str, f1: float) -> None:
    assert overlap.token_f1(output, reference) == f1
    assert overlap.exact_match(output, reference) == f1


def test_token_f1_by_hand() -> None:
    assert overlap.token_f1("left knee pain", "pain in the left knee") == pytest.approx(2 * 3 / (3 + 4))


def test_rouge_by_hand() -> None:
    found = overlap.rouge("the left knee hurts", ["the right knee hurts"])
    assert found["rouge1"] == pytest.approx(3 / 4) and found["rouge2"] == pytest.approx(1 / 3)
    assert found["rougeL"] == pytest.approx(3 / 4)


def test_rouge_takes_the_best_reference_for_each() -> None:
    assert overlap.rouge("knee pain", ["pain knee", "fever"])["rouge1"] == 1.0


def test_rouge_stems_and_lsum_divides_sentences() -> None:
    assert overlap.rouge("headaches", ["headache"])["rouge1"] == 1.0
    found = overlap.rouge("No fever. Knee pain.", ["Knee pain. No fever."])
    assert found["rougeLsum"] == 1.0 and found["rougeL"] == 0.5


def test_what_rouge_cannot_read_is_undefined() -> None:
    assert set(overlap.rouge("痛み", ["痛み"]).values()) == {None}
    assert overlap.rouge("fever", ["fever"])["rouge2"] is None  # one word has no pair
    assert overlap.rouge("", ["fever"])["rouge1"] == 0.0


def test_rouge_of_another_script_is_undefined() -> None:
    """rouge-score would compare the "5 mg" alone."""
    assert set(overlap.rouge("Ο ασθενής πέθανε, 5 mg", ["Η δόση είναι 5 mg"]).values()) == {None}
    assert overlap.rouge("5 mg", ["Доза 5 мг", "dose 5 mg"])["rouge1"] == pytest.approx(0.8)
    assert overlap.rouge("fièvre élevée", ["fièvre élevée"])["rouge1"] == 1.0
    assert overlap.rouge("5", ["5"])["rouge1"] == 1.0


def test_chrf() -> None:
    assert overlap.chrf("痛み", ["痛み"]) == 1.0
    assert overlap.chrf("fever", ["", " "]) is None
    assert overlap.chrf("", ["fever"]) == 0.0


def test_settings_are_stated() -> None:
    stated = overlap.signatures()
    assert "stemmer" in stated["rouge"]
    assert "nc:6" in stated["chrf"] and "nw:0" in stated["chrf"] and "case:mixed" in stated["chrf"]


@given(WORDS, WORDS)
@settings(max_examples=50)
def test_token_f1_is_symmetric_and_one_for_itself(one: str, other: str) -> None:
    assert overlap.token_f1(one, other) == overlap.token_f1(other, one)
    assert overlap.token_f1(one, one) == 1.0 == overlap.exact_match(one, one)
    assert overlap.exact_match(one, other) <= overlap.token_f1(one, other)
