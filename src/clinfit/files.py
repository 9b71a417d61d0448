"""Writing that is whole or not at all, and hashes: the one place for files.

Nothing here is ever half-written: a file or folder is made under a temporary name beside its final place
(`.NAME.tmp-<host>-<pid>`), flushed to disk and renamed. A process that is killed leaves at most a temporary name, which
the next one on the same host removes; names of other hosts are left alone, since their processes may be alive.
"""

import errno
import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError

from clinfit import __version__
from clinfit.errors import ClinfitError
from clinfit.machine import is_alive, this_host

#: What the system says when it will not let us write: the reason and what to do about it.
REFUSALS = {
    errno.ENOSPC: ("the disk is full", "free some space, or give another folder"),
    errno.EDQUOT: ("the disk quota is used up", "free some space, or give another folder"),
    errno.EFBIG: ("the file would be larger than this system allows", "raise the limit (ulimit -f), or give another"),
    errno.EROFS: ("the disk is read-only", "give a folder on a disk that can be written to"),
    errno.EACCES: ("permission is denied", "give a folder that you may write to"),
    errno.EPERM: ("permission is denied", "give a folder that you may write to"),
    errno.ENOTDIR: ("a file stands where a folder is needed", "give another folder"),
    errno.ENOENT: ("no folder can be made there", "give another folder"),
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
    if error.errno == errno.ENOENT:  # further below, a file is missing that should have been read
        return named.parent == folder or folder.is_relative_to(named)
    return named.is_relative_to(folder) or folder.is_relative_to(named)


# ---------------------------------------------------------------- writing


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.tmp-{this_host()}-{os.getpid()}")


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
    """The table, with the version of clinfit that wrote it as `clinfit` in the file's metadata."""
    content, buffer = pa.Table.from_pandas(table, preserve_index=False), io.BytesIO()
    known = content.schema.metadata or {}
    pq.write_table(content.replace_schema_metadata({**known, "clinfit": __version__}), buffer)
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


@contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path`, for the block alone."""
    temporary = _temporary(path)
    with disk_errors(path):
        try:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


#: Beside the folders of a study's runs: the one that was begun, or gone on with, last.
LATEST = "latest"


def point_latest(folder: Path) -> None:
    """Make `latest` beside a folder a link to it, in place of an older one; where the system has no links, a file that
    holds its name. A folder that is called so itself stays as it is."""
    path = folder.with_name(LATEST)
    if path.is_dir() and not path.is_symlink():
        return None
    temporary = _temporary(path)
    temporary.unlink(missing_ok=True)
    try:
        temporary.symlink_to(folder.name)
    except OSError:
        return write_text(path, folder.name + "\n")
    temporary.replace(path)
    return None


def followed(path: Path) -> Path:
    """`path` with the folder that `latest` points to in its place; other paths as they are."""
    for at, part in enumerate(path.parts, start=1):
        place = Path(*path.parts[:at])
        if part == LATEST and (place.is_symlink() or place.is_file()):
            target = place.readlink() if place.is_symlink() else place.read_text(encoding="utf-8").strip()
            return (place.parent / target).joinpath(*path.parts[at:])
    return path


TEMPORARY = re.compile(r"\..*\.tmp-(?P<host>[0-9a-f]{8})-(?P<pid>\d+)(?:-old)?")


def present(path: Path) -> Iterator[Path]:
    """Files and folders below `path`, in no order, while others write there: what goes meanwhile is no error (unlike
    `Path.rglob`, which ends where a folder that it saw is gone)."""
    for folder, folders, files in os.walk(path):
        yield from (Path(folder, name) for name in [*folders, *files])


def remove_leftovers(path: Path) -> None:
    """Remove temporary names below `path` whose process is gone; those of other hosts may be in use and stay."""
    for item in present(path):
        found = TEMPORARY.fullmatch(item.name)
        if found is None or found["host"] != this_host() or is_alive(int(found["pid"])):
            continue
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


# ---------------------------------------------------------------- the user's cache

CACHE = "CLINFIT_CACHE"


def cache_folder() -> Path:
    """The folder that the setting CLINFIT_CACHE names, else `clinfit` in the user's cache (XDG)."""
    if named := os.environ.get(CACHE):
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser() / "clinfit"
