"""The layout of a study folder: where each thing lies, and how a record is read."""

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from clinfit.errors import ClinfitError
from clinfit.files import LATEST, followed

RECORD_FORMAT = "clinfit-run/2"
FIRST_FORMAT = "clinfit-run/1"

#: What a search for hyperparameters writes into the folder of its run, and what came out, below it.
SEARCH, OUTCOME = "search", "search.json"

#: What every run.json holds from its first moment on (docs/architecture.md).
RECORD_KEYS = {"format", "study", "model", "seed", "family", "spec", "steps", "stages", "status", "reason"}


@dataclass(frozen=True)
class ModelFolder:
    """What one run writes."""

    path: Path

    @property
    def record(self) -> Path:
        return self.path / "run.json"

    def read_record(self) -> dict[str, Any]:
        """The content of run.json; raises ClinfitError that names the file when it is missing or damaged."""
        try:
            content = json.loads(self.record.read_bytes())
        except (OSError, ValueError):
            content = None
        if not isinstance(content, dict) or not content.keys() >= RECORD_KEYS or content["format"] != RECORD_FORMAT:
            raise ClinfitError(
                f"{self.record} is damaged",
                expected=f"the record of a model ({RECORD_FORMAT}), as `clinfit run` writes it",
                fix=f"put a copy of it back, or remove {self.path} to train this model again",
            )
        return content

    @property
    def format(self) -> str | None:
        """What run.json says of its own format: FIRST_FORMAT where it says nothing, None where it cannot be read."""
        try:
            content = json.loads(self.record.read_bytes())
        except (OSError, ValueError):
            return None
        return content.get("format", FIRST_FORMAT) if isinstance(content, dict) and "model" in content else None

    @property
    def status(self) -> Path:
        return self.path / "status.json"

    @property
    def pack(self) -> Path:
        return self.path / "pack"

    def stage(self, number: int) -> Path:
        """Checkpoints and log.jsonl of a stage; the trained model is in `model` below it."""
        return self.path / "stages" / str(number)

    def model(self, stage: int) -> Path:
        return self.stage(stage) / "model"

    def scores(self, predictions: str) -> Path:
        """The item scores of a predictions table of this name; of tasks with labels there are none."""
        return self.path / "scores" / predictions

    def predictions(self, task: str, split: str, stage: int) -> Path:
        return self.path / "predictions" / f"{task}-{split}-stage{stage}.parquet"


def answers_in(record: dict[str, Any], split: str = "") -> dict[str, str]:
    """Name and SHA-256 of every finished predictions table of a record; split: of this one alone."""
    steps = {PurePosixPath(written): step["sha256"] for written, step in record["steps"].items()}
    return {
        path.name: digest
        for path, digest in steps.items()
        if path.parts[0] == "predictions" and digest and (not split or split_of(path.name) == split)
    }


def split_of(table: str) -> str:
    """The split whose answers a predictions file of this name holds."""
    return table.rpartition("-stage")[0].rpartition("-")[2]


@dataclass(frozen=True)
class RunFolder:
    """`runs/<study>/<first 8 of the study's hash>/`; see docs/architecture.md."""

    path: Path

    @property
    def study(self) -> Path:
        return self.path / "study.yaml"

    @property
    def environment(self) -> Path:
        return self.path / "environment.json"

    @property
    def status(self) -> Path:
        return self.path / "status.json"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.json"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    def data(self, task: str) -> Path:
        return self.path / "data" / f"{task}.json"

    def subgroups(self, task: str) -> Path:
        return self.path / "data" / f"{task}-subgroups.parquet"

    def decisions(self, task: str) -> Path:
        return self.path / "decisions" / f"{task}.parquet"

    def model(self, name: str, seed: int) -> ModelFolder:
        return self.run(f"{name}-seed{seed}")

    def run(self, name: str) -> ModelFolder:
        """The folder of a run, by its name `<model>-seed<seed>`."""
        return ModelFolder(self.path / "models" / name)

    def written(self, step: str) -> Path:
        """What a step writes, by its id."""
        return self.path / "models" / step

    def models(self) -> list[ModelFolder]:
        """The model folders that hold a record, by name."""
        return [ModelFolder(path.parent) for path in sorted(self.path.glob("models/*/run.json"))]


def folders_of_study(path: Path) -> list[Path]:
    """The folders of a study's runs below `runs/<study>/`, by name; `latest`, which is one of them, is left out."""
    folders = sorted(found.parent for found in path.glob("*/study.yaml"))
    return [folder for folder in folders if not folder.is_symlink()]


def existing_run(path: Path) -> RunFolder:
    """The run folder at `path`; raises ClinfitError when it is not one."""
    folder = RunFolder(followed(path))
    if folder.study.is_file():
        refuse_other_format(folder)
        return folder
    runs = folders_of_study(path.parent if path.name == LATEST else path)
    raise ClinfitError(
        f"{path} is not a run folder",
        expected="a folder with study.yaml and status.json, as `clinfit run` writes it",
        fix=f"name one of its runs, such as {runs[0]}" if runs else "look below runs/ for the folder of the run",
    )


def refuse_other_format(folder: RunFolder) -> None:
    """Raise ClinfitError for the folder of another version of clinfit, which is not damaged and cannot be read."""
    for model in folder.models():
        found = model.format
        if found is not None and found != RECORD_FORMAT:
            raise ClinfitError(
                f"{folder.path} was written by another version of clinfit ({found})",
                expected=RECORD_FORMAT,
                fix="run its study again with this version, which makes a new folder, or use the version that wrote it",
            )
