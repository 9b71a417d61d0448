"""What travels between the driver and the nodes: folders and files as the bytes of one archive.

Names that begin with a dot stay behind: they are checkpoints, locks and what is not whole yet.
"""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path


def pack(contents: Mapping[str, Path | bytes]) -> bytes:
    """Name in the archive -> a file, a folder with all below it, or bytes. Not compressed: weights hardly shrink."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED, strict_timestamps=False) as archive:
        for name, content in contents.items():
            if isinstance(content, bytes):
                archive.writestr(name, content)
            elif content.is_dir():
                for path in sorted(content.rglob("*")):
                    inner = path.relative_to(content)
                    if path.is_file() and not any(part.startswith(".") for part in inner.parts):
                        archive.write(path, f"{name}/{inner.as_posix()}")
            else:
                archive.write(content, name)
    return buffer.getvalue()


def unpack(parcel: bytes, folder: Path) -> None:
    """Put what an archive holds below a folder; names that would lead out of it are cut short by `zipfile`."""
    with zipfile.ZipFile(io.BytesIO(parcel)) as archive:
        archive.extractall(folder)
