"""Medical Abstracts TC Corpus, its test file: which of five kinds of condition is an abstract about?"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from clinfit.data.catalog.entry import CatalogEntry, CatalogFile, read_csv


def read(paths: Sequence[Path]) -> pd.DataFrame:
    return read_csv(paths[0])


MEDICAL_ABSTRACTS_TC = CatalogEntry(
    title="Medical Abstracts text classification: five kinds of condition",
    licence="CC BY-SA 3.0",
    source="https://github.com/sebischair/Medical-Abstracts-TC-Corpus",
    citation="Schopf, Braun and Matthes, Evaluating Unsupervised Text Classification: Zero-shot and Similarity-based "
    "Approaches, NLPIR 2022",
    read=read,
    columns={
        "condition_label": "1 neoplasms, 2 digestive system, 3 nervous system, 4 cardiovascular, 5 general "
        "pathological",
        "medical_abstract": "title and abstract in one text",
    },
    records=2888,
    division="by ratio, stratified: this is the corpus' test file alone, so that figures are not those of its paper",
    traps=(
        "113 texts stand there more than once (231 rows), each time with another label, so that no classifier can be "
        "right for more than 2,770 of 2,888: `clean: {drop_duplicates: true}` keeps the first.",
        "Label 5, general pathological conditions, holds for 961 records and overlaps with the others by its meaning.",
        "1,041 of these texts are documents of `ohsumed`, where they have all their categories: never train on the one "
        "and test on the other.",
    ),
    files=(
        CatalogFile(
            path="medical_abstracts_tc/medical_tc_test.csv",
            source="https://github.com/sebischair/Medical-Abstracts-TC-Corpus"
            "/raw/70a2d9106c724729be8b3c4ddb00d1b14ec300c8/medical_tc_test.csv",
            sha256="1eecea73c9ecad292c55e10403bd139fab9580545d6878482997c5564d51ac05",
        ),
    ),
)
