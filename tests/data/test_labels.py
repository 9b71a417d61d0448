from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from clinfit.data.labels import LabelMap
from clinfit.errors import ClinfitError
from clinfit.study.data import LabelColumn

LABELS = ["Non-Cancer", "Cancer"]
GOLD = [1, 0, 1, 1, 0]
WANTED = ["Cancer", "Non-Cancer", "Cancer", "Cancer", "Non-Cancer"]

SPELLINGS: dict[str, list[Any]] = {
    "booleans": [bool(g) for g in GOLD],
    "numpy booleans": list(np.array(GOLD, dtype=bool)),
    "ints": GOLD,
    "numpy ints": list(np.array(GOLD, dtype=np.int8)),
    "floats": [float(g) for g in GOLD],
    "pandas scalars": pd.Series(GOLD, dtype="Int64").tolist(),
    "digits": [str(g) for g in GOLD],
    "digits with point": [f"{g}.0" for g in GOLD],
    "padded digits": [f" {g} " for g in GOLD],
    "words": [str(bool(g)) for g in GOLD],
    "mixed case": [w for w, _ in zip(["TRUE", "false", "True", "tRue", "False"], GOLD, strict=True)],
    "mixed kinds": [True, 0, "1", np.float64(1), "FALSE"],
}


@pytest.mark.parametrize("values", SPELLINGS.values(), ids=SPELLINGS.keys())
@pytest.mark.parametrize(
    "map", [{0: "Non-Cancer", 1: "Cancer"}, {False: "Non-Cancer", True: "Cancer"}], ids=["0/1", "false/true"]
)
def test_every_spelling_of_the_same_gold_gives_the_same_labels(values: list[Any], map: dict[Any, str]) -> None:
    assert LabelMap(LABELS, map).apply(values) == WANTED


@pytest.mark.parametrize("values", SPELLINGS.values(), ids=SPELLINGS.keys())
@pytest.mark.parametrize(
    "map",
    [
        {"0": "Non-Cancer", "1": "Cancer"},
        {"False": "Non-Cancer", "True": "Cancer"},
        {"false": "Non-Cancer", "true": "Cancer"},
        {"no": "Non-Cancer", "yes": "Cancer"},
        {"Non-Cancer": "Non-Cancer", "Cancer": "Cancer"},
        None,
    ],
    ids=str,
)
def test_a_map_from_text_gives_the_right_labels_or_an_error(values: list[Any], map: dict[Any, str] | None) -> None:
    labels = LabelMap(LABELS, map)
    if any(isinstance(value, bool | np.bool_) for value in values):
        with pytest.raises(ClinfitError):
            labels.apply(values)
        return
    try:
        assert labels.apply(values) == WANTED
    except ClinfitError as error:
        assert map is None or not {"0", "False", "false"} & set(map), error


def test_booleans_against_a_quoted_map_say_what_to_type() -> None:
    with pytest.raises(ClinfitError) as error:
        LabelMap(LABELS, {"True": "Cancer", "False": "Non-Cancer"}, "diagnosis").apply([True, True, False])
    assert "3 of 3 rows" in error.value.found
    assert "true (2 x)" in error.value.found
    assert "label: {column: diagnosis, map: {false: Non-Cancer, true: Cancer}}" in error.value.fix


def test_numbers_without_a_map_are_an_error_that_shows_the_map() -> None:
    with pytest.raises(ClinfitError) as error:
        LabelMap(LABELS).apply(["0", "1"])
    assert "map: {0: Non-Cancer, 1: Cancer}" in error.value.fix


def test_a_map_with_a_gap_says_what_to_add() -> None:
    with pytest.raises(ClinfitError) as error:
        LabelMap(["no", "yes"], {0: "no", 1: "yes"}, "num").apply(["0", "1", "2", "2"])
    assert "2 (2 x)" in error.value.found
    assert "add to the map of num: 2: <label>" in error.value.fix


def test_the_map_to_type_is_yaml_that_means_it() -> None:
    labels = ["no", "yes"]
    with pytest.raises(ClinfitError) as error:
        LabelMap(labels, column="improved").apply(["TRUE", "FALSE"])
    block = yaml.safe_load(error.value.fix.split("}}")[0] + "}}")["label"]
    assert LabelMap(labels, block["map"], block["column"]).apply(["TRUE", "FALSE"]) == ["yes", "no"]


def test_label_names_match_whatever_their_case_and_spaces() -> None:
    assert LabelMap(["Yes", "No"]).apply(["yes", " YES ", "no", "No"]) == ["Yes", "Yes", "No", "No"]


def test_names_that_only_case_tells_apart_match_exactly() -> None:
    labels = LabelMap(["US", "us"])
    assert labels.apply(["US", "us"]) == ["US", "us"]
    assert labels.lookup("Us") is None


def test_yaml_reads_yes_as_true_and_the_file_still_holds_the_word() -> None:
    assert LabelMap(["a", "b"], {True: "a", False: "b"}).apply(["Yes", "no", "ON"]) == ["a", "b", "a"]


def test_true_is_not_one_where_there_are_more_than_two_keys() -> None:
    labels = LabelMap(["a", "b", "c"], {1: "a", 2: "b", 3: "c"})
    assert labels.lookup(True) is None
    assert labels.lookup("true") is None


@pytest.mark.parametrize("map", [{1: "a", "1": "b"}, {1: "a", "1.0": "b"}, {1: "a", "true": "b"}])
def test_two_labels_for_one_value_are_refused(map: dict[Any, str]) -> None:
    with pytest.raises(ClinfitError, match="maps to both"):
        LabelMap(["a", "b"], map)


def test_unknown_and_missing_values_are_counted_and_cut() -> None:
    values = ["a", None, "x" * 60, *[f"v{at}" for at in range(8)]]
    with pytest.raises(ClinfitError) as error:
        LabelMap(["a", "b"]).apply(values)
    assert "10 of 11 rows" in error.value.found
    assert "missing (1 x)" in error.value.found
    assert "x" * 41 not in error.value.found
    assert "and 5 other values" in error.value.found


@given(
    value=st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.none()),
    map=st.dictionaries(st.one_of(st.text(max_size=3), st.integers(0, 3), st.booleans()), st.sampled_from(["a", "b"])),
)
def test_a_label_is_only_given_for_a_key_of_the_map(value: Any, map: dict[Any, str]) -> None:
    try:
        labels = LabelMap(["a", "b"], map)
    except ClinfitError:
        return
    label = labels.lookup(value)
    assert label is None or label in map.values()
    assert not map or not isinstance(value, str) or label is None or label == labels.lookup(f"  {value}\n")


def test_map_keys_keep_their_types_through_json() -> None:
    column = LabelColumn(column="x", map={True: "a", False: "b"})
    assert LabelColumn.model_validate_json(column.model_dump_json()) == column


@pytest.mark.parametrize("nested", [["a"], {"a": 1}])
def test_nested_labels_are_unknown(nested: Any) -> None:
    with pytest.raises(ClinfitError, match=f"a {type(nested).__name__}"):
        LabelMap(["a", "b"]).apply(["a", nested])


@pytest.mark.parametrize("values", [["Mrs Jones came with chest pain"], [f"name{at}" for at in range(21)]])
def test_values_that_look_like_free_text_are_not_shown(values: list[str]) -> None:
    with pytest.raises(ClinfitError) as error:
        LabelMap(["a", "b"]).apply(["a", *values], ["p0", *(f"p{at}" for at in range(1, len(values) + 1))])
    told = " ".join(error.value.lines())
    assert "p1" in told and f"{len(values)} of {len(values) + 1} rows" in told
    assert not any(value in told for value in values)
