"""Evidence Inference 2.0, the articles under CC BY: the abstract of a randomised trial from its text."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from clinfit.data.archives import archive_files
from clinfit.data.catalog.entry import CatalogEntry, CatalogFile, leave_out, table_of
from clinfit.data.records import SPLITS

ADDRESS = "https://github.com/jayded/evidence-inference"
COMMIT = "b9831b6c59b52ac2d277f757d413ececf0949a8d"
HEADING = re.compile(r"^\s*(TITLE|ABSTRACT|BODY)(?:\.([^\n:]*))?:", re.MULTILINE)
#: Parts of an article, and what stands between their sections here.
PARTS = {"TITLE": " ", "BODY": "\n", "ABSTRACT": "\n"}
COLUMNS = {
    "id": "PubMed Central number",
    "title": "title",
    "article": "the text, one line a section, each after its heading",
    "abstract": "the abstract, likewise",
    "split": "train, validation or test",
}


def read(paths: Sequence[Path]) -> pd.DataFrame:
    """paths: the articles, then the article numbers of train, validation and test.

    Articles without a marked abstract, without a text, or in no split are left out.
    """
    split_of = split_of_articles(paths[1:])
    rows: list[list[str]] = []
    for name, content in archive_files(paths[0]):
        parts = sections(content.decode("utf-8"))
        title, article, abstract = (joined.join(parts[part]) for part, joined in PARTS.items())
        rows.append([name.stem, title, article, abstract, split_of.get(name.stem.removeprefix("PMC"), "")])
    table: Any = table_of(rows, list(COLUMNS))
    return leave_out(
        table,
        {
            "in no split": table["split"] == "",
            "no text beside the abstract": table["article"] == "",
            "no marked abstract": table["abstract"] == "",
        },
    )


def split_of_articles(paths: Sequence[Path]) -> dict[str, str]:
    """Article number -> its split. paths: the numbers of train, validation and test."""
    return {
        number: split
        for path, split in zip(paths, SPLITS, strict=True)
        for number in path.read_text(encoding="utf-8").split()
    }


def sections(text: str) -> dict[str, list[str]]:
    """The filled sections of an article by part (TITLE, ABSTRACT, BODY), each on one line after its heading."""
    parts: dict[str, list[str]] = {part: [] for part in PARTS}
    marks = list(HEADING.finditer(text))
    ends = [*(mark.start() for mark in marks[1:]), len(text)]
    for mark, end in zip(marks, ends, strict=False):  # an article without a heading has an end only
        content = " ".join(text[mark.end() : end].split())
        heading = " ".join((mark[2] or "").split())
        if content:
            parts[mark[1]].append(f"{heading}: {content}" if heading else content)
    return parts


EVIDENCE_INFERENCE = CatalogEntry(
    title="Evidence Inference 2.0 (CC BY): the abstract of a randomised trial from its text",
    licence="CC BY (each article), MIT (repository)",
    source=ADDRESS,
    citation="DeYoung, Lehman, Nye, Marshall and Wallace, Evidence Inference 2.0: More Data, Better Models, BioNLP "
    "2020",
    read=read,
    columns=COLUMNS,
    records=2360,
    splits={"train": 1892, "validation": 235, "test": 233},
    official=True,
    division="official, of the articles whose own licence is CC BY",
    traps=(
        "Of 2,513 articles, 9 are in no split, 33 more have no text beside the abstract, and 111 more no marked "
        "abstract (often one without a heading): left out.",
        "An article has 4,023 words at the median, its abstract 277: few models read the whole, and `clinfit check` "
        "says how many are shortened.",
        "The abstract is left out of the article, but conclusions repeat it in other words, so that copying the end "
        "is a baseline.",
    ),
    pretrained_on={
        "clinfit/tiny": "the articles of the official training split, abstracts among them, and those of validation "
        "for its measured loss; nothing of the test split",
    },
    files=(
        CatalogFile(
            path="evidence_inference_ccby/txt_files_ccby.tar.gz",
            source=f"{ADDRESS}/tree/{COMMIT}/annotations/txt_files",
            sha256="b885ecc87f6da7215d4d2ea8c2911da5093bbc4210f4d43702339269349626ad",
        ),
        *(
            CatalogFile(
                path=f"evidence_inference_ccby/splits/{split}_article_ids.txt",
                source=f"{ADDRESS}/raw/{COMMIT}/annotations/splits/{split}_article_ids.txt",
                sha256=sha256,
            )
            for split, sha256 in (
                ("train", "c72635d92c988e431403439eb9e4ce3fbb2ca0df84005fc9387b1eb2b035c3cc"),
                ("validation", "98a397d26cf97c8df7a847c5faae18a2747d0c3e7c324381efa31b3dc2ee1069"),
                ("test", "4fe6c633ba8f077a68a8feea48d4408c1749175e1c46f2b77d96727d291ef9d8"),
            )
        ),
    ),
)
