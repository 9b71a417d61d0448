"""MEDIQA 2021: consumers' questions in short (task 1), and several answers to one question in short (task 2)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from clinfit.data.catalog.entry import CatalogEntry, CatalogFile, table_of
from clinfit.data.workbooks import opened_book, sheet_rows

ADDRESS = "https://github.com/abachaa/MEDIQA2021/raw/8d7fe20706dd6af0d089a0252a201c3da78ded8f"
CITATION = (
    "Ben Abacha, Mrabet, Zhang, Shivade, Langlotz and Demner-Fushman, Overview of the MEDIQA 2021 Shared Task on "
    "Summarization in the Medical Domain, BioNLP 2021"
)
SPLITS = ("validation", "test")
QUESTION_COLUMNS = {
    "id": "number of the question",
    "question": "question of a consumer, as it was sent to the National Library of Medicine",
    "summary": "the same question in short, by an expert",
    "split": "validation or test",
}
ANSWER_COLUMNS = {
    "id": "number of the question",
    "question": "short question of a consumer",
    "answers": "the retrieved answers, with an empty line between them",
    "abstractive": "a summary in an expert's own words",
    "extractive": "a summary in sentences of the answers",
    "split": "validation or test",
}


def first_sheet(path: Path) -> list[list[str]]:
    """The filled rows of a workbook's first sheet below its header, as text."""
    with opened_book(path) as book:
        rows = sheet_rows(book, book.sheetnames[0])
    return [["" if cell is None else str(cell).strip() for cell in row] for row in rows[1:] if any(row)]


def read_questions(paths: Sequence[Path]) -> pd.DataFrame:
    """paths: validation, test."""
    rows = [[*row[:3], split] for path, split in zip(paths, SPLITS, strict=True) for row in first_sheet(path)]
    return table_of(rows, list(QUESTION_COLUMNS))


def read_answers(paths: Sequence[Path]) -> pd.DataFrame:
    """paths: short questions, answers, abstractive and extractive summaries; of validation, then of test."""
    rows: list[list[str]] = []
    for at, split in enumerate(SPLITS):
        asked, retrieved, *summaries = paths[4 * at : 4 * at + 4]
        answers: dict[str, list[str]] = {}
        for number, _, text, *_ in first_sheet(retrieved):
            answers.setdefault(number, []).append(text)
        abstractive, extractive = (_by_number(path) for path in summaries)
        rows += [
            [number, question, "\n\n".join(answers[number]), abstractive[number], extractive[number], split]
            for number, question in _by_number(asked).items()
        ]
    return table_of(rows, list(ANSWER_COLUMNS))


def _by_number(path: Path) -> Mapping[str, str]:
    """Lines `5||text` as number -> text."""
    lines = (line.split("||", 1) for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    return {number.strip(): text.strip() for number, text in lines}


def _file(folder: str, name: str, sha256: str) -> CatalogFile:
    return CatalogFile(f"mediqa2021/{name}", f"{ADDRESS}/{folder}/{name}", sha256)


MEDIQA2021_QUESTIONS = CatalogEntry(
    title="MEDIQA 2021 task 1: a consumer's health question in short",
    licence="none stated",
    source="https://github.com/abachaa/MEDIQA2021",
    citation=CITATION,
    read=read_questions,
    columns=QUESTION_COLUMNS,
    records=150,
    splits={"validation": 50, "test": 100},
    official=True,
    division="official validation and test; its training set is `meqsum`",
    traps=(
        "There is no training split: a study that trains takes `meqsum` for it, and 2 of the 100 test questions stand "
        "there word for word.",
    ),
    files=(
        _file(
            "Task1",
            "MEDIQA2021-Task1-QuestionSummarization-ValidationSet.xlsx",
            "6be459891f12bb7d7812d0c2b243ad9e7ae0b178542bab8123a1130312154bb5",
        ),
        _file(
            "Task1",
            "MEDIQA2021-Task1-TestSet-ReferenceSummaries.xlsx",
            "c5d740a64c84deea4960bb0622b1243cab8664b4b2a387c9b497ddbbafbc9b61",
        ),
    ),
)

MEDIQA2021_ANSWERS = CatalogEntry(
    title="MEDIQA 2021 task 2: several answers to a consumer's health question in short",
    licence="CC BY 4.0",
    source="https://github.com/abachaa/MEDIQA2021",
    citation=CITATION,
    read=read_answers,
    columns=ANSWER_COLUMNS,
    records=130,
    splits={"validation": 50, "test": 80},
    official=True,
    division="official validation and test; there is no training split here",
    traps=(
        "Each of the 130 questions has two reference summaries, one in other words and one in sentences of the "
        "answers: a study names the one that it means.",
        "192 and 303 answers belong to the 50 and 80 questions: a record holds all of one question's.",
    ),
    files=(
        _file(
            "Task2/Validation",
            "MEDIQA2021_Task2_VAlidationSet_ShortQuestions.txt",
            "b0281dbd258e61c4b98ae5e8c2e5e41b2f52a377572f8de5b99cdfc998693b68",
        ),
        _file(
            "Task2/Validation",
            "MEDIQA2021_Task2_ValidationSet_Answers.xlsx",
            "5b988484cb189818bc2d649521ec8c66917430fe44615d6db23d465e9bccba6f",
        ),
        _file(
            "Task2/Validation",
            "MEDIQA2021_Task2_ValidationSet_MultiAbstrativeSummaries.txt",
            "e36f5fe09ef0c29844165619d306e1492426223ba381e97106f0f6f9d38abbe4",
        ),
        _file(
            "Task2/Validation",
            "MEDIQA2021_Task2_ValidationSet_MultiExtractiveSummaries.txt",
            "290c5b5c5fa377133922b7e885097e8c628142271c3732aed0656ba45364fa49",
        ),
        _file(
            "Task2/Test",
            "MEDIQA2021_Task2_MAS_TestSet_shortQuestions.txt",
            "cb8adfca32a179b98ce264cc50feb981f6e051612e4ff69669093276bf08dff3",
        ),
        _file(
            "Task2/Test",
            "MEDIQA2021_Task2_MAS_TestSet_Answers.xlsx",
            "39344a15cc1155a4a11594d83593e9bfffab5f24367fd57814001690276a3e7d",
        ),
        _file(
            "Task2/Test",
            "MEDIQA2021_Task2_TestSet_MultiAbstrativeSummaries.txt",
            "f3521289eaccac96918d8670f78873fa812895f3566851fdd631360724a2898b",
        ),
        _file(
            "Task2/Test",
            "MEDIQA2021_Task2_TestSet_MultiExtractiveSummaries.txt",
            "43422cd085dfde600825aaf5521d5c88220ef54622f0ee160c53ac51e21086e8",
        ),
    ),
)
