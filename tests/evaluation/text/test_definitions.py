"""All metrics of one item: what is undefined, what is in range, and what wild strings do."""

import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from clinfit.evaluation.metrics.text import overlap
from clinfit.evaluation.metrics.text.definitions import METRICS, item_scores, unavailable

PIECES = [*"0123456789 .,-/%<>+?!:\n'’µαβ", "mg ", " no ", " left knee ", " fever ", "mother ", "one hundred "]
CLINICAL = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)
WILD = st.one_of(st.text(max_size=60), CLINICAL)
#: Metrics without an upper bound of 1.
UNBOUNDED = {name for name, metric in METRICS.items() if not metric.percent}


@given(WILD, st.lists(WILD, max_size=2), st.none() | WILD, st.sampled_from([None, "stop", "length"]))
@example("\ud800", ["\u0345\u0301"], "\x00", None)
@settings(max_examples=150, deadline=None)
def test_any_strings_give_values_in_range(
    output: str, references: list[str], source: str | None, finish_reason: str | None
) -> None:
    found = item_scores(output, references, source, finish_reason)
    assert list(found) == list(METRICS)
    for name, value in found.items():
        assert value is None or (math.isfinite(value) and value >= 0 and (name in UNBOUNDED or value <= 1)), name


@given(WILD)
@settings(max_examples=50, deadline=None)
def test_a_text_against_itself_is_right(text: str) -> None:
    found = item_scores(text, [text], text, "stop")
    best = {"higher": (1.0, None), "lower": (0.0, None)}
    for name, metric in METRICS.items():
        if metric.better is not None and name not in {"empty", "preamble", "repeated_ngrams"}:
            assert found[name] in best[metric.better] or found[name] == pytest.approx(1.0), name


def test_what_is_missing_is_undefined() -> None:
    found = item_scores("Fever 5 mg.", [], None, None)
    assert {name for name, value in found.items() if value is not None} == {"empty", "preamble", "repeated_ngrams"} - {
        "repeated_ngrams"  # three tokens have no run of four
    }
    for need, kept in (("reference", item_scores("a fever", ["a fever"], None, None)),
                       ("source", item_scores("a fever", [], "a fever", None)),
                       ("finish reason", item_scores("a fever", [], None, "stop"))):  # fmt: skip
        assert {METRICS[name].needs for name, value in kept.items() if value is not None} == {need, None}


def test_several_references_take_the_best() -> None:
    alone = item_scores("no fever, 5 mg metformin", ["no fever, 5 mg metformin"], None, None)
    among = item_scores("no fever, 5 mg metformin", ["other words", "no fever, 5 mg metformin"], None, None)
    assert {name: value for name, value in among.items() if METRICS[name].needs == "reference"} == {
        name: value for name, value in alone.items() if METRICS[name].needs == "reference"
    }


def test_a_missing_package_is_told_and_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    scorers = (overlap._rouge_scorer, overlap._chrf_scorer, overlap._rouge)
    for scorer in scorers:
        scorer.cache_clear()
    monkeypatch.setattr(overlap, "find_spec", lambda name: None)
    try:
        found = item_scores("fever", ["fever"], "fever", "stop")
        assert found["rouge1"] is None and found["chrf"] is None and found["token_f1"] == 1.0
        assert set(unavailable()) == {"rouge1", "rouge2", "rougeL", "rougeLsum", "chrf"}
        assert "pip install 'clinfit[text]'" in unavailable()["chrf"]
    finally:
        for scorer in scorers:
            scorer.cache_clear()


def test_the_test_environment_has_all_packages() -> None:
    assert unavailable() == {}
    assert all(metric.package in {None, "rouge_score", "sacrebleu"} for metric in METRICS.values())


def test_proxies_are_called_proxies() -> None:
    """What stands for truth or quality is a proxy; what counts the form of a text is what it says."""
    plain = {name for name, metric in METRICS.items() if not metric.proxy}
    assert plain == {
        "coverage", "density", "compression", "novel_bigrams", "length_ratio", "empty", "cut_off", "preamble",
        "repeated_ngrams",
    }  # fmt: skip
