"""The files of public sets on this disk, and their checksums.

They lie in the folder that the setting CLINFIT_DATA names, else in `data` of the user's cache, where `clinfit data get`
puts them. Two people who name the same set train on the same bytes, but for the few files whose checksum is not known.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from clinfit.data.archives import ARCHIVES, archive_files
from clinfit.data.catalog.entry import CatalogFile
from clinfit.errors import ClinfitError
from clinfit.files import cache_folder, hash_file

MIRROR = "CLINFIT_DATA"


@dataclass(frozen=True)
class LocalFile:
    """A file of a set where it lies, and its checksum as it was found."""

    path: Path
    sha256: str


def mirror_folder() -> Path:
    """Where the files of all sets lie, each at its `CatalogFile.path`."""
    if named := os.environ.get(MIRROR):
        return Path(named).expanduser()
    return cache_folder() / "data"


def checked_file(file: CatalogFile, name: str) -> LocalFile:
    """The file on this disk, after its checksum was compared. name: of the set.

    Raises ClinfitError for a file that is absent or another one.
    """
    folder = mirror_folder()
    if file.extract is not None and (folder / file.extract.path).is_file():
        file = file.extract
    path = folder / file.path
    if not path.is_file():
        where = MIRROR if os.environ.get(MIRROR) else f"{MIRROR} (not set: {folder})"
        raise ClinfitError(
            f"{path} does not exist",
            expected=f"{file.path} in the folder of {where}; it is from {file.source}",
            fix=f"clinfit data get {name} --online, or export {MIRROR}=/path/to/the/folder that holds it",
        )
    found = digest(path)
    if file.sha256 is not None and found != file.sha256:
        raise ClinfitError(
            f"{path} has the SHA-256 {found[:12]}…",
            expected=f"{file.sha256[:12]}…, the file from {file.source}",
            fix=f"delete it and type clinfit data get {name} --online, or name it by data.path if the change is meant",
        )
    return LocalFile(path, found)


def digest(path: Path, name: str | None = None) -> str:
    """SHA-256 (hex) of a file; of an archive, over a line `<SHA-256>  <name>` for each file that it holds, by name.

    name: what the file will be called, where that is not its name yet; it tells archives apart.
    """
    if not (name or path.name).endswith(ARCHIVES):
        return hash_file(path)
    lines = {str(member): hashlib.sha256(content).hexdigest() for member, content in archive_files(path)}
    return hashlib.sha256("".join(f"{lines[member]}  {member}\n" for member in sorted(lines)).encode()).hexdigest()
