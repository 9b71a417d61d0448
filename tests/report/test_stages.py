"""The report's chapter on stages: every number is that of metrics.json, and it is there for every kind of task."""

import re
from collections.abc import Mapping
from html import unescape
from typing import Any

import pandas as pd
import pytest

from clinfit.evaluation.evaluate import evaluate
from clinfit.evaluation.results import Results
from clinfit.report.build import render
from clinfit.report.export import summary_markdown
from clinfit.report.inputs import ReportInputs
from clinfit.report.sections.systems.stages import stages_view
from clinfit.study.models import Baseline, Causal
from clinfit.study.schema import Study
from clinfit.study.stages import Retain, Stage
from predicted import MADE, predictions_of, task_of

STAGES = [Stage(train={"one": 1.0}), Stage(train={"other": 1.0})]
KNOWS: Mapping[str, Mapping[int, tuple[float, float]]] = {
    "forgets": {0: (0.2, 0.2), 1: (2.5, 0.2), 2: (0.3, 2.5)},
    "keeps": {0: (0.2, 0.2), 1: (2.5, 0.2), 2: (2.5, 2.5)},
    "together": {0: (0.2, 0.2), 1: (2.5, 2.5)},
    "alone": {0: (0.2, 0.2), 1: (2.5, 0.2)},
}


def staged(kind: str) -> tuple[Study, Results]:
    ways = {
        "forgets": STAGES,
        "keeps": [STAGES[0], Stage(train={"other": 1.0}, retain=Retain(rehearsal=0.1))],
        "together": [Stage(train={"one": 1.0, "other": 1.0})],
        "alone": STAGES[:1],
    }
    study = Study(
        name="staged",
        tasks={name: task_of(kind) for name in ("one", "other")},
        models=[
            Baseline(name="always", family="baseline", kind="majority"),
            *(Causal(name=name, family="causal", base="clinfit/tiny", stages=way) for name, way in ways.items()),
        ],
        evaluation={"bootstrap": 200},  # type: ignore[arg-type]
    )
    tables = [
        predictions_of(
            name, study.tasks[name], 120, number,
            [(model, stage, knows[number]) for model, stages in KNOWS.items() for stage, knows in stages.items()],
        )
        for number, name in enumerate(("one", "other"))
    ]  # fmt: skip
    return study, evaluate(study, pd.concat(tables, ignore_index=True))


@pytest.fixture(scope="module", params=MADE)
def made(request: pytest.FixtureRequest) -> tuple[Study, Results]:
    return staged(request.param)


def values(results: Results, task: str) -> list[Any]:
    entries = results["tasks"][task]["sections"].get("stages", [])
    return [row["metric"]["value"] for entry in entries for row in entry["rows"]]


def chapter_of(study: Study, results: Results) -> str:
    page = unescape(render(ReportInputs(results, study)))
    start = page.index('<h2 id="stages"')
    return page[start : page.index("<h2", start + 10)]


def entries(results: Results) -> list[Any]:
    return [entry for task in results["tasks"].values() for entry in task["sections"].get("stages", [])]


def test_the_chapter_shows_the_matrix_of_metrics_json(made: tuple[Study, Results]) -> None:
    study, results = made
    chapter = chapter_of(study, results)
    shown = set(re.findall(r'data-value="([^"]+)"', chapter))
    for task in ("one", "other"):
        assert {repr(value) for value in values(results, task)} <= shown
    assert "stages" in results
    (ways,) = results["stages"]["ways"]
    assert chapter.index(ways["conclusion"]) < chapter.index("<li>")
    assert f"**{ways['conclusion']}**" in summary_markdown(results, "clinfit run")
    for sentence in ways["verdict"]:
        assert f"<li>{sentence}</li>" in chapter
        assert f"- {sentence}" in summary_markdown(results, "clinfit run")
    assert "rehearsal 10 %" in chapter and "before training" in chapter
    assert chapter.count("<svg") == 2


def test_the_chapter_shows_every_control_and_what_it_says(made: tuple[Study, Results]) -> None:
    """Learning all at once, this task alone, and no remedy: a column each, and the sentence with its numbers."""
    study, results = made
    chapter = chapter_of(study, results)
    found = {change["kind"] for entry in entries(results) for change in entry["changes"]}
    assert found == {"gain", "retention", "transfer", "joint", "single", "naive"}
    for entry in entries(results):
        for change in entry["changes"]:
            assert f"<li>{change['sentence']}</li>" in chapter
            if change["kind"] in {"joint", "single", "naive"}:
                assert f'data-value="{change["difference"]!r}"' in chapter
    for words in ("against no remedy", "against all at once", "against this task alone"):
        assert f">{words}</th>" in chapter


def test_the_chapter_shows_what_was_forgotten_at_most_and_how_calibration_drifted(made: tuple[Study, Results]) -> None:
    study, results = made
    chapter = chapter_of(study, results)
    for entry in entries(results):
        assert (entry["forgotten"] is None) == (entry["learned"] == 2), "what the last stage taught was not forgotten"
        if entry["forgotten"] is not None:
            assert f'data-value="{entry["forgotten"]!r}"' in chapter
        first, last = entry["rows"][0]["ece"], entry["rows"][-1]["ece"]
        if first is not None:
            assert f"ECE {first:.3f}" in chapter and f"{first:.3f} before, " in chapter
            assert f"{last:.3f} at the end" in chapter
    calibrated = study.tasks["one"].kind in ("classification", "multiple-choice")
    assert [entry["rows"][0]["ece"] is not None for entry in entries(results)] == [calibrated] * 4
    assert ("ECE" in chapter.partition('id="stages-matrix"')[0]) == calibrated


def test_shades_go_from_the_worst_to_the_best_value(made: tuple[Study, Results]) -> None:
    _, results = made
    (view,) = stages_view(results) or []
    for column in range(2):
        cells = [row.cells[column] for matrix in view.matrices for row in matrix.rows]
        by_value = sorted(cells, key=lambda cell: float(cell.value.full))
        assert by_value[0].shade == 0 and by_value[-1].shade == 5
        assert [cell.shade for cell in by_value] == sorted(cell.shade for cell in cells)


def test_a_study_in_one_stage_has_no_such_chapter() -> None:
    study = Study(
        name="plain",
        tasks={name: task_of("classification") for name in ("one", "other")},
        models=[
            Baseline(name="always", family="baseline", kind="majority"),
            Causal(name="tiny", family="causal", base="clinfit/tiny"),
        ],
        evaluation={"bootstrap": 200},  # type: ignore[arg-type]
    )
    systems = [("tiny", 0, 0.1), ("tiny", 1, 2.0)]
    tables = [predictions_of(name, study.tasks[name], 100, systems=systems) for name in study.tasks]
    results = evaluate(study, pd.concat(tables, ignore_index=True))
    assert stages_view(results) is None and 'id="stages"' not in render(ReportInputs(results, study))
