"""What a run begins with: study, models, records and bases; what is refused before anything is written."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from clinfit.data.audit import audit
from clinfit.data.duplicates import Duplicates, find_duplicates
from clinfit.data.leaks import leaking_tests
from clinfit.data.load import TaskData, input_fingerprints, load_task
from clinfit.data.origins import leaks_between_tasks
from clinfit.data.records import Record, in_split
from clinfit.data.shift import shift_rows
from clinfit.errors import ClinfitError, nearest
from clinfit.files import read_json, write_json, write_parquet
from clinfit.findings import Finding
from clinfit.runs.folder import RunFolder, refuse_other_format
from clinfit.runs.steps.item_scores import missing_judges
from clinfit.runs.steps.plan import Run, Step, plan, runs_of
from clinfit.study.data import Fold
from clinfit.study.load import study_yaml
from clinfit.study.models import ModelSpec, Neural
from clinfit.study.schema import Study, study_hash
from clinfit.study.tasks import Task


@dataclass(frozen=True)
class Prepared:
    """A study that can be run: its records, where it goes, and the steps of the chosen runs.

    siblings: where finished steps of other folders of the study are taken from; None: nowhere.
    """

    study: Study
    data: dict[str, TaskData]
    folder: RunFolder
    siblings: Path | None
    runs: list[Run]
    steps: list[Step]

    def steps_of(self, run: Run) -> list[Step]:
        return [step for step in self.steps if step.run == run.name]


def prepare(study: Study, out: Path | str | None, models: Sequence[str] | None, fresh: bool) -> Prepared:
    """Read the data, look at the bases, and plan. Writes nothing.

    Raises ClinfitError for whatever the user can fix, a folder that holds something else among it.
    """
    chosen = choose_models(study, models)
    data = {
        name: load_task(name, task, study.folder, study.settings(name).subgroup_columns)
        for name, task in study.tasks.items()
    }
    check_bases(study, chosen, data)
    check_searches(study, chosen, data)
    folder = RunFolder(Path(out) if out else Path("runs") / study.name / study_hash(study)[:8])
    refuse_other_study(folder, study)
    refuse_other_data(folder, data)
    return Prepared(
        study=study,
        data=data,
        folder=folder,
        siblings=None if out or fresh else folder.path.parent,
        runs=runs_of(study, chosen),
        steps=plan(study, data, base_identity, chosen),
    )


def choose_models(study: Study, names: Sequence[str] | None) -> list[ModelSpec]:
    """The named models in the study's order, all of them when none is named."""
    known = [spec.name for spec in study.models]
    for name in names or ():
        check_model(name, known, f"the study has no model {name!r}")
    return [spec for spec in study.models if not names or spec.name in names]


def check_model(name: str, known: Collection[str], found: str) -> None:
    """Raise ClinfitError for a name of --models that is not among the known; found: what is then said."""
    if name not in known:
        close = nearest(name, known)
        raise ClinfitError(
            f"--models: {found}",
            expected=f"some of {', '.join(known)}",
            fix=f"did you mean {close}?" if close else "",
        )


def only_failed(prepared: Prepared) -> Prepared:
    """What is left of a preparation when only runs whose last attempt failed are done.

    Raises ClinfitError when none has failed.
    """
    failed = [run for run in prepared.runs if _has_failed(prepared.folder, run)]
    if not failed:
        raise ClinfitError(
            f"--retry-failed: no run in {prepared.folder.path} has failed",
            fix="leave it out: what is not finished is then done, and what failed is tried again",
        )
    names = {run.name for run in failed}
    return replace(prepared, runs=failed, steps=[step for step in prepared.steps if step.run in names])


def _has_failed(folder: RunFolder, run: Run) -> bool:
    """Whether a run's record says that it failed; a damaged one counts as failed."""
    model = folder.run(run.name)
    try:
        return model.record.exists() and model.read_record()["status"] == "failed"
    except ClinfitError:
        return True


def check_bases(study: Study, specs: Sequence[ModelSpec], data: Mapping[str, TaskData]) -> None:
    """Raise ClinfitError for a base that cannot be trained as asked or on these records, and for weights of a metric
    that are not there, before the first model is trained."""
    if missing := missing_judges(study):
        expected, fix = (
            list(dict.fromkeys(parts)) for parts in zip(*((m.expected, m.fix) for m in missing), strict=True)
        )
        raise ClinfitError(
            "; ".join(error.found for error in missing), expected="; ".join(expected), fix="; ".join(filter(None, fix))
        )
    for spec in specs:
        if isinstance(spec, Neural):
            from clinfit.models.estimates.precheck import check_base

            records = {name: data[name].records for name in study.tasks_of(spec)}
            check_base(spec, study.tasks_of(spec), records)


def check_searches(study: Study, specs: Sequence[ModelSpec], data: Mapping[str, TaskData]) -> None:
    """Raise ClinfitError where a search has nothing to search with, or no validation records to compare points on."""
    for spec in specs:
        if spec.searched is None:
            continue
        if find_spec("optuna") is None:
            raise ClinfitError(
                f"model {spec.name} has a `search`, and Optuna is not installed", fix="pip install 'clinfit[search]'"
            )
        for name in study.tasks_of(spec):
            if not any(in_split(found, "validation") for found in _divisions(data[name])):
                raise ClinfitError(
                    f"model {spec.name} has a `search`, and task {name} has no validation records",
                    expected="validation records to compare points on",
                    fix="give data.split a share of validation, such as {train: 0.6, validation: 0.2, test: 0.2}",
                )


def _divisions(data: TaskData) -> list[list[Record]]:
    return list(data.folds.values()) if data.folds else [data.records]


@cache
def base_identity(name: str, revision: str | None) -> Mapping[str, Any]:
    """Name, revision and weights' hash of a base. Hashing takes a while, so it is done once a process."""
    from clinfit.models.bases.pretrained import find_base

    return find_base(name, revision).as_dict()


# ---------------------------------------------------------------- the folder


def refuse_other_study(folder: RunFolder, study: Study) -> None:
    """Raise ClinfitError when the folder holds another study, or files that are no run at all."""
    if folder.study.is_file():
        refuse_other_format(folder)
        old, new = (yaml.safe_load(text) for text in (folder.study.read_text(encoding="utf-8"), study_yaml(study)))
        changed = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
        if changed:
            raise ClinfitError(
                f"the study changed under an existing run: {folder.path} was made with another {', '.join(changed)}",
                expected="the study that the folder was made with",
                fix="leave out --out (models that did not change are then reused), or give a new folder",
            )
    elif folder.path.is_dir() and any(not item.name.startswith(".") for item in folder.path.iterdir()):
        raise ClinfitError(f"{folder.path} is not empty and holds no run", fix="give a new or empty folder with --out")


def refuse_other_data(folder: RunFolder, data: Mapping[str, TaskData]) -> None:
    """Raise ClinfitError when the data behind an existing run changed."""
    for name, task_data in data.items():
        if folder.data(name).is_file() and read_json(folder.data(name))["fingerprint"] != task_data.fingerprint:
            raise ClinfitError(
                f"the data of task {name!r} changed under an existing run ({folder.path})",
                expected="the records and splits that the run was made with",
                fix="put the data back, or give a new folder with --out",
            )


def data_of(folder: RunFolder, study: Study, name: str) -> TaskData:
    """The records of a task of an existing run, read again from `study.folder`; raises ClinfitError when they are not
    those of the run."""
    again = "run the study once more from where the data are now (nothing is trained twice), or put them back"
    try:
        data = load_task(name, study.tasks[name], study.folder)
    except ClinfitError as error:
        raise ClinfitError(f"the data cannot be read from {study.folder}: {error.found}", fix=again) from error
    if data.fingerprint != read_json(folder.data(name))["fingerprint"]:
        raise ClinfitError(
            f"the data of task {name!r} in {study.folder} are not those of the run",
            expected="the records and splits that the run was made with",
            fix=again,
        )
    return data


def records_of_test(folder: RunFolder, study: Study, name: str, fold: Fold | None = None) -> list[Record]:
    """The test records of a task of an existing run (of a cross-validation those of a fold), read from where the study
    file lay when it was run; raises ClinfitError when they are not those of the run."""
    placed = study.model_copy(update={"folder": Path(read_json(folder.status).get("study_folder", "."))})
    return in_split(data_of(folder, placed, name).of(fold).records, "test")


def write_inputs(prepared: Prepared, descriptions: Mapping[str, Any], environment: dict[str, Any]) -> None:
    """data/<task>.json, data/<task>-subgroups.parquet where the study names subgroups, and environment.json, which
    tells where the run last trained; no patient text in them."""
    folder = prepared.folder
    for name, data in prepared.data.items():
        write_json(folder.data(name), descriptions[name])
        if len(data.subgroups.columns) > 1:
            write_parquet(folder.subgroups(name), data.subgroups)
    if not folder.environment.is_file():
        write_json(folder.environment, environment)


def describe_data(study: Study, data: Mapping[str, TaskData]) -> dict[str, dict[str, Any]]:
    """Of each task the loader's description (counts, summaries, split ids, fingerprint), hashes of what the test
    records hold, shift from training to test, the ids of test records that leak, and the findings of the audit."""
    across = leaks_between_tasks(study, data)
    return {name: _describe(task, data[name], across.get(name, [])) for name, task in study.tasks.items()}


def _describe(task: Task, data: TaskData, across: Sequence[Finding]) -> dict[str, Any]:
    duplicates = find_duplicates(data.records)
    return data.describe() | {
        "test_inputs": input_fingerprints(data.records),
        "shift": [] if data.folds else [asdict(row) for row in shift_rows(task, data.records)],
        "leaks": _leaks(data, duplicates),
        "findings": [finding.as_dict() for finding in [*audit(task, data, duplicates), *across]],
    }


def _leaks(data: TaskData, duplicates: Duplicates) -> dict[str, list[str]]:
    """The ids of test records that leak, by kind; in a cross-validation in any fold."""
    if not data.folds:
        return leaking_tests(data.records, duplicates)
    found: dict[str, set[str]] = {}
    for records in data.folds.values():  # duplicates do not depend on splits, and the order of the records is one
        for kind, ids in leaking_tests(records, duplicates).items():
            found.setdefault(kind, set()).update(ids)
    return {kind: sorted(ids) for kind, ids in found.items()}
