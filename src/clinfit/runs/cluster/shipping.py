"""What a worker elsewhere is sent, and what becomes of what it sends back: the driver alone writes the study folder."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from clinfit.errors import ClinfitError
from clinfit.files import hash_json, scratch_folder, write_bytes, write_json
from clinfit.locks import locked
from clinfit.runs.cluster.parcels import pack, unpack
from clinfit.runs.folder import ModelFolder
from clinfit.runs.steps.failures import Failure
from clinfit.runs.steps.place import Place, as_brought
from clinfit.runs.steps.plan import Step, runs_of
from clinfit.runs.steps.record import digest, note_done, why_to_do
from clinfit.runs.steps.reuse import copy_outcome, from_elsewhere
from clinfit.study.evaluation import GenerationEvaluation
from clinfit.study.models import Neural

#: The worker's folders, below that of its station (station.py).
STUDY, RECORDS, BASES = "study", "records", "bases"


# ---------------------------------------------------------------- before the first step


def study_parcel(place: Place) -> bytes:
    """The study and the records of all its tasks."""
    records = {
        f"{RECORDS}/{name}.json": json.dumps(as_brought(data), allow_nan=False).encode()
        for name, data in place.data.items()
    }
    return pack({f"{STUDY}/study.yaml": place.folder.study, **records})


def bases_of(place: Place, steps: Sequence[Step]) -> dict[str, dict[str, Any]]:
    """Every base that the steps stand on, by name and revision -> {revision, identity, folder}; folder: below that of
    the station for a folder of this machine, None for what comes with an installation or from a hub."""
    asked = {step.run for step in steps}
    specs = [run.spec for run in runs_of(place.study) if run.name in asked]
    names = {(spec.base, spec.revision) for spec in specs if isinstance(spec, Neural)}
    names |= set(_judges(place, steps))
    return known_bases(names)


def known_bases(names: Collection[tuple[str, str | None]]) -> dict[str, dict[str, Any]]:
    """As `bases_of`, from names with their revisions."""
    if not names:
        return {}
    from clinfit.models.bases.pretrained import find_base

    found = {}
    for name, revision in sorted(names, key=str):
        base = find_base(name, revision)
        own = Path(name).expanduser().is_dir()
        folder = f"{BASES}/{hash_json([name, revision])[:16]}" if own else None  # one parcel serves all workers
        found[f"{name}@{revision}"] = {"revision": revision, "identity": base.as_dict(), "folder": folder}
    return found


def _judges(place: Place, steps: Sequence[Step]) -> Iterator[tuple[str, None]]:
    """Models that a metric needs."""
    for name in {step.task for step in steps if step.action == "score-items"}:
        settings = place.study.settings(str(name))
        if isinstance(settings, GenerationEvaluation):
            yield from ((judge.weights, None) for judge in settings.judges.values())


def base_parcel(base: Mapping[str, Any]) -> bytes:
    """A base that is a folder of this machine."""
    return pack({base["folder"]: Path(base["identity"]["name"]).expanduser()})


def first_order(runs: Sequence[str], bases: Mapping[str, Any]) -> dict[str, Any]:
    """What a worker is told first, with paths relative to the folder of its station."""
    brought = {"records": RECORDS, "bases": dict(bases)}
    rest = {"siblings": None, "runs": sorted(runs), "egress": False, "brought": brought}
    return {"folder": STUDY, "study_folder": STUDY, **rest}


# ---------------------------------------------------------------- a step


def done_already(step: Step, place: Place, say: Callable[[str], None]) -> bool:
    """Whether a step need not be sent: it is done, or what it would write was taken over from another run."""
    folder = place.folder.run(step.run)
    with locked(folder.path):
        record = folder.read_record()
        if why_to_do(step, record, folder.path) is None:
            return True
        (run,) = (run for run in runs_of(place.study) if run.name == step.run)
        if not from_elsewhere(step, run, record, place.folder, place.siblings, say):
            return False
        note_done(step, record, folder)
    return True


def needed(step: Step, planned: Mapping[str, Step]) -> list[str]:
    """Ids of the steps whose outcome a worker must have: those that it needs, and those that these need."""
    found = dict.fromkeys(step.needs)
    for need in step.needs:
        if need in planned:
            found |= dict.fromkeys(needed(planned[need], planned))
    return list(found)


def record_parcel(step: Step, place: Place) -> bytes:
    """The record of the step's run."""
    return pack({f"{models_folder(step)}/run.json": place.folder.run(step.run).record})


def outcome_parcel(id: str, place: Place) -> bytes:
    """What a step wrote, by its id."""
    return pack({f"{STUDY}/models/{id}": place.folder.written(id)})


def models_folder(step: Step) -> str:
    """Where a station has the folder of the step's run."""
    return f"{STUDY}/models/{step.run}"


def brought_back(step: Step) -> list[str]:
    """What a step leaves behind, relative to the folder of its run; of a fit its logs, too."""
    return [f"stages/{step.stage}" if step.action == "fit" else step.writes, "run.json"]


def take_in(step: Step, parcel: bytes, place: Place) -> None:
    """Put what a step wrote elsewhere into the folder of its run, whole or not at all.

    Raises ClinfitError when it is not what was written there.
    """
    folder = place.folder.run(step.run)
    with locked(folder.path), scratch_folder(place.folder.path / "arrived") as scratch:
        unpack(parcel, scratch)
        other, record = ModelFolder(scratch), folder.read_record()
        found = other.read_record()
        if digest(scratch / step.writes) != found["steps"][step.writes]["sha256"]:
            raise ClinfitError(f"what {step.id} wrote did not arrive as it was sent", fix="run the study once more")
        copy_outcome(step, record, folder, other)
        record |= {name: found[name] for name in ("environment", "peak_memory_mb") if name in found}
        note_done(step, record, folder)
    if step.action == "fit":
        write_json(place.folder.environment, record["environment"])


def keep_trace(step: Step, parcel: bytes, failure: Failure, place: Place) -> None:
    """Keep the traceback of a step that failed elsewhere; there is none of what the user can fix."""
    with scratch_folder(place.folder.path / "arrived") as scratch:
        unpack(parcel, scratch)
        if not failure.fixable and (scratch / "error.log").is_file():
            write_bytes(place.folder.run(step.run).path / "error.log", (scratch / "error.log").read_bytes())
