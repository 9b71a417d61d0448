"""MEDIQA 2019: is an answer right for a consumer's question (QA), and does one question entail another (RQE)?"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd

from clinfit.data.catalog.entry import CatalogEntry, CatalogFile, leave_out, table_of
from clinfit.data.clean import without_punctuation

ADDRESS = "https://github.com/abachaa/MEDIQA2019/raw/ae5d3826d6c841923b9db831159fef0f1b893593"
CITATION = (
    "Ben Abacha, Shivade and Demner-Fushman, Overview of the MEDIQA 2019 Shared Task on Textual Inference, Question "
    "Entailment and Question Answering, BioNLP 2019"
)
LICENCE = "none stated: a public shared task; the answers are from health sites, some with copyright"

#: Which file is which part, and the split that it belongs to.
QA_PARTS = (("LiveQAMed", "train"), ("Alexa", "train"), ("validation", "validation"), ("test", "test"))
QA_COLUMNS = {
    "id": "part and number of the answer",
    "question_id": "part and number of the question; of one that stands there again, those of the first",
    "question": "question of a consumer",
    "answer": "text that a search system retrieved for it",
    "url": "where it stands",
    "system_rank": "its place in the system's list",
    "score": "4 excellent, 3 incomplete, 2 related, 1 incorrect; it is the answer, never an input",
    "correct": "yes for 3 and 4, else no",
    "part": "LiveQAMed, Alexa, validation or test",
    "split": "train, validation or test",
}
RQE_COLUMNS = {
    "id": "split and number of the pair",
    "question": "the longer question (CHQ)",
    "faq": "the shorter one (FAQ)",
    "entails": "yes where every answer of faq is an answer of question, or a part of one; else no",
    "split": "train, validation or test",
}


def read_qa(paths: Sequence[Path]) -> pd.DataFrame:
    """paths: in the order of QA_PARTS. Training questions that stand in validation or test are left out."""
    rows: list[list[object]] = []
    known: dict[str, str] = {}
    for path, (part, split) in zip(paths, QA_PARTS, strict=True):
        for question in ElementTree.parse(path).getroot().iter("Question"):
            text = question.findtext("QuestionText", "").strip()
            question_id = known.setdefault(without_punctuation(text), f"{part}-{question.get('QID')}")
            for answer in question.iter("Answer"):
                score = int(answer.get("ReferenceScore", ""))
                rows.append(
                    [
                        f"{part}-{answer.get('AID')}",
                        question_id,
                        text,
                        answer.findtext("AnswerText", "").strip(),
                        answer.findtext("AnswerURL", "").strip(),
                        int(answer.get("SystemRank", "")),
                        score,
                        "yes" if score > 2 else "no",
                        part,
                        split,
                    ]
                )
    table: Any = table_of(rows, list(QA_COLUMNS))
    training = table["split"] == "train"
    elsewhere = set(table.loc[~training, "question_id"])
    return leave_out(
        table,
        {"training question stands in validation or test": training & table["question_id"].isin(elsewhere)},
    )


def read_rqe(paths: Sequence[Path]) -> pd.DataFrame:
    """paths: train, validation, test. Validation pairs whose question stands in test are left out."""
    rows: list[list[object]] = []
    for path, split in zip(paths, ("train", "validation", "test"), strict=True):
        for pair in ElementTree.parse(path).getroot().iter("pair"):
            texts = [(pair.findtext(name) or "").strip() for name in ("chq", "faq")]
            entails = {"true": "yes", "false": "no"}[pair.get("value", "")]
            rows.append([f"{split}-{pair.get('pid')}", *texts, entails, split])
    table: Any = table_of(rows, list(RQE_COLUMNS))
    asked = table["question"].map(without_punctuation)
    tested = set(asked[table["split"] == "test"])
    return leave_out(
        table,
        {
            "a question is empty": (table["question"] == "") | (table["faq"] == ""),
            "validation question stands in test": (table["split"] == "validation") & asked.isin(tested),
        },
    )


def _file(folder: str, name: str, sha256: str) -> CatalogFile:
    return CatalogFile(f"mediqa2019/MEDIQA2019-{name}", f"{ADDRESS}/{folder}/MEDIQA2019-{name}", sha256)


MEDIQA2019_QA = CatalogEntry(
    title="MEDIQA 2019 QA: is a retrieved answer right for a consumer's health question?",
    licence=LICENCE,
    source="https://github.com/abachaa/MEDIQA2019",
    citation=CITATION,
    read=read_qa,
    columns=QA_COLUMNS,
    records=3012,
    splits={"train": 1671, "validation": 234, "test": 1107},
    official=True,
    division="official: two training sets (839 and 862 answers, 30 left out), validation and test",
    group="question_id",
    traps=(
        "About 8 answers belong to one question: intervals and any further division need `group: question_id`.",
        "Scores 3 and 4 are right, 1 and 2 wrong: 229 of 839, 405 of 862, 94 of 234 and 572 of 1,107 answers are "
        "right, so that training (37 %) and test (52 %) differ.",
        "1 question of LiveQAMed stands in validation too, with 10 answers in each: left out of training.",
        "2 questions of Alexa stand in test too, without their question marks, and so do all their 20 answers: left "
        "out of training.",
        "2 questions stand twice in the test file, so that 19 pairs are repeats, 1 of them with another label: they "
        "stay, since the test is official, under one question_id.",
        "Answers have up to 8,510 words: `clinfit check` says how many are shortened.",
    ),
    files=(
        _file(
            "MEDIQA_Task3_QA",
            "Task3-QA-TrainingSet1-LiveQAMed.xml",
            "351d60adbaa6c33f2d26e9dbe511117dc43bcd6a4074095daecc34d179f2c0f2",
        ),
        _file(
            "MEDIQA_Task3_QA",
            "Task3-QA-TrainingSet2-Alexa.xml",
            "00bacd5a61cefa22dee872c8a1efb09407638cbc56833688b89388b620b81944",
        ),
        _file(
            "MEDIQA_Task3_QA",
            "Task3-QA-ValidationSet.xml",
            "d27b9a2084e42d2d5dc5b4a4236bc3f967683da338e188001610d1857f26aa18",
        ),
        _file(
            "MEDIQA_Task3_QA",
            "Task3-QA-TestSet-wLabels.xml",
            "df9bca894d252279f200ee78e85d871b57a94b224d75467b7fa38a4a0952cc1d",
        ),
    ),
)

MEDIQA2019_RQE = CatalogEntry(
    title="MEDIQA 2019 RQE: does a consumer's health question entail a shorter one?",
    licence=LICENCE,
    source="https://github.com/abachaa/MEDIQA2019",
    citation=CITATION,
    read=read_rqe,
    columns=RQE_COLUMNS,
    records=9114,
    splits={"train": 8587, "validation": 297, "test": 230},
    official=True,
    division="official: 8,588 training pairs (1 left out), 302 for validation (5 left out), 230 for testing",
    traps=(
        "Training pairs are clinicians' questions, validation and test pairs are consumers' questions: what is learned "
        "from the one holds less for the other.",
        "In 1,475 training pairs the two questions are the same, and the answer is yes but for 1: copying is learned "
        "easily.",
        "54 % of the training pairs, 43 % of validation and 50 % of test are yes.",
        "1 training pair lacks a question: left out.",
        "1 question of the validation file stands in the test file: its 5 validation pairs are left out.",
        "24 training pairs repeat another one, 1 of them with another label: `clean: {drop_duplicates: true}`.",
    ),
    files=(
        _file(
            "MEDIQA_Task2_RQE",
            "Task2-RQE-TrainingSet-AMIA2016.xml",
            "25d7bf2fcbaef29fb3adab6172ff8a29a1a3897c29b0f2ab1e0312fc046daa4e",
        ),
        _file(
            "MEDIQA_Task2_RQE",
            "Task2-RQE-ValidationSet-AMIA2016.xml",
            "7f18815cfdcce499d2ae36f49c02b2e824491b54b3a52608e4c684573f2e3c59",
        ),
        _file(
            "MEDIQA_Task2_RQE",
            "Task2-RQE-TestSet-wLabels.xml",
            "7ad60e055579075fbe3c916809c6945e5a57c5a537f822981d691db37a2c750f",
        ),
    ),
)
