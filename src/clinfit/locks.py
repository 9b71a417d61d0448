"""Locks: one process at a time writes to a folder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clinfit.errors import ClinfitError
from clinfit.files import disk_errors


@contextmanager
def locked(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold a folder for this process. When another one holds it: wait for that one, or else raise ClinfitError.

    The lock belongs to the open file, so the system lets go of it when its process ends, however it ends.
    """
    file = path / ".lock"
    with disk_errors(path):
        path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
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


def holder(path: Path) -> int | None:
    """The process that holds a folder, None when none does, or when it has not said yet who it is.

    To see that, the lock is taken and let go of again, for an instant.
    """
    try:
        descriptor = os.open(path / ".lock", os.O_RDWR)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        said = os.read(descriptor, 32).decode(errors="replace").strip()
        return int(said) if said.isdigit() else None
    finally:
        os.close(descriptor)
    return None
