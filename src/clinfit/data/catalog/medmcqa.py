"""MedMCQA: questions of Indian medical entrance exams with four options."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from clinfit.data.catalog.entry import CatalogEntry, CatalogFile, hashed_splits, leave_out, table_of
from clinfit.data.clean import normalised

#: Column -> key of the file. The explanation (exp) names the answer and is left out.
KEYS = {
    "id": "id",
    "question": "question",
    "opa": "opa",
    "opb": "opb",
    "opc": "opc",
    "opd": "opd",
    "cop": "cop",
    "discipline": "subject_name",
    "topic": "topic_name",
    "choice_type": "choice_type",
}


def read(paths: Sequence[Path]) -> pd.DataFrame:
    """The development set, divided by question, so that one that stands there twice is in one split."""
    table = development(paths[0])
    table["split"] = hashed_splits([normalised(question) for question in table["question"]])
    return table


def read_with_training(paths: Sequence[Path]) -> pd.DataFrame:
    """paths: the hub's training file, whose right options are counted from 0, and the development set, which is tested.

    Training questions that stand in the development set, options included, are left out.
    """
    hub = pd.read_parquet(paths[0], columns=list(KEYS.values()))
    training = pd.DataFrame({column: hub[key].tolist() for column, key in KEYS.items()}, dtype=object)
    training["cop"] = [int(option) + 1 for option in training["cop"]]
    table: Any = pd.concat(
        [training.assign(split="train"), development(paths[1]).assign(split="test")], ignore_index=True
    )
    asked = table[["question", "opa", "opb", "opc", "opd"]].agg(" ".join, axis=1).map(normalised)
    learned = table["split"] == "train"
    return leave_out(table, {"training question stands in test": learned & asked.isin(set(asked[~learned]))})


def development(path: Path) -> pd.DataFrame:
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return table_of([[line[key] for key in KEYS.values()] for line in lines], list(KEYS))


COLUMNS = {
    "id": "id of the question",
    "question": "question",
    "op*": "the four options, a to d",
    "cop": "number of the right one, 1 to 4",
    "discipline": "subject of the exam",
    "topic": "topic, mostly empty",
    "choice_type": "single or multi",
    "split": "train, validation or test",
}
DEV = CatalogFile(
    path="medmcqa/dev.json",
    source="https://github.com/Teddy-XiongGZ/MIRAGE"
    "/raw/392943af99cd94cafd50a0de2e7fca24bbf65494/rawdata/medmcqa/data/dev.json",
    sha256="a2b5f53890f4e742b728378fb847bc5338088d48ea01218676379f587270af31",
)
CITATION = "Pal, Umapathi and Sankarasubbu, MedMCQA, CHIL 2022"

MEDMCQA_DEV = CatalogEntry(
    title="MedMCQA, development set: questions of medical entrance exams with four options",
    licence="MIT",
    source="https://github.com/medmcqa/medmcqa (file: https://github.com/Teddy-XiongGZ/MIRAGE)",
    citation=CITATION,
    read=read,
    columns=COLUMNS,
    records=4183,
    splits={"train": 2481, "validation": 876, "test": 826},
    division="none is published for the development set, and the answers of the test set are not public: here by the "
    "SHA-256 of the question, so that figures are comparable among clinfit's studies only",
    traps=(
        "The right option is counted from 1: 1,348 times A, 1,085 B, 925 C, 825 D, so that always answering A is right "
        "for 32 %.",
        "2,206 questions have an explanation, which names the answer: left out.",
        "18 questions stand there more than once, 12 of them with the same options: they are in one split here, and "
        "`clean: {drop_duplicates: true}` keeps the first.",
        "1,367 questions are of choice_type multi, where one option is a statement about several.",
        "The topic is empty in 3,760 records.",
    ),
    files=(DEV,),
)

MEDMCQA = CatalogEntry(
    title="MedMCQA with its training set: questions of medical entrance exams with four options",
    licence="MIT",
    source="https://huggingface.co/datasets/openlifescienceai/medmcqa",
    citation=CITATION,
    read=read_with_training,
    columns=COLUMNS | {"split": "train or test"},
    records=187005,
    splits={"train": 182822, "test": 4183},
    official=True,
    division="the published training set, and the development set as the test, as is usual, since the answers of the "
    "test set are not public; none is left for validation, which `split: {column: split, validation_of_train: 0.2}` "
    "takes from training",
    traps=(
        "The hub counts the right option from 0 and the development file from 1: both are from 1 here.",
        "Training questions that stand in the development set, options included, are left out and counted when read.",
        "Explanations name the answer: left out.",
    ),
    counted=False,
    files=(
        CatalogFile(
            path="medmcqa/train-00000-of-00001.parquet",
            source="https://huggingface.co/datasets/openlifescienceai/medmcqa"
            "/resolve/main/data/train-00000-of-00001.parquet",
            sha256=None,
        ),
        DEV,
    ),
)
