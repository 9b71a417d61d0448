"""The section on language models: there when there are any, every number from metrics.json, no text of a patient."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from clinfit.evaluation.system_results import GeneratedDict, MetricDict
from clinfit.report.build import render, subjects_of
from clinfit.report.inputs import ReportInputs
from clinfit.report.sections.systems.language import GeneralText, fluent, language_view


def share(value: float | None, n: int = 90) -> MetricDict:
    return MetricDict(
        value=value,
        low=None if value is None else value - 0.05,
        high=None if value is None else min(1.0, value + 0.05),
        method="Wilson",
        n=n,
        events=None if value is None else round(value * n),
        status="ok" if value is not None else "undefined",
        reason=None if value is not None else "no such items in the test set",
    )


@pytest.fixture
def written(cases: dict[str, ReportInputs]) -> Callable[[], ReportInputs]:
    """The binary case, its trained model having written answers of its own."""
    inputs = cases["binary"]

    def give() -> ReportInputs:
        task = inputs.results["tasks"]["finding"]
        generated = GeneratedDict(
            n=90,
            parser="strict, version 1",
            parsed=share(0.8777),
            parsed_by_label={"benign": share(0.75), "malignant": share(None)},
            accuracy=share(0.6543),
            agreement=share(0.8),
            reasons={"no label": 7, "several labels": 4},
            cut_off=5,
        )
        systems = [
            {
                **system,
                "sections": {
                    **system["sections"],
                    "generated": generated,
                    "language": {
                        "n": 90,
                        "prompt_tokens": [97, 180, 212, 251, 480],
                        "label_mass": [0.1, 0.25, 0.875, 0.9, 0.95],
                        "shortened": 3,
                        "cut": [
                            {"id": "p7", "dropped_tokens": 600, "prompt_tokens": 200},
                            {"id": "p2", "dropped_tokens": 50, "prompt_tokens": 200},
                        ],
                        "pieces": None,
                    },
                },
            }
            if system["name"] == "tiny (after)"
            else system
            for system in task["systems"]
        ]
        models = [
            {**record, "stages": {"1": {**record["stages"]["1"], "details": DETAILS}}}
            if record["model"] == "tiny"
            else record
            for record in inputs.models
        ]
        results = {**inputs.results, "tasks": {"finding": {**task, "systems": systems}}}
        return replace(inputs, results=results, models=models)  # type: ignore[arg-type]

    return give


DETAILS = {
    "shortened_records": 1234,
    "general_text": {"perplexity": 75.25, "base_perplexity": 61.5},
    "tasks": {"finding": {"prompt_sha256": "0badc0de" * 8}},
}


def test_every_number_is_shown(written: Callable[[], ReportInputs]) -> None:
    page = render(written()).replace("\N{NARROW NO-BREAK SPACE}", " ")
    section = page.partition('id="task1-language"')[2].partition("<h3")[0]
    assert 'href="#task1-language"' in page
    for text in (
        "212 (180 to 251; 97 to 480)",
        "0.875 (0.250 to 0.900; 0.100 to 0.950)",
        "3 of 90",
        "1 234",
        "87.8 %",
        "65.4 %",
        "no such items in the test set",
        "strict, version 1",
        "no label (7), several labels (4)",
        "0badc0de" * 8,
        "Records that lost text, test: tiny (after)",
        "75.0 %",
        "The 2 that lost most",
    ):
        assert text in section, text


def test_general_text_before_and_after_is_in_every_report_with_a_causal_model(
    written: Callable[[], ReportInputs], pages: dict[str, str]
) -> None:
    """Not in the chapter on stages alone: a study in one stage has none. The sentence says what the numbers mean."""
    inputs = written()
    assert "stages" not in inputs.results
    section = render(inputs).partition('id="task1-language"')[2].partition("<h3")[0]
    assert 'data-value="61.5"' in section and 'data-value="75.25"' in section
    assert "tiny-seed42: general text has become less likely (+22.4 %, from 61.5 to 75.2)" in section
    assert "General text" not in pages["no neural model"]


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [(60.0, 62.0, "about as likely"), (60.0, 50.0, "has become likelier"), (None, 50.0, "is not known")],
)
def test_what_the_perplexity_of_general_text_means(before: float | None, after: float, told: str) -> None:
    assert told in fluent(GeneralText("tiny-seed42", before, after))


def test_without_free_answers_there_is_no_table_of_them(pages: dict[str, str]) -> None:
    assert 'id="task1-language"' in pages["binary"] and "Free answers" not in pages["binary"]


@pytest.mark.parametrize("case", ["no neural model", "one class", "failed model"])
def test_no_section_where_there_is_nothing_to_say(pages: dict[str, str], case: str) -> None:
    assert "task1-language" not in pages[case]


def test_before_training_nothing_was_trained_on_shortened_records(written: Callable[[], ReportInputs]) -> None:
    inputs = written()
    view = language_view(subjects_of(inputs)[0])
    assert view is not None
    shortened = {row[0]: row[3] for row in view.reading.rows}
    assert shortened["tiny (before)"] == "—" and shortened["tiny (after)"] != "—"
