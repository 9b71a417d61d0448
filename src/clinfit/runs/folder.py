"""The run folder: its layout, atomic writes, hashes and its lock.

Nothing here is ever half-written: a file or folder is made under a temporary name beside its final place
(`.NAME.tmp-<pid>`), flushed to disk and renamed. A process that is killed leaves at most a temporary name, which the
next run removes.
"""

import errno
import fcntl
import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors import SafetensorError

from clinfit.errors import ClinfitError

#: What the system says when it will not let us write: the reason and what to do about it.
REFUSALS = {
    errno.ENOSPC: ("the disk is full", "free some space, or give another folder"),
    errno.EDQUOT: ("the disk quota is used up", "free some space, or give another folder"),
    errno.EFBIG: ("the file would be larger than this system allows", "raise the limit (ulimit -f), or give another"),
    errno.EROFS: ("the disk is read-only", "give a folder on a disk that can be written to"),
    errno.EACCES: ("permission is denied", "give a folder that you may write to"),
    errno.EPERM: ("permission is denied", "give a folder that you may write to"),
    errno.ENOTDIR: ("a file stands where a folder is needed", "give another folder"),
    errno.EEXIST: ("a file stands where a folder is needed", "give another folder"),
}

#: Of these, what no reading ever meets.
ONLY_WRITING = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}


class DiskError(ClinfitError):
    """The disk refuses; unlike a model's failure it ends the whole run."""


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full, read-only or forbidden disk into a `DiskError` that names `path`; other errors pass."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        refusal = _refusal(error, path)
        if refusal is None:
            raise
        reason, fix = refusal
        raise DiskError(f"cannot write {path}: {reason}", fix=fix) from error


def _refusal(error: OSError | SafetensorError, path: Path) -> tuple[str, str] | None:
    """Why `path` cannot be written; None when the error is another, such as a base that may not be read."""
    if isinstance(error, SafetensorError):  # carries the system's number in its text only
        found = re.search(r"os error (\d+)", str(error))
        return REFUSALS.get(int(found[1])) if found else None
    if error.errno in ONLY_WRITING or (error.errno in REFUSALS and _concerns(error, path)):
        return REFUSALS[error.errno]
    return None


def _concerns(error: OSError, path: Path) -> bool:
    """Whether the file that the system names lies where `path` is written, or is a folder on the way there."""
    if not isinstance(error.filename, str | os.PathLike):
        return False
    named, folder = (Path(place).resolve() for place in (error.filename, path.parent))
    return named.is_relative_to(folder) or folder.is_relative_to(named)


# ---------------------------------------------------------------- layout

#: What every run.json holds from its first moment on.
RECORD_KEYS = {
    "study", "model", "seed", "family", "spec", "inputs", "before", "stages", "predictions", "status", "reason",
}  # fmt: skip


@dataclass(frozen=True)
class ModelFolder:
    """What one model with one seed writes."""

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
        if not isinstance(content, dict) or not content.keys() >= RECORD_KEYS:
            raise ClinfitError(
                f"{self.record} is damaged",
                expected="the record of a model, as `clinfit run` writes it",
                fix=f"put a copy of it back, or remove {self.path} to train this model again",
            )
        return content

    @property
    def pack(self) -> Path:
        return self.path / "pack"

    def stage(self, number: int) -> Path:
        """Checkpoints and log.jsonl of a stage; the trained model is in `model` below it."""
        return self.path / "stages" / str(number)

    def model(self, stage: int) -> Path:
        return self.stage(stage) / "model"

    def predictions(self, task: str, split: str, stage: int) -> Path:
        return self.path / "predictions" / f"{task}-{split}-stage{stage}.parquet"


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

    def model(self, name: str, seed: int) -> ModelFolder:
        return ModelFolder(self.path / "models" / f"{name}-seed{seed}")

    def models(self) -> list[ModelFolder]:
        """The model folders that hold a record, by name."""
        return [ModelFolder(path.parent) for path in sorted(self.path.glob("models/*/run.json"))]


def existing_run(path: Path) -> RunFolder:
    """The run folder at `path`; raises ClinfitError when it is not one."""
    folder = RunFolder(path)
    if folder.study.is_file():
        return folder
    runs = sorted(found.parent for found in path.glob("*/study.yaml")) if path.is_dir() else []
    raise ClinfitError(
        f"{path} is not a run folder",
        expected="a folder with study.yaml and status.json, as `clinfit run` writes it",
        fix=f"name one of its runs, such as {runs[0]}" if runs else "look below runs/ for the folder of the run",
    )


# ---------------------------------------------------------------- writing


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.tmp-{os.getpid()}")


def _flush(path: Path) -> None:
    """Make sure that a file or folder is on the disk before something points to it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """A temporary path that becomes `path` (replacing it) when the block ends well, and vanishes otherwise."""
    temporary = _temporary(path)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            _flush(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        _flush(path.parent)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, making its folder when needed."""
    with new_file(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Strict JSON: what is undefined is null, so a NaN is a programming error and raises ValueError."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_parquet(path: Path, table: pd.DataFrame) -> None:
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    write_bytes(path, buffer.getvalue())


def read_json(path: Path) -> Any:
    """A JSON file of a run or pack; raises ClinfitError when it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ClinfitError(f"{path} is missing") from None
    except ValueError:
        raise ClinfitError(f"{path} is damaged: it is not JSON", fix="delete it and run again") from None


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A temporary folder that becomes `path` (replacing it) when the block ends well, and vanishes otherwise."""
    temporary = _temporary(path)
    old = temporary.with_name(temporary.name + "-old")
    with disk_errors(path):
        try:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            yield temporary
            for item in [*sorted(temporary.rglob("*")), temporary]:
                _flush(item)
            if path.exists():
                path.rename(old)
            temporary.rename(path)
            _flush(path.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)


def remove_leftovers(path: Path) -> None:
    """Remove temporary names that a killed process left below `path`; only for the holder of the lock."""
    for item in path.rglob(".*.tmp-*"):
        if item.is_dir():
            shutil.rmtree(item, ignore_errors=True)
        else:
            item.unlink(missing_ok=True)


# ---------------------------------------------------------------- hashes


def hash_json(value: Any) -> str:
    """SHA-256 of a JSON value, independent of the order of keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=True, allow_nan=False).encode()).hexdigest()


def hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_files(folder: Path) -> dict[str, str]:
    """Relative path -> SHA-256 of every file below a folder, sorted by path."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hash_file(path) for path in paths}


def hash_folder(folder: Path) -> str:
    """SHA-256 over the names and contents of all files below a folder."""
    return hash_json(hash_files(folder))


# ---------------------------------------------------------------- one writer at a time


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the run folder for this process; raises ClinfitError when another one holds it.

    The lock belongs to the open file, so the system lets go of it when its process ends, however it ends.
    """
    file = path / ".lock"
    with disk_errors(path):
        path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode(errors="replace").strip()
            raise ClinfitError(
                f"{path} is being written by another process (pid {holder or 'unknown'})",
                fix=f"wait for it (clinfit status {path}), stop it, or give another folder with --out",
            ) from None
        os.truncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)
