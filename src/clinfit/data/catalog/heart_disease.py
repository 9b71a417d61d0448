"""Heart disease (UCI): patients of four hospitals, 13 findings, and whether a coronary artery is narrowed."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from clinfit.data.catalog.entry import CatalogEntry, CatalogFile, read_csv


def read(paths: Sequence[Path]) -> pd.DataFrame:
    """Zeros of cholesterol and blood pressure are empty cells; one misspelt FALSE is put right."""
    table = read_csv(paths[0])
    for column in ("chol", "trestbps"):
        table[column] = table[column].where(table[column] != "0", "")
    table["fbs"] = table["fbs"].replace("FAL SE", "FALSE")
    table["disease"] = ["no" if number == "0" else "yes" for number in table["num"]]
    return table


HEART_DISEASE = CatalogEntry(
    title="Heart disease of four hospitals: a narrowed coronary artery from 13 findings",
    licence="CC BY 4.0",
    source="https://archive.ics.uci.edu/dataset/45 (file: https://github.com/irmanj/Heart-Disease-Prediction)",
    citation="Janosi, Steinbrunn, Pfisterer and Detrano, Heart Disease, UCI Machine Learning Repository, 1989",
    read=read,
    columns={
        "id": "the row",
        "age": "years",
        "sex": "Male or Female",
        "dataset": "the hospital: Cleveland, Hungary, Switzerland, VA Long Beach",
        "cp": "kind of chest pain",
        "trestbps": "blood pressure at rest, mmHg",
        "chol": "cholesterol, mg/dl",
        "fbs": "whether fasting blood sugar is above 120 mg/dl",
        "restecg": "ECG at rest",
        "thalch": "highest heart rate, beats a minute",
        "exang": "angina on exertion",
        "oldpeak": "ST depression on exertion, mm",
        "slope": "slope of the ST segment",
        "ca": "vessels coloured by fluoroscopy, 0 to 3",
        "thal": "thallium scan",
        "num": "angiography: 0 no artery narrowed by more than half, 1 to 4 how far; it is the answer, never an input",
        "disease": "no where num is 0, else yes",
    },
    records=920,
    division="by hospital: `split: {column: dataset, held_out: [Switzerland], validation_of_train: 0.2}`, once for "
    "each",
    traps=(
        "Missing values follow the hospital: ca is empty in 5 of 304 records of Cleveland and in 606 of the 616 "
        "others, so that a model learns the hospital from what is missing, and a random split hides it.",
        "The share of the ill differs: 139 of 304 in Cleveland, 106 of 293 in Hungary, 115 of 123 in Switzerland, 149 "
        "of 200 in VA Long Beach.",
        "172 cholesterol values are 0 (all 123 of Switzerland, 49 of VA Long Beach), and 1 blood pressure: they stand "
        "for missing ones and are read as such.",
        "1 cell of fbs is spelt FAL SE: read as FALSE.",
        "UCI lists 303 patients of Cleveland and 294 of Hungary, the file 304 and 293: one is under the wrong name.",
        "2 rows repeat another one: `clean: {drop_duplicates: true}` drops them.",
    ),
    files=(
        CatalogFile(
            path="tabular/heart_disease_uci.csv",
            source="https://github.com/irmanj/Heart-Disease-Prediction"
            "/raw/c4af0bc35a157bc7a8f8e3f0d3baaa65f65e2fc4/data/heart_disease_uci.csv",
            sha256="eff97d3c9605a1cf9ddd2644177c3c55a16ef0f4ae867a562b5861142e00f927",
        ),
    ),
)
