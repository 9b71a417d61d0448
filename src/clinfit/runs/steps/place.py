"""What steps are done with: study, records, the folder of the run. A worker with a process of its own reads them from
the study folder; one on a machine that does not see that folder is brought them (runs/cluster)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from clinfit.data.load import TaskData, fingerprint
from clinfit.data.notes import DataNotes
from clinfit.data.records import Record, Target
from clinfit.errors import ClinfitError
from clinfit.files import read_json
from clinfit.models.remote.egress import egress_allowed
from clinfit.runs.folder import RunFolder
from clinfit.runs.inputs import data_of
from clinfit.runs.steps.environment import describe_environment
from clinfit.runs.steps.plan import runs_of
from clinfit.study.data import Fold
from clinfit.study.load import load_study
from clinfit.study.schema import Study
from clinfit.study.tasks import Task


@dataclass(frozen=True)
class Place:
    """What steps are done with.

    data: by task. environment: what is trained on (environment.py). siblings: where other folders of the study lie,
    None when nothing is taken from them. brought: as `place_of` was told of it, for workers that this one starts.
    """

    study: Study
    data: Mapping[str, TaskData]
    folder: RunFolder
    environment: Mapping[str, Any]
    siblings: Path | None = None
    brought: Mapping[str, Any] | None = None


def order_of(place: Place, runs: Sequence[str]) -> dict[str, Any]:
    """The first order of a worker on this machine, as `place_of` reads it; runs: whose steps will come."""
    return {
        "folder": str(place.folder.path.resolve()),
        "study_folder": str(place.study.folder.resolve()),
        "siblings": str(place.siblings.resolve()) if place.siblings else None,
        "runs": sorted(set(runs)),
        "egress": egress_allowed(),
        **({} if place.brought is None else {"brought": dict(place.brought)}),
    }


def place_of(order: dict[str, Any]) -> Place:
    """What a worker's first order names; raises ClinfitError when data or bases are not those of the run.

    folder: of the study. study_folder: where its relative paths start. siblings: see `Place`. runs: whose steps will
    come. egress: whether texts may leave the machine (models/remote/egress.py). brought: where no folder of the driver
    is seen, `records`, a folder with a file a task (`as_brought`), and `bases`, name -> {folder, identity}: the folder
    is None where the base is looked for here.
    """
    folder = RunFolder(Path(order["folder"]))
    study = load_study(folder.study).model_copy(update={"folder": Path(order["study_folder"])})
    needed = {task for run in runs_of(study) if run.name in order["runs"] for task in study.tasks_of(run.spec)}
    names, brought = [name for name in study.tasks if name in needed], order.get("brought")
    if brought is not None:
        put_bases(brought["bases"])
    return Place(
        study=study,
        data={name: brought_data(Path(brought["records"]), name, study.tasks[name]) for name in names}
        if brought is not None
        else {name: data_of(folder, study, name) for name in names},
        folder=folder,
        environment=describe_environment(neural=any(spec.neural for spec in study.models)),
        siblings=Path(order["siblings"]) if order["siblings"] else None,
        brought=brought,
    )


# ---------------------------------------------------------------- brought from elsewhere


def as_brought(data: TaskData) -> dict[str, Any]:
    """A task's records in JSON: what steps need of them, and no column that the study does not read."""
    first = _rows(next(iter(data.folds.values()), data.records))
    folds = [
        [fold.repeat, fold.fold, [_differing(own, row) for own, row in zip(_rows(records), first, strict=True)]]
        for fold, records in data.folds.items()
    ]
    undivided = [_differing(own, row) for own, row in zip(_rows(data.undivided), first, strict=True)] if folds else []
    return {"fingerprint": data.fingerprint, "records": first, "folds": folds, "undivided": undivided}


def _differing(row: Mapping[str, Any], first: Mapping[str, Any]) -> dict[str, Any]:
    """What a fold has otherwise than the first one: mostly the split alone."""
    return {name: value for name, value in row.items() if value != first[name]}


def _rows(records: Sequence[Record]) -> list[dict[str, Any]]:
    return [asdict(record) for record in records]


def _records(rows: Sequence[dict[str, Any]]) -> list[Record]:
    """Records as they were read: JSON keeps text and the bits of numbers, and makes lists of tuples."""
    return [replace(Record(**row), target=_target(row["target"])) for row in rows]


def _target(value: Any) -> Target | None:
    return tuple(value) if isinstance(value, list) else value


def brought_data(folder: Path, name: str, task: Task) -> TaskData:
    """A task's records from what `as_brought` made. Raises ClinfitError when they are not those that were sent."""
    content = read_json(folder / f"{name}.json")
    first = content["records"]

    def divided(others: Sequence[dict[str, Any]]) -> list[Record]:
        return _records([row | own for row, own in zip(first, others, strict=True)])

    folds = {Fold(repeat, fold): divided(others) for repeat, fold, others in content["folds"]}
    data = TaskData(task, [] if folds else _records(first), content["fingerprint"], "", DataNotes(0))
    found = data.with_folds(list(folds), list(folds.values()), divided(content["undivided"])) if folds else data
    if (found.fingerprint if folds else fingerprint(data.records)) != content["fingerprint"]:
        raise ClinfitError(
            f"the records of task {name!r} did not arrive as they were sent", fix="run the study once more"
        )
    return found


def put_bases(bases: Mapping[str, Mapping[str, Any]]) -> None:
    """Let bases be found where they were put; raises ClinfitError where one is not that of the driver."""
    if not bases:
        return
    from clinfit.models.bases.pretrained import find_base, put_base

    for known in bases.values():
        if known["folder"]:
            put_base(known["identity"]["name"], Path(known["folder"]))
    for known in bases.values():
        wanted = known["identity"]
        found = find_base(wanted["name"], known["revision"])
        if found.as_dict() != wanted:
            raise ClinfitError(
                f"base {wanted['name']!r} on a machine of the cluster is not the one of the machine that drives it",
                expected=f"revision {wanted['revision']}"
                if wanted["sha256"] is None
                else "the same weights, to the bit",
                fix="install or fetch the same there, or name a local folder as base, which is sent along",
            )
