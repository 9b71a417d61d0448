"""Names of a lexicon in texts: what is found, where, and what is left when they are masked."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from clinfit.data.clean import clean_inputs
from clinfit.data.mentions import MASK, mentions_in, patterns_of
from clinfit.study.data import Cleaning
from clinfit.study.lexicon import Lexicon, LexiconType, known_lexicon

LEXICON = known_lexicon("cancer-types")
PATTERNS = patterns_of(LEXICON)


@pytest.mark.parametrize(
    ("text", "types"),
    [
        ("Non-small-cell lung cancer in 40 patients", ["lung cancer"]),
        ("Lung, colon and breast cancers were seen", ["breast cancer", "lung cancer", "colorectal cancer"]),
        ("carcinoma of the head of the pancreas", ["pancreatic cancer"]),
        ("Squamous cell carcinoma of the larynx", ["head and neck cancer"]),
        ("lung\n  cancer", ["lung cancer"]),
        ("Hodgkin’s disease and HODGKIN'S DISEASE", ["lymphoma"]),
        ("acute myeloid leukaemia, leukemias", ["leukaemia"]),
        ("CRC cells, not crc", ["colorectal cancer"]),
        ("crc", []),
        ("brain metastases from lung cancer", ["lung cancer"]),
        ("colorectal liver metastases from bowel cancer", ["colorectal cancer"]),
        ("gastric lymphoma", ["lymphoma"]),
        ("The lung was clear. Cancer was feared.", []),
        ("cancerous lungfish, breastfeeding", []),
        ("No evidence of breast cancer, but melanoma", ["melanoma"]),
        ("without lung cancer. Breast cancer was found", ["breast cancer"]),
        ("", []),
    ],
)
def test_types_that_a_text_names(text: str, types: list[str]) -> None:
    assert PATTERNS.types(text) == types


def test_a_denied_name_is_a_mention_all_the_same() -> None:
    (found,) = mentions_in(LEXICON, {"age": 61.0, "note": "No sign of lung cancer.", "other": None})
    assert (found.type, found.input, found.text, found.negated) == ("lung cancer", "note", "lung cancer", True)


@given(
    st.text(max_size=30),
    st.sampled_from(["lung cancer", "Carcinoma of the breast", "GLIOMA", "CRC", "non–small\u00a0cell lung\tcancer"]),
    st.text(max_size=30),
)
def test_places_are_characters_of_the_text_as_it_was_given(before: str, name: str, after: str) -> None:
    text = f"{before}; {name}; {after}"
    found = PATTERNS.find(text)
    assert all(text[mention.start : mention.end] == mention.text for mention in found)
    at = len(before) + 2
    assert any(mention.start <= at + 20 and mention.end == at + len(name) for mention in found)


def test_masking_hides_names_and_places_and_stays_as_it_is() -> None:
    text = "Breast cancer (mammary carcinoma) of the breast; lungs and CRC were looked at. Aspirin helped."
    masked = PATTERNS.masked(text)
    assert PATTERNS.find(masked) == [] and PATTERNS.masked(masked) == masked
    assert masked == f"{MASK} ({MASK}) of the {MASK}; {MASK} and {MASK} were looked at. Aspirin helped."


def test_masking_is_a_step_of_cleaning_that_is_counted() -> None:
    columns = {"text": ["Lung cancer.", "A fall.", None], "age": [61.0, 62.0, 63.0]}
    cleaned, counts = clean_inputs(columns, ["text"], Cleaning(mask_lexicon=True), LEXICON)
    assert cleaned == {"text": [f"{MASK}.", "A fall.", None], "age": [61.0, 62.0, 63.0]}
    assert counts == {"mask_lexicon": 1}
    assert clean_inputs(columns, ["text"], Cleaning(), LEXICON) == (columns, {})


def test_a_lexicon_of_names_alone() -> None:
    own = Lexicon(name="own", types={"a": LexiconType(names=["heart failure", "CHF"]), "b": LexiconType(names=["flu"])})
    assert patterns_of(own).types("Heart-failure; no flu") == ["a", "b"], "no negations are declared"
    assert patterns_of(own).masked("CHF, influenza") == f"{MASK}, influenza"


def test_every_type_of_the_lexicon_is_found_by_each_of_its_names() -> None:
    for label, known in LEXICON.types.items():
        names = [*known.names, *(f"{place} carcinoma" for place in known.places)]
        names += [f"cancer of the {place}" for place in known.places]
        missed = [name for name in names if label not in PATTERNS.types(name)]
        assert not missed, (label, missed)


@pytest.mark.parametrize("text", ["lungs, " * 14_285, ("cancer of " + "lungs " * 6) * 1_300, "cancer of the " * 7_000])
def test_no_text_takes_long(text: str) -> None:
    """A plural that is a word of the lexicon as well once doubled the ways to read every one of its words."""
    began = time.process_time()
    PATTERNS.find(text)
    assert time.process_time() - began < 4


@pytest.mark.parametrize(
    "name",
    ["acute lymphoblastic leukemia", "chronic myeloid leukaemia", "non-Hodgkin's lymphoma", "head & neck cancer",
     "non-small cell lung cancer"],
)  # fmt: skip
def test_whole_names_are_masked(name: str) -> None:
    masked = PATTERNS.masked(f"With {name}, as seen.")
    assert masked in {"With [TYPE], as seen.", "With acute [TYPE], as seen.", "With chronic [TYPE], as seen."}


def test_names_are_looked_for_in_each_text_by_itself() -> None:
    assert mentions_in(LEXICON, {"title": "A mass of the lung", "abstract": "Cancer screening was offered."}) == ()
    (found,) = mentions_in(LEXICON, {"abstract": ["Seen at last:", "lung cancer"], "title": None})
    assert (found.type, found.start) == ("lung cancer", 14)


def test_a_name_may_not_be_what_masks_are() -> None:
    with pytest.raises(ValidationError, match="what masked names become"):
        Lexicon.model_validate({"name": "n", "types": {"a": {"names": ["Type"]}, "b": {"names": ["flu"]}}})
