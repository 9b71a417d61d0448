import dataclasses
import hashlib
from pathlib import Path

import pytest

from clinfit.data.catalog import CATALOG, MIRROR, CatalogFile, catalog_path, read_catalog
from clinfit.errors import ClinfitError

FILE = CatalogFile("sets/a.csv", "https://example.org/a.csv", hashlib.sha256(b"a\n1\n").hexdigest())


def test_breast_cancer_table() -> None:
    table = read_catalog("breast-cancer-wisconsin")
    assert table.shape == (569, 32)
    assert table["diagnosis"].value_counts().to_dict() == {"benign": 357, "malignant": 212}
    assert table["id"].is_unique
    assert {"mean_radius", "worst_fractal_dimension"} <= set(table.columns)
    # The first tumour of the published file (842302, malignant) has a mean radius of 17.99.
    assert table.loc[0, ["mean_radius", "diagnosis"]].tolist() == [17.99, "malignant"]


def test_an_unknown_name_gives_the_nearest() -> None:
    with pytest.raises(ClinfitError) as error:
        read_catalog("cancer-abstract")
    assert error.value.fix == "path: catalog:cancer-abstracts"


def test_without_a_mirror_the_message_names_the_setting_and_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(MIRROR, raising=False)
    with pytest.raises(ClinfitError) as error:
        catalog_path(FILE)
    assert "CLINFIT_DATA" in error.value.fix and FILE.source in error.value.expected


def test_a_file_is_taken_only_with_its_checksum(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(MIRROR, str(tmp_path))
    with pytest.raises(ClinfitError, match="does not exist"):
        catalog_path(FILE)
    path = tmp_path / FILE.path
    path.parent.mkdir()
    path.write_bytes(b"a\n1\n")
    assert catalog_path(FILE) == path
    path.write_bytes(b"a\n2\n")
    with pytest.raises(ClinfitError, match="SHA-256"):
        catalog_path(FILE)


@pytest.mark.parametrize("name", sorted(CATALOG))
def test_every_entry_says_where_it_is_from(name: str) -> None:
    entry = CATALOG[name]
    assert all(str(value).strip() for key, value in dataclasses.asdict(entry).items() if key != "files")
    assert all(len(file.sha256) == 64 and file.source.startswith("https://") for file in entry.files)
