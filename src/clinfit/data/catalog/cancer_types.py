"""Abstracts with the types of cancer that they are about, from three sets: by a rule on titles, and by collection."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from clinfit.data.catalog import cancer_abstracts, mirna_cancer, ohsumed
from clinfit.data.catalog.cancer_abstracts import CANCER_ABSTRACTS
from clinfit.data.catalog.entry import CatalogEntry, leave_out
from clinfit.data.catalog.mirna_cancer import MIRNA_CANCER_TYPES
from clinfit.data.catalog.ohsumed import OHSUMED
from clinfit.data.clean import normalised
from clinfit.data.mentions import patterns_of
from clinfit.data.records import Split
from clinfit.study.lexicon import known_lexicon

#: What the makers of the collection call a type -> what the lexicon does.
COLLECTED = {"colorectal": "colorectal cancer", "pancreatic": "pancreatic cancer"}


def title_types(titles: Sequence[str]) -> list[str]:
    """The types that each title names by the lexicon `cancer-types`, joined by |."""
    patterns = patterns_of(known_lexicon("cancer-types"))
    return ["|".join(patterns.types(title)) for title in titles]


def read(paths: Sequence[Path]) -> pd.DataFrame:
    """paths: the files of `cancer-abstracts`, `ohsumed` and `mirna-cancer-types`, in this order.

    Types of the first two are what the title names; abstracts on cancer whose titles name none are left out, since none
    is then not known. All of the third are for the test.
    """
    first, second, collected = (part.read(found) for part, found in zip(PARTS, _divided(paths), strict=True))
    second = second[[any(code == "C04" for code in cell.split("|")) for cell in second["categories"]]]
    rows: Any = pd.concat(
        [_by_title(first, "pmid", first["label"] == "1"), _by_title(second, "id", True), _collected(collected)],
        ignore_index=True,
    )
    texts = rows["abstract"].map(normalised)
    in_collection = rows["labelled_by"] == "collection"
    again = texts.isin(set(texts[in_collection])) & ~in_collection
    kept = leave_out(
        rows,
        {
            "title names no type": rows["about_cancer"] & (rows["types"] == ""),
            "no abstract": rows["abstract"].str.strip() == "",
            "also in the collection": again | (rows["id"].isin(set(rows.loc[in_collection, "id"])) & ~in_collection),
            "same abstract again": texts.duplicated(),
        },
    )
    noted: Any = kept.assign(split=_splits(kept))[["id", "title", "abstract", "types", "labelled_by", "split"]]
    noted.attrs.update(kept.attrs)
    return noted


PARTS = (cancer_abstracts, ohsumed, mirna_cancer)
#: How often each split stands among five abstracts of one type: 60, 20 and 20 %.
TURNS: tuple[Split, ...] = ("train", "test", "train", "validation", "train")


def _splits(rows: Any) -> list[Split]:
    """The collection is test; the others take turns within the rarest of their types, in the order of their hashes."""
    types = [cell.split("|") for cell in rows["types"]]
    ids, by = list(rows["id"]), list(rows["labelled_by"])
    counts = Counter(name for cell, how in zip(types, by, strict=True) for name in cell if how == "title")
    splits: list[Split] = ["test"] * len(rows)
    turn: Counter[str] = Counter()
    for at in sorted(range(len(rows)), key=lambda at: hashlib.sha256(ids[at].encode()).hexdigest()):
        if by[at] == "title":
            rarest = min(types[at], key=lambda name: (counts[name], name))
            splits[at] = TURNS[turn[rarest] % len(TURNS)]
            turn[rarest] += 1
    return splits


def _divided(paths: Sequence[Path]) -> list[Sequence[Path]]:
    return [paths[:1], paths[1:2], paths[2:]]


def _by_title(table: Any, id: str, about_cancer: Any) -> pd.DataFrame:
    prefix = "" if id == "pmid" else "ohsumed-"
    return pd.DataFrame(
        {
            "id": prefix + table[id].astype(str),
            "title": table["title"],
            "abstract": table["abstract"],
            "types": title_types(list(table["title"])),
            "labelled_by": "title",
            "about_cancer": about_cancer,
        }
    )


def _collected(table: Any) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": table["pmid"].astype(str),
            "title": table["title"],
            "abstract": table["abstract"],
            "types": table["cancer"].map(COLLECTED),
            "labelled_by": "collection",
            "about_cancer": True,
        }
    )


CANCER_TYPES = CatalogEntry(
    title="Abstracts with the types of cancer that they are about, labelled by their titles; a labelled test",
    licence="that of its parts: MIT, a research collection that may not be passed on with a product, GPL-3",
    source="https://github.com/Ashish-Gore/biomedical-abstract-classifier-llm-finetuning, "
    "https://github.com/walterwang/ohsumed-classification, https://github.com/vincentarelbundock/Rdatasets",
    citation=f"{OHSUMED.citation}; {MIRNA_CANCER_TYPES.citation}",
    read=read,
    columns={
        "id": "PubMed id, or ohsumed- and the number of the document",
        "title": "title: the labels are read from it, so it is no input",
        "abstract": "abstract",
        "types": "types of cancer of the lexicon `cancer-types`, joined by |; empty: not about cancer",
        "labelled_by": "title: by the rule; collection: by the makers of `mirna-cancer-types`",
        "split": "train, validation, test",
    },
    records=1963,
    splits={"train": 720, "validation": 235, "test": 1008},
    division="60 / 20 / 20 % within each type, in the order of a hash of the id; the labelled collection is all test",
    traps=(
        "Of 1,201 abstracts the types are what their titles name by rules (`labelled_by` title), so that the title "
        "may be no input: a rule that reads it is always right. 399 of them are not about cancer, and 35 have several "
        "types.",
        "760 abstracts on cancer whose titles name no type are left out: which they are about is not known.",
        "The other 762 are test records of a collection on colorectal or pancreatic cancer; nobody looked for other "
        "types in them, and some are about neither.",
        "The abstracts of 770 of the 802 on a type name all types of their titles: mask them (`clean: {mask_lexicon: "
        "true}`) to see what a model knows without the word.",
    ),
    files=(*CANCER_ABSTRACTS.files, *OHSUMED.files, *MIRNA_CANCER_TYPES.files),
)
