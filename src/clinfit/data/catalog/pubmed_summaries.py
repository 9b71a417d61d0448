"""Articles of PubMed Central with their abstracts, in the two forms in which the hub has them (Cohan et al., 2018)."""

import json
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from clinfit.data.catalog.entry import CatalogEntry, CatalogFile, table_of
from clinfit.data.records import SPLITS, Split

CITATION = (
    "Cohan, Dernoncourt, Kim, Bui, Kim, Chang and Goharian, A Discourse-Aware Attention Model for Abstractive "
    "Summarization of Long Documents, NAACL 2018"
)
#: Both forms are of the same articles.
CORPUS = "articles of PubMed Central, Cohan et al., 2018"
COLUMNS = {
    "id": "PubMed Central number, or split and row where the files have none",
    "article": "the text, one line a paragraph",
    "abstract": "the abstract",
    "split": "train, validation or test",
}
COUNTS = {"train": 119924, "validation": 6633, "test": 6658}
TRAPS = (
    "Texts are lower case with spaces around punctuation, and numbers and references are replaced by marks such as "
    "@xmath and @xcite: not what a model meets elsewhere.",
    "Some abstracts and texts are empty: `clean: {drop_missing: [article]}` drops them, and counts.",
    "It takes some 5 GB of memory to read: use `limit` for a trial.",
)

#: Files of the archive, in the order of SPLITS.
MEMBERS = ("train.txt", "val.txt", "test.txt")

#: Files of the hub, in the order of the splits.
PARQUET: list[tuple[Split, str]] = [
    ("train", "train-00000-of-00005.parquet"),
    ("train", "train-00001-of-00005.parquet"),
    ("train", "train-00002-of-00005.parquet"),
    ("train", "train-00003-of-00005.parquet"),
    ("train", "train-00004-of-00005.parquet"),
    ("validation", "validation-00000-of-00001.parquet"),
    ("test", "test-00000-of-00001.parquet"),
]


def read_archive(paths: Sequence[Path]) -> pd.DataFrame:
    """One zip with a file of JSON lines a split; the marks of sentences, <S> and </S>, are taken out."""
    return table_of(list(_articles(paths[0])), list(COLUMNS))


def _articles(path: Path) -> Iterator[list[str]]:
    with zipfile.ZipFile(path) as archive:
        names = {name.rpartition("/")[2]: name for name in archive.namelist() if "__MACOSX" not in name}
        for split, member in zip(SPLITS, MEMBERS, strict=True):
            with archive.open(names[member]) as lines:
                for line in lines:
                    item = json.loads(line)
                    abstract = "\n".join(item["abstract_text"]).replace("<S>", "").replace("</S>", "").strip()
                    yield [item["article_id"], "\n".join(item["article_text"]), abstract, split]


def read_parquet(paths: Sequence[Path]) -> pd.DataFrame:
    """paths: in the order of PARQUET. The files have no ids."""
    rows: list[list[str]] = []
    counts: dict[Split, int] = dict.fromkeys(SPLITS, 0)
    for path, (split, _) in zip(paths, PARQUET, strict=True):
        part = pd.read_parquet(path, columns=["article", "abstract"])
        for article, abstract in zip(part["article"], part["abstract"], strict=True):
            counts[split] += 1
            rows.append([f"{split}-{counts[split]}", article, abstract, split])
    return table_of(rows, list(COLUMNS))


SCIENTIFIC_PAPERS_PUBMED = CatalogEntry(
    title="Scientific Papers, PubMed: the abstract of an article of PubMed Central from its text",
    licence="none stated for the set; the articles keep their own",
    source="https://huggingface.co/datasets/armanc/scientific_papers",
    citation=CITATION,
    read=read_archive,
    columns=COLUMNS,
    records=sum(COUNTS.values()),
    splits=COUNTS,
    official=True,
    division="official",
    traps=TRAPS,
    counted=False,
    corpus=CORPUS,
    files=(
        CatalogFile(
            path="scientific_papers/pubmed-dataset.zip",
            source="https://s3.amazonaws.com/datasets.huggingface.co/scientific_papers/1.1.1/pubmed-dataset.zip",
            sha256="d424074726a5e29e20bf834055fe7efe90f8a37bce0a2b512e4ab7e487013c04",
        ),
    ),
)

PUBMED_SUMMARIZATION = CatalogEntry(
    title="PubMed summarization: the abstract of an article of PubMed Central from its text, as one document",
    licence="none stated for the set; the articles keep their own",
    source="https://huggingface.co/datasets/ccdv/pubmed-summarization",
    citation=CITATION,
    read=read_parquet,
    columns=COLUMNS,
    records=sum(COUNTS.values()),
    splits=COUNTS,
    official=True,
    division="official",
    traps=(
        *TRAPS,
        "The articles are those of `scientific-papers-pubmed`: never train on the one and test on the other.",
    ),
    counted=False,
    corpus=CORPUS,
    files=tuple(
        CatalogFile(
            path=f"pubmed_summarization/{name}",
            source=f"https://huggingface.co/datasets/ccdv/pubmed-summarization/resolve/main/document/{name}",
            sha256=None,
        )
        for _, name in PARQUET
    ),
)
