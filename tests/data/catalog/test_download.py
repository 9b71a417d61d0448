"""Fetching files of public sets, from a server on this machine that breaks off, changes its files, or cannot resume."""

import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from clinfit.data.catalog.describe import described
from clinfit.data.catalog.download import fetch, get_set
from clinfit.data.catalog.entry import CatalogEntry, CatalogFile, read_csv
from clinfit.data.catalog.files import MIRROR, digest
from clinfit.data.catalog.sets import CATALOG
from clinfit.errors import ClinfitError

CONTENT = b"id,label\n" + b"".join(b"%d,%d\n" % (at, at % 2) for at in range(20_000))


@dataclass
class Server:
    """What the server gives and what it was asked. cut: bytes after which an answer breaks off, None for never."""

    address: str = ""
    content: bytes = CONTENT
    cut: int | None = None
    resumes: bool = True
    ranges: list[str | None] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    told = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            told.ranges.append(asked)
            at = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and told.resumes else 0
            if self.path.endswith("absent"):
                return self.send_error(404)
            if at >= len(told.content):
                return self.send_error(416)
            body = told.content[at:]
            self.send_response(206 if at else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body if told.cut is None else body[: told.cut])
            return None

        def log_message(self, format: str, *args: object) -> None: ...

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    told.address = f"http://127.0.0.1:{listening.server_port}"
    yield told
    listening.shutdown()
    listening.server_close()


@pytest.fixture(autouse=True)
def _mirror(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(MIRROR, str(tmp_path / "mirror"))
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)


def file_at(server: Server, name: str = "set.csv") -> CatalogFile:
    return CatalogFile(f"sets/{name}", f"{server.address}/{name}", hashlib.sha256(CONTENT).hexdigest())


def entry_of(*files: CatalogFile) -> CatalogEntry:
    return CatalogEntry(
        title="a set",
        licence="none",
        source="https://example.org",
        citation="nobody",
        read=lambda paths: read_csv(paths[0]),
        columns={"id": "id", "label": "label"},
        records=20_000,
        division="by ratio",
        files=files,
    )


def test_a_file_is_fetched_once_and_only_online(server: Server, tmp_path: Path) -> None:
    entry, said = entry_of(file_at(server)), list[str]()
    with pytest.raises(ClinfitError, match="does not exist") as error:
        get_set("made-up", entry, said.append, online=False)
    assert "clinfit data get made-up --online" in error.value.fix and server.ranges == []
    get_set("made-up", entry, said.append, online=True)
    get_set("made-up", entry, said.append, online=True)
    get_set("made-up", entry, said.append, online=False)
    assert server.ranges == [None]
    path = tmp_path / "mirror" / "sets" / "set.csv"
    assert path.read_bytes() == CONTENT and len(entry.read([path])) == 20_000
    assert [item.name for item in sorted(path.parent.iterdir())] == [".lock", "set.csv"]
    assert hashlib.sha256(CONTENT).hexdigest() in said[-1]


def test_a_broken_line_is_taken_up_where_it_ended(server: Server, tmp_path: Path) -> None:
    server.cut = 50_000
    path = tmp_path / "set.csv"
    fetch(file_at(server), path, print)
    assert path.read_bytes() == CONTENT
    assert server.ranges[:3] == [None, "bytes=50000-", "bytes=100000-"]


def test_what_came_stays_until_the_next_call(server: Server, tmp_path: Path) -> None:
    path, part = tmp_path / "set.csv", tmp_path / ".set.csv.part"
    part.write_bytes(CONTENT[:1234])
    server.cut = 0
    with pytest.raises(ClinfitError, match="1,234 bytes are kept"):
        fetch(file_at(server), path, print)
    assert not path.exists() and part.read_bytes() == CONTENT[:1234]
    server.cut = None
    fetch(file_at(server), path, print)
    assert path.read_bytes() == CONTENT and server.ranges[-1] == "bytes=1234-" and not part.exists()


def test_a_server_that_cannot_resume_gives_all_of_it_again(server: Server, tmp_path: Path) -> None:
    server.resumes = False
    (tmp_path / ".set.csv.part").write_bytes(b"something else")
    fetch(file_at(server), tmp_path / "set.csv", print)
    assert (tmp_path / "set.csv").read_bytes() == CONTENT


def test_a_part_that_is_whole_already_is_only_checked(server: Server, tmp_path: Path) -> None:
    (tmp_path / ".set.csv.part").write_bytes(CONTENT)
    fetch(file_at(server), tmp_path / "set.csv", print)
    assert (tmp_path / "set.csv").read_bytes() == CONTENT


def test_a_wrong_checksum_leaves_nothing(server: Server, tmp_path: Path) -> None:
    server.content = CONTENT.replace(b"7,1", b"7,0", 1)
    with pytest.raises(ClinfitError, match="SHA-256"):
        fetch(file_at(server), tmp_path / "set.csv", print)
    assert list(tmp_path.iterdir()) == []


def test_what_the_server_refuses_is_told(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ClinfitError, match="404"):
        fetch(file_at(server, "absent"), tmp_path / "absent", print)
    server.address = "http://127.0.0.1:1"
    with pytest.raises(ClinfitError, match="cannot be read on"):
        fetch(file_at(server), tmp_path / "set.csv", print)


def test_a_file_without_a_known_checksum_is_taken_and_its_checksum_told(server: Server) -> None:
    said = list[str]()
    get_set("made-up", entry_of(replace(file_at(server), sha256=None)), said.append, online=True)
    assert said[0].endswith("; its checksum is not known, so that what is published now is taken unchecked")
    assert hashlib.sha256(CONTENT).hexdigest() in said[-1] and "not checked" in said[-1]


def test_what_is_taken_unchecked_is_told_where_the_set_is_described() -> None:
    unchecked = {name for name, entry in CATALOG.items() if not all(file.sha256 for file in entry.files)}
    assert unchecked == {"medmcqa", "pubmed-summarization"}
    for name, entry in CATALOG.items():
        told = [line for line in described(name, entry)["Files"] if "taken unchecked" in line]
        assert len(told) == sum(file.sha256 is None for file in entry.files)


def packed(contents: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def test_of_a_published_archive_the_files_of_the_set_are_packed_anew(server: Server, tmp_path: Path) -> None:
    server.content = packed({"repo-1/README": b"r", "repo-1/training/C01/1": b"one", "repo-1/training/C02/2": b"two"})
    wanted = tmp_path / "wanted.tar.gz"
    wanted.write_bytes(packed({"training/C01/1": b"one", "training/C02/2": b"two"}))
    file = CatalogFile("t.tar.gz", f"{server.address}/a.tar.gz", digest(wanted), r"[^/]+/(?P<name>training/.+)")
    fetch(file, tmp_path / "t.tar.gz", print)
    assert digest(tmp_path / "t.tar.gz") == file.sha256
    with pytest.raises(ClinfitError, match="cannot be fetched"):
        fetch(replace(file, members=None), tmp_path / "t.tar.gz", print)
    with pytest.raises(ClinfitError, match="SHA-256"):
        fetch(replace(file, members=r"[^/]+/(?P<name>training/C01/.+)"), tmp_path / "other.tar.gz", print)
    assert not list(tmp_path.glob("*other*")) and not list(tmp_path.glob(".*"))
