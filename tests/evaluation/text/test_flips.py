"""Negation, subject and side of what two texts share."""

import pytest

from clinfit.evaluation.metrics.text.flips import laterality_flips, negation_flips, subject_flips


@pytest.mark.parametrize(
    ("output", "other", "flips"),
    [
        ("She has fever.", "No fever.", 1),
        ("No fever, cough or asthma.", "Fever, cough, asthma.", 3),
        ("She denies fever.", "There was no fever.", 0),
        ("No fever but cough.", "Cough without fever.", 0),
        ("Pneumonia was ruled out.", "Pneumonia.", 1),
        ("No change in asthma.", "Asthma.", 0),
        ("(-) fever (+) cough", "Fever and cough.", 1),
        ("Fever (-), cough (+).", "Fever and cough.", 1),
        ("Exam: (-) fever, (-) asthma, (+) cough", "Fever, asthma, cough.", 2),
        ("Fever, troponin (-)", "Fever.", 0),
        ("Known asthma, (-) fever (+) cough", "Asthma, fever, cough.", 1),
        ("No asthma, fever (+), cough (-)", "Asthma, fever, cough.", 2),
        ("Fever (-), cough (+) for 3 days", "No fever, but cough.", 0),
        ("(-) fever, cough (+)", "No fever, but cough.", 0),
        ("(-) fever, cough (-)", "Fever and cough.", 2),
        ("Fever (-) cough (+).", "No fever, but cough.", 0),
        ("(+) fever (-) asthma, cough (-)", "Fever, no asthma, no cough.", 0),
        ("Denies fever + cough.", "No fever and no cough.", 0),
        ("Asthma -\nwell controlled.", "Asthma.", 0),
        ("No fever (+) cough", "Cough without fever.", 0),
        ("Fever - resolved with rest", "Fever.", 0),
        ("Not only asthma.", "Asthma.", 0),
        ("Fever.", "Doctor: Any fever?\nPatient: No.", 1),
        ("Fever.", "Doctor: Any fever?\nPatient: Um, no, nothing.", 1),
        ("Fever.", "Doctor: Any fever?\nPatient: Yes.", 0),
        ("Fever.", "No fever yesterday. Fever today.", 0),
        ("No, I have asthma.", "Asthma.", 0),
        ("Well, no, he has asthma.", "Asthma.", 0),
        ("Patient denies she had fever.", "Fever.", 1),
        ("She denies there was any fever.", "Fever.", 1),
        ("No, I have no asthma.", "No asthma.", 0),
        ("Fever.", "Asthma.", None),
    ],
)
def test_negation(output: str, other: str, flips: int | None) -> None:
    assert negation_flips(output, [other]) == flips
    assert negation_flips(other, [output]) == flips


@pytest.mark.parametrize(
    ("output", "other", "flips"),
    [
        ("She had a stroke.", "Her mother had a stroke.", 1),
        ("Family history of diabetes.", "He has diabetes.", 1),
        ("Diabetes in his brother.", "His brother has diabetes.", 0),
        ("Came with her mother for asthma.", "She has asthma.", 0),
        ("Asthma.", "Does anyone in the family have asthma? Asthma, yes.", 1),
        ("Her mother had a stroke, and she has asthma.", "The patient has asthma.", 0),
    ],
)
def test_subject(output: str, other: str, flips: int) -> None:
    assert subject_flips(output, [other]) == flips


@pytest.mark.parametrize(
    ("output", "other", "flips"),
    [
        ("Pain in the left knee.", "Right knee.", 1),
        ("Left knee.", "Bilateral knee pain.", 0),
        ("Left knee, right hip.", "Right knee, left hip.", 2),
        ("A left-sided pneumothorax.", "Right-sided pneumothorax.", 1),
        ("Left pneumothorax.", "Pneumothorax on the right, and right pneumothorax.", 1),
        ("She left. Pneumonia.", "Right-sided pneumonia.", None),
        ("Left knee.", "Knee.", None),
        ("Left knee.", "Right eye.", None),
    ],
)
def test_laterality(output: str, other: str, flips: int | None) -> None:
    assert laterality_flips(output, [other]) == flips


def test_references_are_taken_together() -> None:
    assert negation_flips("Fever.", ["No fever.", "Fever."]) == 0
    assert negation_flips("Fever.", ["No fever.", "Asthma."]) == 1
