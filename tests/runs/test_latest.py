"""`runs/<study>/latest`: kept by every run, taken by every command, a text file where there are no links."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from clinfit.cli import app
from clinfit.errors import ClinfitError
from clinfit.files import followed, read_json
from clinfit.packs.read import load_pack
from clinfit.runs.compare import compare_runs
from clinfit.runs.execute import Result
from clinfit.runs.execute import run as run_study
from clinfit.runs.folder import existing_run
from clinfit.runs.freeze import freeze_study
from small_study import write_study

MODELS = [{"name": "majority", "family": "baseline", "kind": "majority"}]


def no_links(*arguments: Any, **options: Any) -> None:
    raise OSError("this system has no links")


@pytest.fixture(params=["link", "file"])
def desk(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, on a system with links and on one without."""
    if request.param == "file":
        monkeypatch.setattr(Path, "symlink_to", no_links)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(folder: Path, **changes: Any) -> Result:
    return run_study(write_study(folder, models=MODELS, **changes))


def command(*words: object) -> None:
    app([str(word) for word in words], standalone_mode=False)


def test_it_is_the_run_of_last_time_for_every_command(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    latest = Path("runs/small/latest")
    first, second = run(desk), run(desk, evaluation={"bootstrap": 101})
    assert first.folder != second.folder == existing_run(latest).path
    run(desk)
    assert existing_run(latest).path == first.folder

    command("status", latest)
    assert f"{first.folder}: done" in capsys.readouterr().out
    command("evaluate", latest)
    assert capsys.readouterr().out.strip().endswith(str(first.report))
    command("predict", latest / "models/majority-seed42/pack", "--input", "data.csv", "--output", "answers.csv")
    assert len(pd.read_csv("answers.csv")) == 60
    assert (
        load_pack(latest / "models/majority-seed42/pack").content == load_pack(first.packs["majority-seed42"]).content
    )
    assert freeze_study(latest)[0] == first.folder / "freeze.json"
    compare_runs([latest, second.folder], desk / "comparison")
    with pytest.raises(ClinfitError, match="2 run folders, 1 of them different"):
        compare_runs([latest, first.folder], desk / "comparison")


def test_it_is_no_run_of_its_own(desk: Path) -> None:
    """A scoring is told once, a freeze is looked for once, and no step is copied out of it."""
    run(desk)
    again = run(desk, evaluation={"bootstrap": 101})
    run(desk)
    assert again.results is not None
    assert again.results["tasks"]["cancer"]["sections"]["freeze"]["scored"] == 2
    assert read_json(existing_run(Path("runs/small/latest")).path / "test_log.json")["scored"] == 2


@pytest.mark.usefixtures("no_report")
def test_where_it_leads_nowhere_a_run_is_named(desk: Path) -> None:
    result = run(desk)
    Path("runs/small/latest").unlink()
    with pytest.raises(ClinfitError, match="is not a run folder") as caught:
        existing_run(Path("runs/small/latest"))
    assert caught.value.fix == f"name one of its runs, such as {result.folder}"


@pytest.mark.usefixtures("no_report")
def test_a_folder_of_that_name_and_one_that_was_named_stay(desk: Path) -> None:
    run_study(write_study(desk, models=MODELS), out=Path("elsewhere"))
    assert not Path("runs").exists()
    Path("runs/small/latest").mkdir(parents=True)
    run(desk)
    assert not any(Path("runs/small/latest").iterdir())
    assert followed(Path("runs/small/latest")) == Path("runs/small/latest")
