"""One model with one seed, through all stages: fit, save, predict. Every finished step is kept.

`run.json` in the model's folder is the memory of it: the hash of all that went in, the steps that are done with the
hash of what they wrote, and how it ended. A step is skipped when both hashes still hold.
"""

import random
import resource
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

import clinfit
from clinfit.data.load import TaskData
from clinfit.data.records import Record, Split, in_split
from clinfit.errors import ClinfitError
from clinfit.evaluation.primary import primary_value
from clinfit.models.base import Model, Workspace, Writer
from clinfit.models.families import create_model, load_model
from clinfit.predictions import Source, predictions_table, read_predictions
from clinfit.runs.folder import (
    ModelFolder,
    hash_file,
    hash_folder,
    hash_json,
    new_folder,
    write_json,
    write_parquet,
)
from clinfit.runs.progress import Monitor, now
from clinfit.study import Causal, Encoder, ModelSpec, Stage, Study, Task

#: The splits that models answer: thresholds are chosen on the first, metrics come from the second.
ANSWERED: tuple[Split, ...] = ("validation", "test")

#: Fields of a causal model that change nothing before training: models that differ only here share stage 0.
TRAINING_ONLY = {"name", "lora", "class_weights", "focal_gamma", "sampling", "compare_base", "train"}
READ_BEFORE_TRAINING = {"max_length", "shorten", "precision"}


def seed_everything(spec: ModelSpec, seed: int) -> None:
    """Seed every generator that a family may draw from; torch only where the family uses it."""
    random.seed(seed)
    np.random.seed(seed)
    if isinstance(spec, Causal | Encoder):
        import torch

        torch.manual_seed(seed)


@dataclass(frozen=True)
class Job:
    """One model with one seed, and what it learns from."""

    study: Study
    spec: ModelSpec
    seed: int
    data: Mapping[str, TaskData]

    @property
    def name(self) -> str:
        return f"{self.spec.name}-seed{self.seed}"

    @property
    def stages(self) -> list[Stage]:
        return self.study.stages or [Stage(train=dict.fromkeys(self.study.tasks, 1.0))]

    @property
    def task(self) -> Task:
        """The task that the model is made for; a study has one (load_study sees to that)."""
        return next(iter(self.study.tasks.values()))

    def records(self, task: str, split: Split) -> list[Record]:
        return in_split(self.data[task].records, split)

    def trained_on(self, stage: Stage, split: Split) -> list[Record]:
        return [record for task in stage.train for record in self.records(task, split)]

    def primary(self, gold: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float | None:
        """The study's primary metric during training; larger is better."""
        metric = self.study.evaluation.primary
        return primary_value(metric, self.task.labels, self.task.positive_label, gold, probabilities)

    def asked(self) -> dict[str, Any]:
        """What is asked of the records and which records they are; where the files lie does not matter."""
        return {
            name: {
                "task": task.model_dump(mode="json", exclude={"data"}),
                # A list, since their order counts: prompts show the inputs in it.
                "inputs": [[key, column.model_dump(mode="json")] for key, column in task.data.columns.items()],
                "fingerprint": self.data[name].fingerprint,
            }
            for name, task in self.study.tasks.items()
        }

    def inputs(self) -> str:
        """Hash of all that decides the trained model and its answers, free ones apart (see `generate`)."""
        primary = isinstance(self.spec, Causal | Encoder) and self.spec.train.select_by == "primary"
        return hash_json(
            {
                "clinfit": clinfit.__version__.rsplit(".", 1)[0],
                "spec": self.spec.model_dump(mode="json", exclude={"compare_base", "generate"}),
                "base": self.base(),
                "seed": self.seed,
                "tasks": self.asked(),
                "stages": [stage.model_dump(mode="json") for stage in self.stages],
                "primary": self.study.evaluation.primary if primary else None,
            }
        )

    def before(self) -> str | None:
        """Hash of all that decides the answers before training, None when they are not asked for."""
        if not (isinstance(self.spec, Causal) and self.spec.compare_base):
            return None
        spec = self.spec.model_dump(mode="json", exclude=TRAINING_ONLY)
        train = self.spec.train.model_dump(mode="json", include=READ_BEFORE_TRAINING)
        return hash_json({"spec": spec, "base": self.base(), "train": train, "tasks": self.asked()})

    @property
    def generate(self) -> int:
        """Most tokens of the free answer that is asked for beside the label probabilities; 0: none."""
        return self.spec.generate if isinstance(self.spec, Causal) else 0

    def base(self) -> dict[str, Any] | None:
        """Name, revision and weights' hash of the pretrained base, None for families without one."""
        return base_identity(self.spec.base, self.spec.revision) if isinstance(self.spec, Causal | Encoder) else None


@cache
def base_identity(name: str, revision: str | None) -> dict[str, Any]:
    """Hashing weights takes a while, so it is done once a process."""
    from clinfit.models.bases import find_base

    return find_base(name, revision).as_dict()


def peak_memory_mb() -> float:
    """The most memory that this process held so far, in MB of a million bytes.

    A peak cannot be set back, so that what ran before in the same process counts too: an upper limit for one model.
    """
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in KiB on Linux and in bytes on macOS
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)


class ModelRun:
    """The steps of a job; `finish` does what is left to do."""

    def __init__(self, job: Job, monitor: Monitor, environment: Mapping[str, Any], siblings: Path | None) -> None:
        """environment: what it would be trained on (environment.py). siblings: where runs to reuse from lie."""
        self.job, self.monitor, self.run = job, monitor, monitor.folder
        self.environment, self.siblings = environment, siblings
        self.folder = self.run.model(job.spec.name, job.seed)
        self.record: dict[str, Any] = {}
        self._model: tuple[int, Model] | None = None

    def finish(self) -> bool:
        """Do the steps that are not done yet; False when there were none."""
        if not self._open():
            return False
        if self.record["before"]:
            self._predict(0)
        for number, stage in enumerate(self.job.stages, 1):
            self._fit(number, stage)
            self._predict(number)
        self._model = None
        self._write(status="done", reason=None, ended=now())
        return True

    def fail(self, reason: str) -> None:
        """Note why it ended; the next run tries again. A damaged record is left as it is."""
        self._model = None
        if self.record:
            self._write(status="failed", reason=reason, ended=now())

    # ------------------------------------------------------------ the record

    def _open(self) -> bool:
        """Find the record of an earlier run or start one; False when everything is done."""
        job = self.job
        self.record = self.folder.read_record() if self.folder.record.exists() else self._blank()
        known = {"inputs": job.inputs(), "before": job.before()}
        if self.record["inputs"] != known["inputs"]:
            self._set_aside()
            self.record = self._from_sibling(known["inputs"]) or self._blank()
        before, generate = self.record["before"], self.record["spec"].get("generate", 0)
        self.record |= known | {"spec": job.spec.model_dump(mode="json")}
        if before != known["before"]:
            self._forget_answers([0])
        if generate != job.generate:  # the trained model serves, and is asked again
            self._forget_answers(range(1, len(job.stages) + 1))
        if self._complete():
            self._write()
            return False
        self._write(status="running", reason=None)
        return True

    def _blank(self) -> dict[str, Any]:
        """A record of which nothing is done."""
        job = self.job
        return {
            "study": job.study.name,
            "model": job.spec.name,
            "seed": job.seed,
            "family": job.spec.family,
            "spec": job.spec.model_dump(mode="json"),
            "inputs": None,
            "before": None,
            "stages": {},
            "predictions": {},
            "status": "running",
            "reason": None,
            "began": now(),
        }

    def _set_aside(self) -> None:
        """Make room for a model whose inputs changed; what was trained is kept below `replaced/` of the run."""
        if (self.folder.path / "stages").exists():
            aside = self.run.path / "replaced"
            aside.mkdir(exist_ok=True)
            names = (aside / f"{self.job.name}-{number}" for number in count(1))
            target = next(path for path in names if not path.exists())
            self.folder.path.rename(target)
            self.monitor.say(f"{self.job.name}: its inputs changed since it was trained; the old one is in {target}")
        elif self.folder.path.exists():
            shutil.rmtree(self.folder.path)

    def _from_sibling(self, inputs: str) -> dict[str, Any] | None:
        """Copy a finished run of the same model on the same inputs from another run of this study; its record."""
        if self.siblings is None:
            return None
        for path in sorted(self.siblings.glob(f"*/models/{self.job.name}/run.json")):
            other = ModelFolder(path.parent)
            try:
                found = other.read_record()
            except ClinfitError:
                continue
            if (found["study"], found["status"], found["inputs"]) == (self.job.study.name, "done", inputs):
                with new_folder(self.folder.path) as copy:
                    shutil.copytree(other.path, copy, dirs_exist_ok=True, ignore=shutil.ignore_patterns("pack", ".*"))
                self.monitor.say(f"{self.job.name}: reused from {other.path}")
                return found
        return None

    def _complete(self) -> bool:
        stages = range(1, len(self.job.stages) + 1)
        answered = [0, *stages] if self.record["before"] else stages
        return (
            self.record["status"] == "done"
            and all(self._fitted(number) for number in stages)
            and all(self._answered(step) for number in answered for step in self._questions(number))
        )

    def _write(self, **values: Any) -> None:
        self.record |= values
        write_json(self.folder.record, self.record)

    # ------------------------------------------------------------ fit

    def _fitted(self, number: int) -> bool:
        model, done = self.folder.model(number), self.record["stages"].get(str(number))
        return done is not None and model.is_dir() and hash_folder(model) == done["model"]

    def _fit(self, number: int, stage: Stage) -> None:
        if self._fitted(number):
            return
        self._write(status="running", reason=None)
        model = self._untrained() if number == 1 else self._trained(number - 1)
        seed_everything(self.job.spec, self.job.seed)
        with self.monitor.step(f"{self.job.name}: training", model=self.job.name, stage=number) as advance:
            workspace = Workspace(self.folder.stage(number), advance, self.job.primary, self.job.study.track)
            workspace.folder.mkdir(parents=True, exist_ok=True)
            summary = model.fit(
                self.job.trained_on(stage, "train"), self.job.trained_on(stage, "validation"), workspace
            )
        with new_folder(self.folder.model(number)) as folder:
            model.save(folder)
        self._model = None  # what is evaluated is what was saved
        digest = hash_folder(self.folder.model(number))
        if digest != self.record["stages"].get(str(number), {}).get("model"):
            self._forget_answers(range(number, len(self.job.stages) + 1))
        self.record["stages"][str(number)] = {"model": digest, **asdict(summary)}
        self._write(environment=self.environment, peak_memory_mb=peak_memory_mb())
        write_json(self.run.environment, self.environment)

    def _untrained(self) -> Model:
        """The model before any training, the same object for stage 0 and the first fit."""
        if self._model is None or self._model[0] != 0:
            seed_everything(self.job.spec, self.job.seed)
            self._model = (0, create_model(self.job.spec, self.job.task, self.job.seed))
        return self._model[1]

    def _trained(self, number: int) -> Model:
        if self._model is None or self._model[0] != number:
            self._model = (number, load_model(self.job.spec.family, self.folder.model(number)))
        return self._model[1]

    # ------------------------------------------------------------ predict

    def _questions(self, number: int) -> list[tuple[str, Split, int]]:
        """(task, split, stage) of every table that a stage writes; splits without records have none."""
        return [
            (task, split, number)
            for task in self.job.study.tasks
            for split in ANSWERED
            if self.job.records(task, split)
        ]

    def _answered(self, step: tuple[str, Split, int]) -> bool:
        table = self.folder.predictions(*step)
        return table.is_file() and hash_file(table) == self.record["predictions"].get(table.name)

    def _predict(self, number: int) -> None:
        for step in self._questions(number):
            if not self._answered(step) and not (number == 0 and self._share_before(step)):
                self._answer(step)

    def _answer(self, step: tuple[str, Split, int]) -> None:
        task, split, number = step
        records = self.job.records(task, split)
        title = f"{self.job.name}: answering {split}" + (" before training" if number == 0 else "")
        with self.monitor.step(title, model=self.job.name, stage=number):
            model = self._untrained() if number == 0 else self._trained(number)
            outputs = model.predict(records)
            if self.job.generate:
                raw, tokens = cast(Writer, model).generate(records, self.job.generate)
                outputs = replace(outputs, raw=raw, output_tokens=tokens)
        self.record["peak_memory_mb"] = max(self.record.get("peak_memory_mb") or 0.0, peak_memory_mb())
        source = Source(self.job.name, self.job.spec.name, self.job.seed, number)
        labels = self.job.study.tasks[task].labels
        self._keep(step, predictions_table(source, task, labels, split, records, outputs))

    def _forget_answers(self, numbers: Iterable[int]) -> None:
        """Drop the answers of stages whose model is no longer the one that gave them, or is not asked for."""
        for number in numbers:
            for step in self._questions(number):
                table = self.folder.predictions(*step)
                self.record["predictions"].pop(table.name, None)
                table.unlink(missing_ok=True)

    def _keep(self, step: tuple[str, Split, int], table: Any) -> None:
        path = self.folder.predictions(*step)
        write_parquet(path, table)
        self.record["predictions"][path.name] = hash_file(path)
        self._write()

    def _share_before(self, step: tuple[str, Split, int]) -> bool:
        """Take stage-0 answers from another model of this run with the same base, when there are any."""
        for other in self.run.models():
            try:
                found, table = other.read_record(), other.predictions(*step)
            except ClinfitError:
                continue  # told where that model is run
            same = other.path != self.folder.path and found["before"] == self.record["before"]
            if same and table.is_file() and hash_file(table) == found["predictions"].get(table.name):
                answers = read_predictions(table)
                self._keep(step, answers.assign(run=self.job.name, model=self.job.spec.name, seed=self.job.seed))
                return True
        return False
