"""Sets that are known by their hub name only: their readers, on made-up files of the published form."""

import json
import zipfile
from pathlib import Path

import pandas as pd

from clinfit.data.catalog.entry import left_out
from clinfit.data.catalog.pubmed_summaries import PARQUET, PUBMED_SUMMARIZATION, SCIENTIFIC_PAPERS_PUBMED
from clinfit.data.catalog.sets import CATALOG


def question(number: int, text: str, right: int) -> dict[str, object]:
    options = {f"op{letter}": f"{letter} {number}" for letter in "abcd"}
    return {
        "id": f"q{number}",
        "question": text,
        **options,
        "cop": right,
        "choice_type": "single",
        "exp": "because",
        "subject_name": "Medicine",
        "topic_name": None,
    }


def test_medmcqa_counts_options_of_both_files_from_one_and_tests_nothing_that_it_trains(tmp_path: Path) -> None:
    train = [question(1, "Which one?", 0), question(2, "Which other?", 3), question(3, "Asked twice", 1)]
    dev = [question(3, "Asked  twice!", 2)]
    pd.DataFrame(train).to_parquet(tmp_path / "train.parquet")
    (tmp_path / "dev.json").write_text("\n".join(map(json.dumps, dev)))
    table = CATALOG["medmcqa"].read([tmp_path / "train.parquet", tmp_path / "dev.json"])
    rows = table[["id", "cop", "split"]].to_numpy().tolist()
    assert rows == [["q1", 1, "train"], ["q2", 4, "train"], ["q3", 2, "test"]]
    assert left_out(table) == {"training question stands in test": 1}
    assert "exp" not in table.columns


def test_scientific_papers_are_read_from_the_archive(tmp_path: Path) -> None:
    article = {
        "article_id": "PMC1",
        "article_text": ["first .", "second ."],
        "abstract_text": ["<S> in short . </S>"],
        "section_names": ["a"],
    }
    with zipfile.ZipFile(tmp_path / "pubmed-dataset.zip", "w") as archive:
        for name in ("train", "val", "test"):
            archive.writestr(f"pubmed-dataset/{name}.txt", json.dumps(article) + "\n")
        archive.writestr("__MACOSX/pubmed-dataset/._train.txt", "x")
    table = SCIENTIFIC_PAPERS_PUBMED.read([tmp_path / "pubmed-dataset.zip"])
    assert table["split"].tolist() == ["train", "validation", "test"]
    assert table.iloc[0].tolist() == ["PMC1", "first .\nsecond .", "in short .", "train"]
    assert list(table.columns) == list(SCIENTIFIC_PAPERS_PUBMED.columns)


def test_pubmed_summarization_numbers_its_rows_by_split(tmp_path: Path) -> None:
    paths = [tmp_path / name for _, name in PARQUET]
    for at, path in enumerate(paths):
        pd.DataFrame({"article": [f"a{at}", f"b{at}"], "abstract": ["short", "shorter"]}).to_parquet(path)
    table = PUBMED_SUMMARIZATION.read(paths)
    assert table["id"].tolist()[8:14] == ["train-9", "train-10", "validation-1", "validation-2", "test-1", "test-2"]
    assert table["id"].is_unique and list(table.columns) == list(PUBMED_SUMMARIZATION.columns)
