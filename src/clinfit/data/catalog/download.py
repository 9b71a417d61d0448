"""Fetching the files of public sets: in pieces that survive a broken line, and kept only with the right checksum."""

import io
import re
import tarfile
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any

from clinfit import __version__
from clinfit.data.archives import ARCHIVES, archive_files
from clinfit.data.catalog.entry import CatalogEntry, CatalogFile
from clinfit.data.catalog.files import checked_file, digest, mirror_folder
from clinfit.errors import ClinfitError
from clinfit.files import new_file
from clinfit.locks import locked

#: Seconds without a byte after which a line counts as broken.
TIMEOUT = 30
CHUNK = 1 << 20
#: HTTP: the answer is the part that was asked for; what was asked for lies behind the end.
PARTIAL, RANGE_PAST_END = 206, 416

Say = Callable[[str], None]


def get_set(name: str, entry: CatalogEntry, say: Say, *, online: bool) -> None:
    """Have all files of a set in the mirror: those that are there are checked, the others fetched where `online`.

    Raises ClinfitError for files that are absent and may not or cannot be fetched, and for wrong checksums.
    """
    for file in entry.files:
        path = mirror_folder() / file.path
        here = path.is_file() or (file.extract is not None and (mirror_folder() / file.extract.path).is_file())
        if online and not here:
            with locked(path.parent, wait=True):
                if not path.is_file():  # another process may have fetched it meanwhile
                    fetch(file, path, say)
        found = checked_file(file, name)
        compared = "as it should be" if file.sha256 else "not checked, with nothing to compare it with: write it down"
        say(f"{found.path}: SHA-256 {found.sha256}, {compared}")


def fetch(file: CatalogFile, path: Path, say: Say) -> None:
    """Fetch a file to its place in the mirror, whole and with its checksum, if one is known, or not at all.

    What came before the line broke stays in `.<name>.part`, and the next call goes on from there. Of a published
    archive only `file.members` are kept, packed anew.
    """
    if path.name.endswith(ARCHIVES) and file.members is None:
        raise ClinfitError(
            f"{path.name} cannot be fetched: nobody publishes it packed like that",
            expected=f"the files of {file.source}, packed",
            fix=f"copy it to {path}",
        )
    part = path.with_name(f".{path.name}.part")
    resumed = f", from byte {_size(part):,} on" if _size(part) else ""
    unchecked = "" if file.sha256 else "; its checksum is not known, so that what is published now is taken unchecked"
    say(f"fetching {file.source}{resumed}{unchecked}")
    with new_file(path) as whole:
        _download(file.source, part)
        if file.members is None:
            part.replace(whole)
        else:
            _repack(part, file.members, whole)
            part.unlink()
        found = digest(whole, path.name)
        if file.sha256 is not None and found != file.sha256:
            raise ClinfitError(
                f"{file.source} has the SHA-256 {found[:12]}…; what was fetched is deleted",
                expected=f"{file.sha256[:12]}…",
                fix="type it again; if that does not help, the file was changed where it is published",
            )


def _download(url: str, part: Path) -> None:
    """All bytes behind an address, appended to what `part` holds already; goes on as long as something arrives."""
    while True:
        before, reason = _size(part), "it ended before the end"
        try:
            if _stream(url, part) == 0:
                return
        except (urllib.error.URLError, HTTPException, ConnectionError, TimeoutError) as error:
            reason = str(getattr(error, "reason", "")) or type(error).__name__
        if _size(part) <= before:
            raise ClinfitError(
                f"{url} cannot be read on ({reason}); {_size(part):,} bytes are kept",
                fix="type it again, and it goes on from there; if there is no network, copy the file by hand",
            )


def _stream(url: str, part: Path) -> int:
    """One request, from the end of `part` on where the server can; the number of bytes that are still missing."""
    at = _size(part)
    headers = {"User-Agent": f"clinfit/{__version__}"} | ({"Range": f"bytes={at}-"} if at else {})
    try:
        response: Any = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == RANGE_PAST_END and at:
            return 0  # nothing is left to fetch; the checksum says whether it is the file
        raise ClinfitError(
            f"{url}: the server answers {error.code} {error.reason}", fix="look whether it is still published there"
        ) from error
    with response:
        resumed = response.status == PARTIAL
        length = response.headers.get("Content-Length")
        with part.open("ab" if resumed else "wb") as file:
            while chunk := response.read(CHUNK):
                file.write(chunk)
        return (at if resumed else 0) + int(length) - _size(part) if length else 0


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _repack(published: Path, members: str, path: Path) -> None:
    """The files of an archive whose names match, under the name of the pattern's group, as a .tar.gz."""
    with tarfile.open(path, "w:gz") as packed:
        for name, content in archive_files(published):
            if found := re.fullmatch(members, str(name)):
                member = tarfile.TarInfo(found["name"])
                member.size = len(content)
                packed.addfile(member, io.BytesIO(content))
