"""Identifiers by rules: what is found, what is left, and placeholders that are the same for the same text."""

import re
from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinfit.data.clean import clean_inputs
from clinfit.data.deidentify import count_identifiers, deidentified, identifiers
from clinfit.data.identifier_names import NAME_RULES
from clinfit.data.identifier_numbers import NUMBER_RULES, REACH, Rule
from clinfit.study.data import Cleaning

WILD = st.one_of(
    st.text(max_size=80),
    st.lists(
        st.sampled_from([*"0123456789-/., \n@[]", "Mrs. ", "Dr ", "Mary ", "Smith", "March ", "MRN ", "1 Oak Street"]),
        max_size=30,
    ).map("".join),
)
#: Pieces of which each may hide the next, in texts that are longer than a rule reaches.
PIECES = st.sampled_from(
    [
        "1 A St.", "0 A St", "a@b.co", "555-1234", "on 3/14", "MR ", "JOHN SMITH", "Mr.", "Émile Roux", " University",
        "J. ", "Name: ", "DOE, JANE", "patient 12345", "[NAME-7]", ", ", "-", ". ", " ", "pain of ", "6/10", " mg",
        "4 March", "7", "Jose\u0301",
    ]
)  # fmt: skip
LONG = st.lists(st.tuples(st.lists(PIECES, min_size=1, max_size=6).map("".join), st.integers(1, 40)), max_size=4).map(
    lambda parts: "".join(part * times for part, times in parts)
)
#: Each takes much time where rules are looked for again and again, or from every character anew.
HARD = [
    "a", "A", "1", " ", ".", "[", "Aa-", "a.", "a@", "QWxhZGRpbjpvcGVu", "MRN", "MRN ", "case ", "medical ", "de la ",
    "A. A. A. ", "A.-", "É", "Aa Bb ", "Mr. ", "MR AB ", "Name: ", "1/1/1/1/", "3-4-", "555-", "on 3/14-", "1 A St.",
    "0 A St.", "Mr. Smith-Dr. Jones-", "a@b.co1 A St,", "Mary ", "JOHN SMITH ", "4 March", "[NAME-1]",
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Mrs. Jane Doe slept well.", "Mrs. [NAME-1] slept well."),
        ("Seen by Dr. O'Neil.", "Seen by Dr. [NAME-1]."),
        ("My name is Thandiwe Osei.", "My name is [NAME-1]."),
        ("Smith, John A. came.", "[NAME-1] came."),
        ("MR SMITH CAME.", "MR [NAME-1] CAME."),
        ("Born on 3/4/2019.", "Born on [DATE-1]."),
        ("Since March 2019.", "Since [DATE-1]."),
        ("On 4 March and 2019-03-04.", "On [DATE-1] and [DATE-2]."),
        ("On 4-Mar-2019.", "On [DATE-1]."),
        ("Born 1950-03-04T00:00, seen 2019-03-04T10:15:00Z.", "Born [DATE-1]T00:00, seen [DATE-2]T10:15:00Z."),
        ("Mr. Smith came. SMITH was tired.", "Mr. [NAME-1] came. [NAME-1] was tired."),
        ("MR SMITH CAME. Smith was tired.", "MR [NAME-1] CAME. [NAME-1] was tired."),
        ("Mrs. Rose came. Her rash rose.", "Mrs. [NAME-1] came. Her rash rose."),
        ("Back on 3/14.", "Back on [DATE-1]."),
        ("Call (212) 555-0199.", "Call [PHONE-1]."),
        ("Tel. +44 20 7946 0958.", "Tel. [PHONE-1]."),
        ("MRN: 0012345, SSN 123-45-6789.", "MRN: [RECORD-1], SSN [RECORD-2]."),
        ("Medical record number 44871.", "Medical record number [RECORD-1]."),
        ("Write to a.b@mail.example.org.", "Write to [EMAIL-1]."),
        ("At 12 Oak Street, Apt 4, Dayton, OH 45402.", "At [ADDRESS-1]."),
    ],
)
def test_identifiers_go(text: str, cleaned: str) -> None:
    assert deidentified([text]) == [cleaned]


@pytest.mark.parametrize(
    "text",
    [
        "Pain 5/10, BP 120/80, 0.5 mg, 3-5 days.",
        "Patient: Nope. Doctor: Okay, and since when?",
        "Crohn's disease, James score.",
        "He may walk. In 2019 she fell. Ward 12.",
        "PMID: 12345678 and NCT01234567.",
        "Case 12, CD10 and HB-5 positive.",
        "Nurse will call. Dr. X saw her.",
        "Age 45, weight 80.5 kg, 95% CI 1.2-3.4.",
    ],
)
def test_what_identifies_nobody_stays(text: str) -> None:
    assert deidentified([text]) == [text]


def test_the_same_text_has_one_placeholder_in_all_texts_of_a_record() -> None:
    texts = ["Mrs Abernathy came on 3/4/2019.", "Abernathy was well; not as on 3/4/2019, but as on 3/5/2019."]
    assert deidentified(texts) == [
        "Mrs [NAME-1] came on [DATE-1].",
        "[NAME-1] was well; not as on [DATE-1], but as on [DATE-2].",
    ]


def test_a_reference_changes_nothing_in_the_texts() -> None:
    texts = ["Adebayo took aspirin. Mrs Doe did not."]
    reference = "Mr. Adebayo takes aspirin, DOE and Mr. Poe do not."
    assert deidentified(texts) == ["Adebayo took aspirin. Mrs [NAME-1] did not."]
    assert deidentified(texts, reference) == [
        *deidentified(texts),
        "Mr. [NAME-2] takes aspirin, [NAME-1] and Mr. [NAME-3] do not.",
    ]


def seconds(text: str) -> float:
    """Of the processor, the lesser of two tries: another process may have had it."""
    tries = []
    for _ in range(2):
        began = process_time()
        deidentified([text])
        tries.append(process_time() - began)
    return min(tries)


@pytest.mark.parametrize("part", HARD)
def test_four_times_the_text_takes_about_four_times_as_long(part: str) -> None:
    once, four_times = (seconds("MRN " + part * (length // len(part))) for length in (3_000, 12_000))
    # what takes no time at all has no ratio; sixteen times is what a square would be
    assert four_times < 8 * max(once, 0.02)


@pytest.mark.parametrize("part", ["a", "A", "1", " ", "A. A. A. ", "1/1/1/1/", "Aa-", "a.", "medical ", "[", "É"])
def test_text_without_a_break_takes_time_by_its_length_alone(part: str) -> None:
    assert seconds(part * (100_000 // len(part))) < 3


def test_many_different_names_are_looked_for_at_once() -> None:
    def text(names: int) -> str:
        return " ".join(
            f"Mr. {chr(65 + k % 26)}{''.join(chr(97 + k // 26**n % 26) for n in range(4))} is." for k in range(names)
        )

    assert seconds(text(2_000)) < 8 * max(seconds(text(500)), 0.02)


@pytest.mark.parametrize("rule", [*NUMBER_RULES, *NAME_RULES])
def test_no_rule_reaches_further_than_what_is_looked_at_again(rule: Rule) -> None:
    # The standard library measures a pattern here alone.
    assert re._parser.parse(rule.pattern.pattern).getwidth()[1] <= REACH  # type: ignore[attr-defined]


def test_a_text_that_was_cleaned_before_goes_on_counting() -> None:
    assert deidentified(["[NAME-1] and Mrs Doe"]) == ["[NAME-1] and Mrs [NAME-2]"]


def test_what_one_identifier_hid_is_found_behind_its_placeholder() -> None:
    assert deidentified(["0 A St.0 A St"]) == ["[ADDRESS-1][ADDRESS-2]"]
    many = deidentified(["0 A St." * 300])[0]
    assert many == "[ADDRESS-1]" * 300
    assert len(identifiers("0 A St." * 300)) == 300


def test_a_placeholder_with_an_endless_number_is_text() -> None:
    for digits in ("9" * 5_000, "999999999", "1000000000"):
        cleaned = deidentified([f"[NAME-{digits}] Mrs Doe"])
        assert "Doe" not in cleaned[0] and deidentified(cleaned) == cleaned


def test_counts() -> None:
    assert count_identifiers(["Mrs Doe, 3/4/2019, 3/5/2019", ""]) == [{"name": 1, "date": 2}, {}]


@given(st.lists(WILD, max_size=3))
@settings(max_examples=200, deadline=None)
def test_any_text_once_cleaned_stays_as_it_is(texts: list[str]) -> None:
    cleaned = deidentified(texts)
    assert deidentified(cleaned) == cleaned
    for text in texts:
        ends = [0]
        for found in identifiers(text):
            assert ends[-1] <= found.start < found.end <= len(text)
            ends.append(found.end)


@given(st.lists(LONG, min_size=1, max_size=2))
@settings(max_examples=60, deadline=None)
def test_nothing_is_left_in_a_long_text(texts: list[str]) -> None:
    cleaned = deidentified(texts)
    assert deidentified(cleaned) == cleaned
    assert [identifiers(text) for text in cleaned] == [[] for _ in cleaned]


def test_the_cleaning_does_it_record_by_record() -> None:
    columns = {"a": ["Mrs Doe [1]", "Mrs Poe", None], "age": [1.0, 2.0, 3.0], "b": ["Doe", "Doe", "none"]}
    cleaned, counts = clean_inputs(columns, ["a", "b"], Cleaning(deidentify=True, strip_citations=True))
    assert cleaned["a"] == ["Mrs [NAME-1]", "Mrs [NAME-1]", None]
    assert cleaned["b"] == ["[NAME-1]", "Doe", "none"]
    assert counts == {"strip_citations": 1, "deidentify": 2}
