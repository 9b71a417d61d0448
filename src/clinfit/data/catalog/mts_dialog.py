"""MTS-Dialog: a talk of doctor and patient, and the section of the note that was written of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from clinfit.data.catalog.entry import CatalogEntry, CatalogFile, leave_out, read_csv
from clinfit.data.clean import normalised

ADDRESS = "https://github.com/abachaa/MTS-Dialog/raw/3ff0801933608d6f570468c13125125fb5cabdea/Main-Dataset"
PARTS = (("train", "train"), ("validation", "validation"), ("test-1", "test"), ("test-2", "test"))

#: A section of more words than this, word for word in two splits, is no coincidence ("Noncontributory." is).
LONG_SECTION = 8


def read(paths: Sequence[Path]) -> pd.DataFrame:
    """paths: in the order of PARTS. Training pairs that stand in validation or test, talk or section, are left out."""
    parts = [read_csv(path).assign(part=part, split=split) for path, (part, split) in zip(paths, PARTS, strict=True)]
    table: Any = pd.concat(parts, ignore_index=True)
    table["id"] = table["part"] + "-" + table["ID"]
    for column in ("section_header", "section_text", "dialogue"):
        table[column] = table[column].str.strip()
    training = table["split"] == "train"
    talks, sections = (table[column].map(normalised) for column in ("dialogue", "section_text"))
    long = sections.str.split().str.len() > LONG_SECTION
    return leave_out(
        table[["id", "dialogue", "section_header", "section_text", "part", "split"]],
        {
            "training talk stands in validation or test": training & talks.isin(set(talks[~training])),
            "training section stands in validation or test": training & long & sections.isin(set(sections[~training])),
        },
    )


def _file(name: str, sha256: str) -> CatalogFile:
    return CatalogFile(f"mts_dialog/MTS-Dialog-{name}.csv", f"{ADDRESS}/MTS-Dialog-{name}.csv", sha256)


MTS_DIALOG = CatalogEntry(
    title="MTS-Dialog: a section of a clinical note from a talk of doctor and patient",
    licence="CC BY 4.0",
    source="https://github.com/abachaa/MTS-Dialog",
    citation="Ben Abacha, Yim, Fan and Lin, An Empirical Study of Clinical Note Generation from Doctor-Patient "
    "Encounters, EACL 2023",
    read=read,
    columns={
        "id": "part and number",
        "dialogue": "the talk, one line a turn",
        "section_header": "which section of the note, one of 20: GENHX, FAM/SOCHX, ROS and others",
        "section_text": "the section",
        "part": "train, validation, test-1 (MEDIQA-Chat 2023) or test-2 (MEDIQA-Sum 2023)",
        "split": "train, validation or test",
    },
    records=1686,
    splits={"train": 1186, "validation": 100, "test": 400},
    official=True,
    division="official: 1,201 pairs for training (15 left out), 100 for validation, two tests of 200, told apart by "
    "part",
    traps=(
        "6 training pairs have a talk that stands in validation or test, 9 more a section of more than 8 words: left "
        "out, so that validation and test stay whole.",
        "168 of the 1,701 sections are one word, 308 at most three: report them apart, since overlap of words says "
        "little there.",
        "The talks were written from the sections by annotators: they are no recordings.",
        "The sections are very unequal: FAM/SOCHX and GENHX are 351 and 282 of the 1,201 in the training file, LABS 2.",
    ),
    files=(
        _file("TrainingSet", "65a28681dd59fc159681ea026e44610f2af7bc64a0e7f892d763eb03d9f503dc"),
        _file("ValidationSet", "227206520c4534381c0d7fba6d3f09319a9af5a6d9603a93c0341af1198e3958"),
        _file("TestSet-1-MEDIQA-Chat-2023", "b4d38dd2c99b2e9860099abcf653f1e0f3e9b69f9fcc45be2a2699b37a4d2f37"),
        _file("TestSet-2-MEDIQA-Sum-2023", "226644466ed3af82382b327a3e684aab70aa605b96cfd93b04f584f1826ab1a6"),
    ),
)
