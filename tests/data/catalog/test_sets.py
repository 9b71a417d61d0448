"""Every set of the catalogue, read from the mirror: counts, columns, splits, groups, labels."""

from collections import Counter
from fnmatch import fnmatch
from pathlib import Path

import pytest

from catalogued import needs_mirror, rows_of
from clinfit.data.catalog.entry import left_out
from clinfit.data.catalog.sets import CATALOG
from clinfit.data.clean import normalised
from clinfit.data.load import load_task
from clinfit.data.records import SPLITS
from clinfit.data.splits import groups_that_straddle
from clinfit.study.load import load_study


@pytest.mark.parametrize("name", sorted(CATALOG))
def test_every_entry_says_where_it_is_from_and_how_to_divide_it(name: str) -> None:
    entry = CATALOG[name]
    said = (entry.title, entry.licence, entry.source, entry.citation, entry.division)
    assert all(text.strip() for text in (*said, *entry.columns.values(), *entry.traps, *entry.pretrained_on.values()))
    assert entry.records > 0 and entry.traps
    assert all(file.source.startswith("https://") for file in entry.files)
    assert all(len(file.sha256 or "") == 64 for file in entry.files) or not entry.counted
    assert bool(entry.splits) == ("split" in entry.columns) and set(entry.splits) <= set(SPLITS)
    assert not entry.splits or sum(entry.splits.values()) == entry.records
    assert entry.group is None or entry.group in entry.columns
    assert all(trap.endswith(".") for trap in entry.traps)


@needs_mirror
@pytest.mark.parametrize("name", sorted(name for name, entry in CATALOG.items() if entry.counted))
def test_a_set_holds_what_its_entry_says(name: str) -> None:
    entry, table = CATALOG[name], rows_of(name)
    assert len(table) == entry.records
    assert all(any(fnmatch(column, known) for known in entry.columns) for column in map(str, table.columns))
    assert all(any(fnmatch(column, known) for column in map(str, table.columns)) for known in entry.columns)
    assert [type(at) for at in table.index[:1]] == [int] and table.index.is_unique
    if "id" in table.columns:
        assert table["id"].is_unique
    if entry.splits:
        assert table["split"].value_counts().to_dict() == dict(entry.splits)
    if entry.splits and entry.group:
        assert (table.groupby(entry.group)["split"].nunique() == 1).all()


def test_breast_cancer_table() -> None:
    table = rows_of("breast-cancer-wisconsin")
    assert table.shape == (569, 32)
    assert table["diagnosis"].value_counts().to_dict() == {"benign": 357, "malignant": 212}
    assert table["id"].is_unique
    assert {"mean_radius", "worst_fractal_dimension"} <= set(table.columns)
    # The first tumour of the published file (842302, malignant) has a mean radius of 17.99.
    assert table.loc[0, ["mean_radius", "diagnosis"]].tolist() == [17.99, "malignant"]


@needs_mirror
def test_pubmedqa_is_divided_as_published_and_never_shows_the_conclusion() -> None:
    table = rows_of("pubmedqa")
    for _, half in table.groupby("split"):
        assert Counter(half["answer"]) == {"yes": 276, "no": 169, "maybe": 55}
    first = table.iloc[0]
    assert (first["id"], first["split"], first["answer"]) == ("21645374", "test", "yes")
    assert first["question"].startswith("Do mitochondria play a role in remodelling lace plant leaves")
    assert first["contexts"].startswith("BACKGROUND: Programmed cell death (PCD) is the regulated death of cells")
    assert "\nRESULTS: " in first["contexts"]
    assert not any("Results depicted mitochondrial dynamics in vivo" in str(cell) for cell in first)


@needs_mirror
def test_dreaddit_keeps_the_official_test_and_no_copy_of_it() -> None:
    table = rows_of("dreaddit")
    test, train = table[table["split"] == "test"], table[table["split"] == "train"]
    assert Counter(test["label"]) == {"1": 369, "0": 346} and test["id"].is_unique
    assert left_out(table) == {"training text is #NAME?": 4, "training text repeats a test text": 3}
    assert not set(train["text"].map(normalised)) & set(test["text"].map(normalised))
    assert not table["text"].str.contains("#NAME").any()
    assert all(0 <= float(cell) <= 1 for cell in table["confidence"])


@needs_mirror
def test_ohsumed_has_each_document_once_with_all_its_categories() -> None:
    table = rows_of("ohsumed")
    assert list(table.columns) == ["id", "title", "abstract", "categories"]
    assert len(table) == 6286 and table["id"].is_unique
    held = Counter(category for cell in table["categories"] for category in cell.split("|"))
    assert sorted(held) == [f"C{number:02}" for number in range(1, 24)]
    assert (held["C04"], held["C23"], held["C03"]) == (1163, 1799, 65)
    first = table.iloc[0]
    assert first["title"] == "Evaluation of women with possible appendicitis using technetium-99m leukocyte scan."
    assert first["abstract"].startswith(
        "The authors evaluated the use of technetium-99m albumin colloid white blood cell"
    )
    assert first["categories"] == "C06"
    assert all(table["abstract"])


def test_the_column_of_splits_names_those_that_there_are() -> None:
    for name, entry in CATALOG.items():
        if entry.splits:
            named = {split for split in SPLITS if split in entry.columns["split"]}
            assert named == set(entry.splits), name


@needs_mirror
def test_medmcqa_has_four_options_a_number_and_no_explanation() -> None:
    table = rows_of("medmcqa-dev")
    assert list(table.columns) == [
        *("id", "question", "opa", "opb", "opc", "opd", "cop", "discipline", "topic", "choice_type", "split")
    ]
    assert len(table) == 4183 and table["id"].is_unique
    assert Counter(table["cop"]) == {1: 1348, 2: 1085, 3: 925, 4: 825}


@needs_mirror
def test_the_study_of_two_tasks_reads_official_splits_and_says_so_in_its_manifest() -> None:
    study = load_study(Path(__file__).parents[3] / "studies" / "pubmedqa-dreaddit.yaml")
    data = {name: load_task(name, task, study.folder) for name, task in study.tasks.items()}
    counts = {name: Counter(record.split for record in found.records) for name, found in data.items()}
    assert counts["pubmedqa"] == {"train": 400, "validation": 100, "test": 500}
    assert counts["dreaddit"]["test"] == 715 and sum(counts["dreaddit"].values()) == 3546 - 16
    for found in data.values():
        assert not groups_that_straddle([r.group for r in found.records], [r.split for r in found.records])
    posts = {record.group for record in data["dreaddit"].records}
    assert len(posts) < len(data["dreaddit"].records)
    (told,) = data["dreaddit"].describe()["sets"]
    assert (told["name"], told["records"]) == ("dreaddit", 3546)
    assert told["files"] == {file.path: file.sha256 for file in CATALOG["dreaddit"].files}
    assert told["left_out"] == {"training text is #NAME?": 4, "training text repeats a test text": 3}
