"""`clinfit freeze`, and the log of scorings that every run keeps; both lie in the run folder.

freeze.json holds what was declared, with its hash and time; test_log.json every time that test metrics were computed.
A study that is changed gets another folder, so that the runs of one study on the same data are read together, wherever
they lie side by side: a freeze or a scoring is not forgotten by changing the study.
"""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from clinfit.data.load import load_task
from clinfit.errors import ClinfitError
from clinfit.evaluation.analyses.freeze import (
    Declaration,
    Freeze,
    Scoring,
    declaration,
    declaration_hash,
    freeze_result,
    in_force,
)
from clinfit.evaluation.results import FreezeResult
from clinfit.files import followed, hash_json, read_json, write_json, write_text
from clinfit.locks import locked
from clinfit.runs.control.status import now
from clinfit.runs.folder import RunFolder, existing_run, folders_of_study, split_of
from clinfit.study.load import load_study, study_yaml
from clinfit.study.schema import Study, study_hash


def freeze_study(path: Path, out: Path | None = None) -> tuple[Path, Freeze]:
    """Freeze a study file or an existing run; returns the path of freeze.json and what it holds.

    Freezing again what is frozen already changes nothing. Raises ClinfitError when the folder holds another freeze.
    """
    if (path := followed(path)).is_dir():
        folder = existing_run(path)
        study = load_study(folder.study)
        refuse_folds(study)
        stated = declaration(study, _data(folder, study))
    else:
        study = load_study(path)
        folder = RunFolder(out or Path("runs") / study.name / study_hash(study)[:8])
        refuse_other_content(folder, study)
        refuse_folds(study)
        stated = declaration(
            study, {name: load_task(name, task, study.folder).fingerprint for name, task in study.tasks.items()}
        )
    target = folder.path / "freeze.json"
    if target.is_file():
        return target, _same(target, _freeze(target), stated)
    with locked(folder.path):
        if not folder.study.is_file():
            write_text(folder.study, study_yaml(study))
        opened = any(
            split_of(path.name) == "test"
            for run in runs_of(folder, study, stated)
            for path in run.path.glob("models/*/predictions/*.parquet")
        )
        freeze = Freeze(declaration_hash(stated), now(), opened, stated)
        write_json(target, {"study": study.name, **asdict(freeze)})
    return target, freeze


def refuse_folds(study: Study) -> None:
    """Raise ClinfitError for a cross-validation, which has nothing to keep closed."""
    if study.folds:
        raise ClinfitError(
            "a cross-validation tests every record, so that there is no test split to freeze",
            expected="a study with a test split of its own",
            fix="split: {train: 0.6, validation: 0.2, test: 0.2}",
        )


def refuse_other_content(folder: RunFolder, study: Study) -> None:
    """Raise ClinfitError when the folder holds another study, or something that is no run."""
    if folder.study.is_file():
        if folder.study.read_text(encoding="utf-8") != study_yaml(study):
            raise ClinfitError(f"{folder.path} holds a run of another study", fix="give another folder with --out")
    elif folder.path.is_dir() and any(not item.name.startswith(".") for item in folder.path.iterdir()):
        raise ClinfitError(f"{folder.path} is not empty and holds no run", fix="give a new or empty folder with --out")


def _same(path: Path, freeze: Freeze, stated: Declaration) -> Freeze:
    if declaration_hash(freeze.stated) != declaration_hash(stated):
        raise ClinfitError(
            f"{path} holds another freeze, of {freeze.time}",
            expected="the same declaration and data as then",
            fix="a freeze is not replaced: put the data back, or freeze with a new folder (--out)",
        )
    return freeze


def note_scoring(folder: RunFolder, study: Study, answers: dict[str, Any]) -> FreezeResult:
    """Add this scoring to the run's log and tell how freeze and scorings stand.

    answers: hashes of the predictions that are scored.
    """
    stated = declaration(study, fingerprints(folder, study))
    runs = list(runs_of(folder, study, stated))
    freezes = [freeze for run in runs if (freeze := saved_freeze(run)) is not None]
    earlier = [scoring for run in runs for scoring in saved_scorings(run)]
    first = min((scoring.time for scoring in earlier), default=None)
    force = in_force(freezes, first)
    scoring = Scoring(now(), declaration_hash(stated), hash_json(answers), force.sha256 if force else None)
    own = [asdict(known) for known in saved_scorings(folder)]
    write_json(log_path(folder), {"study": study.name, "scored": len(own) + 1, "scorings": [*own, asdict(scoring)]})
    return freeze_result(stated, freezes, [*earlier, scoring])


def runs_of(folder: RunFolder, study: Study, stated: Declaration) -> Iterator[RunFolder]:
    """This run, and the runs beside it of the same study on the same data."""
    yield folder
    for path in folders_of_study(folder.path.parent):
        other = RunFolder(path)
        if other.path.resolve() == folder.path.resolve():
            continue
        try:
            found = load_study(other.study)
            same = found.name == study.name and _data(other, found) == stated["data"]
        except (ClinfitError, OSError):
            continue  # no longer a run of this version: told where it is used
        if same:
            yield other


def _data(folder: RunFolder, study: Study) -> dict[str, str]:
    """Fingerprints of a run that was started, or of one that was only frozen."""
    freeze = saved_freeze(folder)
    if freeze is not None:
        return freeze.stated["data"]
    return fingerprints(folder, study)


def fingerprints(folder: RunFolder, study: Study) -> dict[str, str]:
    return {task: read_json(folder.data(task))["fingerprint"] for task in study.tasks}


def saved_freeze(folder: RunFolder) -> Freeze | None:
    path = folder.path / "freeze.json"
    return _freeze(path) if path.is_file() else None


def _freeze(path: Path) -> Freeze:
    content = read_json(path)
    try:
        return Freeze(content["sha256"], content["time"], content["opened"], content["stated"])
    except (KeyError, TypeError):
        raise _damaged(path) from None


def saved_scorings(folder: RunFolder) -> list[Scoring]:
    path = log_path(folder)
    if not path.is_file():
        return []
    try:
        return [Scoring(**entry) for entry in read_json(path)["scorings"]]
    except (KeyError, TypeError):
        raise _damaged(path) from None


def _damaged(path: Path) -> ClinfitError:
    return ClinfitError(
        f"{path} is damaged",
        expected="the file as clinfit wrote it",
        fix="put a copy of it back; if it is removed, what it says is lost",
    )


def log_path(folder: RunFolder) -> Path:
    return folder.path / "test_log.json"
