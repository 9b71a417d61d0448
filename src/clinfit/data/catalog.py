"""Named public data sets: where each comes from, under which licence, and how its files become rows.

Files are read from a local mirror, the folder that the setting CLINFIT_DATA names, and are checked against the
SHA-256 given here, so that two people who name the same set train on the same bytes.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.datasets import load_breast_cancer

from clinfit.errors import ClinfitError, nearest

MIRROR = "CLINFIT_DATA"


@dataclass(frozen=True)
class CatalogFile:
    """One file of a set: its place in the mirror, its public address and its checksum."""

    path: str
    source: str
    sha256: str


@dataclass(frozen=True)
class CatalogEntry:
    """One public set.

    read: the set's checked files, in the order of `files`, to one table of rows.
    """

    title: str
    licence: str
    source: str
    notes: str
    read: Callable[[Sequence[Path]], pd.DataFrame]
    files: tuple[CatalogFile, ...] = ()


def read_catalog(name: str) -> pd.DataFrame:
    """The rows of a named set; raises ClinfitError for an unknown name, an absent file or a wrong checksum."""
    if name not in CATALOG:
        near = nearest(name, CATALOG)
        raise ClinfitError(
            f"the catalogue has no set called {name!r}",
            expected=f"one of {', '.join(sorted(CATALOG))}",
            fix=f"path: catalog:{near or sorted(CATALOG)[0]}",
        )
    entry = CATALOG[name]
    return entry.read([catalog_path(file) for file in entry.files])


def catalog_path(file: CatalogFile) -> Path:
    """Where the file lies in the mirror, after its checksum was compared."""
    mirror = os.environ.get(MIRROR)
    if not mirror:
        raise ClinfitError(
            f"the catalogue needs {file.path}, and {MIRROR} is not set",
            expected=f"{MIRROR} to name the folder that holds the public sets; this one is from {file.source}",
            fix=f"export {MIRROR}=/path/to/the/folder",
        )
    path = Path(mirror) / file.path
    if not path.is_file():
        raise ClinfitError(
            f"{path} does not exist",
            expected=f"{file.path} in the folder that {MIRROR} names",
            fix=f"copy the file there from {file.source}",
        )
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != file.sha256:
        raise ClinfitError(
            f"{path} has the SHA-256 {found[:12]}…",
            expected=f"{file.sha256[:12]}…, the file from {file.source}",
            fix="copy the file again, or name it by data.path if the change is meant",
        )
    return path


def _breast_cancer(_: Sequence[Path]) -> pd.DataFrame:
    """scikit-learn's copy: 569 tumours, 30 features of cell nuclei; target 0 is malignant, 1 benign."""
    bunch: Any = load_breast_cancer()
    names = [str(name).replace(" ", "_") for name in bunch.feature_names]
    table = pd.DataFrame(bunch.data, columns=pd.Index(names), dtype=object)
    table.insert(0, "id", [f"wdbc-{row:03d}" for row in range(1, len(table) + 1)])
    table["diagnosis"] = [str(bunch.target_names[target]) for target in bunch.target]
    return table


def _csv(paths: Sequence[Path]) -> pd.DataFrame:
    return pd.concat([pd.read_csv(path, dtype=object, na_filter=False) for path in paths], ignore_index=True)


CANCER_ABSTRACTS = (
    "https://github.com/Ashish-Gore/biomedical-abstract-classifier-llm-finetuning"
    "/blob/2e90846a6623c4573e0b17a738969d361d940349/data/raw/dataset.csv"
)
MEDICAL_ABSTRACTS = (
    "https://github.com/sebischair/Medical-Abstracts-TC-Corpus"
    "/blob/70a2d9106c724729be8b3c4ddb00d1b14ec300c8/medical_tc_test.csv"
)

CATALOG: dict[str, CatalogEntry] = {
    "breast-cancer-wisconsin": CatalogEntry(
        title="Breast Cancer Wisconsin (Diagnostic): malignant or benign from 30 features of cell nuclei",
        licence="CC BY 4.0",
        source="https://archive.ics.uci.edu/dataset/17 (the copy in scikit-learn)",
        notes="569 tumours, 212 malignant and 357 benign, nothing missing; columns id (the row), diagnosis and 30 "
        "features (mean_radius, ...), lengths in the arbitrary units of the image",
        read=_breast_cancer,
    ),
    "cancer-abstracts": CatalogEntry(
        title="PubMed abstracts: about cancer or not",
        licence="MIT (repository); the abstracts may be their publishers'",
        source=CANCER_ABSTRACTS,
        notes="800 records, 400 of each label; columns pmid, title, abstract, label (1 is cancer); a rule on "
        "cancer words scores about 94 %",
        read=_csv,
        files=(
            CatalogFile(
                path="cancer_abstracts/abstracts.csv",
                source=CANCER_ABSTRACTS,
                sha256="5b270a05ba7000de203a325f54acea7ed876bce45faeb9c20df98fa9241ec5bd",
            ),
        ),
    ),
    "medical-abstracts-tc": CatalogEntry(
        title="Medical Abstracts text classification: five kinds of condition",
        licence="CC BY-SA 3.0",
        source=MEDICAL_ABSTRACTS,
        notes="the 2,888 records of the corpus' test file; columns condition_label (1 neoplasms, 2 digestive system, "
        "3 nervous system, 4 cardiovascular, 5 general pathological) and medical_abstract; 113 texts stand there "
        "twice or more with different labels, so no classifier can reach 100 %",
        read=_csv,
        files=(
            CatalogFile(
                path="medical_abstracts_tc/medical_tc_test.csv",
                source=MEDICAL_ABSTRACTS,
                sha256="1eecea73c9ecad292c55e10403bd139fab9580545d6878482997c5564d51ac05",
            ),
        ),
    ),
}
