"""A pack, written: for every trained model, unless it is there already with the same content."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import clinfit
from clinfit.data.records import Record
from clinfit.data.seen import SeenCategories, seen_from
from clinfit.errors import ClinfitError
from clinfit.evaluation.decisions.recalibration import Recalibration
from clinfit.evaluation.decisions.referral_rule import Referral
from clinfit.evaluation.results import Results, TaskResult
from clinfit.evaluation.system_results import SystemResult
from clinfit.files import DiskError, hash_files, hash_folder, new_folder, write_json, write_text
from clinfit.models.families import load_model
from clinfit.packs.content import (
    CARD,
    CONTENT,
    FORMAT,
    MODEL,
    PROBES,
    ModelEntry,
    StudyEntry,
    TaskEntry,
    WithheldEntry,
    read_content,
    seal,
)
from clinfit.packs.probes import Probes, ask_probes, probe_records, read_probes, surroundings
from clinfit.report.card import model_card
from clinfit.study.data import SplitRule
from clinfit.study.evaluation import TaskEvaluation
from clinfit.study.models import ModelSpec
from clinfit.study.schema import Study, study_hash
from clinfit.study.tasks import Task

#: The largest change of a probability that another machine or version may bring, by the format that a neural model
#: computes in. Sums of another order differ in the last digits, of which bf16 has two or three.
TOLERANCES = {"fp32": 1e-4, "fp16": 5e-3, "bf16": 2e-2}
#: The same for models that compute in double precision.
DOUBLE_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Trained:
    """A trained model of which a pack is made.

    run: its name. spec: its block of the study. stage: the last. sha256: of the saved model as the run
    wrote it. details: what the trainer really used. model: the folder of the saved model. pack: where its pack is.
    """

    run: str
    spec: dict[str, Any]
    seed: int
    stage: int
    sha256: str
    details: dict[str, Any]
    model: Path
    pack: Path


def write_packs(
    models: Sequence[Trained],
    study: Study,
    results: Results,
    described: Mapping[str, Mapping[str, Any]],
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Path]:
    """The packs of trained models: run -> folder.

    described: what data/<task>.json holds, by task. say: told what is left out and why. A task whose numbers are
    withheld is in no pack, since its threshold and metrics could not be trusted either; a model of which all tasks are
    withheld has no pack. Where a pack cannot be written, an older one stays unless it answers such a task.
    """
    withheld = withheld_tasks(results)
    nothing = withheld.keys() == results["tasks"].keys()
    if nothing:
        say(f"No packs, since the numbers are withheld: {next(iter(withheld.values()))}")
    else:
        for task, reason in withheld.items():
            say(f"Task {task} is left out of the packs, since its numbers are withheld: {reason}")
    packs = {}
    for trained in models:
        if spec_of(trained, study).holds_records:
            shutil.rmtree(trained.pack, ignore_errors=True)
            say(f"{trained.run}: no pack, since its model holds training records as they are, and a pack holds none")
            continue
        left_out = withheld | unlearned_tasks(trained, study, results)
        content = content_of(trained, study, results, left_out, described)
        if content["tasks"].keys() <= left_out.keys():
            shutil.rmtree(trained.pack, ignore_errors=True)
            if not nothing:
                say(f"{trained.run}: no pack, since all its tasks are withheld")
            continue
        probes = {
            name: probe_records(name, study.tasks[name], common_categories(described[name]))
            for name in content["tasks"]
            if name not in left_out
        }
        try:
            write_pack(trained, content, model_card(results, content), probes)
            packs[trained.run] = trained.pack
        except DiskError:
            raise
        except ClinfitError as error:
            say(f"{trained.run}: no new pack: {error.found}")
            remove_where_withheld(trained.pack, withheld)
    return packs


def write_pack(trained: Trained, content: dict[str, Any], card: str, probes: Mapping[str, list[Record]]) -> None:
    """Write one pack, unless it is there already, whole and with the same content, card and probes.

    The model is loaded only to ask it probes that it was not asked before. Raises ClinfitError, and leaves an older
    pack as it is, when the trained model is not as the run wrote it or cannot be loaded here.
    """
    there = read_there(trained.pack)
    kept = answered_probes(trained, there, probes)
    if there and kept and all(there[key] == content[key] for key in content) and read_card(trained.pack) == card:
        return
    if not trained.model.is_dir() or hash_folder(trained.model) != trained.sha256:
        raise ClinfitError("its model is missing or was changed; run the study again")
    asked = kept or answers_to(trained, probes)
    with new_folder(trained.pack) as folder:
        shutil.copytree(trained.model, folder / MODEL)
        write_text(folder / CARD, card)
        write_json(folder / PROBES, asked.as_dict())
        content = content | {"files": hash_files(folder)}
        write_json(folder / CONTENT, content | {"sha256": seal(content)})


# ---------------------------------------------------------------- what is there already


def read_there(pack: Path) -> dict[str, Any] | None:
    """The content of a whole pack, None where there is none, so that weights are not copied for nothing."""
    try:
        return asdict(read_content(pack))
    except ClinfitError:
        return None


def remove_where_withheld(pack: Path, withheld: Mapping[str, str]) -> None:
    """Remove an older pack that answers a task whose numbers are withheld now."""
    there = read_there(pack)
    if there and any(name in withheld and "withheld" not in entry for name, entry in there["tasks"].items()):
        shutil.rmtree(pack)


def read_card(pack: Path) -> str:
    return (pack / CARD).read_text(encoding="utf-8")


def answered_probes(
    trained: Trained, there: Mapping[str, Any] | None, wanted: Mapping[str, list[Record]]
) -> Probes | None:
    """The probes of the pack that is there, where they are the wanted ones and were asked of this model."""
    if there is None or there["model"]["sha256"] != trained.sha256:
        return None
    probes = read_probes(trained.pack / PROBES)
    return probes if probes.records == wanted else None


def answers_to(trained: Trained, records: Mapping[str, list[Record]]) -> Probes:
    """The trained model's answers to the probes."""
    model = load_model(trained.spec["family"], trained.model)
    answers = {name: ask_probes(model, name, asked) for name, asked in records.items()}
    return Probes(surroundings(model.spec.neural), dict(records), answers)


# ---------------------------------------------------------------- content


def content_of(
    trained: Trained,
    study: Study,
    results: Results,
    left_out: Mapping[str, str],
    described: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """pack.json without the hashes of the files and its seal. left_out: task -> why it is withheld."""
    spec = spec_of(trained, study)
    precision = trained.details.get("precision")
    return {
        "format": FORMAT,
        "clinfit": clinfit.__version__,
        "study": asdict(StudyEntry(study.name, study_hash(study))),
        "run": trained.run,
        "model": asdict(
            ModelEntry(
                family=trained.spec["family"],
                spec=trained.spec,
                seed=trained.seed,
                stage=trained.stage,
                sha256=trained.sha256,
                details=trained.details,
            )
        ),
        "tasks": {
            name: asdict(
                WithheldEntry(left_out[name])
                if name in left_out
                else task_entry(
                    task,
                    study.settings(name),
                    results["tasks"][name],
                    system_of(results["tasks"][name], trained),
                    described[name],
                )
            )
            for name, task in study.tasks_of(spec).items()
        },
        "tolerance": DOUBLE_TOLERANCE if precision is None else TOLERANCES[precision],
    }


def spec_of(trained: Trained, study: Study) -> ModelSpec:
    """The model's block of the study."""
    return next(spec for spec in study.models if spec.name == trained.spec["name"])


def withheld_tasks(results: Results) -> dict[str, str]:
    """Task -> the error for which its numbers are withheld."""
    return {
        name: next(finding["title"] for finding in task["findings"] if finding["level"] == "error")
        for name, task in results["tasks"].items()
        if task["withheld"]
    }


def unlearned_tasks(trained: Trained, study: Study, results: Results) -> dict[str, str]:
    """Task -> why the model has no answer to it: a last stage that starts from the base again forgets the others."""
    spec = spec_of(trained, study)
    return {
        name: f"stage {trained.stage}, with which its model ended, did not teach it"
        for name in study.tasks_of(spec)
        if not results["tasks"][name]["withheld"] and system_of(results["tasks"][name], trained) is None
    }


def system_of(task: TaskResult, trained: Trained) -> SystemResult | None:
    """The results of the system that the pack holds, None where it was not asked."""
    key = (trained.spec["name"], trained.seed, trained.stage)
    systems = (system for system in task["systems"] if (system["model"], system["seed"], system["stage"]) == key)
    return next(systems, None)


def task_entry(
    task: Task,
    settings: TaskEvaluation,
    result: TaskResult,
    system: SystemResult | None,
    described: Mapping[str, Any],
) -> TaskEntry:
    """What new records need: the task, and what becomes of the probabilities of the system that the pack holds."""
    assert system is not None
    made, divided = system["sections"], result["sections"].get("cross_validation")
    fitted, referral = made.get("recalibration"), made.get("referral")
    threshold = made.get("label_thresholds", made.get("threshold"))
    if (refit := made.get("refit")) is not None:
        fitted, threshold = refit["recalibration"], refit.get("label_thresholds", refit["threshold"])
    recalibration = Recalibration() if fitted is None else Recalibration.from_dict(fitted)
    return TaskEntry(
        task=served_task(task, result["primary"], settings),
        recalibration=recalibration.as_dict(),
        threshold=None if threshold is None else {**threshold},
        referral=None if referral is None else Referral.from_dict(referral).as_dict(),
        seen=seen_from(described),
        n=system["n"],
        metrics=system["metrics"],
        cross_validation=None if divided is None else divided["words"],
    )


def served_task(task: Task, primary: str, settings: TaskEvaluation) -> dict[str, Any]:
    """The task with everything that new records need; where the training data lay, and how it was divided, stays.

    primary, settings: the metric that it was evaluated by, and the rule of its threshold, which may stand in the study
    and not in the task.
    """
    content = task.model_dump(mode="json")
    if content["evaluation"] is None:
        content["evaluation"] = {"primary": primary} | settings.model_dump(mode="json", include={"threshold"})
    content["data"] |= {
        "path": "the training data is not in the pack",
        "files": None,
        "split": SplitRule().model_dump(),
    }
    return content


def common_categories(described: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Input -> the categories that many training records share."""
    seen = seen_from(described).items()
    return {name: known.values for name, known in seen if isinstance(known, SeenCategories)}
