"""What another run has done already: the same model in another folder of this study, or another run in this one, which
stands on the same base or went through the same stages.

A step is copied where its inputs are the same, the model that it began with is the same to the byte, and what was
written is still what was recorded.
"""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from clinfit.errors import ClinfitError
from clinfit.files import new_file, new_folder, write_parquet
from clinfit.predictions import read_predictions
from clinfit.runs.folder import ModelFolder, RunFolder, folders_of_study
from clinfit.runs.steps.plan import Run, Step
from clinfit.runs.steps.record import digest, model_of

#: Columns of answers that differ between runs which say the same.
OF_THE_RUN = ["run", "model", "seed", "repeat", "fold", "seconds"]


def from_sibling(
    step: Step, record: dict[str, Any], folder: ModelFolder, siblings: Path, say: Callable[[str], None]
) -> bool:
    """Copy what the same step wrote in another folder of this study; False when there is none.

    siblings: where the folders of the study lie. record: of the run that the step belongs to; learns of the model.
    """
    other = sibling_with(step, record, folder, siblings)
    if other is None:
        return False
    copy_outcome(step, record, folder, other)
    if step.action == "fit":
        say(f"{step.run}: reused from {other.path}" + (f" (stage {step.stage})" if step.stage > 1 else ""))
    return True


def from_elsewhere(
    step: Step, run: Run, record: dict[str, Any], runs: RunFolder, siblings: Path | None, say: Callable[[str], None]
) -> bool:
    """Take over what another run has done already, here or in another folder of the study; False when none has."""
    if from_other_run(step, run, record, runs, say):
        return True
    return siblings is not None and from_sibling(step, record, runs.run(step.run), siblings, say)


def copy_outcome(step: Step, record: dict[str, Any], folder: ModelFolder, other: ModelFolder) -> None:
    """Copy what another run wrote in a step; of a fit also its logs, and into the record what it told of itself."""
    if step.action in ("answer", "score-items", "abstention", "contrast"):
        with new_file(folder.path / step.writes) as copy:
            shutil.copyfile(other.path / step.writes, copy)
        _copy_usage(step, record, other.read_record())
    elif step.action in ("importance", "search"):
        with new_folder(folder.path / step.writes) as copy:
            shutil.copytree(other.path / step.writes, copy, dirs_exist_ok=True)
    else:
        with new_folder(folder.stage(step.stage)) as copy:
            shutil.copytree(other.stage(step.stage), copy, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*"))
        found = other.read_record()
        record["stages"][str(step.stage)] = found["stages"][str(step.stage)]
        record |= {name: found[name] for name in ("environment", "peak_memory_mb")}


def _copy_usage(step: Step, record: dict[str, Any], found: Mapping[str, Any]) -> None:
    """Note what the answers of a step took, where another record of the run says so (record.py, `note_usage`)."""
    stage, name = str(step.stage), f"{step.task} {step.split}"
    if used := found["stages"].get(stage, {}).get("details", {}).get("answers", {}).get(name):
        record["stages"][stage]["details"].setdefault("answers", {})[name] = used


def sibling_with(step: Step, record: Mapping[str, Any], folder: ModelFolder, siblings: Path) -> ModelFolder | None:
    """The first folder of the same model in another folder of this study that has done the step."""
    for path in folders_of_study(siblings):
        other = RunFolder(path).run(step.run)
        if other.path.resolve() != folder.path.resolve() and _has_done(other, step, record, folder):
            return other
    return None


def from_other_run(step: Step, run: Run, record: dict[str, Any], runs: RunFolder, say: Callable[[str], None]) -> bool:
    """Take what the same step wrote in another run of this folder; False when there is none.

    Before training that is a run with the same base; afterwards one that went through the same stages so far.
    """
    other = run_with(step, record, runs)
    if other is None:
        return False
    folder = runs.run(run.name)
    if step.action == "answer":  # which name the run that gave them
        answers = read_predictions(other.path / step.writes)
        own = answers.assign(run=run.name, model=run.spec.name, seed=run.seed)
        if run.fold is not None:
            own = own.assign(repeat=run.fold.repeat, fold=run.fold.fold)
        write_parquet(folder.path / step.writes, own)
        return True
    copy_outcome(step, record, folder, other)
    if step.action == "fit":
        say(f"{step.run}: stage {step.stage} is that of {other.path.name}")
    return True


def run_with(step: Step, record: Mapping[str, Any], runs: RunFolder) -> ModelFolder | None:
    """The first other run of this folder that has done the same step."""
    others, own = (other for other in runs.models() if other.path.name != step.run), runs.run(step.run)
    return next((other for other in others if _has_done(other, step, record, own)), None)


def _has_done(other: ModelFolder, step: Step, record: Mapping[str, Any], own: ModelFolder) -> bool:
    """Whether another run has done the same from the same model, or from answers that are the same but for the names of
    the runs. A damaged record is told where its run is done."""
    try:
        found = other.read_record()
    except ClinfitError:
        return False
    entry = found["steps"].get(step.writes)
    if entry is None or found["study"] != record["study"] or entry["inputs"] != step.inputs:
        return False
    if entry["sha256"] is None or digest(other.path / step.writes) != entry["sha256"]:
        return False
    return entry["of"] == model_of(step, record) or (
        step.action in ("score-items", "abstention") and _rests_on_same_answers(other, step, own, entry["of"])
    )


def _rests_on_same_answers(other: ModelFolder, step: Step, own: ModelFolder, of: str | None) -> bool:
    """of: SHA-256 of the answers that the other run's step rested on."""
    (answers,) = (need.removeprefix(f"{step.run}/") for need in step.needs)
    tables = [folder.path / answers for folder in (own, other)]
    if not all(table.exists() for table in tables) or digest(tables[1]) != of:
        return False
    first, second = (read_predictions(table).drop(columns=OF_THE_RUN, errors="ignore") for table in tables)
    return first.equals(second)
