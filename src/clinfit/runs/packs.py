"""A pack for every model of a run that is done."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from clinfit.evaluation.results import Results
from clinfit.evaluation.search_results import SearchOutcome
from clinfit.files import read_json
from clinfit.packs.write import Trained, write_packs
from clinfit.runs.finish import records, whole
from clinfit.runs.folder import ModelFolder, RunFolder
from clinfit.study.fold_checks import NO_PACK
from clinfit.study.schema import Study


def write_run_packs(
    folder: RunFolder, study: Study, results: Results, say: Callable[[str], None] = lambda line: None
) -> dict[str, Path]:
    """A pack for every model of a run that is done, of a cross-validation for every refitted one: run name -> folder.
    say: told what is left out and why.

    A quick run has none: what it would serve has learnt and shown next to nothing.
    """
    if study.quick:
        say("No packs, since this is a quick run")
        return {}
    if study.folds and not any(spec.refit for spec in study.models):
        say(f"No packs: {NO_PACK}")
        return {}
    described = {task: read_json(folder.data(task)) for task in study.tasks}
    measured = {(record["model"], record["seed"]) for _, record in whole(folder)}
    done = []
    for model, record in records(folder):
        if record["status"] != "done" or bool(record.get("refit")) != bool(study.folds):
            continue
        if (record["model"], record["seed"]) in measured:
            trained = trained_model(model, record)
            if is_remote(trained):
                say(f"{trained.run}: no pack, since the model is on a server, and a pack holds what it answers with")
            else:
                done.append(trained)
        else:
            say(f"{model.path.name}: no pack, since not all folds of its model are done, and it would have no figures")
    return write_packs(done, study, results, described, say)


def is_remote(trained: Trained) -> bool:
    """Whether the model is somebody else's, behind an address."""
    return trained.spec["family"] == "remote"


def trained_model(folder: ModelFolder, record: dict[str, Any]) -> Trained:
    """The model of a run that is done, after its last stage."""
    stage = last_stage(record)
    ended = record["stages"][str(stage)]
    return Trained(
        run=folder.path.name,
        spec=record["spec"],
        seed=record["seed"],
        stage=stage,
        sha256=ended["model"],
        details=ended["details"] | searched(record),
        model=folder.model(stage),
        pack=folder.pack,
    )


def searched(record: dict[str, Any]) -> dict[str, Any]:
    """What a pack tells of the search that chose the hyperparameters of its model; nothing where there was none."""
    if "search" not in record:
        return {}
    outcome: SearchOutcome = record["search"]
    told = {"trials": len(outcome["trials"]), "compared_by": outcome["metric"], "records": outcome["records"]}
    return {"search": told | {"value": outcome["trials"][outcome["chosen"]]["value"], "chosen": outcome["point"]}}


def last_stage(record: dict[str, Any]) -> int:
    return max(int(number) for number in record["stages"])
