"""The pack: the folder that is served. It gives the evaluation's own answers: its recalibration, threshold, referral.

    pack.json    what it is: task with its prompt, model, recalibration, threshold, referral, metrics, and the SHA-256
                 of every other file
    README.md    a card for people
    model/       the trained model as its family saves it; a LoRA adapter names its base by id and hash

A pack may be moved anywhere. `load_pack` refuses one in which a file is missing, changed or added.
"""

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import clinfit
from clinfit.data.load import inputs_from_rows, read_inputs
from clinfit.data.records import Record
from clinfit.errors import ClinfitError
from clinfit.evaluation.answers import UNPARSED, Answers, label_codes
from clinfit.evaluation.recalibration import Recalibration
from clinfit.evaluation.referral import Referral
from clinfit.evaluation.results import Results
from clinfit.evaluation.thresholds import ThresholdChoice, apply_threshold
from clinfit.models.base import Model
from clinfit.models.families import load_model
from clinfit.predictions import PROBABILITY, check_probabilities
from clinfit.report.card import model_card
from clinfit.runs.folder import (
    ModelFolder,
    RunFolder,
    hash_files,
    hash_folder,
    hash_json,
    new_folder,
    read_json,
    write_json,
    write_text,
)
from clinfit.runs.outcome import records
from clinfit.study import Study, Task, study_hash

FORMAT = "clinfit-pack/2"
CONTENT = "pack.json"
CARD = "README.md"


@dataclass(frozen=True)
class Pack:
    """A trained model with its task and what becomes of its probabilities, ready to answer.

    referral: None when the study hands nothing to a person.
    """

    name: str
    task: Task
    recalibration: Recalibration
    threshold: ThresholdChoice
    referral: Referral | None
    model: Model
    content: dict[str, Any]

    def predict(
        self, items: Sequence[Record] | pd.DataFrame | Path | str, say: Callable[[str], None] = lambda line: None
    ) -> pd.DataFrame:
        """Answers for records, for a table with the task's columns, or for a data file.

        Returns one row an item, in order: id, p_<label> for each label (recalibrated, where the study recalibrates),
        predicted, status: `ok`, or `refer` when the item is for a person to decide. Where referral is by sets of
        labels, `prediction_set` holds the labels of the set, joined by `|`. say: told of how many records the model did
        not see all text.
        """
        records, labels = records_of(self.task, items), self.task.labels
        outputs = self.model.predict(records)
        if outputs.dropped_tokens is not None and (cut := int((outputs.dropped_tokens > 0).sum())):
            say(f"{cut} of {len(records)} records were longer than the model reads and were shortened")
        check_probabilities(outputs.probabilities, len(records), len(labels))
        probabilities = self.recalibration.apply(outputs.probabilities)
        table = pd.DataFrame({"id": [record.id for record in records]})
        for k, label in enumerate(labels):
            table[PROBABILITY + label] = probabilities[:, k]
        predicted = apply_threshold(probabilities, labels, self.task.positive_label, self.threshold)
        table = table.assign(predicted=predicted, status="ok")
        return table if self.referral is None else _referred(table, labels, probabilities, self.referral)


def _referred(
    table: pd.DataFrame, labels: Sequence[str], probabilities: NDArray[np.float64], referral: Referral
) -> pd.DataFrame:
    """The answers with their status under the referral, and with the sets of labels where it has sets."""
    codes = label_codes(list(table["predicted"]), labels)
    nothing = np.full(len(table), np.nan)
    answers = Answers(tuple(labels), None, np.full(len(table), UNPARSED), codes, probabilities, nothing)
    table = table.assign(status=np.where(referral.decided(answers), "ok", "refer"))
    sets = referral.sets(probabilities)
    if sets is None:
        return table
    texts = ["|".join(label for label, inside in zip(labels, row, strict=True) if inside) for row in sets]
    return table.assign(prediction_set=texts)


def records_of(task: Task, items: Sequence[Record] | pd.DataFrame | Path | str) -> Sequence[Record]:
    """Records from whatever holds them."""
    if isinstance(items, pd.DataFrame):
        return inputs_from_rows(task, items)
    if not isinstance(items, str | Path):
        return items
    if not Path(items).exists():
        raise ClinfitError(f"there is no file {items} to predict")
    return read_inputs(task, Path(items))


def load_pack(folder: Path | str) -> Pack:
    """The pack in a folder; raises ClinfitError when it is no pack or not as it was written.

    Nothing is fetched from the hub unless HF_HUB_OFFLINE=0 is set before transformers is imported.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    folder = Path(folder)
    if not (folder / CONTENT).is_file():
        raise ClinfitError(
            f"{folder} is not a pack: it holds no {CONTENT}",
            expected="a folder that `clinfit run` wrote, such as runs/<study>/<hash>/models/<model>-seed42/pack",
        )
    content = read_json(folder / CONTENT)
    verify(folder, content)
    (name, served), *_ = content["tasks"].items()
    model = load_model(content["model"]["family"], folder / "model")
    return Pack(
        name,
        Task.model_validate(served["task"]),
        Recalibration.from_dict(served["recalibration"]),
        ThresholdChoice.from_dict(served["threshold"]),
        None if served["referral"] is None else Referral.from_dict(served["referral"]),
        model,
        content,
    )


def verify(folder: Path, content: dict[str, Any]) -> None:
    """Raise ClinfitError that names the files that are not as they were written."""
    if content.get("format") != FORMAT:
        raise ClinfitError(
            f"{folder / CONTENT} has format {content.get('format')!r}",
            expected=FORMAT,
            fix="use the clinfit that wrote it",
        )
    found = {name: digest for name, digest in hash_files(folder).items() if name != CONTENT and not is_hidden(name)}
    written = content["files"]
    wrong = {name for name in found.keys() | written.keys() if found.get(name) != written.get(name)}
    if content["sha256"] != seal(content):
        wrong.add(CONTENT)
    if wrong:
        raise ClinfitError(
            f"the pack {folder} is not as it was written: {', '.join(sorted(wrong))} changed, missing or added",
            expected="the files whose SHA-256 the pack lists",
            fix="copy the pack again, or run the study again",
        )


def seal(content: dict[str, Any]) -> str:
    """SHA-256 of the content without its own seal."""
    return hash_json({key: value for key, value in content.items() if key != "sha256"})


def is_hidden(name: str) -> bool:
    """Files such as .DS_Store, which systems leave behind and no model reads."""
    return any(part.startswith(".") for part in name.split("/"))


# ---------------------------------------------------------------- writing


def write_packs(
    run: RunFolder, study: Study, results: Results, say: Callable[[str], None] = lambda line: None
) -> dict[str, Path]:
    """A pack for every finished model of a run: run name -> folder. say: told which are not made and why.

    Where the numbers are withheld there is no pack: its threshold and metrics could not be trusted either.
    """
    finished = [(folder, record) for folder, record in records(run) if record["status"] == "done"]
    if reason := why_withheld(results):
        for folder, _ in finished:
            shutil.rmtree(folder.pack, ignore_errors=True)
        say(f"No packs, since the numbers are withheld: {reason}")
        return {}
    packs = {}
    for folder, record in finished:
        if write_pack(folder, record, study, results):
            packs[folder.path.name] = folder.pack
        else:
            say(f"{folder.path.name}: no new pack, since its model is missing or was changed; run the study again")
    return packs


def why_withheld(results: Results) -> str | None:
    """The error for which the numbers of a study are withheld, None when they are not."""
    for task in results["tasks"].values():
        if task["withheld"]:
            return next(finding["title"] for finding in task["findings"] if finding["level"] == "error")
    return None


def last_stage(record: dict[str, Any]) -> int:
    return max(int(number) for number in record["stages"])


def write_pack(folder: ModelFolder, record: dict[str, Any], study: Study, results: Results) -> bool:
    """Write the pack of one trained model, unless it is there already, whole and with the same content.

    False when that cannot be, since the trained model is not as the run wrote it; an older pack then stays.
    """
    last = last_stage(record)
    model = folder.model(last)
    content = {
        "format": FORMAT,
        "clinfit": clinfit.__version__,
        "study": {"name": study.name, "sha256": study_hash(study)},
        "run": folder.path.name,
        "model": {
            "family": record["family"],
            "spec": record["spec"],
            "seed": record["seed"],
            "sha256": record["stages"][str(last)]["model"],
            "details": record["stages"][str(last)]["details"],
        },
        "tasks": {
            name: {"task": served_task(task), **evaluated(results, name, record, last)}
            for name, task in study.tasks.items()
        },
    }
    card = model_card(results, content)
    if is_there(folder.pack, content, card):
        return True
    if not model.is_dir() or hash_folder(model) != content["model"]["sha256"]:
        return False
    with new_folder(folder.pack) as pack:
        shutil.copytree(model, pack / "model")
        write_text(pack / CARD, card)
        content["files"] = hash_files(pack)
        write_json(pack / CONTENT, content | {"sha256": seal(content)})
    return True


def is_there(pack: Path, content: dict[str, Any], card: str) -> bool:
    """Whether the folder is a whole pack with this content and card, so that weights are not copied for nothing."""
    try:
        there = read_json(pack / CONTENT)
        verify(pack, there)
    except (ClinfitError, KeyError, AttributeError):  # of a file that is JSON and no pack
        return False
    return (pack / CARD).read_text(encoding="utf-8") == card and all(there.get(key) == content[key] for key in content)


def served_task(task: Task) -> dict[str, Any]:
    """The task with everything that new records need; where the training data lay stays behind."""
    content = task.model_dump(mode="json")
    content["data"] |= {"path": "the training data is not in the pack", "files": None}
    return content


def evaluated(results: Results, task: str, record: dict[str, Any], stage: int) -> dict[str, Any]:
    """What becomes of the probabilities of the system that the pack holds, and its metrics."""
    system = next(
        system
        for system in results["tasks"][task]["systems"]
        if (system["model"], system["seed"], system["stage"]) == (record["model"], record["seed"], stage)
    )
    fitted, referral = system["recalibration"], system["referral"]
    recalibration = Recalibration() if fitted is None else Recalibration.from_dict(fitted)
    return {
        "recalibration": recalibration.as_dict(),
        "threshold": system["threshold"],
        "referral": None if referral is None else Referral.from_dict(referral).as_dict(),
        "n": system["n"],
        "metrics": system["metrics"],
    }
