"""MeQSum: consumers' health questions and the same in short."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from clinfit.data.catalog.entry import CatalogEntry, CatalogFile, hashed_splits, table_of
from clinfit.data.catalog.mediqa2021 import first_sheet
from clinfit.data.clean import normalised

FILE = "MeQSum_ACL2019_BenAbacha_Demner-Fushman.xlsx"
COLUMNS = {
    "id": "file of the question",
    "question": "question of a consumer, as it was sent to the National Library of Medicine",
    "summary": "the same question in short, by an expert",
    "split": "train, validation or test",
}


def read(paths: Sequence[Path]) -> pd.DataFrame:
    rows = [row[:3] for row in first_sheet(paths[0])]
    splits = hashed_splits([normalised(question) for _, question, _ in rows])
    return table_of([[*row, split] for row, split in zip(rows, splits, strict=True)], list(COLUMNS))


MEQSUM = CatalogEntry(
    title="MeQSum: a consumer's health question in short",
    licence="CC BY 4.0",
    source="https://github.com/abachaa/MeQSum",
    citation="Ben Abacha and Demner-Fushman, On the Summarization of Consumer Health Questions, ACL 2019",
    read=read,
    columns=COLUMNS,
    records=1000,
    splits={"train": 613, "validation": 200, "test": 187},
    division="none is published: here by the SHA-256 of the question, so that figures are comparable among clinfit's "
    "studies only",
    traps=(
        "2 of the 1,000 questions are test questions of `mediqa2021-questions`, whose training set this is.",
        "653 questions begin with SUBJECT:, and the summary often repeats that line: copying it is a baseline.",
        "6 summaries repeat that of another question.",
    ),
    files=(
        CatalogFile(
            path=f"meqsum/{FILE}",
            source=f"https://github.com/abachaa/MeQSum/raw/51e36cf65c12602333b6fdc3ae8ecf10430529f7/{FILE}",
            sha256="abedd939d5014306ca576522416bf69103e85dc8fcf1668a4099e8b84a39eeea",
        ),
    ),
)
