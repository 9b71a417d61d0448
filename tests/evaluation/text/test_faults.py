"""A text with exactly one fault: what changes, what stays, and when there is none to make."""

import random
import re

import pytest

from clinfit.evaluation.metrics.text.entities import entities
from clinfit.evaluation.metrics.text.faults import FAULTS, Names, names_in
from clinfit.evaluation.metrics.text.numbers import quantities

TEXT = "Warfarin 5 mg was given for stroke. There was no fever. The patient is well."
SOURCE = "He had 8 beds and took metformin."
OTHERS = ["Metformin helped in asthma.", "Aspirin and apixaban 2 mg for gout.", "GERD was seen."]


def made(fault: str, text: str = TEXT, source: str = SOURCE, names: Names | None = None, seed: int = 1) -> str | None:
    return FAULTS[fault](text, source, names_in(OTHERS) if names is None else names, random.Random(seed))


def test_one_number_gets_another_digit_whatever_the_source_holds() -> None:
    found = {made("number", seed=seed) for seed in range(100)}
    assert found == {TEXT.replace("5 mg", f"{digit} mg") for digit in (1, 2, 3, 4, 6, 7, 8, 9)}
    every = "The doses were 1, 2, 3, 4, 5, 6, 7, 8 and 9 mg."
    assert found == {made("number", source=every, seed=seed) for seed in range(100)}, "no metric has a say"
    assert made("number", "No number here.") is None and made("number", "COVID-19 and B12.") is None


@pytest.mark.parametrize(
    ("text", "pattern"),
    [("250000", r"[1-9]\d{5}"), ("2.5", r"[1-9]\.[1-9]"), ("0.25", r"\d\.\d[1-9]"), ("40", r"[1-9]\d")],
)
def test_a_changed_number_is_written_as_numbers_are(text: str, pattern: str) -> None:
    found = {made("number", f"It was {text}.", seed=seed) or "" for seed in range(100)}
    assert len(found) > 10
    for changed in (each.removeprefix("It was ").removesuffix(".") for each in found):
        assert re.fullmatch(pattern, changed), changed
        assert sum(one != other for one, other in zip(changed, text, strict=True)) == 1


def test_a_negation_is_dropped_or_added_once() -> None:
    assert made("negation dropped") == TEXT.replace("no fever", "fever")
    assert made("negation dropped", "The patient is well.") is None
    added = {made("negation added", seed=seed) for seed in range(20)}
    assert added == {TEXT.replace("was given", "was not given"), TEXT.replace("is well", "is not well")}
    assert made("negation added", "It isn't so. He has never had it. Is it?") is None


@pytest.mark.parametrize(
    ("fault", "old", "new"),
    [("drug", "Warfarin", {"Aspirin", "Apixaban"}), ("problem", "stroke", {"asthma", "gout", "GERD"})],
)
def test_a_name_is_another_of_its_kind_that_the_source_does_not_hold(fault: str, old: str, new: set[str]) -> None:
    found = {made(fault, seed=seed) for seed in range(40)}
    swapped = {TEXT.replace(old, name) for name in new}
    if fault == "problem":  # fever is one, too
        swapped |= {TEXT.replace("fever", name) for name in new}
    assert found == swapped
    assert made(fault, names={}) is None and made(fault, "Nothing is named.") is None


def test_each_fault_is_the_same_for_the_same_seed_and_changes_one_thing() -> None:
    for fault in FAULTS:
        found = made(fault)
        assert found is not None and found == made(fault) != TEXT
        same_numbers, same_entities = quantities(found) == quantities(TEXT), entities(found) == entities(TEXT)
        assert (same_numbers, same_entities) == (fault != "number", fault not in ("drug", "problem"))
