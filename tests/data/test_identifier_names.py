"""Names of people: every way of writing that a rule is made for, and terms that look like it."""

import unicodedata

import pytest

from clinfit.data.deidentify import deidentified


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Seen by Dr. J. Smith in clinic.", "Seen by Dr. [NAME-1] in clinic."),
        ("Dr. J. R. Smith, MD", "Dr. [NAME-1], MD"),
        ("Dr J Smith and Mr. J.-P. Roux agree.", "Dr [NAME-1] and Mr. [NAME-2] agree."),
        ("Seen by J. Smith.", "Seen by [NAME-1]."),
        ("Mr.Jones, Dr.Smith and Mr.J.Poe", "Mr.[NAME-1], Dr.[NAME-2] and Mr.[NAME-3]"),
        ("Miss. A. Khan", "Miss. [NAME-1]"),
        ("Dr. van der Berg saw Mrs. de la Cruz.", "Dr. [NAME-1] saw Mrs. [NAME-2]."),
        (
            "Dr. Black saw Jane White, a white woman. White skin.",
            "Dr. [NAME-1] saw [NAME-2], a white woman. White skin.",
        ),
        ("Ms. D'Angelo and Mr. McDonald", "Ms. [NAME-1] and Mr. [NAME-2]"),
    ],
)
def test_initials_titles_without_a_space_particles_and_surnames_that_are_words(text: str, cleaned: str) -> None:
    assert deidentified([text]) == [cleaned]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Mr. José Álvarez slept.", "Mr. [NAME-1] slept."),
        ("Dr. Émile Roux agrees.", "Dr. [NAME-1] agrees."),
        ("Ms. Şahin, Mr. Łukasz Żak, Mr. Đặng", "Ms. [NAME-1], Mr. [NAME-2], Mr. [NAME-3]"),
        ("José came. María did not.", "[NAME-1] came. [NAME-2] did not."),
        ("MR. ÁLVAREZ CAME. Álvarez slept.", "MR. [NAME-1] CAME. [NAME-1] slept."),
        ("Name: JOSÉ ÁLVAREZ", "Name: [NAME-1]"),
    ],
)
def test_accents_as_one_character_or_as_two(form: str, text: str, cleaned: str) -> None:
    assert deidentified([unicodedata.normalize(form, text)]) == [cleaned]


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("MR JOHN SMITH", "MR [NAME-1]"),
        ("MR JOHN SMITH was admitted.", "MR [NAME-1] was admitted."),
        ("Seen by DR THANDIWE OSEI.", "Seen by DR [NAME-1]."),
        ("DR J. SMITH AND MS. JONES CALLED.", "DR [NAME-1] AND MS. [NAME-2] CALLED."),
        ("MR. WHITE CAME. Mr. WHITE slept.", "MR. [NAME-1] CAME. Mr. [NAME-1] slept."),
        ("MRS. BLACK, DR. WARD, MR. INGRAM", "MRS. [NAME-1], DR. [NAME-2], MR. [NAME-3]"),
        ("MRS. NEW and Mr. MAY", "MRS. [NAME-1] and Mr. [NAME-2]"),
        ("MR SMITH RECOVERED.", "MR [NAME-1] RECOVERED."),
        ("MRS. O'BRIEN DENIES PAIN.", "MRS. [NAME-1] DENIES PAIN."),
        ("MR Abernathy CAME ALONE.", "MR [NAME-1] CAME ALONE."),
        ("Mr. John SMITH and Dr. SMITH", "Mr. [NAME-1] and Dr. [NAME-2]"),
        ("Dr. Smith ENT, Mr. Doe HIV negative", "Dr. [NAME-1] ENT, Mr. [NAME-2] HIV negative"),
        ("Name: JANE DOE", "Name: [NAME-1]"),
        ("Name:            Thandiwe Osei", "Name:            [NAME-1]"),
        ("NAME: DOE, JANE A. AGE: 45", "NAME: [NAME-1] AGE: 45"),
        ("Patient name: JANE DOE SEX: F", "Patient name: [NAME-1] SEX: F"),
        ("Name: Jane Doe Sex: F", "Name: [NAME-1] Sex: F"),
    ],
)
def test_names_in_capitals(text: str, cleaned: str) -> None:
    assert deidentified([text]) == [cleaned]


@pytest.mark.parametrize(
    "text",
    [
        "MR ANGIOGRAPHY WAS NORMAL.",
        "MR IMAGING OF THE BRAIN. MR Imaging of the brain. The MR ENTEROGRAPHY was normal.",
        "MR BRAIN WITH CONTRAST, MR FLAIR, MR T2",
        "SEVERE MR. GAIT IS NORMAL. MR IS MILD.",
        "MS CONTIN 15 MG BID. MS Contin 30 mg.",
        "HISTORY OF MS. PATIENT DENIES FALLS. MS FLARE, MS LESIONS. MS is stable.",
        "DR SCREENING IS DUE. PROLIFERATIVE DR. REFERRED.",
        "DR WILL CALL. Will she come?",
        "PT EVALUATION. PT TOLERATED IT WELL.",
        "Patient: White male. Yes, Sir. Good.",
        "DID NOT MISS DOSES.",
        "Drug name: Aspirin. Medication Name: LISINOPRIL",
        "Seen by Dr. X.  Two weeks later she was well.",
        "King Edward Memorial Hospital, Virginia Medical School, James score",
    ],
)
def test_terms_that_look_like_names_stay(text: str) -> None:
    assert deidentified([text]) == [text]


def test_a_name_before_a_heading_is_no_place() -> None:
    assert deidentified(["John Smith Hospital Course"]) == ["[NAME-1] Hospital Course"]


@pytest.mark.parametrize("behind", ["Medical Assistant", "Health Aide", "Health care proxy", "Clinic Nurse"])
def test_a_profession_makes_a_name_no_place(behind: str) -> None:
    assert "Smith" not in deidentified([f"Called Karen Smith {behind}."])[0]
