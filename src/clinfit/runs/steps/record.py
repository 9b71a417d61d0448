"""run.json, the memory of one run: every step with its inputs, and the hash of what it wrote once it is done.

    steps    what a step writes -> {inputs, of, sha256}
             inputs: the step's own (plan.py). of: SHA-256 of the trained model that it began with or asked, null for
             the base. sha256: of what it wrote, null until it is done
    search   of a model whose hyperparameters are searched: the outcome (search.py), once it is there; `spec` then holds
             the chosen values
    stages   number -> what a fit tells of itself (`FitSummary`), and the SHA-256 of its model

A step is done when its inputs, the model that it began with, and the hash of what it wrote all hold.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from clinfit.errors import ClinfitError
from clinfit.files import hash_file, hash_folder, hash_json, read_json, write_json
from clinfit.runs.control.status import now
from clinfit.runs.folder import OUTCOME, RECORD_FORMAT, ModelFolder, RunFolder
from clinfit.runs.steps.plan import Run, Step
from clinfit.runs.steps.written import remove_written
from clinfit.study.models import ModelSpec
from clinfit.study.remote import Remote
from clinfit.study.schema import Study
from clinfit.study.search import filled_in, with_point


def why_to_do(step: Step, record: Mapping[str, Any], folder: Path) -> str | None:
    """Why a step of this run has to be done, None when it is done. folder: of the run."""
    entry = record["steps"].get(step.writes)
    if entry is None or (entry["sha256"] is None and not is_changed(step, record)):
        begun = {"fit": (folder / step.writes).parent, "search": folder / step.writes}.get(step.action)
        return "not finished" if begun is not None and begun.is_dir() else "not begun"
    if is_changed(step, record):
        return "what decides it changed"
    if entry["of"] != model_of(step, record):
        if step.action == "fit":
            return "its hyperparameters were searched again, or what it goes on from was trained again"
        answers = step.action in ("score-items", "abstention")
        return "its answers were written again" if answers else "its model was trained again"
    return None if digest(folder / step.writes) == entry["sha256"] else "its file is missing or was changed"


def is_changed(step: Step, record: Mapping[str, Any]) -> bool:
    """Whether the record knows the step with other inputs."""
    entry = record["steps"].get(step.writes)
    return entry is not None and entry["inputs"] != step.inputs


def digest(path: Path) -> str | None:
    """SHA-256 of a file or of all files of a folder, None where there is nothing."""
    if path.is_dir():
        return hash_folder(path)
    return hash_file(path) if path.is_file() else None


def model_of(step: Step, record: Mapping[str, Any]) -> str | None:
    """SHA-256 of the trained model that a step needs, None when it needs none; of several models, of the list."""
    needed = [record["steps"][need.removeprefix(f"{step.run}/")]["sha256"] for need in step.needs]
    if len(needed) > 1:
        return None if None in needed else hash_json(needed)
    return needed[0] if needed else None


def note_done(step: Step, record: dict[str, Any], folder: ModelFolder) -> None:
    """Note that a step is done, from what stands on the disk; texts that were kept until then go."""
    found = digest(folder.path / step.writes)
    record["steps"][step.writes] = {"inputs": step.inputs, "of": model_of(step, record), "sha256": found}
    if step.action == "fit":
        record["stages"][str(step.stage)]["model"] = found
    if step.action == "search":
        record["search"] = read_json(folder.path / step.writes / OUTCOME)
        record["spec"] = filled_in(record["spec"], record["search"]["point"])
    write_json(folder.record, record)
    remove_written(folder.path / step.writes)


def note_usage(record: dict[str, Any], step: Step, spec: Remote, table: pd.DataFrame) -> None:
    """Note what the answers of a remote model took, and with declared prices what they cost, beside its fit."""
    names = ("prompt_tokens", "output_tokens")
    counts = {name: int(np.nansum(table[name].to_numpy(dtype=np.float64))) for name in names}
    used = record["stages"][str(step.stage)]["details"].setdefault("answers", {})
    used[f"{step.task} {step.split}"] = {"records": len(table), **counts, **spec.cost(**counts)}


def open_record(runs: RunFolder, study: Study, run: Run, steps: Sequence[Step], say: Callable[[str], None]) -> bool:
    """Bring the record of a run in line with its steps, or begin one; False when every step is done.

    A model whose inputs changed is set aside and kept; answers that are no longer asked for, or whose question changed,
    are dropped. Raises ClinfitError when there is a record that cannot be read.
    """
    folder = runs.run(run.name)
    found = folder.read_record() if folder.record.exists() else None
    if found and any(is_changed(step, found) for step in steps if step.action == "fit"):
        _set_aside(runs, folder, say)
        found = None
    record = deepcopy(found) or blank_record(study, run)
    _keep_planned(record, steps, folder)
    record["spec"] = searched_spec(run.spec, record).model_dump(mode="json")
    done = record["status"] == "done" and all(why_to_do(step, record, folder.path) is None for step in steps)
    if not done:
        record |= {"status": "running", "reason": None}
        (folder.path / "error.log").unlink(missing_ok=True)  # of an attempt before
    if record != found:
        write_json(folder.record, record)
    return not done


def searched_spec(spec: ModelSpec, record: Mapping[str, Any]) -> ModelSpec:
    """A model with the settings that its search has chosen, as it stands where there was none yet."""
    return with_point(spec, record["search"]["point"]) if "search" in record else spec


def close_record(folder: ModelFolder, reason: str | None) -> None:
    """Note how a run ended: done, or failed for this reason. A record that is damaged stays as it is."""
    try:
        record = folder.read_record()
    except ClinfitError:
        return
    record |= {"status": "failed" if reason else "done", "reason": reason, "ended": now()}
    write_json(folder.record, record)


def blank_record(study: Study, run: Run) -> dict[str, Any]:
    """A record of which nothing is done. fold: of a cross-validation, with how many there are in all repeats. refit: of
    one, whether this run is the model that is trained on all records."""
    return {
        "format": RECORD_FORMAT,
        "study": study.name,
        "model": run.spec.name,
        "seed": run.seed,
        "fold": None if run.fold is None else {**asdict(run.fold), "of": len(study.folds)},
        "refit": run.refit,
        "family": run.spec.family,
        "spec": run.spec.model_dump(mode="json"),
        "steps": {},
        "stages": {},
        "status": "running",
        "reason": None,
        "began": now(),
    }


def planned(known: Mapping[str, Any], steps: Sequence[Step]) -> dict[str, Any]:
    """An entry for every step, in the plan's order: the known one where its inputs hold."""
    return {
        step.writes: entry
        if (entry := known.get(step.writes)) and entry["inputs"] == step.inputs
        else {"inputs": step.inputs, "of": None, "sha256": None}
        for step in steps
    }


def _keep_planned(record: dict[str, Any], steps: Sequence[Step], folder: ModelFolder) -> None:
    """The steps of the plan in its order, with what is known of them; files of other answers are removed."""
    known = record["steps"]
    record["steps"] = planned(known, steps)
    if any(step.action == "search" and record["steps"][step.writes]["sha256"] is None for step in steps):
        record.pop("search", None)
    stages = {str(step.stage) for step in steps}
    record["stages"] = {number: facts for number, facts in record["stages"].items() if number in stages}
    for writes, entry in known.items():
        if (
            writes.startswith(("predictions/", "scores/", "abstention/", "contrast/"))
            and record["steps"].get(writes) != entry
        ):
            (folder.path / writes).unlink(missing_ok=True)
        if writes.startswith("importance/") and record["steps"].get(writes) != entry:
            shutil.rmtree(folder.path / writes, ignore_errors=True)


def _set_aside(runs: RunFolder, folder: ModelFolder, say: Callable[[str], None]) -> None:
    """Make room for a model whose inputs changed; what was trained is kept below `replaced/`."""
    name = folder.path.name
    if not (folder.path / "stages").exists():
        shutil.rmtree(folder.path)
        return
    aside = runs.path / "replaced"
    aside.mkdir(exist_ok=True)
    target = next(path for number in count(1) if not (path := aside / f"{name}-{number}").exists())
    folder.path.rename(target)
    say(f"{name}: its inputs changed since it was trained; the old one is in {target}")
