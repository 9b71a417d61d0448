"""OHSUMED, training half: MEDLINE abstracts with any number of 23 disease categories."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from clinfit.data.archives import archive_files
from clinfit.data.catalog.entry import CatalogEntry, CatalogFile, table_of

#: The MeSH disease categories, in short.
CATEGORIES = {
    "C01": "bacterial infections and mycoses",
    "C02": "virus diseases",
    "C03": "parasitic diseases",
    "C04": "neoplasms",
    "C05": "musculoskeletal diseases",
    "C06": "digestive system diseases",
    "C07": "stomatognathic diseases (mouth, jaw, teeth)",
    "C08": "respiratory tract diseases",
    "C09": "otorhinolaryngologic diseases",
    "C10": "nervous system diseases",
    "C11": "eye diseases",
    "C12": "urologic and male genital diseases",
    "C13": "female genital diseases and pregnancy complications",
    "C14": "cardiovascular diseases",
    "C15": "hemic and lymphatic diseases",
    "C16": "neonatal diseases and abnormalities",
    "C17": "skin and connective tissue diseases",
    "C18": "nutritional and metabolic diseases",
    "C19": "endocrine diseases",
    "C20": "immunologic diseases",
    "C21": "disorders of environmental origin",
    "C22": "animal diseases",
    "C23": "pathological conditions, signs and symptoms",
}


def read(paths: Sequence[Path]) -> pd.DataFrame:
    """training/C04/0000123 is a document of category C04; one of several categories lies in the folder of each."""
    texts: dict[str, str] = {}
    categories: dict[str, set[str]] = {}
    for name, content in archive_files(paths[0]):
        texts[name.name] = content.decode("latin-1")
        categories.setdefault(name.name, set()).add(name.parent.name)
    rows = []
    for document in sorted(texts):
        title, _, abstract = texts[document].partition("\n")
        joined = "|".join(sorted(categories[document]))
        rows.append([document, title.strip(), " ".join(abstract.split()), joined])
    return table_of(rows, ["id", "title", "abstract", "categories"])


OHSUMED = CatalogEntry(
    title="OHSUMED, training half: MEDLINE abstracts with any number of 23 disease categories",
    licence="none stated: a research collection, not to be passed on with a product",
    source="https://github.com/walterwang/ohsumed-classification",
    citation="Hersh, Buckley, Leone and Hickam, OHSUMED: an interactive retrieval evaluation, SIGIR 1994",
    read=read,
    columns={
        "id": "number of the document",
        "title": "title",
        "abstract": "abstract",
        "categories": "MeSH disease categories, joined by |: "
        + "; ".join(f"{category} {title}" for category, title in CATEGORIES.items()),
    },
    records=6286,
    division="by ratio: the other half is not here",
    traps=(
        "A document has 1 to 6 categories, and its file lies in the folder of each: 10,433 files are 6,286 documents, "
        "so that a folder for each class would put one text into several splits.",
        "Categories are of very unequal size: C23 holds for 1,799 documents, C04 for 1,163, C03 for 65.",
        "1,041 of these documents are texts of `medical-abstracts-tc`, with one label each: never train on the one and "
        "test on the other.",
    ),
    files=(
        CatalogFile(
            path="ohsumed_train/training.tar.gz",
            source="https://github.com/walterwang/ohsumed-classification"
            "/archive/c64aa2746fc0eb79b45b51146a1fd4284aa88574.tar.gz",
            members=r"[^/]+/ohsumed-first-20000-docs/(?P<name>training/.+)",
            sha256="c49836bded90d368629c00119274d4a7bb8422c9f84394e8239423541abffbe4",
        ),
    ),
)
