"""`clinfit freeze` and the log of scorings, on real runs of rules and a classical model."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from clinfit.errors import ClinfitError
from clinfit.runs.control.status import status_lines
from clinfit.runs.execute import run
from clinfit.runs.finish import evaluate_run
from clinfit.runs.folder import RunFolder
from clinfit.runs.freeze import freeze_study
from clinfit.runs.rescore import Asked, score_run
from clinfit.study.load import load_study

StudyMaker = Callable[..., Path]
MAJORITY = [{"name": "majority", "family": "baseline", "kind": "majority"}]


@pytest.fixture
def small(make_study: StudyMaker) -> StudyMaker:
    """The small study with its rule alone; `evaluation` adds to what is evaluated."""
    return lambda **evaluation: make_study(models=MAJORITY, evaluation={"bootstrap": 100, **evaluation})


def stands(path: Path) -> dict:
    return json.loads((path / "metrics.json").read_text())["tasks"]["cancer"]["sections"]["freeze"]


def log(path: Path) -> dict:
    return json.loads((path / "test_log.json").read_text())


def test_freeze_run_and_evaluate_again(small: StudyMaker) -> None:
    study = small()
    path, frozen = freeze_study(study)
    assert not frozen.opened
    result = run(study)
    assert result.folder.resolve() == path.parent.resolve()
    first = (path.parent / "metrics.json").read_bytes()
    assert (stands(path.parent)["state"], stands(path.parent)["scored"]) == ("frozen", 1)
    assert stands(path.parent)["sha256"] == frozen.sha256
    folder = RunFolder(path.parent)
    evaluate_run(folder, load_study(folder.study), "again")
    assert log(path.parent)["scored"] == 2
    assert {entry["freeze"] for entry in log(path.parent)["scorings"]} == {frozen.sha256}
    assert (path.parent / "metrics.json").read_bytes() == first, "the same answers are no further look"
    page = (path.parent / "report.html").read_text()
    assert "was frozen" in page and frozen.sha256 in page


def test_a_folder_that_is_only_frozen_says_so(small: StudyMaker) -> None:
    folder = RunFolder(freeze_study(small())[0].parent)
    assert status_lines(folder) == [f"{folder.path}: frozen, not begun (run the study to begin)"]
    study = load_study(folder.study)
    for use in (lambda: evaluate_run(folder, study, "again"), lambda: score_run(folder, study, "strict", Asked(), "")):
        with pytest.raises(ClinfitError, match=r"free answers|no predictions"):
            use()
    assert sorted(path.name for path in folder.path.iterdir()) == [".lock", "freeze.json", "study.yaml"]


def test_a_changed_study_gets_another_folder_and_is_still_held_to_the_freeze(small: StudyMaker) -> None:
    path, _ = freeze_study(small())
    first = run(small()).folder
    second = run(small(primary="accuracy", margin=0.02)).folder
    assert first.resolve() == path.parent.resolve() and second != first
    found = stands(second)
    assert (found["state"], found["changed"], found["scored"]) == ("changed", ["primary", "margin"], 2)
    assert "Since then the primary metric, the margin changed" in (second / "report.html").read_text()


def test_freezing_afterwards_is_allowed_and_called_late(small: StudyMaker) -> None:
    folder = run(small()).folder
    assert stands(folder)["state"] == "not-frozen"
    path, frozen = freeze_study(folder)
    assert frozen.opened and path.parent == folder
    run(small())
    assert stands(folder)["state"] == "late"


def test_freezing_again_changes_nothing(small: StudyMaker) -> None:
    path, frozen = freeze_study(small())
    before = path.read_bytes()
    run(small())
    assert freeze_study(small()) == (path, frozen)
    assert freeze_study(path.parent)[1] == frozen
    assert path.read_bytes() == before


def test_a_freeze_is_not_replaced(small: StudyMaker) -> None:
    study = small()
    freeze_study(study)
    data = study.parent / "data.csv"
    data.write_text("\n".join(data.read_text().splitlines()[:-3]) + "\n")
    with pytest.raises(ClinfitError, match="another freeze"):
        freeze_study(study)
    path, _ = freeze_study(study, out=Path("there"))
    with pytest.raises(ClinfitError, match="another study"):
        freeze_study(small(primary="accuracy"), out=path.parent)


def test_a_freeze_holds_no_records(small: StudyMaker, canary: str) -> None:
    path, _ = freeze_study(small())
    assert canary not in path.read_text()
    assert {item.name for item in path.parent.iterdir()} == {"freeze.json", "study.yaml", ".lock"}
