import hashlib
import io
import os
import tarfile
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from catalogued import needs_mirror
from clinfit.cli_data import data_app
from clinfit.data.catalog.entry import CatalogFile
from clinfit.data.catalog.files import MIRROR, LocalFile, checked_file
from clinfit.data.catalog.sets import CATALOG, entry_of, own_name, read_catalog
from clinfit.errors import ClinfitError

FILE = CatalogFile("sets/a.csv", "https://example.org/a.csv", hashlib.sha256(b"a\n1\n").hexdigest())


def test_an_unknown_name_gives_the_nearest() -> None:
    with pytest.raises(ClinfitError) as error:
        read_catalog("cancer-abstract")
    assert error.value.fix == "path: catalog:cancer-abstracts"


def test_a_set_is_known_by_what_a_study_writes_too() -> None:
    assert own_name("catalog:pubmedqa") == own_name("pubmedqa") == "pubmedqa"
    assert entry_of("catalog:pubmedqa") is CATALOG["pubmedqa"]
    with pytest.raises(ClinfitError, match="no set called 'pubmedq'"):
        own_name("catalog:pubmedq")


def test_without_a_mirror_the_message_names_the_setting_and_the_source(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(MIRROR, raising=False)
    monkeypatch.setenv("CLINFIT_CACHE", str(tmp_path))
    with pytest.raises(ClinfitError) as error:
        checked_file(FILE, "a")
    assert "CLINFIT_DATA" in error.value.fix and FILE.source in error.value.expected


def test_a_file_is_taken_only_with_its_checksum(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(MIRROR, str(tmp_path))
    with pytest.raises(ClinfitError, match="does not exist"):
        checked_file(FILE, "a")
    path = tmp_path / FILE.path
    path.parent.mkdir()
    path.write_bytes(b"a\n1\n")
    assert checked_file(FILE, "a") == LocalFile(path, FILE.sha256 or "")
    path.write_bytes(b"a\n2\n")
    with pytest.raises(ClinfitError, match="SHA-256"):
        checked_file(FILE, "a")


def test_what_a_stranger_is_told_to_fetch_is_what_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The public file has 1,000 rows; the set is 800 of them, whether they are cut out of it or lie there already."""
    monkeypatch.setenv(MIRROR, str(tmp_path))
    (file,) = CATALOG["cancer-abstracts"].files
    with pytest.raises(ClinfitError) as caught:
        read_catalog("cancer-abstracts")
    assert "clinfit data get cancer-abstracts --online" in caught.value.fix and file.source in caught.value.expected
    assert (file.sha256 or "").startswith("1db9e7de") and "/raw/" in file.source
    rows = "".join(f"{at},t,a,f,{at % 2}\n" for at in range(1000))
    (path := tmp_path / "dataset.csv").write_text(f"pmid,title,abstract,file_path,label\n{rows}")
    table = CATALOG["cancer-abstracts"].read([path])
    assert list(table.columns) == ["pmid", "title", "abstract", "label"] and len(table) == 800
    assert table["pmid"].tolist()[:12] == ["0", "1", "2", "3", "4", "5", "6", "7", "9", "10", "11", "12"]


@needs_mirror
def test_the_cancer_abstracts_are_the_same_from_the_public_file() -> None:
    (file,) = CATALOG["cancer-abstracts"].files
    public = Path(os.environ[MIRROR]) / file.path
    if not public.is_file():
        pytest.skip(f"the mirror holds no {file.path}")
    extract = read_catalog("cancer-abstracts")
    pd.testing.assert_frame_equal(CATALOG["cancer-abstracts"].read([public]), extract)


def test_the_checksum_of_an_archive_is_that_of_what_it_holds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As `find training -type f | LC_ALL=C sort | xargs sha256sum | sha256sum` gives it."""
    monkeypatch.setenv(MIRROR, str(tmp_path))
    contents = {"training/C02/b": b"two", "training/C01/a": b"one"}
    lines = [f"{hashlib.sha256(contents[name]).hexdigest()}  {name}\n" for name in sorted(contents)]
    file = CatalogFile("t.tar.gz", "https://example.org", hashlib.sha256("".join(lines).encode()).hexdigest())
    for order in (list(contents), sorted(contents)):
        with tarfile.open(tmp_path / "t.tar.gz", "w:gz") as tar:
            for name in order:
                member = tarfile.TarInfo(f"./{name}")
                member.size, member.mtime = len(contents[name]), len(order[0])
                tar.addfile(member, io.BytesIO(contents[name]))
        assert checked_file(file, "t") == LocalFile(tmp_path / "t.tar.gz", file.sha256 or "")
    with tarfile.open(tmp_path / "t.tar.gz", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("training/C01/a"))
    with pytest.raises(ClinfitError, match="SHA-256"):
        checked_file(file, "t")


def test_show_and_get_take_the_name_that_get_prints() -> None:
    shown = [CliRunner().invoke(data_app, ["show", name]) for name in ("pubmedqa", "catalog:pubmedqa")]
    assert shown[0].exit_code == 0 and shown[0].output == shown[1].output
    assert "path: catalog:pubmedqa\n" in shown[1].output
    got = CliRunner().invoke(data_app, ["get", "catalog:breast-cancer-wisconsin"])
    assert got.output == "breast-cancer-wisconsin is here; in a study: path: catalog:breast-cancer-wisconsin\n"


@pytest.mark.parametrize("word", ["show", "get"])
def test_an_unknown_set_is_answered_with_names_like_it_and_the_command_that_lists_them(word: str) -> None:
    told = CliRunner().invoke(data_app, [word, "pubmedq"]).exception
    assert isinstance(told, ClinfitError) and told.found == "the catalogue has no set called 'pubmedq'"
    assert told.fix == f"clinfit data {word} pubmedqa; all names: clinfit data list"
    told = CliRunner().invoke(data_app, [word, "zzz"]).exception
    assert isinstance(told, ClinfitError) and told.fix == "clinfit data list"


def test_an_unknown_set_of_a_study_is_answered_with_what_a_study_writes() -> None:
    with pytest.raises(ClinfitError) as told:
        read_catalog("catalog:pubmedq")
    assert told.value.fix == "path: catalog:pubmedqa"
