"""Numbers that identify somebody, and those of every day: ratios, doses, counts, ranges."""

import pytest

from clinfit.data.deidentify import deidentified


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("On 6/10 she came, back by 3/14.", "On [DATE-1] she came, back by [DATE-2]."),
        ("Pain since 6/10. Pain began on 6/10.", "Pain since [DATE-1]. Pain began on [DATE-1]."),
        ("Strength is better since 3/14.", "Strength is better since [DATE-1]."),
        (
            "As of 5/5, at the end of 02/07, the week of 6/10",
            "As of [DATE-1], at the end of [DATE-2], the week of [DATE-3]",
        ),
        ("From 3/4 on.", "From [DATE-1] on."),
        ("31/12/2019, 12/31/2019, 3.4.50", "[DATE-1], [DATE-2], [DATE-3]"),
        ("03/04/2019 CC: chest pain", "[DATE-1] CC: chest pain"),
        ("3/4/2019 L knee, 03/2019 L knee", "[DATE-1] L knee, [DATE-2] L knee"),
        (
            "The accident of 7/4, a colonoscopy of 3/14, surgery of 3/4",
            "The accident of [DATE-1], a colonoscopy of [DATE-2], surgery of [DATE-3]",
        ),
        ("Pain after 5/6. Headaches before 5/10.", "Pain after [DATE-1]. Headaches before [DATE-2]."),
        ("He was in pain from 3/5 to 3/9.", "He was in pain from [DATE-1] to 3/9."),
    ],
)
def test_dates_stay_found(text: str, cleaned: str) -> None:
    assert deidentified([text]) == [cleaned]


@pytest.mark.parametrize(
    "text",
    [
        "Pain of 6/10, with a baseline of 4/10 and a maximum of 9/10.",
        "Strength of 5/5 in both arms. Reflexes of 2/4. Motor by 4/5.",
        "Pain went from 8/10 to 2/10 by 4/10.",
        "It fell from 8/10 to 2/10. A Glasgow score on 3/4.",
        "By 4/10 in severity.",
        "Vision of 20/20, BP 120/80, on 120/80.",
        "13/13/2019 and 20/20/20",
        "10/12/15 mmHg",
    ],
)
def test_ratios_are_no_dates(text: str) -> None:
    assert deidentified([text]) == [text]


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Her number is 555-1234, or 555-0199.", "Her number is [PHONE-1], or [PHONE-2]."),
        ("Call 200-1500. The number is 500-1000.", "Call [PHONE-1]. The number is [PHONE-2]."),
        ("Cell 212-555-0199", "Cell [PHONE-1]"),
        ("MRN 12345, MRN0012345, MRN: A-12345", "MRN [RECORD-1], MRN[RECORD-2], MRN: [RECORD-3]"),
        ("MRN:            12345", "MRN:            [RECORD-1]"),
        ("Account: 44871. Patient 123456.", "Account: [RECORD-1]. Patient [RECORD-2]."),
        ("Patient ID 1234, accession 12-3456", "Patient ID [RECORD-1], accession [RECORD-2]"),
        ("The mrn#123456, patient LGL1134", "The mrn#[RECORD-1], patient [RECORD-2]"),
        ("Order 7654321 was placed.", "Order [RECORD-1] was placed."),
        ("At EC1A 1BB, SW1A 1AA.", "At [ADDRESS-1], [ADDRESS-2]."),
    ],
)
def test_numbers_that_identify_stay_found(text: str, cleaned: str) -> None:
    assert deidentified([text]) == [cleaned]


@pytest.mark.parametrize(
    "text",
    [
        "Ibuprofen 400-1200 mg daily, 500-1000 mg at night.",
        "CD4 count 200-1500, CD4 cell 200-1500, leukocytes 120-1000, a range of 135-1451.",
        "Give the patient 1000 mg, then the patient 1500 mL and the patient 15000 units.",
        "Patient 1234 mg. Visit 2019. Case 20-30 2010. The hospital 30000 patients.",
        "HIV RNA 1234567, mRNA 1234567 and 7654321 copies/mL.",
        "Platelets 1500000 or 1234567 cells.",
        "The mRNA-1273 vaccine. NHSBT 12345.",
        "Vitamin B12 1MG, T4 5ML.",
    ],
)
def test_amounts_are_no_identifiers(text: str) -> None:
    assert deidentified([text]) == [text]
