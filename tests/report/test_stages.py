"""The report's chapter on stages: every number is that of metrics.json, and it is there for every kind of task."""

import re
from collections.abc import Mapping
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
}


def staged(kind: str) -> tuple[Study, Results]:
    ways = {"forgets": STAGES, "keeps": [STAGES[0], Stage(train={"other": 1.0}, retain=Retain(rehearsal=0.1))]}
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


def test_the_chapter_shows_the_matrix_of_metrics_json(made: tuple[Study, Results]) -> None:
    study, results = made
    page = render(ReportInputs(results, study))
    start = page.index('<h2 id="stages"')
    chapter = page[start : page.index("<h2", start + 10)]
    shown = set(re.findall(r'data-value="([^"]+)"', chapter))
    for task in ("one", "other"):
        assert {repr(value) for value in values(results, task)} <= shown
    assert "stages" in results
    for sentence in results["stages"]["verdict"]:
        assert sentence.partition(":")[0] in chapter
        assert f"- {sentence}" in summary_markdown(results, "clinfit run")
    assert "rehearsal 10 %" in chapter and "before training" in chapter
    assert chapter.count("<svg") == 2


def test_shades_go_from_the_worst_to_the_best_value(made: tuple[Study, Results]) -> None:
    _, results = made
    view = stages_view(results)
    assert view is not None
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
