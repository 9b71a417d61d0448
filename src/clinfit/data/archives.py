"""Archives of files, read in memory: nothing is written to disk."""

import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from clinfit.errors import ClinfitError

ARCHIVES = (".tar.gz", ".tgz", ".tar")


def archive_files(path: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    """The regular files of an archive, by name; nothing is written to disk, links and devices are passed over."""
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isfile() else None
                if file is None:
                    continue
                name = PurePosixPath(member.name)
                if name.is_absolute() or ".." in name.parts:
                    raise ClinfitError(
                        f"{path.name} holds a file outside its own folder ({member.name[:80]})",
                        expected="relative names",
                        fix="pack the folder again, from inside it",
                    )
                yield name, file.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ClinfitError(
            f"{path.name} cannot be read as an archive ({type(error).__name__})", expected="a whole .tar.gz file"
        ) from error
